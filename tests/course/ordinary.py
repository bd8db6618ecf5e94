"""An ordinary nbgrader assignment, such as an instructor has: two notebooks, none of our
exercises, and what six students hand in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

NAME = "ps1"


def _cell(kind: str, source: str, grade_id: str = "", **flags: Any) -> NotebookNode:
    new = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
    cell = new(source)
    if grade_id:
        own = {"grade": False, "solution": False, "locked": False, "task": False}
        cell.metadata["nbgrader"] = {**own, "schema_version": 3, "grade_id": grade_id, **flags}
    return cell


def _notebook(*cells: NotebookNode) -> NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"c{number}"
    return notebook


def write_source(folder: Path) -> None:
    """The instructor's notebooks, solutions in them, and a file beside them."""
    folder.mkdir(parents=True)
    solution = {"solution": True}
    test = {"grade": True, "locked": True}
    one = _notebook(
        _cell("markdown", "# Squares\n\nif $a<b$ then ..."),
        _cell("code", "import json\nscale = json.load(open('scale.json'))", "setup", locked=True),
        _cell(
            "code",
            "def squares(n):\n    ### BEGIN SOLUTION\n"
            "    return [i * i for i in range(1, n + 1)]\n    ### END SOLUTION",
            "squares",
            **solution,
        ),
        _cell("code", "assert squares(2) == [1, 4]", "visible", points=1, **test),
        _cell(
            "code",
            "assert squares(1) == [1]\n### BEGIN HIDDEN TESTS\n"
            "assert squares(3) == [1, 4, 9 * scale]\n### END HIDDEN TESTS",
            "hidden",
            points=2,
            **test,
        ),
        _cell(
            "code",
            "earned = 0\nfor n in (1, 2, 3, 4):\n    earned += 0.5 * (sum(squares(n)) == "
            "sum(i * i for i in range(1, n + 1)))\nearned",
            "partial",
            points=2,
            **test,
        ),
    )
    two = _notebook(
        _cell("code", "x = 3"),
        _cell(
            "code",
            "# YOUR CODE HERE\n### BEGIN SOLUTION\ny = x + 1\n### END SOLUTION",
            "by-hand",
            grade=True,
            points=3,
            **solution,
        ),
        _cell("code", "assert y == 4", "works", points=1, **test),
        _cell("markdown", "Why?", "why", grade=True, points=4, **solution),
        _cell("markdown", "Draw a graph below.", "task", task=True, locked=True, points=2),
    )
    nbformat.write(one, folder / "squares.ipynb")
    nbformat.write(two, folder / "words.ipynb")
    (folder / "scale.json").write_text("1")


RIGHT = "def squares(n):\n    return [i * i for i in range(1, n + 1)]"
# Passes what is seen; the hidden test finds it out.
SEEN = "def squares(n):\n    return [1, 4][:n]"


def submit(release: Path, submitted: Path) -> list[str]:
    """Hand in for six students; returns their ids."""

    def read(name: str) -> NotebookNode:
        return nbformat.read(release / NAME / f"{name}.ipynb", as_version=4)

    def fill(notebook: NotebookNode, answers: dict[str, str]) -> NotebookNode:
        for cell in notebook.cells:
            own = cell.metadata.get("nbgrader", {}).get("grade_id")
            cell.source = answers.get(own, cell.source)
        return notebook

    def hand_in(student: str, **notebooks: NotebookNode) -> None:
        folder = submitted / student / NAME
        folder.mkdir(parents=True)
        for name, notebook in notebooks.items():
            nbformat.write(notebook, folder / f"{name}.ipynb")

    words = {"by-hand": "y = x + 1", "why": "Because."}
    hand_in(
        "right", squares=fill(read("squares"), {"squares": RIGHT}), words=fill(read("words"), words)
    )
    hand_in("seen", squares=fill(read("squares"), {"squares": SEEN}), words=read("words"))
    hand_in("untouched", squares=read("squares"), words=read("words"))
    edited = fill(
        read("squares"), {"squares": SEEN, "visible": "", "hidden": "pass", "partial": "2"}
    )
    for cell in edited.cells:
        if cell.metadata.get("nbgrader", {}).get("points"):
            cell.metadata.nbgrader.points = 50
    hand_in("editor", squares=edited, words=fill(read("words"), words | {"by-hand": "y = 1 / 0"}))
    deleted = fill(read("squares"), {"squares": RIGHT})
    deleted.cells = [
        c for c in deleted.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "hidden"
    ]
    hand_in("deleter", squares=deleted, words=fill(read("words"), words | {"by-hand": "y = 5"}))
    hand_in("half", squares=fill(read("squares"), {"squares": RIGHT}))  # the other isn't there
    return ["right", "seen", "untouched", "editor", "deleter", "half"]
