"""Who has handed in what: the folders under ``submitted/`` and ``unmatched/``."""

from __future__ import annotations

import json
import os
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roofline.course.files import plain
from roofline.course.folder import Course, CourseError, valid_id

TIMESTAMP, COLLECTED = "timestamp.txt", ".collected.json"


@dataclass(frozen=True)
class Submission:
    """One student's folder for one assignment.

    ``timestamp`` is when it was handed in, in UTC, if known. ``late``: whoever it came from marked
    it late. ``problem`` says why it belongs to nobody, else empty.
    """

    student: str
    folder: Path
    timestamp: datetime | None = None
    late: bool = False
    notes: list[str] = field(default_factory=list)
    problem: str = ""


def submissions(
    course: Course, assignment: str, students: list[str] | None = None
) -> list[Submission]:
    """Everything handed in for an assignment, by student. Raises :class:`CourseError` if one of
    ``students`` has handed in nothing."""
    found: list[Submission] = []
    seen: dict[str, str] = {}
    for name, folder in _folders(course.submitted):
        if (folder / assignment).is_symlink() or not (folder / assignment).is_dir():
            continue
        student = unicodedata.normalize("NFC", name)
        problem = ""
        if not valid_id(student):
            problem = "its folder's name can't be a student's id"
        elif student.casefold() in seen:
            other = seen[student.casefold()]
            problem = f"its name clashes with {other!r}: rename one of the two folders"
        else:
            seen[student.casefold()] = student
        found.append(_submission(plain(student), folder / assignment, problem))
    for name, folder in _folders(course.unmatched / assignment):
        why = "no student in the gradebook could be found for it"
        found.append(_submission(plain(name), folder, why))
    if students is not None:
        there = {one.student for one in found}
        if missing := sorted(set(students) - there):
            raise CourseError(f"nothing handed in for {assignment} by {', '.join(missing)}")
        found = [one for one in found if one.student in students]
    return found


def set_aside(target: Path) -> Path:
    """Where a submission lies while a newer one takes its place."""
    return target.with_name(f".{target.name}.old")


def recover(course: Course, assignment: str) -> None:
    """Put back what a collecting that was killed has taken away and not yet replaced."""
    for _, folder in _folders(course.submitted):
        target = folder / assignment
        if set_aside(target).is_dir() and not target.exists():
            os.rename(set_aside(target), target)


def _folders(root: Path) -> list[tuple[str, Path]]:
    if not root.is_dir():
        return []
    entries = [e for e in os.scandir(root) if e.is_dir(follow_symlinks=False)]
    return sorted((e.name, Path(e.path)) for e in entries if not e.name.startswith("."))


def _submission(student: str, folder: Path, problem: str) -> Submission:
    said = _collected(folder)
    notes = [str(note) for note in said.get("notes", [])]
    why = str(said.get("problem") or problem) if problem else ""
    try:
        timestamp = read_timestamp(folder)
    except ValueError as error:
        timestamp = None
        notes.append(str(error))
    return Submission(student, folder, timestamp, bool(said.get("late")), notes, why)


def _collected(folder: Path) -> dict[str, Any]:
    """What collecting noted."""
    try:
        read = json.loads((folder / COLLECTED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def read_timestamp(folder: Path) -> datetime | None:
    """The time in ``timestamp.txt``, which nbgrader's exchange writes as ``2026-11-21
    23:59:00.000000 UTC``. Raises ValueError if there is one that can't be read."""
    path = folder / TIMESTAMP
    if path.is_symlink() or not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    if not text:
        return None
    from nbgrader.utils import parse_utc

    try:
        parsed = parse_utc(text[:100])
    except (ValueError, OverflowError, TypeError):
        raise ValueError(f"{TIMESTAMP} can't be read: taken as handed in on time") from None
    return parsed.replace(tzinfo=UTC)
