"""A class whose gradebook is written by hand, so that every figure about it is known."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roofline.course.folder import Course, Late, create
from roofline.course.gradebook import Book, Graded, Grades
from roofline.course.recording import record

CELLS = {"01_toy-first-check": 3.0, "01_toy-second-part-check": 2.0, "01_toy-essay": 5.0}
DUE = datetime(2026, 1, 10, 12, tzinfo=UTC)


def result(exercise: str, points: float, earned: float, hint: str = "look again") -> dict[str, Any]:
    """What a judge says, with one item of a point and one of the rest."""
    first = min(1.0, earned)
    items = [
        {"name": "result", "points": 1.0, "earned": first, "message": "", "hint": ""},
        {"name": "gradient", "points": points - 1, "earned": earned - first, "message": ""},
    ]
    for item in items:
        item["hint"] = hint if item["earned"] < item["points"] else ""  # type: ignore[operator]
    return {"exercise": exercise, "points": points, "earned": earned, "items": items}


def course(folder: Path, database: str = "") -> Course:
    """An empty course with one assignment of two checks and an essay."""
    made = create(folder, name="toy class", database=database)
    with Book(made) as book:
        gradebook = book.gradebook
        gradebook.add_assignment("01_toy", duedate=DUE.replace(tzinfo=None))
        gradebook.add_notebook("toy", "01_toy")
        for name, points in CELLS.items():
            kind = "markdown" if name.endswith("essay") else "code"
            gradebook.add_source_cell(name, "toy", "01_toy", cell_type=kind, source="")
            gradebook.add_grade_cell(name, "toy", "01_toy", max_score=points, cell_type=kind)
    return made


def graded(
    course: Course,
    student: str,
    first: float,
    second: float,
    essay: float | None = 0.0,
    *,
    reason: str = "",
    days_late: float = 0.0,
    **about: str,
) -> None:
    """Put one student and one graded submission into the gradebook."""
    with Book(course) as book:
        book.add_students({student: about})
        results = {
            "toy.first": result("toy.first", 3.0, first),
            "toy.second_part": result("toy.second_part", 2.0, second),
        }
        known = Graded("01_toy", student, f"d-{student}", f"s-{student}", reason=reason)
        record(
            book,
            Graded(**{**vars(known), "results": results}),
            [Grades("toy", dict(zip(CELLS, (first, second, essay), strict=True)), {})],
            timestamp=datetime.fromtimestamp(DUE.timestamp() + 86_400 * days_late, UTC),
            marked_late=False,
            late=Late(percent_per_day=10),
        )
