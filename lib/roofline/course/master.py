"""An assignment as it was released: what every submission is measured by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from roofline.course.folder import Course, CourseError
from roofline.course.gradebook import Book


@dataclass(frozen=True)
class MasterCell:
    """A cell of the release. ``source`` is whole, with hidden tests; ``shown`` is what the class
    sees. ``nbgrader`` is the metadata that it must have, empty for a cell that nobody grades."""

    kind: str
    source: str
    shown: str
    nbgrader: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    cell_id: str = ""

    @property
    def grade_id(self) -> str:
        return str(self.nbgrader.get("grade_id", ""))

    @property
    def graded(self) -> bool:
        return bool(self.nbgrader.get("grade") or self.nbgrader.get("task"))

    @property
    def solution(self) -> bool:
        return bool(self.nbgrader.get("solution"))

    @property
    def points(self) -> float:
        return float(self.nbgrader.get("points", 0.0)) if self.graded else 0.0

    @property
    def fixed(self) -> bool:
        """Whether its source is the release's, whatever was handed in."""
        return not self.solution and bool(self.nbgrader.get("locked") or self.graded)


@dataclass(frozen=True)
class Master:
    """A notebook as it was released."""

    name: str
    cells: tuple[MasterCell, ...]
    metadata: dict[str, Any]

    @property
    def by_id(self) -> dict[str, MasterCell]:
        return {cell.grade_id: cell for cell in self.cells if cell.grade_id}

    @property
    def points(self) -> float:
        return sum(cell.points for cell in self.cells)

    def digest(self) -> str:
        parts = [[c.kind, c.source, c.shown, c.nbgrader] for c in self.cells]
        text = json.dumps([self.name, parts, self.metadata], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load(course: Course, book: Book, assignment: str) -> list[Master]:
    """The notebooks of an assignment, by name. Raises :class:`CourseError` if it isn't released.

    Order and visible sources are those of the release's files; whole sources, with hidden tests,
    and points are those that nbgrader put into the gradebook when it made them.
    """
    kept = book.sources(assignment)
    if not kept:
        there = ", ".join(book.assignments()) or "none yet"
        raise CourseError(
            f"no assignment {assignment!r} in the gradebook (there is {there}): "
            f"roofline class release {assignment}"
        )
    return [_master(course.release / assignment / f"{name}.ipynb", kept[name]) for name in kept]


def _master(path: Path, kept: dict[str, dict[str, Any]]) -> Master:
    try:
        released = nbformat.read(path, as_version=4)
    except Exception as error:
        raise CourseError(
            f"{path} can't be read ({type(error).__name__}): roofline class release again"
        ) from None
    cells = []
    for cell in released.cells:
        own = dict(cell.metadata.get("nbgrader", {}))
        known = kept.get(own.get("grade_id", ""))
        metadata = {k: v for k, v in cell.metadata.items() if k in ("roofline", "tags")}
        if known is None:
            own, whole = {}, cell.source
        else:
            whole = known["source"]
            own["checksum"] = known["checksum"]
            if "max_score" in known:
                own["points"] = known["max_score"]
        cells.append(
            MasterCell(cell.cell_type, whole, cell.source, own, metadata, cell.get("id", ""))
        )
    if missing := sorted(set(kept) - {cell.grade_id for cell in cells}):
        raise CourseError(
            f"{path} lacks the cell {missing[0]!r} that the gradebook has: release it again"
        )
    metadata = {
        key: released.metadata[key]
        for key in ("kernelspec", "language_info")
        if key in released.metadata
    }
    return Master(path.stem, tuple(cells), json.loads(json.dumps(metadata)))
