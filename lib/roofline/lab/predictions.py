"""A learner's predictions, kept with their other results where those are kept."""

from __future__ import annotations

_kept: dict[str, float] = {}


def recall(name: str) -> float | None:
    return _kept.get(name)


def keep(name: str, value: float, unit: str) -> None:
    _kept[name] = value
