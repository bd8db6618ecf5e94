"""What the gradebook says, read for reports and exports; nothing here changes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sql

from roofline.course.gradebook import Book


@dataclass(frozen=True)
class Score:
    """A student's score in an assignment. ``score`` is what counts: earned less the late penalty,
    never below 0. ``waiting``: something is still to be graded by a person. Who has handed in
    nothing has ``submitted`` false and 0 points."""

    assignment: str
    student: str
    last_name: str
    first_name: str
    email: str
    lms_user_id: str
    submitted: bool
    submitted_at: str
    due: str
    earned: float
    late_penalty: float
    score: float
    max_score: float
    waiting: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Graded:
    """One graded cell of an assignment, and what each student earned in it."""

    name: str
    notebook: str
    points: float
    scores: dict[str, float] = field(default_factory=dict)


def all_scores(book: Book, assignments: list[str] | None = None) -> list[Score]:
    """Everybody's score in each assignment, by name of the assignment and of the student."""
    api, db = book.api, book.db
    students = book.students()
    found: list[Score] = []
    for assignment in sorted(set(assignments or book.assignments())):
        sums = book.scores(assignment)
        with book.reading():
            record = db.execute(
                sql.select(api.Assignment).where(api.Assignment.name == assignment)
            ).scalar_one_or_none()
            if record is None:
                continue
            due, most = record.duedate, float(record.max_score or 0.0)
            rows = db.execute(
                sql.select(api.SubmittedAssignment.student_id, api.SubmittedAssignment.timestamp)
                .join(api.Assignment, api.Assignment.id == api.SubmittedAssignment.assignment_id)
                .where(api.Assignment.name == assignment)
            )
            times = {row[0]: row[1] for row in rows}
            waiting = set(
                db.execute(
                    _grades(api, sql.select(api.SubmittedAssignment.student_id))
                    .where(api.Assignment.name == assignment)
                    .where(api.Grade.needs_manual_grade)
                ).scalars()
            )
        for student in sorted(students):
            earned, _, penalty = sums.get(student, (0.0, most, 0.0))
            at = times.get(student)
            found.append(
                Score(
                    assignment=assignment,
                    student=student,
                    **students[student],
                    submitted=student in times,
                    submitted_at=at.isoformat(sep=" ", timespec="seconds") if at else "",
                    due=due.isoformat(sep=" ", timespec="seconds") if due else "",
                    earned=round(earned, 6),
                    late_penalty=round(penalty, 6),
                    score=round(max(0.0, earned - penalty), 6),
                    max_score=round(most, 6),
                    waiting=student in waiting,
                )
            )
    return found


def graded_cells(book: Book, assignment: str) -> list[Graded]:
    """The graded cells of an assignment, in their order, with the scores of all submissions."""
    api, cells = book.api, {}
    with book.reading():
        notebooks = (
            book.db.execute(
                sql.select(api.Notebook)
                .join(api.Assignment, api.Assignment.id == api.Notebook.assignment_id)
                .where(api.Assignment.name == assignment)
                .order_by(api.Notebook.name)
            )
            .scalars()
            .all()
        )
        for notebook in notebooks:
            for cell in [*notebook.grade_cells, *notebook.task_cells]:
                cells[cell.id] = Graded(cell.name, notebook.name, float(cell.max_score))
        rows = book.db.execute(
            _grades(
                api,
                sql.select(api.SubmittedAssignment.student_id, api.Grade.cell_id, api.Grade.score),
            ).where(api.Assignment.name == assignment)
        ).all()
    for student, cell, score in rows:
        if cell in cells:
            cells[cell].scores[student] = float(score or 0.0)
    return list(cells.values())


def _grades(api: Any, query: Any) -> Any:
    """The query over grades, their submissions and assignments."""
    return (
        query.select_from(api.Grade)
        .join(api.SubmittedNotebook, api.SubmittedNotebook.id == api.Grade.notebook_id)
        .join(
            api.SubmittedAssignment,
            api.SubmittedAssignment.id == api.SubmittedNotebook.assignment_id,
        )
        .join(api.Assignment, api.Assignment.id == api.SubmittedAssignment.assignment_id)
    )
