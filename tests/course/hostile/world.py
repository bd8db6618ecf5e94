"""What the hostile submissions are made from, and the list that they are in.

Each is a function of a :class:`World` that returns what the student hands in: a notebook, bytes, or
a dict from file names to either, or to a :class:`Link`, a :class:`Pipe` or :class:`Zeros`. Its name
is the student's, its docstring says what it tries.
"""

from __future__ import annotations

import copy
import json
import os
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from roofline.classroom.build import release_path, solution_path
from roofline.grading import find

ROOT = Path(__file__).resolve().parents[3]
CHAPTER = "02_backprop"
FILE = f"{CHAPTER}.ipynb"
ALL = 26.0
BEFORE_TRAIN = 10.0  # sigmoid, linear, numerical_gradient
SIGMOID = 3.0  # who solved nothing else


@dataclass(frozen=True)
class Link:
    """A symbolic link to ``target``."""

    target: str


@dataclass(frozen=True)
class Pipe:
    """A named pipe that nobody writes to: whoever opens it waits for ever."""


@dataclass(frozen=True)
class Zeros:
    """A file of so many zero bytes, which take no room on the disk."""

    size: int


@dataclass(frozen=True)
class World:
    """Where the class lives. ``canary`` is a word that stands in what nobody may read; ``port`` is
    that of a listener on 127.0.0.1; in ``outside`` nobody may write."""

    course: Path
    outside: Path
    canary: str
    port: int

    def file(self, code: str) -> str:
        """``code`` with the places of this world filled in."""
        for name in ("course", "outside", "port"):
            code = code.replace(f"<{name}>", str(getattr(self, name)))
        return code


@dataclass(frozen=True)
class Hostile:
    """One submission: who, what it deserves, and words that its reason or its table must have.

    ``scores`` has more than one where more than one is fair. ``word`` is a regular expression, or
    empty if nothing need be said.
    """

    name: str
    scores: tuple[float, ...]
    word: str
    make: Callable[[World], Any]

    @property
    def about(self) -> str:
        return " ".join((self.make.__doc__ or "").split())


SUITE: dict[str, Hostile] = {}


def hostile(*scores: float, word: str = "") -> Callable[[Callable], Callable]:
    """Put a function into the suite, with the score that its submission deserves."""

    def register(make: Callable[[World], Any]) -> Callable:
        name = make.__name__
        assert name not in SUITE, name
        SUITE[name] = Hostile(name, scores, word, make)
        return make

    return register


_RELEASE = nbformat.read(ROOT / release_path(CHAPTER), as_version=4)
_SOLUTION = nbformat.read(ROOT / solution_path(CHAPTER), as_version=4)


def _role(cell: NotebookNode) -> str | None:
    return cell.metadata.get("roofline", {}).get("role")


EXERCISES = [c.metadata.roofline.exercise for c in _RELEASE.cells if _role(c) == "check"]
POINTS = {exercise: find(exercise).points for exercise in EXERCISES}


def released() -> NotebookNode:
    """What every student was given."""
    return copy.deepcopy(_RELEASE)


def solved(*exercises: str) -> NotebookNode:
    """The release with the answers of some exercises, of all if none is named."""
    names = {f"backprop.{name}" for name in exercises} or set(EXERCISES)
    notebook = released()
    for cell, own in zip(notebook.cells, _SOLUTION.cells, strict=True):
        if _role(cell) == "solution" and cell.metadata.roofline.exercise in names:
            cell.source = own.source
    return notebook


def cell_of(notebook: NotebookNode, exercise: str, role: str) -> NotebookNode:
    """The solution or check cell of an exercise."""
    return next(
        cell
        for cell in notebook.cells
        if _role(cell) == role and cell.metadata.roofline.exercise == f"backprop.{exercise}"
    )


def answered(notebook: NotebookNode, exercise: str, source: str) -> NotebookNode:
    """The notebook with this answer to an exercise."""
    cell_of(notebook, exercise, "solution").source = source
    return notebook


def first(notebook: NotebookNode, source: str) -> NotebookNode:
    """The notebook with a cell of the student's own at its top."""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(textwrap.dedent(source), id="own-first"))
    return notebook


def last(notebook: NotebookNode, source: str) -> NotebookNode:
    """The notebook with a cell of the student's own at its end."""
    notebook.cells.append(nbformat.v4.new_code_cell(textwrap.dedent(source), id="own-last"))
    return notebook


def before(notebook: NotebookNode, exercise: str, source: str) -> NotebookNode:
    """The notebook with a cell of the student's own before an exercise's solution cell."""
    place = notebook.cells.index(cell_of(notebook, exercise, "solution"))
    notebook.cells.insert(
        place, nbformat.v4.new_code_cell(textwrap.dedent(source), id=f"own-before-{place}")
    )
    return notebook


def as_bytes(notebook: NotebookNode) -> bytes:
    """The notebook as a file, without the repairs that nbformat makes."""
    return json.dumps(notebook, indent=1).encode()


def hand_in(folder: Path, made: Any) -> None:
    """Write what a student hands in into their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (made if _is_files(made) else {FILE: made}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, NotebookNode):
            content = as_bytes(content)
        match content:
            case bytes():
                path.write_bytes(content)
            case str():
                path.write_text(content, encoding="utf-8")
            case Link(target):
                path.symlink_to(target)
            case Pipe():
                os.mkfifo(path)
            case Zeros(size):
                path.touch()
                os.truncate(path, size)
            case None:
                path.mkdir()


def _is_files(made: Any) -> bool:
    return isinstance(made, dict) and not isinstance(made, NotebookNode)
