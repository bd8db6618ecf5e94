"""From the file that somebody handed in to a notebook that nbgrader accepts.

What is read here was made by somebody else, by hand or to do harm. It is taken apart and put
together anew: only sources, types, and the ids of graded cells come from it. Graded and locked
cells get their sources, points and settings from the release, so nothing that was edited there
counts. Stock nbgrader stops a whole batch at a duplicated cell (DeduplicateIds leaves metadata
behind that CheckCellMetadata refuses) and at a deleted one whose neighbour is gone too (KeyError in
OverwriteCells.add_missing_grade_cells); here every file becomes a notebook or a reason.
"""

from __future__ import annotations

import json
from typing import Any

import nbformat
from nbformat import NotebookNode

from roofline.course.files import plain
from roofline.course.master import Master, MasterCell

MAX_CELLS = 2_000
MAX_SOURCE = 2 * 2**20


def clean(raw: bytes, master: Master) -> tuple[NotebookNode | None, list[str], str]:
    """A notebook that has all that the release has, from what was handed in.

    Returns the notebook, what was put right, and, if there is no notebook, why. Never raises
    because of ``raw``.
    """
    notes: list[str] = []
    try:
        cells, problem = _read(raw, notes)
        if problem:
            return None, notes, problem
        notebook = _assemble(cells, master, notes)
        nbformat.validate(notebook)
        return notebook, notes, ""
    except RecursionError:
        return None, notes, "the notebook is nested too deeply"
    except MemoryError:
        return None, notes, "the notebook is too large"
    except Exception as error:
        said = plain(" ".join(str(error).split()))[:200]
        return None, notes, f"the notebook can't be read: {type(error).__name__}: {said}"


def blank(master: Master) -> NotebookNode:
    """The release itself, for a notebook that wasn't handed in or can't be read."""
    return _assemble([], master, [], restore_all=True)


def _read(raw: bytes, notes: list[str]) -> tuple[list[dict[str, Any]], str]:
    """The cells as plain dictionaries, or why there are none."""
    if not raw.strip():
        return [], "the file is empty"
    try:
        read = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return [], "the file is not UTF-8 text, so it is no notebook"
    except ValueError as error:
        said = " ".join(str(error).split())[:120]
        return [], f"the file is not JSON, so it is no notebook or was cut off: {said}"
    if not isinstance(read, dict):
        return [], "the file is JSON, but no notebook"
    version = read.get("nbformat")
    if version == 3:
        read = nbformat.convert(nbformat.from_dict(read), 4)
        notes.append("it was in notebook format 3 and was converted")
    elif version != 4 or isinstance(version, bool):
        return [], f"notebook format {plain(repr(version))[:40]}: expected 4"
    cells = read.get("cells")
    if not isinstance(cells, list):
        return [], "the notebook has no list of cells"
    if len(cells) > MAX_CELLS:
        return [], f"the notebook has {len(cells):,} cells, at most {MAX_CELLS:,}"
    made = [_cell(cell) for cell in cells if isinstance(cell, dict)]
    if len(made) < len(cells):
        notes.append(f"{len(cells) - len(made)} entries that are no cells were dropped")
    size = sum(len(cell["source"]) for cell in made)
    if size > MAX_SOURCE:
        return [], f"the cells have {size:,} characters, at most {MAX_SOURCE:,}"
    return made, ""


def _cell(given: dict[str, Any]) -> dict[str, Any]:
    """What is taken from a cell: its kind, its source, which graded cell it is."""
    source = given.get("source", "")
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    metadata = given.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    kind = given.get("cell_type")
    cell: dict[str, Any] = {
        "kind": kind if kind in ("code", "markdown", "raw") else "raw",
        "source": plain(source) if isinstance(source, str) else "",
        "grade_id": grade_id if isinstance(grade_id, str) else "",
        "cell_id": given.get("id") if isinstance(given.get("id"), str) else "",
    }
    attachments = given.get("attachments")
    if kind == "markdown" and isinstance(attachments, dict):
        cell["attachments"] = {
            plain(name): {plain(k): plain(v) for k, v in bundle.items() if isinstance(v, str)}
            for name, bundle in attachments.items()
            if isinstance(bundle, dict) and name in cell["source"]
        }
    return cell


def _assemble(
    cells: list[dict[str, Any]], master: Master, notes: list[str], restore_all: bool = False
) -> NotebookNode:
    by_id = master.by_id
    by_cell_id = {cell.cell_id: cell for cell in master.cells if cell.cell_id and cell.grade_id}
    seen: set[str] = set()
    made: list[NotebookNode] = []
    for cell in reversed(cells):  # of a cell that is there twice, the last one is the cell
        known = by_id.get(cell["grade_id"]) or by_cell_id.get(cell["cell_id"])
        if known is not None and known.grade_id in seen:
            notes.append(f"the cell {known.grade_id} was there more than once: the last one counts")
            known = None
        if known is None:
            made.append(_new(cell["kind"], cell["source"]))
        else:
            seen.add(known.grade_id)
            if known.fixed and cell["source"] not in (known.shown, known.source):
                notes.append(f"the cell {known.grade_id} was edited: the released one is used")
            if cell["kind"] != known.kind:
                notes.append(f"the cell {known.grade_id} was a {cell['kind']} cell: put right")
            made.append(_from_master(known, None if known.fixed else cell["source"]))
        if cell.get("attachments") and made[-1].cell_type == "markdown":
            made[-1]["attachments"] = cell["attachments"]
    made.reverse()
    _restore(made, master, seen, notes, restore_all)
    for number, node in enumerate(made):
        node["id"] = f"cell-{number}"
    return nbformat.from_dict(
        {"cells": made, "metadata": master.metadata, "nbformat": 4, "nbformat_minor": 5}
    )


def _restore(
    made: list[NotebookNode], master: Master, seen: set[str], notes: list[str], everything: bool
) -> None:
    """Put back graded and locked cells that are missing, each after the one that it followed."""
    at = {_grade_id(node): index for index, node in enumerate(made) if _grade_id(node)}
    place = -1
    for cell in master.cells:
        if cell.grade_id in at:
            place = at[cell.grade_id]
        elif (cell.grade_id and (cell.fixed or cell.graded)) or everything:
            if not everything:
                notes.append(f"the cell {cell.grade_id} was deleted: it was put back")
            place += 1
            made.insert(place, _from_master(cell, None))
            at = {key: index + (index >= place) for key, index in at.items()}


def _grade_id(node: NotebookNode) -> str:
    return str(node.metadata.get("nbgrader", {}).get("grade_id", ""))


def _from_master(cell: MasterCell, source: str | None) -> NotebookNode:
    node = _new(cell.kind, cell.source if source is None else source)
    node.metadata.update(nbformat.from_dict(cell.metadata))
    if cell.nbgrader:
        node.metadata["nbgrader"] = nbformat.from_dict(cell.nbgrader)
    return node


def _new(kind: str, source: str) -> NotebookNode:
    # By hand: nbformat's own functions validate each cell, and the whole is validated anyway.
    node = NotebookNode(cell_type=kind, metadata=NotebookNode(), source=source)
    if kind == "code":
        node.outputs, node.execution_count = [], None
    return node
