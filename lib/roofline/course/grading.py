"""Grade the submissions of an assignment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from roofline.course.folder import Course


@dataclass(frozen=True)
class Row:
    """What came of one submission.

    ``status``: ``graded`` (now), ``unchanged`` (graded before, and nothing has changed since),
    ``refused`` (it can't be run: 0 points, and ``reason`` says why), ``unknown`` (no such student
    in the gradebook: not graded), ``failed`` (something on our side: the next run tries again), or
    ``would grade`` (a dry run). ``score`` and ``max_score`` are points, before a late penalty;
    ``score`` is None where nothing was graded. ``seconds`` is how long it ran. ``digest`` stands
    for everything that the score depends on.
    """

    student: str
    assignment: str
    score: float | None
    max_score: float
    status: str
    reason: str = ""
    seconds: float = 0.0
    digest: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def grade(
    course: Course,
    assignment: str,
    *,
    students: list[str] | None = None,
    exercise: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    trust: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    on_progress: Callable[[int, int, Row], None] = lambda done, of, row: None,
) -> list[Row]:
    """Grade the submissions of an assignment, in any order; only what changed since the last run.

    ``exercise`` regrades one exercise for all; ``force`` grades everything again. ``trust`` allows
    grading without a sandbox. ``scheduler`` is the address of a Dask cluster. Raises
    :class:`~roofline.course.folder.CourseError` and
    :class:`~roofline.course.sandbox.NoSandbox`.
    """
    raise NotImplementedError
