"""Making rubric items: what a judge uses.

:func:`compare` is for values; :func:`at_most` for counted cost; :func:`raises`, :func:`unchanged`
and :func:`quiet` for behaviour; :func:`require` for anything else. Each gives one
:class:`~roofline.grading.registry.Item` whose message says what came out, and whose hint says which
mistake it looks like. An item about a :class:`~roofline.grading.calling.Call` that has no value is
lost, and says why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from roofline.grading.calling import BLANK, Call, Strange, describe
from roofline.grading.registry import Item

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
    value = call.counts.get(count) if count else _number(call.value)
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
    if call.fault.startswith(f"raised {error.__name__}"):
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
        return Item(name, points, 0.0, "not attempted yet")
    at = f" (your {call.line})" if call.line else ""
    return Item(name, points, 0.0, f"it {call.fault}{at}")


def _value(wrong: Any) -> Any:
    """The value of a known mistake, or None where the cases don't allow it."""
    try:
        return wrong() if callable(wrong) else wrong
    except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError):
        return None


Tolerance = tuple[float | None, float | None]


def difference(
    got: Any, expected: Any, tolerance: Tolerance, dtype: bool, device: str
) -> tuple[str, str] | None:
    """None if the two are the same; else what came out, and what it looks like or ""."""
    if isinstance(expected, (tuple, list)):
        if not isinstance(got, (tuple, list)):
            return f"it returned {describe(got)}, expected {describe(expected)}", _missing(got)
        if len(got) != len(expected):
            return f"it returned {len(got)} values, expected {len(expected)}", ""
        pairs = [(f"value {i}", g, e) for i, (g, e) in enumerate(zip(got, expected, strict=True))]
        return _first_difference(pairs, tolerance, dtype, device)
    if isinstance(expected, dict):
        if not isinstance(got, dict):
            return f"it returned {describe(got)}, expected {describe(expected)}", _missing(got)
        if set(got) != set(expected):
            absent, extra = set(expected) - set(got), set(got) - set(expected)
            odd = [f"{k!r} is missing" for k in sorted(absent, key=str)]
            odd += [f"{k!r} is too much" for k in sorted(extra, key=str)]
            return f"its keys differ: {', '.join(odd)[:200]}", ""
        pairs = [(f"value {k!r}", got[k], e) for k, e in expected.items()]
        return _first_difference(pairs, tolerance, dtype, device)
    if isinstance(expected, torch.Tensor):
        return _tensor_difference(got, expected, tolerance, dtype, device)
    if isinstance(expected, (int, float)) and not isinstance(expected, bool):
        return _number_difference(got, expected, tolerance)
    if type(got) is type(expected) and got == expected:
        return None
    return f"it returned {_shown(got)}, expected {_shown(expected)}", _missing(got)


def _first_difference(
    pairs: list[tuple[str, Any, Any]], tolerance: Tolerance, dtype: bool, device: str
) -> tuple[str, str] | None:
    for where, got, expected in pairs:
        problem = difference(got, expected, tolerance, dtype, device)
        if problem:
            return f"{where}: {problem[0]}", problem[1]
    return None


def _missing(got: Any) -> str:
    return "a return is missing at the end of the function" if got is None else ""


def _tensor_difference(
    got: Any, expected: torch.Tensor, tolerance: Tolerance, dtype: bool, device: str
) -> tuple[str, str] | None:
    if not isinstance(got, torch.Tensor):
        shape = tuple(expected.shape)
        return f"it returned {describe(got)}, expected a tensor of shape {shape}", _missing(got)
    home = got.device if got.device.type == "meta" else getattr(got, "came_from", "cpu")
    if str(home) != device:
        hint = "make new tensors with device=x.device, or from the arguments themselves"
        return f"its tensor is on device {home}, the arguments are on {device}", hint
    if got.shape != expected.shape:
        message = f"shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
        return message, _shape_hint(got, expected, tolerance)
    if dtype and got.dtype != expected.dtype:
        return f"dtype {_name(got.dtype)}, expected {_name(expected.dtype)}", ""
    close = _close(got, expected, tolerance)
    if bool(close.all()):
        return None
    return _value_difference(got, expected, close, tolerance)


def _close(got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance) -> torch.Tensor:
    """Where the two are the same within the tolerance of the coarser dtype."""
    if not (_inexact(got) or _inexact(expected)):
        return got == expected
    eps = max(torch.finfo(t.dtype).eps for t in (got, expected) if _inexact(t))
    wide = torch.complex128 if got.is_complex() or expected.is_complex() else torch.float64
    got, expected = got.to(wide), expected.to(wide)
    # About 1,000 units in the last place: 1e-4 for float32, 1e-2 for bfloat16 and float16.
    rtol, atol = tolerance
    rtol = min(1000 * eps, 1e-2) if rtol is None else rtol
    if atol is None:
        finite = expected[torch.isfinite(expected)].abs()
        atol = min(100 * eps, 1e-2) * (float(finite.max()) if finite.numel() else 0.0)
        atol = max(atol, eps * eps)
    return torch.isclose(got, expected, rtol=rtol, atol=atol, equal_nan=True)


def _inexact(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _shape_hint(got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance) -> str:
    if got.numel() == expected.numel() and got.dim() == expected.dim() == 2:
        if bool(_close(got.T, expected, tolerance).all()):
            return "the values are right but transposed"
    if got.numel() == expected.numel():
        if bool(_close(got.reshape(expected.shape), expected, tolerance).all()):
            return "the values are right: only the shape is not"
    if got.dim() == expected.dim() + 1 and expected.dim():
        return "one dimension too many: was a sum or mean over it left out?"
    if got.dim() == 0 and expected.dim():
        return "it was added up to a single number"
    return ""


def _value_difference(
    got: torch.Tensor, expected: torch.Tensor, close: torch.Tensor, tolerance: Tolerance
) -> tuple[str, str]:
    """Right shape, wrong values: how many, how far, and whether one number explains it."""
    wrong = int((~close).sum())
    if _inexact(got):
        for word, bad in (("NaN", torch.isnan(got)), ("infinite", torch.isinf(got))):
            bad = bad & ~close
            if bool(bad.any()):
                message = f"{int(bad.sum())} of {got.numel()} values are {word}"
                return message, "look for 0/0, log(0), or exp of a large number"
    wide = torch.complex128 if got.is_complex() or expected.is_complex() else torch.float64
    a, b = got.to(wide), expected.to(wide)
    apart = torch.where(close, 0.0, (a - b).abs()).flatten()
    flat = int(apart.argmax())
    index = [int(i) for i in torch.unravel_index(torch.tensor(flat), got.shape)]
    at = f" at {index}" if index else ""
    values = f"{shown_number(a.flatten()[flat].item())}, expected {shown_number(b.flatten()[flat].item())}"
    message = f"{wrong} of {got.numel()} values differ, most{at}: {values}"
    if got.numel() == 1:
        message = values
    return message, _pattern(a, b, tolerance)


def _pattern(got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance) -> str:
    """One number that explains all the difference: a factor, a sign, an offset."""
    if bool((got == 0).all()):
        return "it is zero everywhere"
    if got.is_complex() or not bool(torch.isfinite(expected).all()):
        return ""
    largest = int(expected.abs().argmax())
    factor = float(got.flatten()[largest] / expected.flatten()[largest])
    loose = (1e-3, None) if tolerance[0] is None else tolerance
    if math.isfinite(factor) and factor and bool(_close(got, factor * expected, loose).all()):
        if abs(factor + 1) < 1e-3:
            return "the sign is wrong" + (" everywhere" if got.numel() > 1 else "")
        each = "every value" if got.numel() > 1 else "it"
        return f"{each} is {shown_number(factor)} times what it should be"
    offset = float((got - expected).flatten()[0])
    if got.numel() > 1 and bool(_close(got - expected, torch.full_like(got, offset), loose).all()):
        return (
            f"every value is {shown_number(abs(offset))} too {'large' if offset > 0 else 'small'}"
        )
    return ""


def _number(value: Any) -> float | int | None:
    if isinstance(value, torch.Tensor) and value.numel() == 1 and value.device.type != "meta":
        value = value.item()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return None


def _number_difference(got: Any, expected: float, tolerance: Tolerance) -> tuple[str, str] | None:
    value = _number(got)
    if value is None:
        return f"it returned {describe(got)}, expected a number", _missing(got)
    exact = isinstance(expected, int) and tolerance == (None, None)
    if exact:
        same = value == expected
    else:
        single = isinstance(got, torch.Tensor) and got.dtype != torch.float64
        kind = torch.float32 if single else torch.float64
        loose = (tolerance[0] if tolerance[0] is not None else 1e-5, tolerance[1])
        pair = torch.tensor(value, dtype=kind), torch.tensor(expected, dtype=torch.float64)
        same = bool(_close(*pair, loose))
    if same:
        return None
    message = f"{shown_number(value)}, expected {shown_number(expected)}"
    if math.isnan(value) or math.isinf(value):
        return message, "look for 0/0, log(0), or exp of a large number"
    if value == 0:
        return message, ""
    both = (torch.tensor(float(v), dtype=torch.float64) for v in (value, expected))
    return message, _pattern(*both, (1e-6, None)) if expected else ""


def shown_number(value: float | complex) -> str:
    """A number for a sentence: integers with thousands, others with four digits."""
    if isinstance(value, complex) or not math.isfinite(value):
        return f"{value:.4g}"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.4g}"


def _shown(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, (str, bool, int, float)) else describe(value)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


__all__ = ["Strange", "at_most", "compare", "difference", "quiet", "raises", "require", "unchanged"]
