"""docs/instructor.md, followed literally in an empty folder."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from needs import need

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "instructor.md").read_text(encoding="utf-8")
# "Write `path`" and the block below it; or a block of commands.
STEP = re.compile(
    r"Write `([\w./]+)`(?:(?!```).)*?```(?:csv|python)\n(.*?)^```|^```sh\n(.*?)^```", re.M | re.S
)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The course, after everything on the page was done; what was printed is in ``said``."""
    need(sys.platform == "linux" and shutil.which("bwrap") is not None, "bubblewrap")
    folder = tmp_path_factory.mktemp("guide")
    (folder / "home").mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "PATH": path}
    own |= {"PYTHONPATH": str(ROOT / "lib"), "COLUMNS": "200"}
    here, said = folder, []
    steps = list(STEP.finditer(PAGE))
    assert len(steps) > 8
    for step in steps:
        file, content, commands = step.groups()
        if file:
            (here / file).write_text(content, encoding="utf-8")
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{commands}\necho; echo here=$PWD"],
            cwd=here,
            env=os.environ | own,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        here = Path(re.findall(r"^here=(.*)$", done.stdout, re.M)[-1])
        said.append(f"$ {commands}{done.stdout}")
    (folder / "said").write_text("\n".join(said), encoding="utf-8")
    return here


def test_a_graded_class_is_there(followed: Path) -> None:
    with open(followed / "grades.csv", newline="", encoding="utf-8-sig") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert [rows[name]["score"] for name in ("ada", "bob", "chi")] == ["26.0", "0.0", "0.0"]
    assert [rows[name]["submitted"] for name in ("ada", "bob", "chi")] == ["yes", "yes", "no"]
    canvas = (followed / "grades-canvas.csv").read_text(encoding="utf-8").splitlines()
    assert canvas[2] == '"Lovelace, Ada",1815,,ada,,26.0'
    assert (followed / "grades-moodle.csv").read_text(encoding="utf-8").count("\n") >= 4


def test_what_the_page_names_is_there(followed: Path) -> None:
    for name in re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+) \|", PAGE, re.M):
        for path in re.findall(r"`([\w./]+)`", name):
            assert (followed / path).exists(), path
    assert (followed / "feedback" / "ada" / "02_backprop" / "02_backprop.html").exists()
    assert "<img" in (followed / "reports" / "02_backprop.html").read_text(encoding="utf-8")
    score = json.loads((followed.parent / "drop" / "ada-attempt-1.score.json").read_text())
    assert (score["score"], score["status"]) == (26.0, "graded")


def test_the_commands_said_what_they_did(followed: Path) -> None:
    said = (followed.parent / "said").read_text(encoding="utf-8")
    for words in ("with 3 students", "2 collected", "2 graded", "the grader is right"):
        assert words in said, words


def test_links_and_console_commands_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE):
        if not link.startswith("https://"):
            assert (ROOT / "docs" / link).exists(), link
    console = "\n".join(re.findall(r"^```(?:console|sh)\n(.*?)^```", PAGE, re.M | re.S))
    import roofline.cli  # noqa: F401  (puts all commands together)
    from roofline.course.commands import app

    commands = app.registered_commands
    known = {c.name or c.callback.__name__ for c in commands if c.callback is not None}
    used = set(re.findall(r"^roofline class ([a-z]+)", console, re.M))
    assert {"init", "release", "collect", "grade", "feedback", "report", "export"} <= used
    assert used <= known
    from nbgrader.apps.nbgraderapp import NbGraderApp

    theirs = set(re.findall(r"^nbgrader ([a-z_]+)", console, re.M))
    assert theirs and theirs <= set(NbGraderApp.subcommands)
