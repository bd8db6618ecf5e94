"""What is asked of notebooks while nbval runs them can be failed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from roofline.classroom import build

TESTS = Path(__file__).parents[1]
LIBRARY = Path(build.__file__).parents[2]
SOLUTION, RELEASE = build.solution_path("90_sample"), build.release_path("90_sample")


def nbval(course: Path, *paths: Path) -> tuple[int, str]:
    options = ["-p", "notebooks.nbval_checks", "-p", "no:cacheprovider", "--color=no", "-rfE"]
    options += ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=60", "-c", os.devnull]
    own = {"PYTHONPATH": os.pathsep.join([str(TESTS), str(LIBRARY)])}
    own["CI"] = ""  # where it is set, pytest's summary says every failure again, in full
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"--rootdir={course}", *options, *map(str, paths)],
        cwd=course,
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_built_chapter_passes(built_course: Path) -> None:
    status, said = nbval(built_course, SOLUTION, RELEASE)
    assert status == 0, said
    assert "18 passed" in said


@pytest.fixture
def spoilt(built_course: Path, tmp_path: Path) -> Path:
    """A solution with another committed output; a release with an answer and a warning in it."""
    course = Path(shutil.copytree(built_course, tmp_path / "course"))
    for path in (SOLUTION, RELEASE):
        notebook = nbformat.read(course / path, as_version=4)
        cells = {cell.id.removeprefix("90_sample-"): cell for cell in notebook.cells}
        if path == SOLUTION:
            cells["measured"].outputs[0].text = "took 9.000 s\n"
            del cells["picture"].outputs[0]
        else:
            cells["double-solution"].source = "def double(x):\n    return x"
            cells["picture"].source += "\nimport warnings\nwarnings.warn('careful')"
        nbformat.write(notebook, course / path)
    return course


def test_what_it_asks_can_fail(spoilt: Path) -> None:
    status, said = nbval(spoilt, SOLUTION, RELEASE)
    assert status == 1
    reasons = re.findall(r"^Cell \d+: (.*)$", said, re.M)
    assert len(reasons) == 4, said
    assert re.fullmatch(r"Outputs are not .* output 1: 2\.\d+ instead of 9\.000", reasons[0])
    assert "1 outputs, 0 committed" in reasons[1]
    assert "writes to stderr" in reasons[2] and "careful" in reasons[2]
    assert "must say 'not attempted yet'" in reasons[3]
    assert "4 failed, 14 passed" in said
