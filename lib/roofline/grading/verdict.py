"""Making rubric items: what a judge uses.

:func:`compare` is for values; :func:`at_most` for counted cost; :func:`raises`, :func:`unchanged`
and :func:`quiet` for behaviour; :func:`require` for anything else; :func:`where` names the call of
several that an item is about. Each gives one
:class:`~roofline.grading.registry.Item` whose message says what came out, and whose hint says which
mistake it looks like. An item about a :class:`~roofline.grading.calling.Call` that has no value is
lost, and says why there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from roofline.grading.calling import BLANK, Call
from roofline.grading.difference import as_number, difference, shown_number
from roofline.grading.registry import Item
from roofline.grading.values import describe

RIGHT = "as expected"
Mistakes = Sequence[tuple[Any | Callable[[], Any], str]]


def require(name: str, points: float, holds: bool, message: str = "", hint: str = "") -> Item:
    """All points if ``holds``; else none, with ``message`` (what came out) and ``hint``."""
    if holds:
        return Item(name, points, points, RIGHT)
    return Item(name, points, 0.0, message or "not as expected", hint)


def compare(
    name: str,
    points: float,
    got: Any,
    expected: Any,
    mistakes: Mistakes = (),
    *,
    rtol: float | None = None,
    atol: float | None = None,
    dtype: bool = True,
    may_change: bool = False,
) -> Item:
    """Whether ``got`` is ``expected``: a tensor, a number, a string, or lists and dicts of these.

    Args:
        got: a Call or a part of one, or a plain value.
        expected: the right value. A number may come as a tensor of no dimensions; a tensor may not
            come as a number.
        mistakes: pairs of a wrong value, or a function of no arguments that makes it, and the hint
            for whoever gets that value: ``(lambda: q @ k.T, "1/sqrt(d) is missing")``. The first
            that fits is shown.
        rtol, atol: a difference up to ``atol + rtol * abs(expected)`` is none. By default they fit
            the coarser dtype of the two, and ``atol`` grows with the largest expected value.
        dtype: whether another dtype than expected's loses the item.
        may_change: whether the item is kept by a call that changed its arguments.
    """
    call = got if isinstance(got, Call) else Call(value=got)
    if not call.ok:
        return _without_value(name, points, call)
    tolerance = (rtol, atol)
    problem = difference(call.value, expected, tolerance, dtype, call.device)
    if problem:
        for wrong, hint in mistakes:
            value = _value(wrong)
            if value is None or not difference(value, expected, tolerance, False, "cpu"):
                continue
            if not difference(call.value, value, tolerance, False, call.device):
                return Item(name, points, 0.0, problem[0], hint)
        if call.gave_back:
            return Item(name, points, 0.0, problem[0], f"it returns its argument {call.gave_back}")
        return Item(name, points, 0.0, *problem)
    if call.changed and not may_change:
        return unchanged(name, points, call)
    return Item(name, points, points, RIGHT)


def where(item: Item, names: Sequence[str]) -> Item:
    """An item about values of several calls, with the name of one for "value 1" in its message."""
    found = re.search(r"\bvalue (\d+): ", item.message)
    if not item.lost or not found or int(found[1]) >= len(names):
        return item
    before, after = item.message[: found.start()], item.message[found.end() :]
    return replace(item, message=f"{before}{names[int(found[1])]}: {after}")


def at_most(
    name: str,
    points: float,
    got: Any,
    most: float,
    unit: str = "",
    count: str = "",
    mistakes: Mistakes = (),
) -> Item:
    """Whether a cost is no more than ``most``.

    ``got`` is a number, or a Call whose value is one, or with ``count`` (such as "flops") a Call
    made with ``count=True``. ``mistakes`` are as in :func:`compare`.
    """
    call = got if isinstance(got, Call) else Call(value=got)
    if not call.ok:
        return _without_value(name, points, call)
    value = call.counts.get(count) if count else as_number(call.value)
    if value is None:
        return Item(name, points, 0.0, f"it returned {describe(call.value)}, expected a number")
    if value <= most:
        return Item(name, points, points, f"{shown_number(value)} {unit}".strip())
    message = f"{shown_number(value)} {unit}, at most {shown_number(most)} asked".replace(" ,", ",")
    for wrong, hint in mistakes:
        if _value(wrong) == value:
            return Item(name, points, 0.0, message, hint)
    return Item(name, points, 0.0, message)


def raises(
    name: str, points: float, call: Call, error: type[BaseException], hint: str = ""
) -> Item:
    """Whether the call raised an ``error`` (by the name of its type)."""
    if call.fault.split(":")[0] == f"raised {error.__name__}":
        return Item(name, points, points, RIGHT)
    if call.status == BLANK:
        return _without_value(name, points, call)
    came = call.fault or f"returned {describe(call.value)}"
    return Item(name, points, 0.0, f"it {came}, expected {error.__name__}", hint)


def unchanged(name: str, points: float, *calls: Call) -> Item:
    """Whether no argument was changed in place. Use ``may_change=True`` in the other items then."""
    for call in calls:
        if call.status == BLANK:
            return _without_value(name, points, call)
        if call.changed:
            which = ", ".join(call.changed)
            hint = "work on a copy, or use operations that make a new tensor"
            return Item(name, points, 0.0, f"it changed its argument {which} in place", hint)
    return Item(name, points, points, RIGHT)


def quiet(name: str, points: float, *calls: Call) -> Item:
    """Whether nothing was printed and no warning raised, for an exercise that cares."""
    for call in calls:
        if call.status == BLANK:
            return _without_value(name, points, call)
        if call.printed or call.warned:
            what = f"printed {call.printed[:80]!r}" if call.printed else call.warned[0]
            return Item(name, points, 0.0, f"it was not quiet: {what}")
    return Item(name, points, points, RIGHT)


def _without_value(name: str, points: float, call: Call) -> Item:
    if call.status == BLANK:
        where = f": {call.line}" if call.line else ""
        return Item(name, points, 0.0, f"not attempted yet{where}")
    at = f" (your {call.line})" if call.line else ""
    return Item(name, points, 0.0, f"it {call.fault}{at}")


def _value(wrong: Any) -> Any:
    """The value of a known mistake, or None where the cases don't allow it."""
    try:
        return wrong() if callable(wrong) else wrong
    except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError):
        return None
