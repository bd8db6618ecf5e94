"""Whatever is handed in becomes a notebook that nbgrader accepts, or a reason."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.preprocessors import CheckCellMetadata
from roofline.course import files, master, sanitize
from roofline.course.plan import names, plan, probes
from roofline.grading import find

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / "chapters" / "02_backprop" / "02_backprop.ipynb"
SOLVED = ROOT / "solutions" / "02_backprop" / "02_backprop.ipynb"


def known_master() -> master.Master:
    """The chapter's release, as the gradebook and the release's file together give it."""
    whole = {
        cell.metadata.nbgrader.grade_id: cell.source
        for cell in nbformat.read(SOLVED, as_version=4).cells
        if "nbgrader" in cell.metadata and cell.metadata.nbgrader.grade
    }
    cells = []
    for cell in nbformat.read(RELEASE, as_version=4).cells:
        own = dict(cell.metadata.get("nbgrader", {}))
        source = whole.get(own.get("grade_id"), cell.source)
        cells.append(master.MasterCell(cell.cell_type, source, cell.source, own, {}, cell.id))
    return master.Master("02_backprop", tuple(cells), {})


MASTER = known_master()
GRADED = [cell for cell in MASTER.cells if cell.graded]


@pytest.fixture
def given() -> dict[str, Any]:
    return json.loads(RELEASE.read_text())


def cleaned(given: Any) -> tuple[nbformat.NotebookNode, list[str]]:
    raw = given if isinstance(given, bytes) else json.dumps(given).encode()
    notebook, notes, problem = sanitize.clean(raw, MASTER)
    assert problem == "" and notebook is not None
    CheckCellMetadata().preprocess(notebook, {})  # nbgrader's own test of its metadata
    return notebook, notes


def by_id(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    found = [c for c in notebook.cells if c.metadata.get("nbgrader")]
    assert len({c.metadata.nbgrader.grade_id for c in found}) == len(found)
    return {c.metadata.nbgrader.grade_id: c for c in found}


def at(given: dict[str, Any], grade_id: str) -> dict[str, Any]:
    return next(
        c for c in given["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id
    )


def test_the_release_itself_comes_through(given: dict[str, Any]) -> None:
    notebook, notes = cleaned(given)
    assert notes == []
    assert [c.source for c in notebook.cells] == [c.source for c in MASTER.cells]


CHECK, SOLUTION = "02_backprop-linear-check", "02_backprop-linear-solution"


def test_an_edited_check_is_the_released_one_again(given: dict[str, Any]) -> None:
    cell = at(given, CHECK)
    cell["source"] = "4.0"
    cell["metadata"]["nbgrader"] |= {"points": 1000, "locked": False, "grade": False}
    notebook, notes = cleaned(given)
    found = by_id(notebook)[CHECK]
    assert found.source == MASTER.by_id[CHECK].source and "sealed(" in found.source
    assert found.metadata.nbgrader.points == MASTER.by_id[CHECK].points
    assert notes == [f"the cell {CHECK} was edited: the released one is used"]


def test_a_solution_stays_as_it_was_written(given: dict[str, Any]) -> None:
    at(given, SOLUTION)["source"] = ["def linear(x, weight, bias):\n", "    return 1"]
    notebook, notes = cleaned(given)
    assert by_id(notebook)[SOLUTION].source == "def linear(x, weight, bias):\n    return 1"
    assert notes == []


def test_all_graded_cells_deleted_are_put_back_in_their_order(given: dict[str, Any]) -> None:
    given["cells"] = [
        c for c in given["cells"] if not c["metadata"].get("nbgrader", {}).get("grade")
    ]
    notebook, notes = cleaned(given)
    assert [c.source for c in notebook.cells] == [c.source for c in MASTER.cells]
    assert len(notes) == len(GRADED)


def test_an_empty_notebook_gets_every_check(given: dict[str, Any]) -> None:
    given["cells"] = []
    notebook, _ = cleaned(given)
    assert list(by_id(notebook)) == [cell.grade_id for cell in GRADED]


def test_of_a_duplicated_cell_the_last_counts(given: dict[str, Any]) -> None:
    first = at(given, SOLUTION)
    second = copy.deepcopy(first)
    second["source"] = "linear = 2"
    given["cells"] += [second, copy.deepcopy(at(given, CHECK))]
    notebook, notes = cleaned(given)
    assert by_id(notebook)[SOLUTION].source == "linear = 2"
    assert sum("more than once" in note for note in notes) == 2


def test_a_retyped_cell_is_put_right(given: dict[str, Any]) -> None:
    at(given, SOLUTION)["cell_type"] = "markdown"
    at(given, CHECK)["cell_type"] = "raw"
    notebook, notes = cleaned(given)
    assert by_id(notebook)[SOLUTION].cell_type == by_id(notebook)[CHECK].cell_type == "code"
    assert len(notes) == 2


def test_stripped_metadata_is_found_by_the_cells_ids(given: dict[str, Any]) -> None:
    for cell in given["cells"]:
        cell["metadata"] = {}
    at_index = next(i for i, c in enumerate(given["cells"]) if c["id"] == SOLUTION)
    given["cells"][at_index]["source"] = "linear = 3"
    notebook, _ = cleaned(given)
    assert by_id(notebook)[SOLUTION].source == "linear = 3"


def test_unknown_graded_cells_are_ordinary_cells(given: dict[str, Any]) -> None:
    cell = copy.deepcopy(at(given, CHECK))
    cell["metadata"]["nbgrader"]["grade_id"] = "bonus"
    cell["id"] = "bonus"
    given["cells"].append(cell)
    notebook, _ = cleaned(given)
    assert "bonus" not in by_id(notebook)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (RELEASE.read_bytes()[:5000], "cut off"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"[1, 2]", "no notebook"),
        (b'{"nbformat": 2, "worksheets": []}', "format 2"),
        (b'{"nbformat": true, "cells": []}', "format True"),
        (b'{"nbformat": 4}', "no list of cells"),
        (b'{"nbformat": 3, "worksheets": 5, "metadata": {}}', "can't be read"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"nbformat": 4, "cells": [' + b"{}," * 2_000 + b"{}]}", "2,001 cells"),
        (b'{"nbformat": ' + b"9" * 5_000 + b"}", "not JSON"),
    ],
)
def test_what_is_no_notebook_gets_a_reason(raw: bytes, why: str) -> None:
    notebook, _, problem = sanitize.clean(raw, MASTER)
    assert notebook is None and why in problem and "\n" not in problem


def test_format_3_is_converted() -> None:
    cell = {
        "cell_type": "code",
        "input": "x = 1",
        "outputs": [],
        "metadata": {},
        "language": "python",
    }
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [cell]}]}
    notebook, notes = cleaned(old)
    assert "x = 1" in [c.source for c in notebook.cells] and "format 3" in notes[0]


def test_strange_text_can_be_written_to_a_file(given: dict[str, Any], tmp_path: Path) -> None:
    raw = json.dumps(given).replace("# YOUR CODE HERE", "x = '\\ud800\\u0000'", 1).encode()
    notebook, _ = cleaned(raw)
    nbformat.write(notebook, tmp_path / "out.ipynb")
    written = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert [cell.source for cell in written.cells] == [cell.source for cell in notebook.cells]


def _mutate(given: Any, random: random.Random) -> Any:
    """Change a few places of a notebook's structure."""
    odd = [None, True, -1, 1e300, "", "\ud800", [], {}, [[]], {"nbgrader": 5}, "code", 2**70]
    for _ in range(random.randint(1, 4)):
        node: Any = given
        while isinstance(node, (dict, list)) and node:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = random.choice(keys)
            if random.random() < 0.3 or not isinstance(node[key], (dict, list)):
                match random.randint(0, 3):
                    case 0:
                        node[key] = random.choice(odd)
                    case 1:
                        del node[key]
                    case 2 if isinstance(node, list):
                        node.append(copy.deepcopy(node[key]))
                    case _ if isinstance(node, dict):
                        node[random.choice(["cell_type", "source", "id", "metadata"])] = node[key]
                break
            node = node[key]
    return given


def test_mutated_notebooks_are_planned_with_every_check() -> None:
    rng = random.Random(6)
    whole = json.loads(RELEASE.read_text())
    raw = RELEASE.read_bytes()
    read = 0
    for number in range(400):
        if number % 2:
            data = bytearray(raw)
            for _ in range(rng.randint(1, 6)):
                place = rng.randrange(len(data))
                match rng.randint(0, 2):
                    case 0:
                        data[place] = rng.randrange(256)
                    case 1:
                        del data[place : place + rng.randint(1, 200)]
                    case 2:
                        data[place:place] = data[place : place + rng.randint(1, 200)]
            given = bytes(data)
        else:
            given = json.dumps(_mutate(copy.deepcopy(whole), rng)).encode()
        notebook, notes, problem = sanitize.clean(given, MASTER)
        assert (notebook is None) == bool(problem), problem
        if notebook is not None:
            read += 1
            ids = by_id(notebook)
            assert all(ids[c.grade_id].source == c.source for c in GRADED)
            cells = plan(notebook, MASTER)
            assert sum(cell.exercise is not None for cell in cells) == len(GRADED)
    assert 140 < read < 380  # both ends were reached


def test_only_what_matters_is_run(given: dict[str, Any]) -> None:
    assert len(probes(MASTER)) == len(GRADED) == 7
    notebook, _ = cleaned(given)
    released = {cell.cell_id: i for i, cell in enumerate(MASTER.cells)}
    run = {cell.index for cell in plan(notebook, MASTER)}
    for cell in plan(notebook, MASTER):
        limit = find(cell.exercise).limit if cell.exercise else None
        assert cell.seconds == limit
    wanted = {released[c.cell_id] for c in MASTER.cells if c.graded or c.solution}
    assert wanted <= run
    # Besides, at most the imports and what the solutions call: no training, no pictures.
    assert len(run - wanted) <= 3
    given["cells"].insert(30, {"cell_type": "code", "source": "print(losses)", "metadata": {}})
    notebook, _ = cleaned(given)
    more = {cell.index for cell in plan(notebook, MASTER)}
    assert len(more) > len(run) + 1  # what binds `losses` is run for it


def test_one_exercise_alone(given: dict[str, Any]) -> None:
    notebook, _ = cleaned(given)
    cells = plan(notebook, MASTER, "backprop.linear")
    assert [c.exercise for c in cells if c.exercise] == ["backprop.linear"]


def test_a_check_before_its_solution_is_made_after_it(given: dict[str, Any]) -> None:
    check = at(given, CHECK)
    given["cells"].remove(check)
    given["cells"].insert(0, check)
    notebook, _ = cleaned(given)
    order = [(c.exercise, c.index) for c in plan(notebook, MASTER)]
    place = next(i for i, (exercise, _) in enumerate(order) if exercise == "backprop.linear")
    assert order[place][1] == 0
    assert notebook.cells[order[place - 1][1]].metadata.nbgrader.grade_id == SOLUTION


def test_names_of_a_cell() -> None:
    bound, read = names(
        "import a.b as c\ndef f(p):\n    q = 1\n    return outer + q\nv[0] = w.x = 1"
    )
    assert bound == {"c", "f", "v", "w"} and {"outer", "v", "w"} <= read and "q" not in read
    assert names("%matplotlib inline\nx = 1")[0] >= {"x"}
    assert "*" in names("from torch import *")[0]
    assert names("-" * 200_000 + "1") is not None


def test_what_lies_beside_a_notebook(tmp_path: Path) -> None:
    folder = tmp_path / "submission"
    (folder / "data").mkdir(parents=True)
    (folder / "a.ipynb").write_bytes(b"{}")
    (folder / "data" / "x.csv").write_bytes(b"1,2")
    (folder / "timestamp.txt").write_text("2026-01-01 00:00:00.000000 UTC")
    (folder / "out").symlink_to("/etc/passwd")
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    found = files.read_files(folder)
    assert set(found.notebooks) == {"a"} and set(found.beside) == {"data/x.csv"}
    assert sum("is a link" in note for note in found.notes) == 2
    before = found.digest()
    (folder / "data" / "x.csv").write_bytes(b"1,3")
    assert files.read_files(folder).digest() != before
