"""From a chapter's source to its notebook, before it is run: ids, metadata, cards, graded cells.

Nothing here depends on the machine or the hour, so equal sources give equal bytes. The nbgrader
metadata follows schema 3 (nbgrader/nbgraderformat/v3.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from roofline.classroom.source import HIDDEN, Cell, Chapter, checked_name
from roofline.grading import Exercise, find

# What Jupyter writes, less the version of Python, which differs from machine to machine.
NOTEBOOK_METADATA: dict[str, Any] = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}


def assemble(chapter: Chapter) -> NotebookNode:
    """The chapter as a notebook without outputs, solutions and graded cells in it."""
    notebook = nbformat.v4.new_notebook(metadata=NOTEBOOK_METADATA)
    notebook.nbformat_minor = 5
    notebook.cells = [_cell(chapter, cell) for cell in chapter.cells]
    return notebook


def cell_id(chapter: str, name: str) -> str:
    """The id of a cell, which is its grade_id too: the chapter's name and the cell's."""
    return f"{chapter}-{name}"


def _cell(chapter: Chapter, cell: Cell) -> NotebookNode:
    new = nbformat.v4.new_markdown_cell if cell.kind == "markdown" else nbformat.v4.new_code_cell
    made = new(cell.text, id=cell_id(chapter.name, cell.name))
    if cell.tags:
        made.metadata["tags"] = list(cell.tags)
    ours: dict[str, Any] = {}
    if cell.exercise is not None:
        ours |= {"exercise": cell.exercise, "role": cell.role}
    if cell.tolerance is not None:
        ours["tolerance"] = cell.tolerance
    if ours:
        made.metadata["roofline"] = ours
    if cell.exercise is not None:
        _fill_in(made, cell, find(cell.exercise))
    return made


def _fill_in(made: NotebookNode, cell: Cell, exercise: Exercise) -> None:
    """The card of a lead-in, the nbgrader metadata of a solution, the sealed call of a check."""
    grader = {"grade_id": made.id, "locked": False, "schema_version": 3, "task": False}
    if cell.role == "exercise":
        made.source += f"\n\n{card(exercise)}"
    elif cell.role == "solution":
        made.metadata["nbgrader"] = grader | {"grade": False, "solution": True}
    elif cell.role == "check":
        # Imported here and not in the chapter: what a learner's cells call `sealed` doesn't count.
        made.source += (
            f"\n### BEGIN {HIDDEN}\n"
            "from roofline.grading import sealed\n"
            f'sealed("{cell.exercise}", {checked_name(cell)})\n'
            f"### END {HIDDEN}"
        )
        points = (
            int(exercise.points) if exercise.points == int(exercise.points) else exercise.points
        )
        made.metadata["nbgrader"] = grader | {
            "grade": True,
            "locked": True,
            "points": points,
            "solution": False,
        }


def card(exercise: Exercise) -> str:
    """The line under a lead-in: how hard, how important, how long, how many points."""
    points = f"{exercise.points:g} point{'' if exercise.points == 1 else 's'}"
    return (
        f"*Difficulty {exercise.difficulty} of 5 · importance {exercise.importance} of 5 · "
        f"about {exercise.minutes} minutes · {points}*"
    )


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, with the same bytes on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(notebook))


def to_bytes(notebook: NotebookNode) -> bytes:
    nbformat.validate(notebook)
    return (nbformat.writes(notebook) + "\n").encode()
