"""Trade time for memory: keep what goes into a layer, and run the layer again when walking back.

Chen, Xu, Zhang and Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost", 1604.06174.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch

from roofline.autograd import Tensor, backward, no_grad, op
from roofline.nn import Module

from .randomness import random_state, set_random_state


def checkpoint(
    function: Callable[..., Tensor], *inputs: Any, parameters: Iterable[Tensor] | None = None
) -> Tensor:
    """``function(*inputs)``, of which training remembers the inputs and nothing else.

    The walk back runs ``function`` again, with the random numbers of the first time, so dropout
    drops the same. A forward pass more is the price: about a third of a training step.

    Args:
        function: a Module, a method of one, or any function that returns one Tensor.
        inputs: Tensors and other values. Every Tensor that isn't a parameter must be among them.
        parameters: the leaves that ``function`` uses; by default the Module's.
    """
    if parameters is None:
        module = function if isinstance(function, Module) else getattr(function, "__self__", None)
        parameters = module.parameters() if isinstance(module, Module) else ()
    leaves = [leaf for leaf in parameters if leaf.requires_grad]
    wrapped = tuple(isinstance(value, Tensor) for value in inputs)
    return _recomputed(function, wrapped, *inputs, *leaves)


@op
def _recomputed(
    function: Callable[..., Tensor], wrapped: tuple[bool, ...], *values: Any, needs: Any
) -> tuple[torch.Tensor, Callable]:
    """``values`` are the inputs, of which those ``wrapped`` were Tensors, and the parameters."""
    inputs = values[: len(wrapped)]
    wanted = [need is not None for need in needs[2 : 2 + len(inputs)]]
    device = next((v.device for v in values if isinstance(v, torch.Tensor)), torch.device("cpu"))
    state = random_state(device)
    pairs = list(zip(inputs, wrapped, strict=True))
    with no_grad():
        result = function(*[Tensor(value) if is_ours else value for value, is_ours in pairs]).data

    def pullback(grad: torch.Tensor) -> tuple:
        after = random_state(device)
        set_random_state(state, device)
        again = [
            Tensor(value, requires_grad=want) if is_ours else value
            for (value, is_ours), want in zip(pairs, wanted, strict=True)
        ]
        # The inner walk adds to the parameters' own gradients, so there is none to hand on here.
        backward(function(*again), grad)
        set_random_state(after, device)
        grads = [value.grad if isinstance(value, Tensor) else None for value in again]
        return (None, None, *grads, *[None] * (len(values) - len(inputs)))

    return result, pullback


@contextmanager
def recomputed(model: Module, names: Iterable[str]) -> Iterator[int]:
    """Inside this block the layers named recompute: "blocks.layers.*", say. Gives their number.

    Raises:
        ValueError: a name that fits no layer.
    """
    paths = {path: module for path, module in model.named_modules() if path}
    chosen: dict[str, Module] = {}
    for name in names:
        fitting = {path: module for path, module in paths.items() if fnmatchcase(path, name)}
        # "blocks.*" would also fit what is inside a block: the outermost layer is the one meant.
        outer = {
            p: m for p, m in fitting.items() if not any(p.startswith(f"{q}.") for q in fitting)
        }
        if not outer:
            raise ValueError(f"no layer is named {name!r}: there are {', '.join(paths)}")
        chosen |= outer
    for module in chosen.values():
        vars(module)["forward"] = _recomputing(module)
    try:
        yield len(chosen)
    finally:
        for module in chosen.values():
            del vars(module)["forward"]


def _recomputing(module: Module) -> Callable[..., Tensor]:
    forward = type(module).forward

    def run(*inputs: Any, **options: Any) -> Tensor:
        call = functools.partial(forward, module, **options)
        return checkpoint(call, *inputs, parameters=module.parameters())

    return run
