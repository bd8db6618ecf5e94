"""A class of three through nbgrader's own commands, with the first chapter there is.

One solved everything, and something of theirs writes to stderr before each cell; one opened the
chapter; one did the first half and deleted the last check. The commands are the ones that an
instructor types, run from the course's folder.
"""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from roofline.classroom import build
from roofline.classroom.source import read_source
from roofline.grading import find

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "02_backprop"
SOLUTION, RELEASE = build.solution_path(CHAPTER), build.release_path(CHAPTER)
EXERCISES = read_source(ROOT / "solutions" / f"{CHAPTER}.py").exercises()
STUDENTS = {"solved": EXERCISES, "untouched": [], "half": EXERCISES[: len(EXERCISES) // 2]}


NOISE = """\
import sys
get_ipython().events.register("pre_run_cell", lambda _: print("careful", file=sys.stderr))
"""


def nbgrader(course: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an nbgrader command in a course, with nothing of this user's settings."""
    home = course.parent / "home"
    home.mkdir(exist_ok=True)
    own = {"HOME": str(home), "IPYTHONDIR": str(home), "ROOFLINE_HOME": str(home / "roofline")}
    own |= {"ROOFLINE_MEASURE": "replay", "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("nbgrader")), *arguments]
    done = subprocess.run(
        command, cwd=course, env=os.environ | own, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A course in which three submissions are graded and have their feedback."""
    course = tmp_path_factory.mktemp("class") / "course"
    shutil.copytree(ROOT / SOLUTION.parent, course / SOLUTION.parent)
    shutil.copy(ROOT / "nbgrader_config.py", course)
    nbgrader(course, "generate_assignment", CHAPTER)
    for student, exercises in STUDENTS.items():
        submit(course, student, exercises)
    nbgrader(course, "autograde", CHAPTER)
    nbgrader(course, "generate_feedback", CHAPTER)
    nbgrader(course, "export")
    yield course


def submit(course: Path, student: str, exercises: list[str]) -> None:
    """Hand in a release with the solutions of ``exercises`` filled in, as a learner's file."""
    answers = {
        cell.metadata.nbgrader.grade_id: cell.source
        for cell in nbformat.read(course / SOLUTION, as_version=4).cells
        if cell.metadata.get("roofline", {}).get("exercise") in exercises
        and cell.metadata.get("nbgrader", {}).get("solution")
    }
    assert len(answers) == len(exercises)
    notebook = nbformat.read(course / RELEASE, as_version=4)
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = answers.get(grade_id, cell.source)
    if student == "solved":
        notebook.cells.insert(0, nbformat.v4.new_code_cell(NOISE))
    if student == "half":
        checks = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
        notebook.cells.remove(checks[-1])
    path = course / "classroom" / "submitted" / student / CHAPTER / RELEASE.name
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


def test_each_earns_what_they_solved(course: Path) -> None:
    with open(course / "classroom" / "grades.csv", newline="") as table:
        rows = {row["student_id"]: row for row in csv.DictReader(table)}
    assert set(rows) == set(STUDENTS)
    everything = sum(find(exercise).points for exercise in EXERCISES)
    for student, exercises in STUDENTS.items():
        assert float(rows[student]["max_score"]) == everything
        earned = sum(find(exercise).points for exercise in exercises)
        assert float(rows[student]["score"]) == pytest.approx(earned), student
    assert 0 < float(rows["half"]["score"]) < everything


def test_nothing_waits_for_a_person(course: Path) -> None:
    with sqlite3.connect(course / "classroom" / "gradebook.db") as book:
        grades = book.execute("select auto_score, needs_manual_grade from grade").fetchall()
    assert len(grades) == len(STUDENTS) * len(EXERCISES)
    assert all(score is not None and not waiting for score, waiting in grades)


def test_each_gets_a_page_of_feedback(course: Path) -> None:
    blanks = {}
    for student in STUDENTS:
        page = course / "classroom" / "feedback" / student / CHAPTER / f"{CHAPTER}.html"
        text = page.read_text(encoding="utf-8")
        for exercise in EXERCISES:
            assert f"{CHAPTER}-{exercise.split('.')[1].replace('_', '-')}-check" in text
        blanks[student] = text.count("not attempted yet")
    # The table at the top of a chapter says it too, of every exercise, before the first is checked.
    assert blanks["solved"] < blanks["half"] < blanks["untouched"]


def test_everything_of_the_class_is_in_its_folder(course: Path) -> None:
    assert {path.name for path in course.iterdir()} == {
        "chapters",
        "classroom",
        "nbgrader_config.py",
        "solutions",
    }
    ignored = (ROOT / ".gitignore").read_text().split()
    assert "/classroom/" in ignored
