"""nbgrader's gradebook, the only store of grades: reading it, and the one writer.

Everything that grading a submission changes is one transaction, so that a submission is in the
gradebook as a whole or not at all, wherever the writer is killed. What the grader itself must
remember (what was graded, from which bytes) is a table ``roofline_graded`` of our own in the same
database, written in the same transaction; nbgrader neither sees nor minds it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from roofline.course.folder import Course, CourseError, put_alembic_on_path


class Stopped(CourseError):
    """Grading can't go on: the disk is full, or the database is gone. What is graded is kept."""


@dataclass(frozen=True)
class Graded:
    """What is known of a submission that was graded.

    ``digest`` stands for everything that its score depends on, ``submission`` for its bytes alone,
    ``results`` is plain data: what the judge said, by exercise. ``attempts`` counts the different
    submissions that were graded.
    """

    assignment: str
    student: str
    digest: str
    submission: str = ""
    status: str = "graded"
    reason: str = ""
    seconds: float = 0.0
    results: dict[str, Any] = field(default_factory=dict)
    attempts: int = 1
    run: str = ""
    finished: str = ""
    score: float = 0.0
    max_score: float = 0.0


@dataclass(frozen=True)
class Grades:
    """What goes into the gradebook for one notebook: by grade_id, points (None: a person grades
    it), and comments (None: no comment)."""

    notebook: str
    scores: dict[str, float | None]
    comments: dict[str, str | None]


def _table(metadata: sql.MetaData) -> sql.Table:
    return sql.Table(
        "roofline_graded",
        metadata,
        sql.Column("assignment", sql.String(128), primary_key=True),
        sql.Column("student", sql.String(128), primary_key=True),
        sql.Column("digest", sql.String(64), nullable=False),
        sql.Column("submission", sql.String(64), nullable=False),
        sql.Column("status", sql.String(32), nullable=False),
        sql.Column("reason", sql.Text(), nullable=False),
        sql.Column("seconds", sql.Float(), nullable=False),
        sql.Column("results", sql.Text(), nullable=False),
        sql.Column("attempts", sql.Integer(), nullable=False),
        sql.Column("run", sql.String(64), nullable=False),
        sql.Column("finished", sql.String(32), nullable=False),
    )


TABLE = _table(sql.MetaData())


class Book:
    """An open gradebook. Use it as a context manager, from one thread."""

    def __init__(self, course: Course):
        put_alembic_on_path()
        try:
            from nbgrader import api
        except ImportError:
            raise CourseError(
                'nbgrader is not installed: pip install "roofline[instructor]"'
            ) from None
        self.api = api
        url = course.database
        if url.startswith("sqlite:") and "?" not in url:
            url += "?timeout=60"  # formgrader may be writing
        try:
            self.gradebook = api.Gradebook(url)
            self._prepare()
        except SQLAlchemyError as error:
            raise Stopped(f"the gradebook can't be opened: {_said(error)}") from None
        self.db = self.gradebook.db

    def _prepare(self) -> None:
        """Our table; and indexes that nbgrader lacks, without which each write scans all grades."""
        api, engine = self.api, self.gradebook.engine
        TABLE.create(engine, checkfirst=True)
        for kind, column in (
            (api.Grade, "notebook_id"),
            (api.Comment, "notebook_id"),
            (api.SubmittedNotebook, "assignment_id"),
            (api.SubmittedAssignment, "student_id"),
        ):
            table = kind.__table__
            name = f"ix_roofline_{table.name}_{column}"
            with engine.begin() as connection:
                known = {index["name"] for index in sql.inspect(connection).get_indexes(table.name)}
                if name not in known:
                    connection.execute(
                        sql.text(f"CREATE INDEX IF NOT EXISTS {name} ON {table.name} ({column})")
                    )

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self.gradebook.close()

    # Students and assignments

    def students(self) -> dict[str, dict[str, str]]:
        """Everybody in the gradebook, by id: first_name, last_name, email, lms_user_id."""
        kind = self.api.Student
        names = ("id", "first_name", "last_name", "email", "lms_user_id")
        rows = self.db.execute(sql.select(*(getattr(kind, name) for name in names))).all()
        self.db.rollback()
        return {
            row[0]: {n: v or "" for n, v in zip(names[1:], row[1:], strict=True)} for row in rows
        }

    def add_students(self, students: dict[str, dict[str, str]]) -> None:
        """Add students, or update the ones that there are; empty fields change nothing."""
        with self.transaction():
            for student, given in students.items():
                filled = {name: value for name, value in given.items() if value}
                self.gradebook.update_or_create_student(student, **filled)

    def assignments(self) -> list[str]:
        names = self.db.execute(sql.select(self.api.Assignment.name)).scalars().all()
        self.db.rollback()
        return sorted(names)

    def due(self, assignment: str) -> datetime | None:
        """When an assignment is due, in UTC without saying so, as nbgrader keeps it."""
        kind = self.api.Assignment
        found = self.db.execute(sql.select(kind.duedate).where(kind.name == assignment)).scalar()
        self.db.rollback()
        return found

    def set_due(self, assignment: str, due: datetime) -> None:
        with self.transaction():
            plain = due.astimezone(UTC).replace(tzinfo=None)
            self.gradebook.update_or_create_assignment(assignment, duedate=plain)

    def sources(self, assignment: str) -> dict[str, dict[str, dict[str, Any]]]:
        """By notebook and grade_id: source with hidden tests, checksum, and max_score if graded."""
        api, found = self.api, {}
        with self.reading():
            try:
                notebooks = self.gradebook.find_assignment(assignment).notebooks
            except api.MissingEntry:
                return {}
            for notebook in notebooks:
                cells: dict[str, dict[str, Any]] = {
                    cell.name: {"source": cell.source or "", "checksum": cell.checksum}
                    for cell in notebook.source_cells
                }
                for cell in [*notebook.grade_cells, *notebook.task_cells]:
                    cells[cell.name]["max_score"] = float(cell.max_score)
                found[notebook.name] = cells
        return found

    # What was graded

    def graded(self, assignment: str, results: bool = True) -> dict[str, Graded]:
        """What was graded of an assignment, by student, with the scores of the gradebook; without
        ``results``, which are large, if they aren't needed."""
        scores = self.scores(assignment)
        with self.reading():
            rows = self.db.execute(TABLE.select().where(TABLE.c.assignment == assignment)).all()
        found = {}
        for row in rows:
            values = dict(row._mapping)
            values["results"] = json.loads(values["results"]) if results else {}
            score, max_score, _ = scores.get(row.student, (0.0, 0.0, 0.0))
            found[row.student] = Graded(**values, score=score, max_score=max_score)
        return found

    def scores(self, assignment: str) -> dict[str, tuple[float, float, float]]:
        """By student: score, maximum, late penalty, as nbgrader adds them up."""
        kind, notebook = self.api.SubmittedAssignment, self.api.SubmittedNotebook
        parts = (
            kind.student_id,
            self.api.Grade.score,
            self.api.Grade.max_score,
        )
        with self.reading():
            graded = self.db.execute(
                sql.select(parts[0], sql.func.sum(parts[1]), sql.func.sum(parts[2]))
                .join(notebook, notebook.assignment_id == kind.id)
                .join(self.api.Grade, self.api.Grade.notebook_id == notebook.id)
                .join(self.api.Assignment, self.api.Assignment.id == kind.assignment_id)
                .where(self.api.Assignment.name == assignment)
                .group_by(kind.student_id)
            ).all()
            penalties = self.db.execute(
                sql.select(kind.student_id, sql.func.sum(notebook.late_submission_penalty))
                .join(notebook, notebook.assignment_id == kind.id)
                .join(self.api.Assignment, self.api.Assignment.id == kind.assignment_id)
                .where(self.api.Assignment.name == assignment)
                .group_by(kind.student_id)
            ).all()
        late = {student: float(penalty or 0.0) for student, penalty in penalties}
        return {s: (float(a or 0.0), float(m or 0.0), late.get(s, 0.0)) for s, a, m in graded}

    def score(self, assignment: str, student: str) -> float:
        """One student's score, before a late penalty."""
        api = self.api
        query = (
            sql.select(sql.func.sum(api.Grade.score))
            .join(api.SubmittedNotebook, api.Grade.notebook_id == api.SubmittedNotebook.id)
            .join(
                api.SubmittedAssignment,
                api.SubmittedNotebook.assignment_id == api.SubmittedAssignment.id,
            )
            .join(api.Assignment, api.Assignment.id == api.SubmittedAssignment.assignment_id)
            .where(api.Assignment.name == assignment, api.SubmittedAssignment.student_id == student)
        )
        with self.reading():
            return float(self.db.execute(query).scalar() or 0.0)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read, and leave no transaction open behind."""
        try:
            yield
        except DBAPIError as error:
            raise Stopped(f"the gradebook can't be read: {_said(error)}") from None
        finally:
            self.db.rollback()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all of a block's changes at once, or none; nbgrader's own commits wait for its end.

        Raises :class:`Stopped` if the database can't take them.
        """
        log = logging.getLogger("tornado.application")  # where nbgrader puts tracebacks
        was = log.disabled
        try:
            self.db.commit, log.disabled = self.db.flush, True
            try:
                yield
            finally:
                del self.db.commit
                log.disabled = was
            self.db.commit()
        except BaseException as error:
            try:
                self.db.rollback()
            except DBAPIError:  # the connection is gone, and the transaction with it
                self.db.remove()
            if isinstance(error, self.api.InvalidEntry):  # what nbgrader makes of some of them
                error = error.__context__ or error
            if isinstance(error, DBAPIError):
                raise Stopped(f"the gradebook can't be written: {_said(error)}") from None
            raise error


def _said(error: SQLAlchemyError) -> str:
    """What the database said, in one line, without the statement."""
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split())[:200]
