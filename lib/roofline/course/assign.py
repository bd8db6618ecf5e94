"""Release an assignment: nbgrader's own generate_assignment, from a source to the class's copy."""

from __future__ import annotations

import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import roofline
from roofline.course.folder import Course, CourseError, valid_id
from roofline.course.gradebook import Book
from roofline.course.master import load
from roofline.course.plan import probes


def own_sources() -> Path | None:
    """The folder of this course's solved chapters, if this is a checkout of it."""
    folder = Path(roofline.__file__).resolve().parents[2] / "solutions"
    return folder if folder.is_dir() else None


def release(
    course: Course, assignment: str, origin: Path | None = None, due: datetime | None = None
) -> dict[str, object]:
    """Make an assignment's release, and enter it into the gradebook.

    ``origin`` is a notebook or a folder of them, which is copied to ``source/ASSIGNMENT``; without
    it, what lies there is taken, or the chapter of that name of this course. Returns what was
    released: notebooks, points, exercises. Raises :class:`CourseError`.
    """
    if not valid_id(assignment) or "+" in assignment:
        raise CourseError(
            f"assignment {assignment!r}: expected a name without / \\ : * ? + and dots"
        )
    source = course.source / assignment
    if origin is None and not any(source.glob("*.ipynb")):
        ours = own_sources()
        if ours is None or not (ours / assignment).is_dir():
            raise CourseError(
                f"there is no notebook in {source}: put one there, or name one with --from"
            )
        origin = ours / assignment
    if origin is not None:
        _copy(origin, source)
    _generate(course, assignment)
    with Book(course) as book:
        if due is not None:
            book.set_due(assignment, due)
        masters = load(course, book, assignment)
        kept_due = book.due(assignment)
    return {
        "assignment": assignment,
        "notebooks": [master.name for master in masters],
        "points": sum(master.points for master in masters),
        "exercises": [p.exercise for master in masters for p in probes(master).values()],
        "due": kept_due.replace(tzinfo=UTC).isoformat() if kept_due else None,
        "folder": str(course.release / assignment),
    }


def _copy(origin: Path, source: Path) -> None:
    if origin.is_file() and origin.suffix == ".ipynb":
        found = [origin]
    elif origin.is_dir():
        found = [path for path in origin.rglob("*") if path.is_file()]
        found = [p for p in found if not {".ipynb_checkpoints", "__pycache__"} & set(p.parts)]
    else:
        found = []
    if not any(path.suffix == ".ipynb" for path in found):
        raise CourseError(f"there is no notebook in {origin}")
    base = origin.parent if origin.is_file() else origin
    for path in found:
        target = source / path.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _generate(course: Course, assignment: str) -> None:
    with Book(course):
        pass  # makes the gradebook, or says why it can't be
    from nbgrader.converters import GenerateAssignment
    from nbgrader.converters.base import NbGraderException
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config
    from traitlets.config.loader import PyFileConfigLoader

    config: Config = PyFileConfigLoader("nbgrader_config.py", path=str(course.root)).load_config()
    config.CourseDirectory.root = str(course.root)
    config.CourseDirectory.db_url = course.database
    config.CourseDirectory.assignment_id = assignment
    config.GenerateAssignment.force = True
    said = _Collect()
    converter = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config)
    converter.log = logging.Logger("nbgrader")
    converter.log.addHandler(said)
    here = os.getcwd()
    try:
        converter.start()
    except NbGraderException:
        raise CourseError(f"nbgrader refused {assignment}: {said.reason()}") from None
    finally:
        os.chdir(here)


class _Collect(logging.Handler):
    """Keep what nbgrader logs as errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += record.getMessage().splitlines()

    def reason(self) -> str:
        """The line of the exception itself, which is the last of its traceback."""
        raised = [line for line in self.lines if "Error: " in line or "Exception: " in line]
        return (raised or self.lines or ["no reason given"])[-1]
