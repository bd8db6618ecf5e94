"""Looking at values: what one is called, a copy of it, and whether it was changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Strange:
    """Stands beside the judge for a value that isn't data: "a function", "a generator"."""

    kind: str


def describe(value: Any) -> str:
    """What a value is, in a few words: "a tensor of shape (3, 4)", "a tuple of 2", "None"."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Strange):
        return value.kind
    if type(value) in (tuple, list, dict):
        return f"a {type(value).__name__} of {len(value)}"
    kind = type(value).__name__[:60]
    if kind == "ndarray":
        return f"a NumPy array of shape {getattr(value, 'shape', '?')}"
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """``value`` with ``leaf`` applied to what is inside plain lists, tuples and dicts."""
    if type(value) in (list, tuple):
        return type(value)(mapped(v, leaf) for v in value)
    if type(value) is dict:
        return {k: mapped(v, leaf) for k, v in value.items()}
    return leaf(value)


def plain_numbers(value: Any) -> Any:
    """``value`` with NumPy's numbers as Python's and kinds of dict as dicts, also inside others."""

    def leaf(v: Any) -> Any:
        if isinstance(v, dict):  # a Counter, a defaultdict
            return mapped(dict(v), leaf)
        return v.item() if isinstance(v, np.generic) else v

    try:
        return mapped(value, leaf)
    except RecursionError:  # it contains itself: what is done with it next says so
        return value


def copied(value: Any) -> Any:
    """``value`` with its plain tensors copied. Other objects stay the ones that they are."""

    def leaf(v: Any) -> Any:
        if type(v) is torch.Tensor:
            return v.detach().clone().requires_grad_(v.requires_grad)
        return v

    return mapped(value, leaf)


def inner(value: Any) -> torch.Tensor | None:
    """The tensor that a value is or, as a Parameter or a Tensor of our own, holds as ``.data``."""
    try:
        data = getattr(value, "data", None)
    except Exception:  # an object of the learner's, whose attributes may do anything
        return None
    return data if isinstance(data, torch.Tensor) else None


def unwrapped(value: Any) -> Any:
    """``value`` with everything that holds a tensor as ``.data`` replaced by that tensor."""

    def leaf(v: Any) -> Any:
        held = inner(v)
        return v if held is None or isinstance(v, torch.Tensor) else held

    return mapped(value, leaf)


def device_of(value: Any) -> str:
    """The device of the first tensor in ``value``, "cpu" if there is none."""
    found: list[str] = []

    def leaf(v: Any) -> Any:
        held = inner(v)
        if held is not None:
            found.append(str(held.device))

    mapped(value, leaf)
    return found[0] if found else "cpu"


def snapshot(value: Any) -> Any:
    """What :func:`unchanged` compares with later: tensors, numbers and strings in ``value``."""

    def leaf(v: Any) -> Any:
        held = inner(v)
        if held is not None:
            return held.detach().clone()
        return v if isinstance(v, (int, float, str, bytes)) else None

    return mapped(value, leaf)


def unchanged(now: Any, before: Any) -> bool:
    """Whether two snapshots are the same, NaN equal to NaN."""
    if type(now) is not type(before):
        return False
    if isinstance(now, (list, tuple)):
        return len(now) == len(before) and all(map(unchanged, now, before))
    if isinstance(now, dict):
        return list(now) == list(before) and all(unchanged(now[k], before[k]) for k in now)
    if isinstance(now, torch.Tensor):
        if now.shape != before.shape or now.dtype != before.dtype or now.device != before.device:
            return False
        if now.device.type == "meta":
            return True
        return bool(((now == before) | ((now != now) & (before != before))).all())
    return bool(now == before or now != now)
