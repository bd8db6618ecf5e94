"""A class from nothing to its pages, with chapter 2: the commands that an instructor types, and
what a second run does."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import pytest
from needs import need
from roofline.course import assign, commands, feedback, folder, grading, report, running, sandbox
from roofline.course.analysis import analyse
from roofline.course.folder import Course, CourseError
from roofline.course.gradebook import Book
from roofline.grading import find
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "02_backprop"
SOLVED = nbformat.read(ROOT / "solutions" / CHAPTER / f"{CHAPTER}.ipynb", as_version=4)
SOLUTIONS = {
    cell.metadata.roofline.exercise: cell
    for cell in SOLVED.cells
    if cell.metadata.get("roofline", {}).get("role") == "solution"
}
EVERYTHING = list(SOLUTIONS)
HALF = EVERYTHING[:3]


def points(exercises: list[str]) -> float:
    return sum(float(find(exercise).points) for exercise in exercises)


def roofline(*arguments: str, cwd: Path, code: int = 0) -> str:
    """Run the command, and give what it printed."""
    command = [str(Path(sys.executable).with_name("roofline")), *arguments]
    own = {"HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | own, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == code, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout if code == 0 else done.stderr


def hand_in(folder: Path, student: str, exercises: list[str], **changed: str) -> Path:
    """A release with the solutions of some exercises; ``changed``: other answers, by name."""
    notebook = nbformat.read(ROOT / "chapters" / CHAPTER / f"{CHAPTER}.ipynb", as_version=4)
    for cell in notebook.cells:
        for exercise, solution in SOLUTIONS.items():
            if cell.id == solution.id:
                cell.source = solution.source if exercise in exercises else cell.source
                cell.source = changed.get(exercise.split(".")[1], cell.source)
    path = folder / student / CHAPTER / f"{CHAPTER}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The commands from nothing to graded pages, and what each printed as JSON."""
    why = sandbox.available()
    need(why is None, f"a sandbox ({why})")
    base = tmp_path_factory.mktemp("class")
    (base / "students.csv").write_text(
        "id,first_name,last_name\nana,Ana,Lima\nben,Ben,Ohara\neve,Eve,Adams\n"
    )
    inbox = base / "inbox"
    hand_in(inbox, "ana", EVERYTHING)
    hand_in(inbox, "ben", HALF)
    hand_in(inbox, "zoe", EVERYTHING)
    said = {
        "init": roofline(
            "class", "init", "course", "--students", "students.csv", "--json", cwd=base
        )
    }
    course = base / "course"
    for name, arguments in {
        "release": ("release", CHAPTER, "--due", "2026-12-01 23:59 UTC"),
        "collect": ("collect", CHAPTER, str(inbox)),
        "dry": ("grade", CHAPTER, "--dry-run"),
        "grade": ("grade", CHAPTER, "--workers", "2"),
        "feedback": ("feedback", CHAPTER),
    }.items():
        said[name] = roofline("class", *arguments, "--json", cwd=course)
    return {"course": course} | {name: json.loads(text) for name, text in said.items()}


@pytest.fixture
def course(
    walked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Course]:
    """A copy of the walked class, for what changes it. The library's own code stands still."""
    monkeypatch.setattr(grading, "code_version", lambda: "fixed")
    yield folder.open_course(shutil.copytree(walked["course"], tmp_path / "course"))


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    running.close_engines()


def rows(course: Course, **options: Any) -> dict[str, tuple[str, float | None]]:
    found = grading.grade(course, CHAPTER, workers=2, **options)
    return {row.student: (row.status, row.score) for row in found}


def auto_scores(course: Course) -> list[tuple[str, str, float]]:
    query = """
        select s.student_id, c.name, g.auto_score from grade g
        join submitted_notebook n on n.id = g.notebook_id
        join submitted_assignment s on s.id = n.assignment_id
        join base_cell c on c.id = g.cell_id order by 1, 2"""
    with sqlite3.connect(course.root / "gradebook.db") as book:
        return book.execute(query).fetchall()


FULL, PART = points(EVERYTHING), points(HALF)


def test_the_commands_from_nothing_to_pages(walked: dict[str, Any]) -> None:
    course = walked["course"]
    assert walked["init"]["students"] == 3
    assert walked["release"]["points"] == FULL and walked["release"]["exercises"] == EVERYTHING
    collected = {row["name"]: row["status"] for row in walked["collect"]}
    assert collected == {"ana": "collected", "ben": "collected", "zoe": "unmatched"}
    assert {row["status"] for row in walked["dry"]} == {"would grade", "unknown"}
    graded = {row["student"]: row for row in walked["grade"]}
    assert graded["ana"]["score"] == FULL and graded["ben"]["score"] == PART
    (unknown,) = [row for row in walked["grade"] if row["status"] == "unknown"]
    assert unknown["score"] is None and "no student 'zoe'" in unknown["reason"]
    assert [page["status"] for page in walked["feedback"]] == ["written", "written"]
    page = (course / "feedback" / "ben" / CHAPTER / f"{CHAPTER}.html").read_text("utf-8")
    assert "sealed(" not in page and "HIDDEN" not in page
    assert page.count("not attempted yet") >= len(EVERYTHING) - len(HALF)
    release = course / "release" / CHAPTER
    links = re.findall(r"\]\(([^)#:]+)[)#]", (release / f"{CHAPTER}.ipynb").read_text("utf-8"))
    assert "glossary.md" in links and all((release / link).is_file() for link in links)
    secret = (course / "secret").read_text().strip()
    word = folder.open_course(course).word(CHAPTER)
    assert secret not in page and word not in page
    assert (course / "secret").stat().st_mode & 0o077 == 0


def test_a_run_is_noted(walked: dict[str, Any]) -> None:
    (path,) = (walked["course"] / "runs").iterdir()
    note = json.loads(path.read_text())
    assert note["state"] == "done" and note["rows"] == {"graded": 2, "unknown": 1}
    assert note["sandbox"] == "bubblewrap"
    assert note["word"] == folder.open_course(walked["course"]).word(CHAPTER)
    assert path.stat().st_mode & 0o077 == 0


def test_a_second_run_grades_only_what_changed(course: Course) -> None:
    rows(course, force=True)
    first = auto_scores(course)
    assert rows(course)["ana"] == ("unchanged", FULL)
    path = hand_in(course.submitted, "ben", EVERYTHING[:4])
    beside = path.parent / "pictures" / "mine.png"
    beside.parent.mkdir()
    beside.write_bytes(b"a picture")
    (path.parent / "linked.txt").symlink_to(course.root / "secret")
    again = rows(course)
    graded = course.autograded / "ben" / CHAPTER
    there = {p.relative_to(graded).as_posix() for p in graded.rglob("*") if p.is_file()}
    assert there == {f"{CHAPTER}.ipynb", "pictures/mine.png"}
    assert (graded / "pictures" / "mine.png").read_bytes() == b"a picture"
    assert again["ana"] == ("unchanged", FULL)
    assert again["ben"] == ("graded", points(EVERYTHING[:4]))
    assert rows(course, force=True)["ana"] == ("graded", FULL)
    assert [s for s in auto_scores(course) if s[0] == "ana"] == [s for s in first if s[0] == "ana"]


def test_an_unknown_student_is_graded_once_the_gradebook_knows_them(course: Course) -> None:
    hand_in(course.submitted, "zoe", HALF)
    assert rows(course, students=["zoe"])["zoe"] == ("unknown", None)
    with Book(course) as book:
        book.add_students({"zoe": {}})
    assert rows(course, students=["zoe"])["zoe"] == ("graded", PART)
    with pytest.raises(CourseError, match="nothing handed in"):
        grading.grade(course, CHAPTER, students=["nobody"])


def test_manual_scores_and_comments_stay(course: Course) -> None:
    rows(course)
    check, solution = f"{CHAPTER}-linear-check", f"{CHAPTER}-linear-solution"
    with Book(course) as book, book.transaction():
        grade = book.gradebook.find_grade(check, CHAPTER, CHAPTER, "ana")
        grade.manual_score, grade.extra_credit, grade.needs_manual_grade = 1.0, 0.5, False
        comment = book.gradebook.find_comment(solution, CHAPTER, CHAPTER, "ana")
        comment.manual_comment = "Read <script>alert(1)</script> again."
    less = FULL - float(find("backprop.linear").points) + 1.5
    assert rows(course)["ana"] == ("unchanged", less)
    assert rows(course, force=True)["ana"] == ("graded", less)
    assert rows(course, exercise="backprop.linear")["ana"] == ("graded", less)
    with Book(course) as book:
        grade = book.gradebook.find_grade(check, CHAPTER, CHAPTER, "ana")
        assert (grade.manual_score, grade.extra_credit) == (1.0, 0.5)
        assert not grade.needs_manual_grade  # nothing was handed in since a person looked
    pages = feedback.feedback(course, CHAPTER, students=["ana"])
    page = Path(pages[0].path).read_text("utf-8")
    assert pages[0].status == "written" and "again." in page and "<script>alert(1)" not in page
    assert feedback.feedback(course, CHAPTER, students=["ana"])[0].status == "unchanged"
    hand_in(course.submitted, "ana", HALF)
    rows(course)
    with Book(course) as book:
        grade = book.gradebook.find_grade(check, CHAPTER, CHAPTER, "ana")
        assert grade.manual_score == 1.0 and grade.needs_manual_grade


def test_late_penalties_by_the_rule(course: Course) -> None:
    rule = "percent_per_day = 10\nmaximum_percent = 50"
    settings = course.root / "course.toml"
    text = settings.read_text().replace("percent_per_day = 0\nmaximum_percent = 100", rule)
    settings.write_text(text)
    course = folder.open_course(course.root)
    assert course.settings.late.percent_per_day == 10
    (course.submitted / "ana" / CHAPTER / "timestamp.txt").write_text(
        "2026-12-03 10:00:00.000000 UTC"
    )
    rows(course)
    with Book(course) as book:
        assert book.scores(CHAPTER)["ana"] == (FULL, FULL, pytest.approx(0.2 * FULL))
        assert book.scores(CHAPTER)["ben"][2] == 0
        # A later due date undoes it, and grades nothing anew.
        book.set_due(CHAPTER, datetime(2026, 12, 4, tzinfo=UTC))
    assert rows(course)["ana"] == ("unchanged", FULL)
    with Book(course) as book:
        assert book.scores(CHAPTER)["ana"] == (FULL, FULL, 0)


def test_one_exercise_again_for_all(course: Course) -> None:
    rows(course, force=True)
    before = auto_scores(course)
    with sqlite3.connect(course.root / "gradebook.db") as book:
        book.execute("update grade set auto_score = 0")
    rows(course, exercise="backprop.sigmoid")
    after = {(s, c): score for s, c, score in auto_scores(course)}
    check = f"{CHAPTER}-sigmoid-check"
    assert {k: v for k, v in after.items() if k[1] == check and v} == {
        (s, c): score for s, c, score in before if c == check
    }
    assert all(score == 0 for (_, c), score in after.items() if c != check)
    notebook = nbformat.read(course.autograded / "ben" / CHAPTER / f"{CHAPTER}.ipynb", as_version=4)
    shown = [
        c
        for c in notebook.cells
        if c.get("outputs") and c.metadata.get("nbgrader", {}).get("grade")
    ]
    assert len(shown) == len(EVERYTHING)  # the others' tables are still there
    with pytest.raises(CourseError, match=r"no exercise 'backprop\.other'"):
        grading.grade(course, CHAPTER, exercise="backprop.other")


def test_a_private_exercise_of_the_overlay_counts(course: Course) -> None:
    """The same id with a judge that gives nothing: the overlay's is the one that grades."""
    (course.overlay / "backprop.py").write_text(
        "from roofline.grading import Exercise, Item, exercise\n"
        "@exercise('backprop.linear')\n"
        "class Linear(Exercise):\n"
        "    '''Private'''\n"
        "    points = 4\n"
        "    def probe(self, answer, cases):\n"
        "        return 1\n"
        "    def judge(self, outputs, cases):\n"
        "        return [Item('private', 4, 1.0 if outputs == 1 else 0.0)]\n"
    )
    less = FULL - float(find("backprop.linear").points) + 1
    assert rows(course)["ana"] == ("graded", less)  # also: a changed exercise is a change
    running.close_engines()


def test_scores_do_not_depend_on_workers_or_order(course: Course) -> None:
    for number in range(4):
        changed = {"sigmoid": "def sigmoid(x):\n    return x, lambda dy: (dy,)"}
        hand_in(course.submitted, f"s{number}", EVERYTHING, **(changed if number % 2 else {}))
    with Book(course) as book:
        book.add_students({f"s{number}": {} for number in range(4)})
    seen = []
    for workers in (1, 3):
        grading.grade(course, CHAPTER, workers=workers, force=True)
        seen.append(auto_scores(course))
    grading.grade(course, CHAPTER, workers=2, force=True, students=["s3", "s1"])
    assert seen[0] == seen[1] == auto_scores(course)


def test_without_a_sandbox_nothing_is_run(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roofline.course.sandbox.workers._missing", lambda: "no bubblewrap")
    running.close_engines()
    hand_in(course.submitted, "ben", EVERYTHING)
    before = auto_scores(course)
    with pytest.raises(sandbox.NoSandbox, match="no bubblewrap"):
        rows(course)
    assert auto_scores(course) == before
    graded = grading.grade(course, CHAPTER, trust=True, students=["ben"])
    assert graded[0].score == FULL and "sandbox: none" in graded[0].reason
    notes = [json.loads(path.read_text()) for path in course.runs.iterdir()]
    assert "none" in {note["sandbox"] for note in notes}
    (page,) = feedback.feedback(course, CHAPTER, students=["ben"])
    assert "sandbox: none" in Path(page.path).read_text("utf-8")
    assert "sandbox: none" in report.page(analyse(course, CHAPTER))
    running.close_engines()


def test_two_graders_do_not_run_at_once(course: Course) -> None:
    with course.locked("grade"), pytest.raises(CourseError, match="another process"):
        grading.grade(course, CHAPTER)


def test_what_can_be_put_right_is_one_line(course: Course, tmp_path: Path) -> None:
    where = ("--course", str(course.root))
    for arguments, said in {
        ("grade", "03_other", *where): "no assignment '03_other'",
        ("release", "nothing", *where): "no notebook in",
        ("release", CHAPTER, "--due", "tomorrow", *where): "due date 'tomorrow'",
        ("release", CHAPTER, "--due", "", *where): "due date ''",
        ("init", str(tmp_path / "new"), "--database", "junk"): "the gradebook can't be opened",
        ("grade", CHAPTER, "--exercise", "backprop.none", *where): "no exercise",
        ("init", str(ROOT / "x")): "inside the checkout",
        ("init", str(course.root)): "a course already",
    }.items():
        result = CliRunner().invoke(commands.app, list(arguments))
        assert result.exit_code == 2, result.output
        assert said in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (ROOT / "x").exists()
    again = CliRunner().invoke(commands.app, ["init", str(tmp_path / "new")])
    assert again.exit_code == 0, again.output


def test_releasing_again_with_other_cells_is_refused(course: Course) -> None:
    rows(course)
    source = course.source / CHAPTER / f"{CHAPTER}.ipynb"
    notebook = nbformat.read(source, as_version=4)
    notebook.cells = [c for c in notebook.cells if c.id != f"{CHAPTER}-silu-check"]
    nbformat.write(notebook, source)
    with pytest.raises(CourseError, match="Cannot add or remove cells"):
        assign.release(course, CHAPTER)
