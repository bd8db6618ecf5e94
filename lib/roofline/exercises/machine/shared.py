"""What the exercises of the chapter share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from roofline.grading import Call, Item, compare, generator


def integers(seed: int, low: int, high: int, number: int) -> list[int]:
    """Whole numbers from low to high, without high."""
    return torch.randint(low, high, (number,), generator=generator(seed)).tolist()


def column(
    name: str,
    points: float,
    outputs: Sequence[Call],
    index: int | None,
    right: list[Any],
    mistakes: Sequence[tuple[list[Any], str]] = (),
    rtol: float = 1e-6,
) -> Item:
    """Part ``index`` of what each call returned (or all of it) against a list of right values."""
    got = [made if index is None else made[index] for made in outputs]
    failed = next((part for part in got if not part.ok), None)
    return compare(
        name, points, failed or [part.value for part in got], right, mistakes, rtol=rtol, atol=0.0
    )


def over(cases: Sequence[tuple], formula: Callable[..., Any]) -> list[Any]:
    """A formula's value for each case."""
    return [formula(*case) for case in cases]
