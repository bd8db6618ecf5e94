"""Checks of a notebook from the command line, and what a kernel shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from roofline.grading.notebook import NotRun, locate, run

CELLS = """
import sys
from roofline.grading import check, predict, progress, reconcile
progress("drill")
---
def linear(x, w, b):
    return x @ w.T + b, lambda dy: (dy @ w, dy.T @ x, dy.mean(0))
---
check("drill.linear", linear)
---
raise ValueError("in a cell of the learner's")
---
def double(x):
    y = x + nonsense
    return y
---
score = check("drill.double", double)
check("drill.double", double)
---
def row_norms(x):
    raise NotImplementedError()
---
check("drill.row_norms", row_norms)
---
check("drill.liner", linear)
---
predict("drill.guess", 2)
reconcile("drill.guess", 4, how="counted")
---
while not True: pass
sys.executable
"""


def write(path: Path, text: str, kernel: str = "no such kernel") -> Path:
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": kernel, "display_name": ""}}
    )
    notebook.cells = [nbformat.v4.new_code_cell(c.strip()) for c in text.split("---")]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def roofline(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "roofline.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    return write(tmp_path / "chapters" / "07_drill" / "07_drill.ipynb", CELLS)


def test_roofline_check_prints_the_tables_and_the_total(chapter: Path, home: Path) -> None:
    before = chapter.read_bytes()
    done = roofline("check", "drill", cwd=chapter.parent)
    assert done.returncode == 1
    out = done.stdout
    assert "drill.linear · 3 of 4 points" in out
    assert "hint: mean over the batch where the sum is asked" in out
    assert "drill.double · 0 of 2 points" in out and out.count("drill.double ·") == 1
    assert "it raised NameError: name 'nonsense' is not defined" in " ".join(out.split())
    assert "(your line 2 of double: y = x + nonsense)" in " ".join(out.split())
    assert "drill.row_norms · not attempted yet (0 of 3 points)" in out
    assert "error: code cell 4: ValueError: in a cell of the learner's" in out
    assert out.rstrip().endswith("07_drill: 3 of 9 points")
    assert chapter.read_bytes() == before
    assert "Traceback" not in out + done.stderr

    listed = roofline("progress", cwd=chapter.parent)
    assert listed.returncode == 0
    row = next(line for line in listed.stdout.splitlines() if "linear" in line and "drill" in line)
    assert "3 of 4" in row and "in part" in row
    assert "07_drill" in row, "a chapter goes by its notebook's name, and so by its number"
    wide = {len(line) for line in listed.stdout.splitlines() if "drill" in line}
    assert max(wide) <= 80
    data = json.loads(roofline("progress", "drill", "--json", cwd=chapter.parent).stdout)
    assert [e["best"] for e in data["chapters"]["drill"]] == [3.0, 0.0, 0.0]
    assert data["chapters"]["drill"][1]["attempts"] == 2


def test_json_and_exit_codes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.ipynb",
        "from roofline.grading import check\n---\ncheck('drill.double', lambda x: x + x)",
    )
    done = roofline("check", str(path), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert (data["earned"], data["points"], data["errors"]) == (2.0, 2, [])
    assert data["checks"][0]["exercise"] == "drill.double"
    assert data["checks"][0]["items"][0] == {
        "name": "values",
        "points": 1,
        "earned": 1,
        "message": "as expected",
        "hint": "",
    }


def test_what_a_kernel_shows(tmp_path: Path) -> None:
    """Table and value are two outputs; a table has text, HTML and data."""
    from nbclient import NotebookClient

    path = write(tmp_path / "mine.ipynb", CELLS.replace("raise ValueError", "str"), "python3")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, kernel_name="python3").execute()
    outputs: list[list[Any]] = [c.outputs for c in notebook.cells]
    assert outputs[0][0].data["text/plain"].startswith("0 of 3 exercises done, 0 of 9 points")
    assert "<table" in outputs[0][0].data["text/html"]
    table, value = outputs[2]
    assert table.output_type == "display_data"
    assert table.metadata["roofline"]["exercise"] == "drill.linear"
    assert (value.output_type, value.data) == ("execute_result", {"text/plain": "3.0"})
    assert outputs[8][0].data["text/plain"].startswith("no exercise 'drill.liner'; did you mean")
    assert [o.data["text/plain"] for o in outputs[9]] == [
        "You predict 2. Kept.",
        "You predicted 2; counted 4. That is 2 times what you predicted.",
    ]
    assert not any(o.output_type == "stream" for cell in outputs for o in cell)


def test_a_kernel_that_dies_is_reported(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.ipynb",
        "from roofline.grading import check\ncheck('drill.double', lambda x: x + x)\n---\n"
        "import os\nos._exit(1)\n---\n1",
    )
    steps = []
    report = run(path, lambda done, of: steps.append((done, of)))
    assert report.earned == 2
    assert report.errors == ["the kernel died: what follows was not run"]
    assert steps[0] == (1, 3)


def test_where_a_notebook_is_looked_for(chapter: Path, tmp_path: Path) -> None:
    deep = tmp_path / "chapters" / "07_drill" / "deeper"
    deep.mkdir()
    for name in ("07_drill", "drill"):
        assert locate(name, deep) == locate(name, tmp_path) == chapter.resolve()
    assert locate(str(chapter)) == chapter
    with pytest.raises(NotRun, match="did you mean 07_drill"):
        locate("07_dril", tmp_path)
    with pytest.raises(NotRun, match="there are 07_drill"):
        locate("attention", tmp_path)
    with pytest.raises(NotRun, match="there is no notebook none.ipynb"):
        locate("none.ipynb")
    with pytest.raises(NotRun, match="go to the course's folder"):
        locate("drill", Path("/"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"nbformat": 99}', "\0\1"])
def test_what_is_no_notebook_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.ipynb"
    path.write_text(text)
    with pytest.raises(NotRun) as error:
        run(path)
    assert "\n" not in str(error.value)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    done = roofline("check", "07_drill", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.count("\n") == 1


def test_the_command_line_starts_without_torch() -> None:
    code = (
        "import roofline.cli, sys; assert not {'torch', 'nbclient', 'rich.table'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
