"""What ``course.toml`` says."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from roofline.course.work import Limits


class CourseError(Exception):
    """What an instructor can put right. The message is one line."""


@dataclass(frozen=True)
class Late:
    """What a late submission loses, in percent of what it earned.

    ``grace_minutes`` cost nothing. ``percent_per_day`` is taken for each day that has begun, at
    most ``maximum_percent``. After ``zero_after_days``, if it is above 0, everything is lost. A
    submission that is only marked as late, without its time, counts as ``marked_days`` late.
    """

    grace_minutes: float = 0.0
    percent_per_day: float = 0.0
    maximum_percent: float = 100.0
    zero_after_days: float = 0.0
    marked_days: float = 1.0

    def fraction(self, seconds: float) -> float:
        """The fraction of the score, 0 to 1, that so many seconds cost."""
        days = seconds / 86_400
        if seconds <= 60 * self.grace_minutes or seconds <= 0:
            return 0.0
        if self.zero_after_days and days > self.zero_after_days:
            return 1.0
        begun = -(-seconds // 86_400)
        return max(0.0, min(begun * self.percent_per_day, self.maximum_percent, 100.0)) / 100


@dataclass(frozen=True)
class Settings:
    """What ``course.toml`` says.

    ``database`` is an SQLAlchemy URL; empty means ``gradebook.db`` in the folder. With
    ``unknown_students = "add"`` a submission by somebody who isn't in the gradebook is graded and
    its student added; with ``"report"`` it is named and left alone. ``workers`` is how many
    submissions run at once; 0 means as many as the machine has cores. ``sandbox_user`` is who a
    sandbox runs as if the grader is started by root; empty means nobody.
    """

    name: str = "course"
    database: str = ""
    unknown_students: str = "report"
    workers: int = 0
    sandbox_user: str = ""
    late: Late = field(default_factory=Late)
    limits: Limits = field(default_factory=Limits)


def read_settings(path: Path) -> Settings:
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CourseError(f"{path}: {' '.join(str(error).split())}") from None
    parts: dict[str, Any] = {}
    for table, kind in (("late", Late), ("limits", Limits)):
        parts[table] = _fill(kind, read.pop(table, {}), f"{path}: [{table}]")
    settings = _fill(Settings, read | parts, str(path))
    if settings.unknown_students not in ("add", "report"):
        given = settings.unknown_students
        raise CourseError(f"{path}: unknown_students = {given!r}, expected 'add' or 'report'")
    return settings


def _fill(kind: type[Any], given: Any, where: str) -> Any:
    """A dataclass from a table; every mistake is named."""
    known = {f.name: f for f in fields(kind)}
    if not isinstance(given, dict):
        raise CourseError(f"{where}: expected a table")
    for name, value in given.items():
        if name not in known:
            raise CourseError(
                f"{where}: unknown setting {name!r}, expected one of {', '.join(known)}"
            )
        wanted = type(getattr(kind(), name))
        number = wanted in (int, float) and isinstance(value, (int, float))
        if isinstance(value, bool) or not (isinstance(value, wanted) or number):
            raise CourseError(f"{where}: {name} = {value!r}, expected {wanted.__name__}")
        if number and value < 0:
            raise CourseError(f"{where}: {name} = {value!r}, expected 0 or more")
    return kind(**given)


def template(name: str, database: str) -> str:
    late, limits = Late(), Limits()
    return f'''\
# A course of "Under the Roofline". What is commented out stands at its default.
name = "{name}"

# Where grades are kept: an SQLAlchemy URL, such as "postgresql+psycopg://user@host/database".
# Empty: gradebook.db in this folder.
database = "{database}"

# A submission by somebody who isn't in the gradebook: "report" it, or "add" the student.
unknown_students = "report"

# workers = 0          # submissions that run at once; 0: one for each core
# sandbox_user = ""    # who sandboxes run as if root grades; empty: nobody

[late]
# In percent of what was earned; a submission that is only marked late counts as marked_days late.
grace_minutes = {late.grace_minutes:g}
percent_per_day = {late.percent_per_day:g}
maximum_percent = {late.maximum_percent:g}
zero_after_days = {late.zero_after_days:g}   # 0: never
marked_days = {late.marked_days:g}

[limits]
# Of one submission. cell_seconds is not for checks: each has its exercise's own limit.
# cell_seconds = {limits.cell_seconds}
# wall_seconds = {limits.wall_seconds}
# memory_bytes = {limits.memory_bytes}
'''
