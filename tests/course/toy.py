"""An ordinary nbgrader assignment, as an instructor already has: none of our exercises in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

NAME = "toy"

CELLS: list[tuple[str, str, dict[str, Any]]] = [
    ("markdown", "# Squares", {}),
    ("code", "start = 2", {}),
    (
        "code",
        "def square(x):\n    ### BEGIN SOLUTION\n    return x * x\n    ### END SOLUTION",
        {"grade_id": "square", "solution": True},
    ),
    (
        "code",
        "assert square(start) == 4\n### BEGIN HIDDEN TESTS\nassert square(-3) == 9\n"
        "### END HIDDEN TESTS",
        {"grade_id": "test_square", "grade": True, "locked": True, "points": 3},
    ),
    (
        "code",
        "### BEGIN SOLUTION\nhalf = 0.5\n### END SOLUTION",
        {"grade_id": "half", "solution": True},
    ),
    ("code", "half", {"grade_id": "test_half", "grade": True, "locked": True, "points": 1}),
]


def source(essay: bool = False) -> NotebookNode:
    """The instructor's notebook; with ``essay``, one cell is graded by a person."""
    cells = list(CELLS)
    if essay:
        cells.append(
            ("markdown", "### BEGIN SOLUTION\nyes\n### END SOLUTION\nWhy?", _ESSAY),
        )
    notebook = nbformat.v4.new_notebook()
    for number, (kind, text, grader) in enumerate(cells):
        new = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
        cell = new(text, id=grader.get("grade_id", f"plain-{number}").replace("_", "-"))
        if grader:
            blank = {"grade": False, "solution": False, "locked": False, "task": False}
            cell.metadata["nbgrader"] = {**blank, "schema_version": 3, **grader}
        notebook.cells.append(cell)
    return notebook


_ESSAY: dict[str, Any] = {"grade_id": "essay", "grade": True, "solution": True, "points": 5}


def write(folder: Path, essay: bool = False) -> Path:
    """The source as a file."""
    path = folder / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(source(essay), path)
    return path


def answered(square: str = "return x * x", half: str = "half = 0.5") -> NotebookNode:
    """What a student hands in."""
    notebook = source()
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name == "square":
            cell.source = f"def square(x):\n    {square}"
        elif name == "half":
            cell.source = half
        elif name == "test_square":
            cell.source = "assert square(start) == 4"
    return notebook
