"""Minutes and tries, where a student handed them in: ``progress.jsonl`` beside the notebook.

That file is the learner's own record (:mod:`roofline.grading.records`), on their machine and in
their hands: it says how an exercise went, and no grade ever depends on it.
"""

from __future__ import annotations

import json
import os
import stat
import statistics
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from roofline.course.folder import Course
from roofline.grading.records import FILE

MAX_BYTES = 4 * 2**20
PAUSE = 15 * 60  # seconds; who does nothing for longer is away


@dataclass(frozen=True)
class Learning:
    """Medians over the students who handed in a record, by exercise; and how many those are."""

    students: int = 0
    minutes: dict[str, float] = field(default_factory=dict)
    tries: dict[str, float] = field(default_factory=dict)


def learning(course: Course, assignment: str, students: list[str]) -> Learning:
    """What the records beside the submissions say. A record that is no record is left out."""
    minutes: dict[str, list[float]] = {}
    tries: dict[str, list[float]] = {}
    found = 0
    for student in students:
        entries = _entries(course.submitted / student / assignment / FILE)
        if not entries:
            continue
        found += 1
        for exercise, (spent, count) in _spent(entries).items():
            tries.setdefault(exercise, []).append(count)
            if spent:
                minutes.setdefault(exercise, []).append(spent / 60)
    return Learning(
        found,
        {name: round(statistics.median(values), 1) for name, values in minutes.items()},
        {name: float(statistics.median(values)) for name, values in tries.items()},
    )


def _spent(entries: list[tuple[datetime, str]]) -> dict[str, tuple[float, int]]:
    """Seconds and tries by exercise. The time from one entry to the next goes to the next one's
    exercise, unless it was a pause."""
    spent: dict[str, tuple[float, int]] = {}
    before: datetime | None = None
    for time, exercise in sorted(entries):
        passed = (time - before).total_seconds() if before else 0.0
        seconds, count = spent.get(exercise, (0.0, 0))
        spent[exercise] = (seconds + (passed if passed <= PAUSE else 0.0), count + 1)
        before = time
    return spent


def _entries(path: Path) -> list[tuple[datetime, str]]:
    """Time and exercise of each check in a record; the student may have written anything there."""
    try:
        # Neither a link to elsewhere nor a pipe that nobody writes to.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with open(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return []
            lines = file.read(MAX_BYTES).splitlines()
    except OSError:
        return []
    entries = []
    for line in lines:
        try:
            entry: Any = json.loads(line)
            exercise, kind = entry["exercise"], entry["kind"]
            time = datetime.fromisoformat(entry["time"])
        except (ValueError, TypeError, LookupError, RecursionError):
            continue
        if isinstance(exercise, str) and len(exercise) < 200 and kind == "check":
            aware = time if time.tzinfo else time.astimezone()
            entries.append((aware, exercise))
    return entries
