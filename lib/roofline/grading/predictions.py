"""Predictions: the learner commits to a number before the machine gives its own.

``predict`` keeps it beside the results of the checks, ``reconcile`` lays the two side by side. The
first prediction is the one that counts; a later one is kept and shown as what it is.
"""

from __future__ import annotations

import html
import math
from typing import Any

from roofline.grading.display import show
from roofline.grading.records import entries, keep
from roofline.grading.verdict import shown_number

CLOSE = 0.10


def predict(name: str, value: Any, what: str = "") -> None:
    """Keep a prediction and show it.

    Args:
        name: ``"chapter.name"``, unique in the course.
        value: a number; None or ``...`` as long as the learner hasn't chosen one.
        what: what is predicted, with its unit: "backward FLOPs as a multiple of forward FLOPs".
    """
    about = f" for {what}" if what else ""
    if value is None or value is Ellipsis:
        _say(f"No prediction yet{about}. Put your number into the cell, then run it.")
        return
    try:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        _say(f"A prediction is one number, not {str(value)[:60]!r}. Nothing was kept.")
        return
    first = prediction(name)
    if first is None or first != number:
        problem = keep({"kind": "prediction", "name": name, "value": number})
    else:
        problem = ""
    text = f"You predict {shown_number(number)}{about}."
    if first is not None and first != number:
        text += f" Your first prediction was {shown_number(first)}; that one counts."
    _say(f"{text} Kept." if not problem else f"{text} ({problem})")


def prediction(name: str) -> float | None:
    """The first prediction kept under ``name``, or None."""
    for entry in entries()[0]:
        value = entry.get("value")
        if entry.get("kind") == "prediction" and entry.get("name") == name:
            if isinstance(value, (int, float)):
                return float(value)
    return None


def reconcile(name: str, found: float, what: str = "", how: str = "measured") -> None:
    """Show what was predicted beside what was found.

    Args:
        name: as in :func:`predict`.
        found: the number that the machine gave.
        what: its unit, or a few words that follow the number.
        how: "measured", "counted", "modelled" or "replayed".
    """
    found = float(found)
    after = f" {what}" if what else ""
    came = f"{how} {shown_number(found)}{after}"
    first = prediction(name)
    if first is None:
        _say(f"{came[0].upper()}{came[1:]}. You made no prediction.")
        return
    text = f"You predicted {shown_number(first)}{after}; {came}."
    if first == found:
        text += " The same."
    elif first and found and (first > 0) == (found > 0):
        ratio = found / first
        if abs(ratio - 1) <= CLOSE:
            text += f" Within {math.ceil(abs(ratio - 1) * 100)} percent."
        elif ratio > 1:
            text += f" That is {shown_number(ratio)} times what you predicted."
        else:
            text += f" You predicted {shown_number(1 / ratio)} times as much."
    _say(text)


def _say(text: str) -> None:
    show(text, f'<div class="roofline-prediction">{html.escape(text)}</div>')
