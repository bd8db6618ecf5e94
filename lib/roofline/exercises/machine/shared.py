"""What the exercises of the chapter share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from roofline.grading import Call, Item, compare, generator, unchanged


def integers(seed: int, low: int, high: int, number: int) -> list[int]:
    """Whole numbers from low to high, without high."""
    return torch.randint(low, high, (number,), generator=generator(seed)).tolist()


def column(
    name: str,
    points: float,
    outputs: Sequence[Call],
    index: int | str | None,
    right: list[Any],
    mistakes: Sequence[tuple[list[Any], str]] = (),
    rtol: float = 1e-6,
    cases: Sequence[Sequence[Any]] = (),
) -> Item:
    """Part ``index`` of what each call returned (or all of it) against a list of right values.

    With ``cases``, the arguments of the calls, the message says for which of them a value is wrong.
    """
    got = [made if index is None else made[index] for made in outputs]
    failed = next((part for part in got if not part.ok), None)
    values = failed or [part.value for part in got]
    item = compare(name, points, values, right, mistakes, rtol=rtol, atol=0.0)
    if not item.lost:
        return unchanged(name, points, *got)
    if failed and "expected at least" in item.message:
        return replace(item, hint=item.hint or "return all that is asked for, as a tuple")
    at = re.match(r"value (\d+): ", item.message)
    if at and cases:
        where = ", ".join(shown(value) for value in cases[int(at[1])])
        return replace(item, message=f"for ({where}): {item.message[at.end() :]}")
    return item


def shown(value: Any) -> str:
    """An argument in a message."""
    if isinstance(value, (int, float)):
        return f"{value:,.6g}"
    return str(value) if isinstance(value, tuple) else f"{len(value)} operations"


def not_always(item: Item, value: Any, others: Sequence[Call]) -> Item:
    """An item about a case whose answer is ``value``, which isn't kept by giving it always."""
    given = [made.value for made in others if made.ok]
    if item.lost or not given or any(v != value for v in given):
        return item
    message = f"it returns {value} for every case, also where another answer is right"
    return Item(item.name, item.points, 0.0, message)


def over(cases: Sequence[tuple], formula: Callable[..., Any]) -> list[Any]:
    """A formula's value for each case."""
    return [formula(*case) for case in cases]
