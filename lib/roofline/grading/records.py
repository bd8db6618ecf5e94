"""Placeholder."""

from __future__ import annotations

from typing import Any


def record(result: Any) -> None:
    """Nothing yet."""
