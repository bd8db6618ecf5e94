"""Writing one graded submission into the gradebook: one transaction, nbgrader's own tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql

from roofline.course.folder import Late
from roofline.course.gradebook import TABLE, Book, Graded, Grades


def record(
    book: Book,
    graded: Graded,
    notebooks: list[Grades],
    *,
    timestamp: datetime | None,
    marked_late: bool,
    late: Late,
    partial: bool = False,
) -> None:
    """Put the scores of a submission into the gradebook, as a whole or not at all.

    Manual scores, extra credit and manual comments stay. A cell with a manual score asks for a
    person again only if something else was handed in since. With ``partial`` only the grades that
    are given change, and what was graded is noted as before.
    """
    with book.transaction():
        before = _before(book, graded)
        new_submission = before is None or before["submission"] != graded.submission
        submission = _submission(book, graded, timestamp)
        rows = book.db.execute(
            sql.select(book.api.SubmittedNotebook.id, book.api.Notebook.name)
            .join(book.api.Notebook)
            .where(book.api.SubmittedNotebook.assignment_id == submission.id)
        ).all()
        names = {row[0]: row[1] for row in rows}
        by_name = {notebook.notebook: notebook for notebook in notebooks}
        for identity, name in names.items():
            if name in by_name:
                _scores(book, identity, by_name[name], new_submission)
                if not partial:
                    _comments(book, identity, by_name[name])
        book.db.flush()
        _penalties(book, list(names), seconds_late(submission, marked_late, late), late)
        _remember(book, graded, before, partial)


def refresh_penalty(
    book: Book, assignment: str, student: str, marked_late: bool, late: Late
) -> None:
    """Work out the late penalty anew: the rule, the due date or a manual score may have changed."""
    with book.transaction():
        submission = book.gradebook.find_submission(assignment, student)
        identities = [notebook.id for notebook in submission.notebooks]
        _penalties(book, identities, seconds_late(submission, marked_late, late), late)


def seconds_late(submission: Any, marked_late: bool, late: Late) -> float:
    """How late a submission is, an extension counted; a mark without a time counts as the rule
    says."""
    due = submission.assignment.duedate
    if due is not None and submission.timestamp is not None:
        extended = due + submission.extension if submission.extension is not None else due
        return max(0.0, (submission.timestamp - extended).total_seconds())
    return 86_400 * late.marked_days if marked_late else 0.0


def _submission(book: Book, graded: Graded, timestamp: datetime | None) -> Any:
    plain = timestamp.astimezone(UTC).replace(tzinfo=None) if timestamp else None
    try:
        submission = book.gradebook.find_submission(graded.assignment, graded.student)
    except book.api.MissingEntry:
        with book.db.no_autoflush:  # nbgrader builds it in pieces
            submission = book.gradebook.add_submission(graded.assignment, graded.student)
    if submission.timestamp != plain:
        submission.timestamp = plain
    book.db.flush()
    return submission


def _scores(book: Book, notebook: str, grades: Grades, new_submission: bool) -> None:
    grade, cell = book.api.Grade, book.api.BaseCell
    rows = book.db.execute(
        sql.select(
            grade.id, cell.name, grade.auto_score, grade.manual_score, grade.needs_manual_grade
        )
        .join(cell, cell.id == grade.cell_id)
        .where(grade.notebook_id == notebook)
    ).all()
    for identity, name, auto, manual, waits in rows:
        if name not in grades.scores:
            continue
        score = grades.scores[name]
        if manual is None:
            needs = score is None
        else:
            needs = bool(waits) or new_submission or (score is not None and auto != score)
        if (auto, bool(waits)) != (score, needs):
            book.db.execute(
                sql.update(grade)
                .where(grade.id == identity)
                .values(auto_score=score, needs_manual_grade=needs)
            )


def _comments(book: Book, notebook: str, grades: Grades) -> None:
    comment, cell = book.api.Comment, book.api.BaseCell
    rows = book.db.execute(
        sql.select(comment.id, cell.name, comment.auto_comment)
        .join(cell, cell.id == comment.cell_id)
        .where(comment.notebook_id == notebook)
    ).all()
    for identity, name, auto in rows:
        if name in grades.comments and grades.comments[name] != auto:
            book.db.execute(
                sql.update(comment)
                .where(comment.id == identity)
                .values(auto_comment=grades.comments[name])
            )


def _penalties(book: Book, notebooks: list[str], seconds: float, late: Late) -> None:
    """What each notebook loses: a fraction of its score, or nothing."""
    kind, grade = book.api.SubmittedNotebook, book.api.Grade
    fraction = late.fraction(seconds)
    for identity in notebooks:
        earned = 0.0
        if fraction:
            query = sql.select(sql.func.sum(grade.score)).where(grade.notebook_id == identity)
            earned = float(book.db.execute(query).scalar() or 0.0)
        # None and not 0: nbgrader's own sign of a submission that is in time.
        penalty = round(fraction * earned, 6) if fraction else None
        known = sql.select(kind.late_submission_penalty).where(kind.id == identity)
        if book.db.execute(known).scalar() != penalty:
            change = sql.update(kind).where(kind.id == identity)
            book.db.execute(change.values(late_submission_penalty=penalty))


def _before(book: Book, graded: Graded) -> dict[str, Any] | None:
    row = book.db.execute(TABLE.select().where(_this(graded))).one_or_none()
    return None if row is None else dict(row._mapping)


def _this(graded: Graded) -> Any:
    return (TABLE.c.assignment == graded.assignment) & (TABLE.c.student == graded.student)


def _remember(book: Book, graded: Graded, before: dict[str, Any] | None, partial: bool) -> None:
    results = graded.results
    attempts = 1
    if before is not None:
        attempts = before["attempts"] + (before["submission"] != graded.submission)
        if partial:
            results = {**json.loads(before["results"]), **results}
    values: dict[str, Any] = {
        "results": json.dumps(results, sort_keys=True),
        "run": graded.run,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if not partial:
        values |= {
            "digest": graded.digest,
            "submission": graded.submission,
            "status": graded.status,
            "reason": graded.reason,
            "seconds": graded.seconds,
            "attempts": attempts,
        }
    if before is not None:
        book.db.execute(TABLE.update().where(_this(graded)).values(**values))
    elif not partial:
        key = {"assignment": graded.assignment, "student": graded.student}
        book.db.execute(TABLE.insert().values(**key, **values))
