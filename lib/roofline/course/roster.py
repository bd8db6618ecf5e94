"""Students from a CSV file: nbgrader's columns, or those of Canvas and Moodle."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

from roofline.course.folder import CourseError, valid_id

# For each of nbgrader's fields, the titles that hold it, in small letters; the first that is there.
TITLES = {
    "id": ("id", "student_id", "sis login id", "username", "login id", "sis user id", "id number"),
    "first_name": ("first_name", "first name", "firstname"),
    "last_name": ("last_name", "last name", "surname", "lastname"),
    "email": ("email", "email address", "e-mail"),
    "lms_user_id": ("lms_user_id", "canvas id", "moodle id"),
}


def read_roster(path: Path) -> dict[str, dict[str, str]]:
    """By id: first_name, last_name, email, lms_user_id; empty where the file doesn't say.

    The first row gives the titles. In Canvas's gradebook export, ``ID`` is Canvas's own number and
    ``Student`` is "Last, First". Raises :class:`CourseError`, with the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CourseError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CourseError(f"{path} is not UTF-8 text: save it as CSV UTF-8") from None
    rows = list(csv.reader(text.splitlines(), delimiter=_delimiter(text)))
    if not rows:
        raise CourseError(f"{path} is empty: expected a row of titles and a row for each student")
    titles = [title.strip().casefold() for title in rows[0]]
    columns = {
        field: next((titles.index(name) for name in names if name in titles), None)
        for field, names in TITLES.items()
    }
    canvas = "student" in titles and "id" in titles
    if canvas:
        columns["lms_user_id"] = titles.index("id")
        own = [name for name in TITLES["id"] if name in titles and name != "id"]
        columns["id"] = titles.index(own[0]) if own else titles.index("id")
    if columns["id"] is None:
        raise CourseError(f"{path} has no column of ids: expected one of {', '.join(TITLES['id'])}")
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows[1:], 2):
        cells = {
            f: row[c].strip() if c is not None and c < len(row) else "" for f, c in columns.items()
        }
        if canvas:
            name = row[titles.index("student")] if titles.index("student") < len(row) else ""
            cells["last_name"], _, cells["first_name"] = (
                part.strip() for part in name.partition(",")
            )
            if not cells["id"] and (name.strip().startswith("Points Possible") or not name.strip()):
                continue  # Canvas's second row
        if not any(row):
            continue
        student = unicodedata.normalize("NFC", cells.pop("id"))
        if not valid_id(student):
            raise CourseError(f"{path}:{number}: id {student!r} can't be a folder's name")
        if student in found:
            raise CourseError(f"{path}:{number}: the id {student!r} is there twice")
        found[student] = cells
    return found


def _delimiter(text: str) -> str:
    """Semicolons and tabs are what spreadsheets of some countries write."""
    first = text.split("\n", 1)[0]
    return max(",;\t", key=first.count)
