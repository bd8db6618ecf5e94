"""How what came out differs from what was expected, in words.

:func:`difference` goes from the outside in (kind of value, device, shape, dtype, NaN, values) and
stops at the first thing that is wrong. What one number explains (a factor, a sign, an offset) or
one operation (a transpose, a reshape) is said.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline.grading.values import describe

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
        message = f"dtype {_name(got.dtype)}, expected {_name(expected.dtype)}"
        if got.is_floating_point() and expected.is_floating_point():
            return (
                message,
                "the result has the arguments' dtype: make new tensors with dtype=x.dtype",
            )
        return message, ""
    if got.device.type == "meta":  # no values to compare
        return None
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
    values = _side_by_side(*(t.flatten()[flat].item() for t in (a, b)))
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
        if got.numel() > 1:
            return f"every value is {shown_number(factor)} times what it should be"
        whole = max(abs(factor), 1 / abs(factor))  # any number is some multiple of any other
        if round(whole) > 1 and abs(whole - round(whole)) < 1e-4 * whole:
            times = f"{round(whole)}" if abs(factor) > 1 else f"1/{round(whole)}"
            return f"it is {'minus ' if factor < 0 else ''}{times} times what it should be"
        return ""
    offset = float((got - expected).flatten()[0])
    if got.numel() > 1 and bool(_close(got - expected, torch.full_like(got, offset), loose).all()):
        return (
            f"every value is {shown_number(abs(offset))} too {'large' if offset > 0 else 'small'}"
        )
    return ""


def as_number(value: Any) -> float | int | None:
    """A Python number from a number or a tensor with one entry; None from anything else."""
    if isinstance(value, torch.Tensor) and value.numel() == 1 and value.device.type != "meta":
        value = value.item()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return None


def _number_difference(got: Any, expected: float, tolerance: Tolerance) -> tuple[str, str] | None:
    value = as_number(got)
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
    message = _side_by_side(value, expected)
    if math.isnan(value) or math.isinf(value):
        return message, "look for 0/0, log(0), or exp of a large number"
    if value == 0:
        return message, ""
    if not expected:
        return message, ""
    came, right = (torch.tensor(float(v), dtype=torch.float64) for v in (value, expected))
    return message, _pattern(came, right, (1e-6, None))


def shown_number(value: float | complex) -> str:
    """A number for a sentence: integers with thousands, others with four digits."""
    if isinstance(value, complex) or not math.isfinite(value):
        return f"{value:.4g}"
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.4g}"


def _side_by_side(got: float | complex, expected: float | complex) -> str:
    """Two numbers that differ, with as many digits as it takes to see it."""
    pair = shown_number(got), shown_number(expected)
    for digits in (6, 9, 12, 17):
        if pair[0] != pair[1]:
            break
        pair = f"{got:.{digits}g}", f"{expected:.{digits}g}"
    return f"{pair[0]}, expected {pair[1]}"


def _shown(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, (str, bool, int, float)) else describe(value)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
