"""Short ways to say what a submission does, and to read what came of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from roofline.course.sandbox import Workers
from roofline.course.work import Cell, Limits, Ran, Work
from roofline.grading.judge import judge_message
from roofline.grading.registry import case_seed

WORD = "a word for the tests"
LIMITS = Limits(cell_seconds=60, wall_seconds=180)  # for machines with much else to do

# A right answer to drill.linear, and one that earns 3 of its 4 points.
LINEAR = "def linear(x, w, b):\n    return x @ w.T + b, lambda dy: (dy @ w, dy.T @ x, dy.{}(0))"
RIGHT, PARTLY = LINEAR.format("sum"), LINEAR.format("mean")
CHECK = ("drill.linear", "linear")


def work(
    *cells: str | tuple[str, str], files: Path | None = None, key: str = "one", **limits: Any
) -> Work:
    """Cells to run: source, or (exercise, answer) for a check."""
    made = tuple(
        Cell(i, c) if isinstance(c, str) else Cell(i, "", c[0], c[1]) for i, c in enumerate(cells)
    )
    return Work(key, made, files, dataclasses.replace(LIMITS, **limits), WORD)


def run(workers: Workers, *cells: str | tuple[str, str], **options: Any) -> Ran:
    return workers.run(work(*cells, **options))


def said(ran: Ran, index: int = 0) -> str:
    """All that a cell showed, as text."""
    text = ""
    for output in ran.outputs.get(index, []):
        text += output.get("text", "") + output.get("evalue", "")
        text += str(output.get("data", {}).get("text/plain", ""))
    return text


def earned(ran: Ran, exercise: str = CHECK[0]) -> float:
    """What the judge gives for the message that came."""
    answer = judge_message(exercise, ran.messages[exercise], case_seed(WORD, exercise))
    return answer["result"]["earned"] if "result" in answer else 0.0
