"""What a graded class tells about an assignment: its scores, its exercises, and their items.

Discrimination says whether those who did well elsewhere did well here. Two numbers: the correlation
of an exercise's score with the score of all others (the corrected item-total correlation, which for
a score of 0 or 1 is the point-biserial one), and the mean fraction earned by the upper 27 percent
less that of the lower 27 percent, ranked by the total. Source: T. L. Kelley, The selection of upper
and lower groups for the validation of test items, Journal of Educational Psychology 30 (1939).
Neither is worked out for fewer than :data:`FEW` submissions, nor where all have the same score.
"""

from __future__ import annotations

import json
import math
import statistics
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from roofline.course.folder import Course, CourseError
from roofline.course.gradebook import Book
from roofline.course.gradebook import Graded as Known
from roofline.course.learning import Learning, learning
from roofline.course.rows import UNSANDBOXED
from roofline.course.scores import Graded, Score, all_scores, graded_cells
from roofline.grading import UnknownExercise, find

FEW = 5
GROUP = 0.27


@dataclass(frozen=True)
class ItemLine:
    """One line of a rubric: in how many submissions that came so far it lost points, and the hint
    that was given most."""

    name: str
    points: float
    seen: int
    lost: int
    hint: str = ""

    @property
    def rate(self) -> float:
        return self.lost / self.seen if self.seen else 0.0


@dataclass(frozen=True)
class ExerciseLine:
    """One exercise, or one graded cell of an ordinary assignment. Fractions are of its points."""

    name: str
    points: float
    submissions: int
    mean: float
    full: float
    nothing: float
    not_attempted: int
    correlation: float | None
    upper_lower: float | None
    expected_minutes: int | None
    minutes: float | None
    tries: float | None
    items: list[ItemLine] = field(default_factory=list)


@dataclass(frozen=True)
class Analysis:
    """An assignment of a class. Scores are points after late penalties."""

    course: str
    assignment: str
    students: int
    submitted: int
    max_score: float
    scores: list[float]
    late: int
    waiting: int
    without_score: dict[str, str]
    handed_in_again: int
    mean: float | None
    median: float | None
    deviation: float | None
    exercises: list[ExerciseLine]
    fails_most: str
    discriminates_least: str
    unsandboxed: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def analyse(course: Course, assignment: str) -> Analysis:
    """Read everything about an assignment that was graded. Raises :class:`CourseError`."""
    with Book(course) as book:
        if assignment not in book.assignments():
            there = ", ".join(book.assignments()) or "none yet"
            raise CourseError(f"no assignment {assignment!r} in the gradebook; there are: {there}")
        scores = all_scores(book, [assignment])
        cells = graded_cells(book, assignment)
        known = book.graded(assignment)
    handed_in = [score for score in scores if score.submitted]
    results = {student: _results(one) for student, one in known.items()}
    learned = learning(course, assignment, [score.student for score in handed_in])
    lines = [_line(cell, handed_in, results, learned) for cell in cells]
    points = [score.score for score in handed_in]
    return Analysis(
        course=course.settings.name,
        assignment=assignment,
        students=len(scores),
        submitted=len(handed_in),
        max_score=scores[0].max_score if scores else 0.0,
        scores=sorted(points),
        late=sum(score.late_penalty > 0 for score in handed_in),
        waiting=sum(score.waiting for score in handed_in),
        without_score={s: one.reason for s, one in sorted(known.items()) if one.reason},
        handed_in_again=sum(one.attempts > 1 for one in known.values()),
        mean=_rounded(statistics.fmean(points)) if points else None,
        median=_rounded(statistics.median(points)) if points else None,
        deviation=_rounded(statistics.stdev(points)) if len(points) > 1 else None,
        exercises=lines,
        fails_most=_fails_most(lines),
        discriminates_least=_discriminates_least(lines),
        unsandboxed=any(UNSANDBOXED in one.reason for one in known.values())
        or _unsandboxed(course, {one.run for one in known.values()}),
    )


def _unsandboxed(course: Course, runs: set[str]) -> bool:
    """Whether one of these runs was told to trust the submissions."""
    for run in runs:
        with suppress(OSError, ValueError):
            note = json.loads((course.runs / f"{run}.json").read_text(encoding="utf-8"))
            if note.get("sandbox") == "none":
                return True
    return False


def _results(graded: Known) -> dict[str, dict[str, Any]]:
    """The judge's results of a submission, by exercise."""
    return {name: one for name, one in graded.results.items() if isinstance(one, dict)}


def _line(
    cell: Graded,
    handed_in: list[Score],
    results: dict[str, dict[str, dict[str, Any]]],
    learned: Learning,
) -> ExerciseLine:
    students = [score.student for score in handed_in if score.student in cell.scores]
    earned = [cell.scores[student] for student in students]
    totals = {score.student: score.earned for score in handed_in}
    rest = [totals[student] - cell.scores[student] for student in students]
    exercise = _exercise(cell.name, results)
    of = max(cell.points, 1e-12)
    own = [found[exercise] for found in results.values() if exercise in found]
    return ExerciseLine(
        name=exercise or cell.name,
        points=cell.points,
        submissions=len(students),
        mean=_rounded(statistics.fmean(earned) / of) if earned else 0.0,
        full=_fraction(score >= cell.points - 1e-9 for score in earned),
        nothing=_fraction(score <= 1e-9 for score in earned),
        not_attempted=sum(not result.get("attempted", True) for result in own),
        correlation=correlation(earned, rest),
        upper_lower=upper_lower([score / of for score in earned], [totals[s] for s in students]),
        expected_minutes=_expected_minutes(exercise),
        minutes=learned.minutes.get(exercise),
        tries=learned.tries.get(exercise),
        items=_items(own),
    )


def _exercise(cell: str, results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The exercise that a graded cell of a chapter checks: its id ends in the exercise's name."""
    for found in results.values():
        for name in found:
            if cell.endswith(f"-{name.split('.')[-1].replace('_', '-')}-check"):
                return name
    return ""


def _items(own: list[dict[str, Any]]) -> list[ItemLine]:
    """The items of an exercise over all results that have some, in the rubric's order."""
    lines: dict[str, dict[str, Any]] = {}
    for result in own:
        for item in result.get("items", []) if result.get("attempted", True) else []:
            line = lines.setdefault(
                str(item["name"]), {"points": item["points"], "seen": 0, "lost": 0, "hints": {}}
            )
            line["seen"] += 1
            if item["earned"] < item["points"] - 1e-9:
                line["lost"] += 1
                hint = str(item.get("hint", ""))
                if hint:
                    line["hints"][hint] = line["hints"].get(hint, 0) + 1
    return [
        ItemLine(
            name,
            float(line["points"]),
            line["seen"],
            line["lost"],
            max(line["hints"], key=lambda h: line["hints"][h]) if line["hints"] else "",
        )
        for name, line in lines.items()
    ]


def correlation(one: list[float], other: list[float]) -> float | None:
    """Pearson's r, or None if there are few values or one side doesn't vary."""
    if len(one) < FEW or _constant(one) or _constant(other):
        return None
    return _rounded(statistics.correlation(one, other))


def upper_lower(fractions: list[float], totals: list[float]) -> float | None:
    """Mean fraction of the upper 27 percent by total, less that of the lower; None for few.

    Who ties at a group's edge is taken in part, so that the order of students doesn't matter.
    """
    if len(fractions) < FEW or _constant(totals):
        return None
    size = GROUP * len(fractions)
    pairs = list(zip(totals, fractions, strict=True))
    upper = _edge_mean(sorted(pairs, key=lambda p: -p[0]), size)
    lower = _edge_mean(sorted(pairs, key=lambda p: p[0]), size)
    return _rounded(upper - lower)


def _edge_mean(ranked: list[tuple[float, float]], size: float) -> float:
    """Mean of the first ``size`` fractions; those with the total at the edge share what is left."""
    total, left = 0.0, size
    groups: dict[float, list[float]] = {}
    for key, fraction in ranked:
        groups.setdefault(key, []).append(fraction)
    for fractions in groups.values():
        take = min(left, len(fractions))
        total += take * statistics.fmean(fractions)
        left -= take
        if left <= 0:
            break
    return total / size


def _fails_most(lines: list[ExerciseLine]) -> str:
    """The item that loses points in the largest part of the submissions that reached it."""
    items = [(line, item) for line in lines for item in line.items if item.lost]
    if not items:
        return ""
    line, item = max(items, key=lambda pair: (pair[1].rate, pair[1].lost))
    return f"{line.name}: {item.name}"


def _discriminates_least(lines: list[ExerciseLine]) -> str:
    known = [line for line in lines if line.correlation is not None]
    return min(known, key=lambda line: line.correlation or 0.0).name if known else ""


def _expected_minutes(exercise: str) -> int | None:
    try:
        return find(exercise).minutes if exercise else None
    except UnknownExercise:
        return None


def _constant(values: list[float]) -> bool:
    return max(values) - min(values) < 1e-9


def _fraction(which: Any) -> float:
    which = list(which)
    return _rounded(sum(which) / len(which)) if which else 0.0


def _rounded(value: float) -> float:
    return round(value, 6) if math.isfinite(value) else 0.0
