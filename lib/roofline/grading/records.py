"""What a learner has done, kept in a plain file.

``progress.jsonl`` has one line of JSON for each check and each prediction. It is in the folder that
the environment variable ``ROOFLINE_HOME`` names; by default in ``~/.local/share/roofline`` (Linux,
or under ``XDG_DATA_HOME``), ``~/Library/Application Support/roofline`` (macOS) or
``%LOCALAPPDATA%\\roofline`` (Windows). A line is appended in one write, so kernels may share the
file. Nothing is ever sent anywhere. A file that can't be read or written never breaks a check.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from roofline.grading.learner import message_of
from roofline.grading.registry import Exercise, chapters, exercises
from roofline.grading.result import Result

FILE = "progress.jsonl"

_session: list[dict[str, Any]] = []  # what could not be kept in the file, for as long as this runs


@dataclass(frozen=True)
class Done:
    """What was done about one exercise. ``best`` is in points; ``last`` is the time, or empty."""

    exercise: Exercise
    best: float = 0.0
    attempts: int = 0
    last: str = ""


def home() -> Path:
    """The folder of this user's records."""
    if os.environ.get("ROOFLINE_HOME"):
        return Path(os.environ["ROOFLINE_HOME"]).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "roofline"


def keep(entry: dict[str, Any]) -> str:
    """Append one entry with the time. Returns why that failed, or an empty string.

    Under nbgrader nothing is written: the home that is there is the grader's, not the learner's.
    """
    entry = {"time": datetime.now().astimezone().isoformat(timespec="seconds"), **entry}
    if os.environ.get("NBGRADER_EXECUTION"):
        _session.append(entry)
        return ""
    try:
        file = home() / FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(entry, ensure_ascii=True) + "\n"
        if _cut_short(file):
            line = "\n" + line
        number = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(number, line.encode())
        finally:
            os.close(number)
    except (OSError, RuntimeError) as error:
        _session.append(entry)
        return f"progress was not kept: {type(error).__name__} in {FILE}"
    return ""


def _cut_short(file: Path) -> bool:
    """Whether the last line was not finished, as after a full disk."""
    with suppress(OSError), open(file, "rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
    return False


def entries() -> tuple[list[dict[str, Any]], int]:
    """Every entry, oldest first, and the number of damaged lines that were passed over."""
    found, damaged = [], 0
    try:
        text = (home() / FILE).read_bytes().decode("utf-8", "replace")
    except (OSError, RuntimeError):
        text = ""
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError("not an entry")
            found.append(entry)
        except (ValueError, RecursionError):
            damaged += 1
    return found + _session, damaged


def record(result: Result) -> None:
    """Keep the outcome of a check. The untouched stub is no attempt and leaves no entry."""
    if not result.attempted or result.broken or not result.points:
        return
    problem = keep(
        {
            "kind": "check",
            "exercise": result.exercise,
            "earned": result.earned,
            "points": result.points,
        }
    )
    if problem:
        result.notes.append(problem)


def done(chapter: str | None = None) -> tuple[dict[str, list[Done]], list[str]]:
    """For each chapter, or one, what was done about its exercises; and what is to be said of it."""
    found, damaged = entries()
    kept: dict[str, list[tuple[float, str]]] = {}
    for entry in found:
        if entry.get("kind") != "check":
            continue
        try:
            kept.setdefault(str(entry["exercise"]), []).append(
                (float(entry["earned"]), str(entry["time"]))
            )
        except (KeyError, TypeError, ValueError):
            damaged += 1

    def one(exercise: Exercise) -> Done:
        tries = kept.get(exercise.id, [])
        if not tries:
            return Done(exercise)
        best = min(max(earned for earned, _ in tries), exercise.points)
        return Done(exercise, best, len(tries), tries[-1][1])

    rows: dict[str, list[Done]] = {}
    notes = [f"{damaged} damaged lines of your progress file were passed over"] if damaged else []
    for name in chapters() if chapter is None else [chapter]:
        try:
            rows[name] = [one(e) for e in exercises(name)]
        except Exception as error:  # whatever importing a chapter's exercises may raise
            rows[name] = []
            notes.append(f"the exercises of {name} can't be loaded: {message_of(error)}")
    return rows, notes
