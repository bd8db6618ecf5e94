"""What a description or a formula refuses, in one line that says what to give instead."""

from __future__ import annotations

import math
from collections.abc import Collection

# No machine or model of this century comes near; a slip of the keyboard does.
LARGEST_WHOLE = 10**16
LARGEST = 1e40


def whole(name: str, value: int, least: int = 1, most: int = LARGEST_WHOLE) -> int:
    """``value``, if it is a whole number from ``least`` to ``most``; else a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is {_short(value)}; give a whole number of at least {least:,}")
    if not least <= value <= most:
        shown = f"{value:,}" if abs(value) < 10**24 else "a number of over 24 digits"
        raise ValueError(f"{name} is {shown}; give a whole number from {least:,} to {most:,}")
    return value


def wholes(most: int, /, **values: int) -> None:
    """A ValueError if one of ``values`` is no whole number from 1 to ``most``."""
    for name, value in values.items():
        whole(name, value, most=most)


def positive(name: str, value: float, most: float = LARGEST) -> float:
    """``value``, if it is a finite number above 0 and at most ``most``; else a ValueError."""
    return _number(name, value, most, zero=False)


def not_negative(name: str, value: float, most: float = LARGEST) -> float:
    """``value``, if it is a finite number from 0 to ``most``; else a ValueError."""
    return _number(name, value, most, zero=True)


def one_of(name: str, value: str, choices: Collection[str]) -> str:
    """``value``, if it is one of ``choices``; else a ValueError that lists them."""
    if not isinstance(value, str) or value not in choices:
        shown = repr(value) if isinstance(value, str) else f"of type {type(value).__name__}"
        raise ValueError(f"{name} is {shown[:40]}; give one of {', '.join(choices)}")
    return value


def flag(name: str, value: bool) -> bool:
    """``value``, if it is True or False and nothing that only looks like it; else a ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {_short(value)}; give True or False")
    return value


def of_kind(name: str, value: object, *kinds: type, how: str = "") -> None:
    """A ValueError if ``value`` is none of ``kinds``; ``how`` says where one comes from."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{name} is {_short(value)}; give a {wanted}{how}")


def _short(value: object) -> str:
    """In one line of at most 40 characters, whatever its repr is."""
    if isinstance(value, int) and abs(value) >= 10**24:
        return "a number of over 24 digits"
    return " ".join(repr(value).split())[:40]


def _number(name: str, value: float, most: float, zero: bool) -> float:
    wanted = f"a number {'of at least' if zero else 'above'} 0 and at most {most:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {_short(value)}; give {wanted}")
    # Compared before it becomes a float: a whole number can be too large to become one.
    if value > most or value < 0 or (value == 0 and not zero):
        shown = f"{value:g}" if abs(value) < 1e300 else "beyond all measure"
        raise ValueError(f"{name} is {shown}; give {wanted}")
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}; give {wanted}")
    return value
