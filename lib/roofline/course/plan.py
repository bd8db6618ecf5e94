"""Which cells of a submission are run.

A chapter of ours takes a minute from top to bottom, nearly all of it for pictures and training that
no score depends on. What is run is what the learner wrote or changed, and of the released cells
only those that bind a name which a later run cell reads. Check cells aren't run as text at all: the
sandbox calls the exercise's probe on what their name stands for.

In an assignment that has none of our exercises every code cell is run, in order, as nbgrader does.
"""

from __future__ import annotations

import ast
import re
import symtable
from dataclasses import dataclass
from functools import lru_cache

from nbformat import NotebookNode

from roofline.course.master import Master, MasterCell
from roofline.course.work import Cell
from roofline.grading import UnknownExercise, find


@dataclass(frozen=True)
class Probe:
    """A check cell of ours: which exercise, the name of the answer, and its limit in seconds."""

    exercise: str
    answer: str
    seconds: float


def probes(master: Master) -> dict[str, Probe]:
    """The check cells of a release that hold ``check("chapter.name", answer)`` and no other test,
    by grade_id."""
    found = {}
    for cell in master.cells:
        if cell.graded and cell.kind == "code" and not cell.solution:
            probe = _probe(cell.source)
            if probe is not None:
                found[cell.grade_id] = probe
    return found


def _probe(source: str) -> Probe | None:
    """``check(id, answer)``, and after it at most the sealed call that the build adds."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return None
    calls = []
    for statement in body:
        match statement:
            case ast.ImportFrom("roofline.grading", [ast.alias("sealed" | "check", None)]):
                continue
            case ast.Expr(
                ast.Call(ast.Name(name), [ast.Constant(str(exercise)), ast.Name(answer)], [])
            ) if name in ("check", "sealed"):
                calls.append((exercise, answer))
            case _:
                return None
    if len(set(calls)) != 1:
        return None
    try:
        return Probe(*calls[0], float(find(calls[0][0]).limit))
    except UnknownExercise:
        return None


def plan(notebook: NotebookNode, master: Master, only: str | None = None) -> tuple[Cell, ...]:
    """The cells of a cleaned notebook to run, in their order. ``only``: one exercise's check."""
    checks = probes(master)
    code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    own = [(i, cell, checks.get(_grade_id(cell))) for i, cell in code]
    if only is not None:
        own = [entry for entry in own if entry[2] is None or entry[2].exercise == only]
    tests = {c.grade_id for c in master.cells if c.graded and not c.solution}
    cells = [
        Cell(i, cell.source, probe.exercise, probe.answer, seconds=probe.seconds)
        if probe
        else Cell(i, cell.source, locked=_grade_id(cell) in tests)
        for i, cell, probe in own
    ]
    if not checks or any(
        cell.graded and cell.kind == "code" and not cell.solution and cell.grade_id not in checks
        for cell in master.cells
    ):
        return tuple(cells)
    released = {cell.source for cell in master.cells if not cell.grade_id and cell.kind == "code"}
    kept = _slice(cells, released)
    return tuple(_after_solutions(kept, notebook, master))


def _grade_id(cell: NotebookNode) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


def _slice(cells: list[Cell], released: set[str]) -> list[Cell]:
    """Drop released cells that bind nothing which a later run cell reads."""
    kept: list[Cell] = []
    wanted: set[str] = set()
    for cell in reversed(cells):
        if cell.exercise is not None:
            wanted.add(str(cell.answer))
            kept.append(cell)
            continue
        if not cell.source.strip():
            continue
        bound, read = (_released_names if cell.source in released else names)(cell.source)
        if cell.source not in released or EVERYTHING in bound or bound & wanted:
            # What it binds may be bound in part only, so an earlier cell may still be wanted.
            wanted |= read
            kept.append(cell)
    return kept[::-1]


def _after_solutions(cells: list[Cell], notebook: NotebookNode, master: Master) -> list[Cell]:
    """A check that was moved before its solution is made after it."""
    place = {_grade_id(cell): i for i, cell in enumerate(notebook.cells) if _grade_id(cell)}
    solution: MasterCell | None = None
    after: dict[int, int] = {}
    for known in master.cells:
        if known.solution:
            solution = known
        elif solution is not None and known.grade_id in place:
            after[place[known.grade_id]] = place.get(solution.grade_id, -1)
    return sorted(
        cells,
        key=lambda cell: (
            (max(cell.index, after.get(cell.index, -1)), 1)
            if cell.exercise is not None
            else (cell.index, 0)
        ),
    )


_WORD = re.compile(r"[^\W\d]\w*")
EVERYTHING = "*"


def names(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell binds at its top level, and the names of others that it reads, in its
    functions too.

    What has an attribute or an item assigned at the top level counts as bound and read: the cell
    changes the thing. Of a cell that isn't plain Python (magics, or a mistake) every word counts
    as both. ``from module import *`` binds ``*``.
    """
    try:
        top = symtable.symtable(source, "cell", "exec")
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        words = set(_WORD.findall(source))
        return words, words
    bound: set[str] = set()
    read: set[str] = set()
    for symbol in top.get_symbols():
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace():
            bound.add(symbol.get_name())
        if symbol.is_referenced():
            read.add(symbol.get_name())
    inner = list(top.get_children())
    while inner:
        table = inner.pop()
        inner.extend(table.get_children())
        for symbol in table.get_symbols():
            if symbol.is_global():
                read.add(symbol.get_name())
                if symbol.is_assigned():
                    bound.add(symbol.get_name())
    changed, stars = _changes(tree)
    if stars:
        bound.add(EVERYTHING)
    return bound | changed, read | changed


_released_names = lru_cache(maxsize=1024)(names)  # the same in every submission


def _changes(tree: ast.Module) -> tuple[set[str], bool]:
    """Names whose attributes or items are assigned outside functions; whether * is imported."""
    changed, stars = set(), False
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        todo.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.ImportFrom):
            stars = stars or any(alias.name == "*" for alias in node.names)
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            root: ast.expr = node
            while isinstance(root, (ast.Attribute, ast.Subscript, ast.Call)):
                root = root.func if isinstance(root, ast.Call) else root.value
            if isinstance(root, ast.Name):
                changed.add(root.id)
    return changed, stars
