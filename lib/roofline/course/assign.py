"""Release an assignment: nbgrader's own generate_assignment, from a source to the class's copy."""

from __future__ import annotations

import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import roofline
from roofline.classroom.release import LoggedErrors
from roofline.course.folder import Course, CourseError, valid_id
from roofline.course.gradebook import Book
from roofline.course.master import load
from roofline.course.plan import probes

GLOSSARY = "glossary.md"


def own_sources() -> Path | None:
    """The folder of this course's solved chapters, if this is a checkout of it."""
    folder = Path(roofline.__file__).resolve().parents[2] / "solutions"
    return folder if folder.is_dir() else None


def release(
    course: Course, assignment: str, origin: Path | None = None, due: datetime | None = None
) -> dict[str, Any]:
    """Make an assignment's release, and enter it into the gradebook.

    ``origin`` is a notebook or a folder of them, which is copied to ``source/ASSIGNMENT``; without
    it, what lies there is taken, or the chapter of that name of this course. Returns what was
    released: notebooks, points, exercises. Raises :class:`CourseError`.
    """
    origin = _origin(course, assignment, origin)
    if origin is not None:
        base, found = _notebooks(origin)
        for path in found:
            target = course.source / assignment / path.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        _bring_glossary(base, course.source / assignment)
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


def preview(
    course: Course, assignment: str, origin: Path | None = None, due: datetime | None = None
) -> dict[str, Any]:
    """What :func:`release` would release, as far as can be said without doing it."""
    origin = _origin(course, assignment, origin)
    _, found = _notebooks(origin or course.source / assignment)
    return {
        "assignment": assignment,
        "notebooks": sorted(path.stem for path in found if path.suffix == ".ipynb"),
        "from": str(origin or course.source / assignment),
        "due": due.isoformat() if due else None,
        "folder": str(course.release / assignment),
    }


def read_due(text: str) -> datetime:
    """A date and time; UTC if it names no zone. Raises :class:`CourseError`."""
    given = text.strip().removesuffix("UTC").strip()
    try:
        due = datetime.fromisoformat(given)
    except ValueError:
        raise CourseError(
            f'due date {text!r}: expected such as "2026-12-01 23:59 UTC" or with +02:00'
        ) from None
    return due if due.tzinfo else due.replace(tzinfo=UTC)


def _origin(course: Course, assignment: str, origin: Path | None) -> Path | None:
    """Where the source is copied from; None if it lies in the course's folder already."""
    if not valid_id(assignment) or "+" in assignment:
        raise CourseError(
            f"assignment {assignment!r}: expected a name without / \\ : * ? + and dots"
        )
    source = course.source / assignment
    if origin is not None or any(source.glob("*.ipynb")):
        return origin
    ours = own_sources()
    if ours is not None and (ours / assignment).is_dir():
        return ours / assignment
    raise CourseError(f"there is no notebook in {source}: put one there, or name one with --from")


def _notebooks(origin: Path) -> tuple[Path, list[Path]]:
    """The folder that the paths are relative to, and the files: notebooks and what is beside."""
    if origin.is_file() and origin.suffix == ".ipynb":
        return origin.parent, [origin]
    found = [path for path in origin.rglob("*") if path.is_file()] if origin.is_dir() else []
    found = [p for p in found if not {".ipynb_checkpoints", "__pycache__"} & set(p.parts)]
    if not any(path.suffix == ".ipynb" and path.parent == origin for path in found):
        raise CourseError(f"there is no notebook in {origin}")
    return origin, found


def _bring_glossary(origin: Path, folder: Path) -> None:
    """The chapters of this course link to the glossary that lies beside their folders. A class may
    get one folder alone, so it gets the glossary in it, and the links lead there."""
    glossary = origin.parent / GLOSSARY
    for path in folder.glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        if f"](../{GLOSSARY}" in text and glossary.is_file():
            path.write_text(text.replace(f"](../{GLOSSARY}", f"]({GLOSSARY}"), encoding="utf-8")
            shutil.copyfile(glossary, folder / GLOSSARY)


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
    config.CourseDirectory.course_id = course.settings.name
    config.CourseDirectory.assignment_id = assignment
    config.GenerateAssignment.force = True
    said = LoggedErrors()
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
