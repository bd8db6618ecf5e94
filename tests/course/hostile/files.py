"""Hostile, or broken, as files and as cells: nothing of these need run to go wrong."""

from __future__ import annotations

import json
from typing import Any

import nbformat
from course.hostile.world import (
    ALL,
    FILE,
    SIGMOID,
    Link,
    Pipe,
    World,
    Zeros,
    answered,
    as_bytes,
    cell_of,
    first,
    hostile,
    released,
    solved,
)


@hostile(0, word="empty|JSON|notebook")
def empty(world: World) -> Any:
    """A file without a byte."""
    return b""


@hostile(0, word="not attempted")
def untouched(world: World) -> Any:
    """The release as it was."""
    return released()


@hostile(ALL)
def everything(world: World) -> Any:
    """No attack at all: everything solved."""
    return solved()


@hostile(0, word="JSON|notebook")
def truncated(world: World) -> Any:
    """JSON that ends in the middle, as after a full disk."""
    whole = as_bytes(solved())
    return whole[: len(whole) // 2]


@hostile(0, word="JSON|notebook|nest|deep")
def nested(world: World) -> Any:
    """JSON so deep that a parser runs out of stack."""
    return b"[" * 200_000


@hostile(0, word="JSON|notebook|UTF")
def binary(world: World) -> Any:
    """A picture with the notebook's name."""
    return b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8


@hostile(0, word="nbformat|version|format")
def from_the_future(world: World) -> Any:
    """A notebook of a format that doesn't exist."""
    notebook = solved()
    notebook.nbformat = 99
    return json.dumps(notebook).encode()


@hostile(ALL)
def from_the_past(world: World) -> Any:
    """Saved by an old Jupyter: nbformat 4.0, cells without ids."""
    notebook = solved()
    notebook.nbformat_minor = 0
    for cell in notebook.cells:
        del cell["id"]
    return notebook


@hostile(0, word="notebook|cells|JSON")
def not_a_notebook(world: World) -> Any:
    """JSON, and no notebook."""
    return b'{"nbformat": 4, "nbformat_minor": 5, "metadata": [], "cells": {"a": null}}'


@hostile(ALL, word="")
def odd_metadata(world: World) -> Any:
    """Metadata of the wrong kinds: lists for names, a word for points, a dict for a grade_id."""
    notebook = json.loads(as_bytes(solved()))
    check = next(c for c in notebook["cells"] if c["id"].endswith("silu-check"))
    check["metadata"]["nbgrader"] = {"grade_id": {"a": [1]}, "points": "many", "grade": "yes"}
    notebook["cells"][0]["metadata"]["nbgrader"] = [1, 2]
    notebook["metadata"]["kernelspec"] = "python"
    return json.dumps(notebook).encode()


@hostile(0, word="large|MB|bytes")
def enormous(world: World) -> Any:
    """A file of 300 MB."""
    return {FILE: Zeros(300 * 2**20)}


@hostile(0, word="notebook|missing|file")
def wrong_name(world: World) -> Any:
    """The right notebook under a name that nobody looks for."""
    return {"Untitled (1).ipynb": b"{}"}


@hostile(0, word="notebook|missing|file|empty")
def nothing_but_a_folder(world: World) -> Any:
    """A folder with the notebook's name."""
    return {FILE: None}


@hostile(0, word="link|file|notebook")
def link_to_another(world: World) -> Any:
    """The notebook is a link to another student's."""
    return {FILE: Link(f"../everything/{FILE}")}


@hostile(0, word="file|notebook|pipe")
def never_ends(world: World) -> Any:
    """The notebook is a named pipe: whoever opens it waits for ever."""
    return {FILE: Pipe()}


@hostile(SIGMOID)
def links_out(world: World) -> Any:
    """Data beside the notebook are links to the secret, the gradebook and the root."""
    return {
        FILE: first(solved("sigmoid"), world.file(_READS_LINKS)),
        "data.txt": Link(str(world.course / "secret")),
        "book.db": Link(str(world.course / "gradebook.db")),
        "all": Link("/"),
    }


_READS_LINKS = """
import pathlib
for name in ("data.txt", "book.db", "all<course>/secret", "all/etc/passwd"):
    try:
        print(pathlib.Path(name).read_bytes())
    except OSError as error:
        print(error)
"""


@hostile(ALL)
def duplicated_check(world: World) -> Any:
    """A check cell, copied with its metadata and its id."""
    notebook = solved()
    check = cell_of(notebook, "linear", "check")
    notebook.cells.insert(notebook.cells.index(check), check.copy())
    return notebook


@hostile(ALL)
def duplicated_solution(world: World) -> Any:
    """A solution cell copied with its metadata: the upper one wrong, the lower one right."""
    notebook = solved()
    right = cell_of(notebook, "linear", "solution")
    wrong = nbformat.from_dict(json.loads(json.dumps(right)))
    wrong.source = "def linear(x, weight, bias):\n    return x"
    notebook.cells.insert(notebook.cells.index(right), wrong)
    return notebook


@hostile(SIGMOID)
def a_hundred_checks(world: World) -> Any:
    """One check a hundred times: once is counted."""
    notebook = solved("sigmoid")
    notebook.cells += [cell_of(notebook, "sigmoid", "check").copy() for _ in range(100)]
    return notebook


@hostile(ALL)
def deleted_checks(world: World) -> Any:
    """All check cells deleted: they are put back."""
    notebook = solved()
    notebook.cells = [c for c in notebook.cells if not c.metadata.get("nbgrader", {}).get("grade")]
    return notebook


@hostile(ALL - 4, word="linear")
def deleted_solution(world: World) -> Any:
    """One solution cell deleted: its points are lost, no others."""
    notebook = solved()
    notebook.cells.remove(cell_of(notebook, "linear", "solution"))
    return notebook


@hostile(0, word="notebook|cells|not attempted|linear")
def deleted_everything(world: World) -> Any:
    """A valid notebook without cells."""
    notebook = released()
    notebook.cells = []
    return notebook


@hostile(ALL)
def reordered(world: World) -> Any:
    """The exercises in reverse order, each with its check."""
    notebook = solved()
    pairs = [
        (c, cell_of(notebook, c.metadata.roofline.exercise.split(".")[1], "check"))
        for c in notebook.cells
        if c.metadata.get("roofline", {}).get("role") == "solution"
    ]
    taken = [id(cell) for pair in pairs for cell in pair]
    rest = [c for c in notebook.cells if id(c) not in taken]
    notebook.cells = rest + [cell for pair in reversed(pairs) for cell in pair]
    return notebook


@hostile(ALL)
def check_before_solution(world: World) -> Any:
    """A check moved above the answer that it checks."""
    notebook = solved()
    check = cell_of(notebook, "linear", "check")
    notebook.cells.remove(check)
    notebook.cells.insert(notebook.cells.index(cell_of(notebook, "linear", "solution")), check)
    return notebook


@hostile(ALL)
def retyped_check(world: World) -> Any:
    """A check cell turned into markdown, and one into raw text."""
    notebook = json.loads(as_bytes(solved()))
    for cell in notebook["cells"]:
        for name, kind in (("linear-check", "markdown"), ("walk-check", "raw")):
            if cell["id"].endswith(name):
                cell["cell_type"] = kind
                del cell["outputs"], cell["execution_count"]
    return json.dumps(notebook).encode()


@hostile(ALL)
def retyped_solution(world: World) -> Any:
    """A solution cell turned into markdown."""
    notebook = json.loads(as_bytes(solved()))
    for cell in notebook["cells"]:
        if cell["id"].endswith("linear-solution"):
            cell["cell_type"] = "markdown"
            del cell["outputs"], cell["execution_count"]
    return json.dumps(notebook).encode()


@hostile(SIGMOID)
def edited_checks(world: World) -> Any:
    """Every check cell says that all points were earned."""
    notebook = solved("sigmoid")
    for cell in notebook.cells:
        if (grader := cell.metadata.get("nbgrader", {})).get("grade"):
            cell.source = f"{grader['points']}.0"
    return notebook


@hostile(SIGMOID)
def changed_points(world: World) -> Any:
    """Points, locks, checksums and kinds of cells changed in the metadata."""
    notebook = solved("sigmoid")
    for cell in notebook.cells:
        if (grader := cell.metadata.get("nbgrader", {})).get("grade"):
            grader |= {"points": 1000, "locked": False, "checksum": "0" * 32}
            if cell.id.endswith("linear-check"):
                grader |= {"solution": True}
    return notebook


@hostile(SIGMOID)
def graded_answers(world: World) -> Any:
    """Solution cells that say they are graded, for a thousand points, with the points as value."""
    notebook = solved("sigmoid")
    for cell in notebook.cells:
        grader = cell.metadata.get("nbgrader", {})
        if grader.get("solution") and not cell.id.endswith("sigmoid-solution"):
            grader |= {"grade": True, "points": 1000}
            cell.source = "1000.0"
    return notebook


@hostile(ALL)
def renamed_checks(world: World) -> Any:
    """Each check has the grade_id of the next one."""
    notebook = solved()
    checks = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade")]
    names = [c.metadata.nbgrader.grade_id for c in checks]
    for cell, name in zip(checks, names[1:] + names[:1], strict=True):
        cell.metadata.nbgrader.grade_id = name
    return notebook


@hostile(ALL)
def stripped(world: World) -> Any:
    """All metadata gone, as after a tool that knows nothing of nbgrader."""
    notebook = solved()
    for cell in notebook.cells:
        cell.metadata.clear()
    return notebook


@hostile(SIGMOID)
def outputs_that_say_so(world: World) -> Any:
    """Outputs already in the file, with full points in every check."""
    notebook = solved("sigmoid")
    for cell in notebook.cells:
        if (grader := cell.metadata.get("nbgrader", {})).get("grade"):
            data = {"text/plain": str(float(grader["points"]))}
            cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
    return notebook


@hostile(ALL - 4, word="silu|syntax")
def syntax_error(world: World) -> Any:
    """An answer that isn't Python."""
    return answered(solved(), "silu", "def silu(x:\n    return")
