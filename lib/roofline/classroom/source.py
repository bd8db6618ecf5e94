"""Read the text source of a chapter, and say in one line each what is wrong with it.

A source is a jupytext ``py:percent`` file. Each cell starts with a marker:

``# %% [markdown] name="question"``, ``# %% name="forward"``
    prose and code. Every cell has a name; ids are made from it, so that they never change.
``# %% [markdown] exercise="backprop.linear"``
    what is asked. The build adds the exercise's card.
``# %% solution="backprop.linear"``
    the cell to fill in, with ``### BEGIN SOLUTION`` and ``### END SOLUTION``.
``# %% check="backprop.linear"``
    ``check("backprop.linear", linear)`` and nothing else. The build makes it the graded cell.

The three cells of an exercise are called ``linear-exercise``, ``linear-solution`` and
``linear-check`` unless they say otherwise. Two more options: ``tags=["nbval-check-output"]`` for a
cell whose text is the same everywhere, and ``tolerance=0.05`` for one whose numbers may differ by
5% from processor to processor (see ``settle``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat

from roofline.grading import UnknownExercise, find

ROLES = ("exercise", "solution", "check")
OPTIONS = {"name", "tags", "tolerance", *ROLES}
BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"
HIDDEN = "HIDDEN TESTS"

# jupytext adds this one itself, to remember empty lines.
_JUPYTEXT_OPTIONS = {"lines_to_next_cell"}


class SourceError(Exception):
    """Mistakes in sources: one line each, ``file:line: what was wrong, and what to do``."""


@dataclass(frozen=True)
class Cell:
    """One cell. ``line`` is that of its marker in the source, counted from 1."""

    kind: str  # "markdown" or "code"
    text: str
    line: int
    name: str
    role: str | None = None  # "exercise", "solution", "check", or None
    exercise: str | None = None
    tags: tuple[str, ...] = ()
    tolerance: float | None = None


@dataclass(frozen=True)
class Chapter:
    """A chapter as its source has it. ``name`` is that of the file: ``02_backprop``."""

    name: str
    path: Path
    cells: tuple[Cell, ...]

    def exercises(self) -> list[str]:
        return [cell.exercise or "" for cell in self.cells if cell.role == "check"]


def read_source(path: Path, shown_as: str | None = None) -> Chapter:
    """The chapter in ``path``; :class:`SourceError` with all of its mistakes if it has any."""
    shown_as = shown_as or path.name
    text = path.read_text(encoding="utf-8")
    problems: list[tuple[int, str]] = []

    def complain(line: int, what: str) -> None:
        problems.append((line, what))

    name = path.stem
    if not re.fullmatch(r"\d\d_[a-z][a-z0-9_]*", name):
        complain(1, f"{name!r} is no chapter: name the file like 02_backprop.py")
    cells = tuple(_cells(text, complain))
    if not problems:
        _check_names(name, cells, complain)
        _check_exercises(name, cells, complain)
    if problems:
        raise SourceError(
            "\n".join(f"{shown_as}:{line}: {what}" for line, what in sorted(problems))
        )
    return Chapter(name, path, cells)


Complain = Callable[[int, str], None]


def _cells(text: str, complain: Complain) -> Iterator[Cell]:
    """The cells of a source, with the line of each marker, which jupytext doesn't tell."""
    lines = text.splitlines()
    marked = [n for n, line in enumerate(lines, 1) if re.match(r"# %%(\s|$)", line)]
    try:
        parsed = jupytext.reads(text, fmt="py:percent").cells
    except nbformat.ValidationError:
        for line in marked:
            try:
                jupytext.reads(lines[line - 1], fmt="py:percent")
            except nbformat.ValidationError as error:
                complain(line, f"a cell option has a wrong value: {str(error).splitlines()[0]}")
        return
    if len(parsed) != len(marked):
        line = marked[0] if marked else 1
        found = f"{len(marked)} cell markers but {len(parsed)} cells"
        why = "is there text before the first marker, or a line '# %%' inside a string?"
        complain(line, f"{found}: {why}")
        return
    for line, cell in zip(marked, parsed, strict=True):
        options = {k: v for k, v in cell.metadata.items() if k not in _JUPYTEXT_OPTIONS}
        if unknown := sorted(set(options) - OPTIONS):
            complain(
                line,
                f"unknown cell option {unknown[0]!r}: expected one of {', '.join(sorted(OPTIONS))}",
            )
        roles = [role for role in ROLES if role in options]
        if len(roles) > 1:
            complain(line, f"a cell can't be both {roles[0]} and {roles[1]}: keep one")
        role = roles[0] if roles else None
        exercise = str(options[role]) if role else None
        name = options.get("name")
        if name is None and exercise is not None:
            name = f"{exercise.split('.')[-1].replace('_', '-')}-{role}"
        if name is None:
            complain(line, 'a cell without a name: write # %% name="..."')
            name = ""
        elif not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(name)):
            complain(line, f"cell name {name!r}: expected small letters, digits and single hyphens")
        kind = "markdown" if cell.cell_type == "markdown" else "code"
        if cell.cell_type == "raw":
            complain(line, "a raw cell: expected [markdown] or code")
        if role and (kind == "markdown") != (role == "exercise"):
            expected = "[markdown]" if role == "exercise" else "code"
            complain(line, f"the {role} cell of {exercise} must be {expected}")
        tags = options.get("tags", [])  # jupytext has seen to it that this is a list of words
        tolerance = options.get("tolerance")
        if tolerance is not None and not (isinstance(tolerance, float) and 0 < tolerance < 1):
            complain(line, f"tolerance={tolerance!r}: expected a fraction such as 0.05")
            tolerance = None
        yield Cell(kind, cell.source, line, str(name), role, exercise, tuple(tags), tolerance)


def _check_names(chapter: str, cells: tuple[Cell, ...], complain: Complain) -> None:
    seen: dict[str, int] = {}
    for cell in cells:
        if cell.name in seen:
            complain(cell.line, f"cell name {cell.name!r} is taken by line {seen[cell.name]}")
        seen.setdefault(cell.name, cell.line)
        # nbformat allows 64 characters in an id, and the id is the chapter's name and the cell's.
        if len(chapter) + 1 + len(cell.name) > 64:
            complain(cell.line, f"cell name {cell.name!r} is too long: at most {63 - len(chapter)}")
        if HIDDEN in cell.text:
            complain(cell.line, f"a region {HIDDEN!r}: the build writes it, delete it here")
        if cell.role != "solution" and (BEGIN in cell.text or END in cell.text):
            complain(cell.line, f'{BEGIN} outside a solution cell: mark it # %% solution="..."')


def _check_exercises(chapter: str, cells: tuple[Cell, ...], complain: Complain) -> None:
    """Each exercise is known, belongs here, and has its three cells in their order."""
    by_exercise: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.exercise is not None:
            by_exercise.setdefault(cell.exercise, []).append(cell)
    for exercise, own in by_exercise.items():
        line = own[0].line
        subject = chapter.split("_", 1)[-1]
        if exercise.split(".")[0] != subject:
            complain(line, f"exercise {exercise!r} in chapter {chapter}: expected '{subject}....'")
            continue
        try:
            find(exercise)
        except UnknownExercise as error:
            complain(line, str(error))
            continue
        roles = [cell.role for cell in own]
        if roles != list(ROLES):
            has = ", ".join(map(str, roles))
            complain(line, f"{exercise} has the cells {has}: expected {', '.join(ROLES)}")
            continue
        _, solution, check = own
        _check_solution(solution, complain)
        _check_call(check, solution, complain)


def _check_solution(cell: Cell, complain: Complain) -> None:
    marks = [line.strip() for line in cell.text.splitlines() if BEGIN in line or END in line]
    if marks != [f"### {BEGIN}", f"### {END}"]:
        needs = f"needs one line ### {BEGIN} and after it one line ### {END}"
        complain(cell.line, f"the solution of {cell.exercise} {needs}")


def _check_call(check: Cell, solution: Cell, complain: Complain) -> None:
    answer = checked_name(check)
    if answer is None:
        call = f'check("{check.exercise}", NAME)'
        complain(check.line, f"the check cell must hold {call} and nothing else")
    elif answer not in _defined(solution.text):
        where = f"which the solution cell in line {solution.line} doesn't define"
        complain(check.line, f"the check takes {answer}, {where}")


def checked_name(cell: Cell) -> str | None:
    """``linear`` from a check cell ``check("backprop.linear", linear)``; None if it isn't one."""
    try:
        body = ast.parse(cell.text).body
    except SyntaxError:
        return None
    match body:
        case [
            ast.Expr(ast.Call(ast.Name("check"), [ast.Constant(exercise), ast.Name(answer)], []))
        ]:
            return answer if exercise == cell.exercise else None
    return None


def _defined(code: str) -> set[str]:
    """The names that a cell's top level defines."""
    try:
        body = ast.parse(code).body
    except SyntaxError:  # said better when the cell is executed
        return set()
    names: set[str] = set()
    for node in body:
        match node:
            case ast.FunctionDef(name) | ast.ClassDef(name):
                names.add(name)
            case ast.Assign(targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def solution_lines(cell: Cell) -> list[str]:
    """What stands between BEGIN and END SOLUTION: the lines that no learner may find."""
    lines = cell.text.splitlines()
    begin = next(n for n, line in enumerate(lines) if BEGIN in line)
    end = next(n for n, line in enumerate(lines) if END in line)
    return lines[begin + 1 : end]
