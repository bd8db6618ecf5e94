"""Real nbgrader with its own defaults: generate_assignment, autograde, validate, feedback.

nbgrader takes a check cell's last value as partial credit, any word on stderr as no credit, and no
output as full credit. So these runs are the proof that a check cell gives what its table says.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from needs import need

CHAPTER = "07_drill"
POINTS = {"linear": 4, "double": 2}

STUB = "    ### BEGIN SOLUTION\n{}\n    ### END SOLUTION"
LINEAR = "    return x @ w.T + b, lambda dy: (dy @ w, dy.T @ x, dy.sum(0))"
DOUBLE = "    return x + x"

NOISY = """
    import logging, os, sys, warnings
    print("text on stderr", file=sys.stderr)
    warnings.warn("a warning")
    logging.basicConfig()
    logging.warning("a log line")
    os.write(2, b"bytes below Python")
    os.system("echo a child process >&2")
    print(3)
""".strip("\n")

# What each student writes into the two cells, and the points that it deserves. The rebel's first
# answer never ends, and the notebook has a check and a sealed of its own.
STUDENTS: dict[str, tuple[str, str, dict[str, float]]] = {
    "solved": (LINEAR, DOUBLE, {"linear": 4, "double": 2}),
    "half": (
        NOISY + "\n    return x @ w.T + b, lambda dy: (dy @ w, dy.T @ x, dy.mean(0))",
        "    return 1 / 0",
        {"linear": 3, "double": 0},
    ),
    "rebel": (
        "    while True:\n        try:\n            pass\n        except:\n            pass",
        "    raise SystemExit(0)\n\ndef check(*a): return 2.0\nsealed = check",
        {"linear": 0, "double": 0},
    ),
}


def source() -> Any:
    """The instructor's version: two exercises, as the build makes them."""
    new = nbformat.v4
    cells = [new.new_code_cell("import torch\nfrom roofline.grading import check", id="imports")]
    for name, arguments, solution in (
        ("linear", "x, w, b", LINEAR),
        ("double", "x", DOUBLE),
    ):
        solve = new.new_code_cell(
            f"def {name}({arguments}):\n{STUB.format(solution)}", id=f"{CHAPTER}-{name}"
        )
        test = new.new_code_cell(
            f'check("drill.{name}", {name})\n### BEGIN HIDDEN TESTS\n'
            "from roofline.grading import sealed\n"
            f'sealed("drill.{name}", {name})\n### END HIDDEN TESTS',
            id=f"{CHAPTER}-{name}-check",
        )
        common = {"schema_version": 3, "task": False}
        solve.metadata["nbgrader"] = common | {
            "grade": False,
            "grade_id": solve.id,
            "locked": False,
            "solution": True,
        }
        test.metadata["nbgrader"] = common | {
            "grade": True,
            "grade_id": test.id,
            "locked": True,
            "points": POINTS[name],
            "solution": False,
        }
        cells += [solve, test]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def submission(release: Path, linear: str, double: str) -> Any:
    notebook = nbformat.read(release, as_version=4)
    stub = "    # YOUR CODE HERE\n    raise NotImplementedError()"
    for cell, text in ((notebook.cells[1], linear), (notebook.cells[3], double)):
        assert stub in cell.source
        cell.source = cell.source.replace(stub, text)
    return notebook


def nbgrader(course: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run nbgrader there, with every setting at its default."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "ROOFLINE_EXERCISES": str(Path(__file__).parent / "exercises"),
        "ROOFLINE_HOME": str(course / "home"),
        "ROOFLINE_SEED": "of this course",
        "OMP_NUM_THREADS": "1",
        "JUPYTER_CONFIG_DIR": str(course / "config"),
        "IPYTHONDIR": str(course / "ipython"),
    }
    return subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course that has been released, submitted to and autograded."""
    need(importlib.util.find_spec("nbgrader") is not None, "nbgrader")
    folder = tmp_path_factory.mktemp("course")
    target = folder / "source" / CHAPTER / f"{CHAPTER}.ipynb"
    target.parent.mkdir(parents=True)
    nbformat.write(source(), target)
    done = nbgrader(folder, "generate_assignment", CHAPTER)
    assert done.returncode == 0, done.stderr
    release = folder / "release" / CHAPTER / f"{CHAPTER}.ipynb"
    for student, (linear, double, _) in STUDENTS.items():
        place = folder / "submitted" / student / CHAPTER
        place.mkdir(parents=True)
        nbformat.write(submission(release, linear, double), place / f"{CHAPTER}.ipynb")
    shutil.copytree(release.parent, folder / "submitted" / "untouched" / CHAPTER)
    done = nbgrader(folder, "autograde", CHAPTER)
    assert done.returncode == 0, done.stderr
    return folder


def cells(course: Path, student: str) -> dict[str, Any]:
    """The check cells of an autograded notebook."""
    path = course / "autograded" / student / CHAPTER / f"{CHAPTER}.ipynb"
    found = nbformat.read(path, as_version=4).cells
    return {c.metadata.nbgrader.grade_id.split("-")[1]: c for c in found if "check" in c.id}


def scores(course: Path, student: str) -> dict[str, float]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        notebook = gradebook.find_submission_notebook(CHAPTER, CHAPTER, student)
        return {g.cell.name.split("-")[1]: g.auto_score for g in notebook.grades}


@pytest.mark.parametrize("student", STUDENTS)
def test_autograde_records_what_the_table_says(course: Path, student: str) -> None:
    assert scores(course, student) == STUDENTS[student][2]


def test_the_untouched_release_earns_nothing(course: Path) -> None:
    assert scores(course, "untouched") == {"linear": 0, "double": 0}
    for cell in cells(course, "untouched").values():
        assert [o.output_type for o in cell.outputs] == [
            "display_data",
            "display_data",
            "execute_result",
        ]
        assert cell.outputs[-1].data["text/plain"] == "0.0"
        assert "not attempted yet" in cell.outputs[-2].data["text/plain"]


def test_nothing_reaches_stderr_and_nothing_is_raised(course: Path) -> None:
    for student in [*STUDENTS, "untouched"]:
        for cell in cells(course, student).values():
            kinds = [o.get("name", o.output_type) for o in cell.outputs]
            assert "stderr" not in kinds and "error" not in kinds
            assert kinds[-1] == "execute_result"


def test_the_table_is_in_the_notebook_with_its_data(course: Path) -> None:
    first, second, value = cells(course, "half")["linear"].outputs
    assert value.data["text/plain"] == "3.0"
    for output in (first, second):
        assert "mean over the batch where the sum is asked" in output.data["text/plain"]
        assert "<table" in output.data["text/html"]
        assert output.metadata["roofline"]["earned"] == 3
        assert output.metadata["roofline"]["items"][0]["name"] == "result"
    note = "note: it printed: text on stderr"
    assert note in first.data["text/plain"]
    for words in ("a log line", "bytes below Python", "a child process", "it warned: UserWarning"):
        assert words in " ".join(first.data["text/plain"].split())
    assert "fresh cases, seed " in second.data["text/plain"]
    assert "of this course" not in json.dumps(second)
    spent = cells(course, "rebel")["linear"].outputs[0].data["text/plain"]
    assert "it was stopped after 5 seconds (your line" in " ".join(spent.split())


def test_nothing_was_recorded_as_somebodys_progress(course: Path) -> None:
    assert not (course / "home").exists()


def test_feedback_shows_the_tables_and_no_secret(course: Path) -> None:
    done = nbgrader(course, "generate_feedback", CHAPTER, "--student", "half")
    assert done.returncode == 0, done.stderr
    page = (course / "feedback" / "half" / CHAPTER / f"{CHAPTER}.html").read_text("utf-8")
    assert "mean over the batch where the sum is asked" in page
    assert "of this course" not in page


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ("solved", "Success! Your notebook passes all the tests."),
        ("untouched", "VALIDATION FAILED ON 2 CELL(S)!"),
    ],
)
def test_validate_says_the_same(course: Path, student: str, words: str) -> None:
    path = course / "submitted" / student / CHAPTER / f"{CHAPTER}.ipynb"
    done = nbgrader(course, "validate", str(path))
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def test_the_release_holds_no_sealed_call_and_no_solution(course: Path) -> None:
    text = (course / "release" / CHAPTER / f"{CHAPTER}.ipynb").read_text("utf-8")
    assert "sealed" not in text and "HIDDEN" not in text and "return" not in text
