"""What exercises on pullbacks share: forbidden ways out, bytes held, elementwise cases."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FunctionType, GeneratorType, ModuleType
from typing import Any

import numpy as np
import torch

from roofline.grading import (
    Call,
    Item,
    at_most,
    call,
    compare,
    generator,
)

TENSOR_CLASSES = (
    "torch.Tensor.backward",
    "torch.autograd.grad",
    "torch.func.vjp",
    "torch.func.grad",
)
DERIVATIVES = (
    *TENSOR_CLASSES,
    "roofline.autograd.backward",
    "roofline.autograd.Tensor.backward",
)
TWO = "return two things: the result, and the pullback"
TUPLE = "a pullback returns a tuple, also of one: (gradient,)"
# How far a value may be off that was asked for in float64 and computed in float32: where only the
# dtype is looked at.
SINGLE = 1e-5
KEEP = "the result has the arguments' dtype: make new tensors with dtype=x.dtype"


def held(pullback: Call, besides: Call | None = None) -> Call:
    """What a pullback keeps alive: ``{"bytes": ..., "shapes": ...}``, each piece of memory once.

    ``besides`` is a tensor that is there anyway. Looks into closures, objects, containers,
    generators and NumPy arrays: whatever the function would take along.
    """

    # Not an argument: tensors are handed on as copies, and a copy would not be found.
    there = besides.value if besides is not None else None
    known = there.untyped_storage().data_ptr() if isinstance(there, torch.Tensor) else None

    def add_up(function: Callable) -> dict[str, Any]:
        sizes: dict[int, int] = {}
        shapes = []
        for item in reachable(function):
            if isinstance(item, torch.Tensor):
                key, size = item.untyped_storage().data_ptr(), item.untyped_storage().nbytes()
            elif isinstance(item, np.ndarray):
                key, size = item.ctypes.data, item.nbytes
            else:
                numbers = isinstance(item, (list, tuple))
                size = 8 * sum(type(v) is float for v in item) if numbers else len(item)
                key = id(item)
            if key != known and key not in sizes and size:
                sizes[key] = size
                shapes.append(str(tuple(item.shape) if hasattr(item, "shape") else (len(item),)))
        return {"bytes": sum(sizes.values()), "shapes": ", ".join(shapes)}

    return call(add_up, pullback)


def reachable(root: Any) -> Iterator[Any]:
    """Tensors, arrays, lists and bytes that an object holds, however deep."""
    stack: list[Any] = [root]
    seen: set[int] = set()
    while stack and len(seen) < 10_000:
        item = stack.pop()
        if id(item) in seen or isinstance(item, (type, ModuleType, str, int, float)):
            continue
        seen.add(id(item))
        if isinstance(item, (torch.Tensor, np.ndarray)):
            yield item
        elif isinstance(item, FunctionType):  # not its module's names
            stack += [item.__closure__, item.__defaults__, item.__kwdefaults__, item.__dict__]
        elif isinstance(item, GeneratorType):
            stack += list(item.gi_frame.f_locals.values()) if item.gi_frame else []
        else:
            if isinstance(item, (list, tuple, bytes, bytearray)):
                yield item
            stack += gc.get_referents(item)


def of_one(item: Item) -> Item:
    """The item about a pullback's one gradient, with a hint where there is no tuple to look in."""
    return both(item, TWO if "at least 2" in item.message else TUPLE)


def pulled_back(answer: Any, inputs: tuple[torch.Tensor, ...], arriving: torch.Tensor) -> Call:
    """Call an operation and its pullback, and tell which of the inputs the pullback changed."""

    def run(function: Callable) -> list[bool]:
        given = [value.clone() for value in inputs]
        pullback = function(*given)[1]
        before = [value.clone() for value in given]
        pullback(arriving.clone())
        return [not torch.equal(now, value) for now, value in zip(given, before, strict=True)]

    return call(run, answer)


def leaves_alone(item: Item, changed: Call, names: tuple[str, ...]) -> Item:
    """The item, lost where the pullback has changed an argument of its operation."""
    if item.lost or not changed.ok:
        return item
    which = [name for name, odd in zip(names, changed.value, strict=False) if odd]
    if not which:
        return item
    message = f"the pullback changed the operation's argument {', '.join(which)} in place"
    hint = "others may still need it: make a new tensor"
    return Item(item.name, item.points, 0.0, message, hint)


def elementwise_probe(answer: Any, cases: Any) -> dict[str, Any]:
    """Call an elementwise operation and its pullback, at ordinary and at extreme inputs."""
    x, dy, extreme = cases
    made, far = call(answer, x), call(answer, extreme)
    kept, beside = held(made[1]), held(made[1], besides=made[0])
    return {
        "result": made[0],
        "gradient": call(made[1], dy)[0],
        "far": far[0],
        "far gradient": call(far[1], torch.ones_like(extreme))[0],
        "held": kept,
        "beside": beside,
        "left": pulled_back(answer, (x,), dy),
    }


def elementwise_cases(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = generator(seed)
    x = 2 * torch.randn(6, 5, generator=random)
    dy = torch.randn(6, 5, generator=random)
    return x, dy, torch.tensor([-1000.0, -30.0, 0.0, 30.0, 1000.0], dtype=torch.float64)


def stable(outputs: Any, far: torch.Tensor, slope: torch.Tensor) -> Item:
    """Result and gradient at inputs up to 1000 in size, in float64."""
    name = "at inputs up to ±1000, float64"
    for got, right in ((outputs["far"], far), (outputs["far gradient"], slope)):
        item = led_on(compare(name, 0.5, got, right, rtol=SINGLE, atol=1e-6))
        if item.lost:
            break
    return item


def holds_at_most(
    name: str, points: float, kept: Call, most: int, gradient: Item, hint: str
) -> Item:
    """Whether a pullback keeps no more than ``most`` bytes; worth nothing while it is wrong."""
    if gradient.lost:
        return Item(name, points, 0.0, "counted once the gradient is right")
    item = at_most(name, points, kept["bytes"], most, "bytes")
    if item.lost and kept.ok:
        message = f"{item.message}: it holds what has the shapes {kept.value['shapes']}"
        return Item(name, points, 0.0, message, hint)
    return item


def led_on(item: Item) -> Item:
    """The item with a hint where it is lost to a dtype."""
    if item.lost and not item.hint and "dtype" in item.message:
        return replace(item, hint=KEEP)
    return item


def both(item: Item, hint: str) -> Item:
    """The item with a hint where one value was returned instead of a tuple."""
    message = item.message
    if item.lost and not item.hint and ("at least" in message or "expected a list" in message):
        return replace(item, hint=hint)
    return item
