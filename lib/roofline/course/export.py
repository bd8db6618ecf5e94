"""Grades for others: CSV, JSON, and the CSV files that Canvas and Moodle import.

What a student chose (a name, an address) may look like a formula to a spreadsheet. Such a text gets
an apostrophe in front, as OWASP's page on CSV injection has it. Numbers are numbers.

Canvas matches its ``ID`` column with the student's ``lms_user_id`` and ``SIS Login ID`` with the
student's id here; a second row has the points possible. Moodle's import asks which column is which:
map ``ID number`` or ``Email address`` to the user, and both columns of an assignment, for it loses
the grades of an assignment whose feedback column isn't mapped with them
(https://docs.moodle.org/en/Grade_import). In both, who has handed in nothing has an empty cell.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roofline.course.folder import Course, CourseError
from roofline.course.gradebook import Book
from roofline.course.scores import Score, all_scores
from roofline.course.writing import write_whole

FORMATS = ("csv", "json", "canvas", "moodle")
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

COLUMNS = (
    *("assignment", "student", "last_name", "first_name", "email", "lms_user_id"),
    *("submitted", "submitted_at", "due", "earned", "late_penalty", "score", "max_score"),
    "waiting",
)


def export(course: Course, form: str, assignments: list[str] | None = None) -> str:
    """The grades as text in one of :data:`FORMATS`. Raises :class:`CourseError`."""
    if form not in FORMATS:
        raise CourseError(f"unknown format {form!r}: expected one of {', '.join(FORMATS)}")
    with Book(course) as book:
        known = book.assignments()
        for name in assignments or []:
            if name not in known:
                there_are = ", ".join(known) or "none yet"
                raise CourseError(
                    f"no assignment {name!r} in the gradebook; there are: {there_are}"
                )
        scores = all_scores(book, assignments)
        notes = {name: _notes(book, name) for name in {score.assignment for score in scores}}
    match form:
        case "json":
            return json.dumps([score.as_dict() for score in scores], indent=1, ensure_ascii=False)
        case "csv":
            return _csv([COLUMNS, *([getattr(s, name) for name in COLUMNS] for s in scores)])
        case "canvas":
            return _csv(canvas(scores))
        case _:
            return _csv(moodle(scores, notes))


def rows(form: str, text: str) -> int:
    """How many rows an export has, its heading left out."""
    return len(json.loads(text)) if form == "json" else len(list(csv.reader(io.StringIO(text)))) - 1


def write(text: str, form: str, to: Path) -> None:
    """Write an export to a file, whole or not at all. Raises :class:`CourseError`."""
    try:
        # A byte order mark: without it, Excel takes UTF-8 for something else.
        write_whole(to, text.encode("utf-8-sig" if form == "csv" else "utf-8"))
    except OSError as error:
        raise CourseError(f"{to} can't be written: {error.strerror}") from None


def canvas(scores: list[Score]) -> list[list[Any]]:
    """Rows for Canvas: one student each, a column for each assignment."""
    names = sorted({score.assignment for score in scores})
    most = {score.assignment: score.max_score for score in scores}
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *names]
    rows: list[list[Any]] = [
        head,
        ["    Points Possible", "", "", "", "", *(most[n] for n in names)],
    ]
    for student, theirs in _by_student(scores):
        one = theirs[0]
        name = ", ".join(filter(None, (one.last_name, one.first_name))) or student
        rows.append([name, one.lms_user_id, "", student, "", *(_cell(theirs, n) for n in names)])
    return rows


def moodle(scores: list[Score], notes: dict[str, dict[str, str]]) -> list[list[Any]]:
    """Rows for Moodle: one student each, grade and feedback for each assignment."""
    names = sorted({score.assignment for score in scores})
    head = ["First name", "Surname", "ID number", "Email address"]
    rows: list[list[Any]] = [head + [f"{n}{part}" for n in names for part in ("", " (feedback)")]]
    for student, theirs in _by_student(scores):
        one = theirs[0]
        row: list[Any] = [one.first_name, one.last_name, one.lms_user_id or student, one.email]
        for name in names:
            row += [_cell(theirs, name), notes.get(name, {}).get(student, "")]
        rows.append(row)
    return rows


def _by_student(scores: list[Score]) -> Iterable[tuple[str, list[Score]]]:
    by_student: dict[str, list[Score]] = {}
    for score in scores:
        by_student.setdefault(score.student, []).append(score)
    return by_student.items()


def _cell(scores: list[Score], assignment: str) -> float | str:
    found = next((s for s in scores if s.assignment == assignment and s.submitted), None)
    return found.score if found else ""


def _notes(book: Book, assignment: str) -> dict[str, str]:
    """By student, what a line of feedback can say: the exercises, and why there is nothing."""
    notes = {}
    for student, graded in book.graded(assignment).items():
        parts = [
            f"{result.get('exercise', name).split('.')[-1]} "
            f"{result.get('earned', 0):g}/{result.get('points', 0):g}"
            for name, result in graded.results.items()
            if isinstance(result, dict)
        ]
        notes[student] = "; ".join(filter(None, [graded.reason, *parts]))
    return notes


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([harmless(v) for v in row] for row in rows)
    return text.getvalue()


def harmless(value: Any) -> Any:
    """``value``, with an apostrophe in front if a spreadsheet would take the text for a formula."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value.lstrip(" ").startswith(_STARTS_A_FORMULA):
        return f"'{value}"
    return value
