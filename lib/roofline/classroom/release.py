"""The learner's copies: nbgrader's own generate_assignment, once for all chapters, no gradebook."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from roofline.classroom.assemble import write

CONFIG = "nbgrader_config.py"


class ReleaseError(Exception):
    """nbgrader refused a notebook. The message is what it said."""


def release(notebooks: dict[str, NotebookNode], root: Path) -> dict[str, NotebookNode]:
    """What a learner opens, for each chapter: solutions, sealed calls and outputs taken out.

    ``notebooks`` are by chapter name; the settings are those of ``nbgrader_config.py`` in ``root``.
    """
    # Imported here: it costs 3 to 4 seconds of processor time, and only releasing needs it.
    from nbgrader.converters import GenerateAssignment
    from nbgrader.converters.base import NbGraderException
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config
    from traitlets.config.loader import PyFileConfigLoader

    config: Config = PyFileConfigLoader(CONFIG, path=str(root)).load_config()
    said = LoggedErrors()
    with tempfile.TemporaryDirectory(prefix="roofline-") as folder:
        here = Path(folder).resolve()
        for chapter, notebook in notebooks.items():
            write(notebook, here / "solutions" / chapter / f"{chapter}.ipynb")
        config.CourseDirectory.root = str(here)
        config.CourseDirectory.source_directory = "solutions"
        config.CourseDirectory.release_directory = "chapters"
        config.CourseDirectory.assignment_id = "*"
        config.GenerateAssignment.no_database = True
        config.SaveCells.enabled = False
        coursedir = CourseDirectory(config=config)
        converter = GenerateAssignment(coursedir=coursedir, config=config)
        # A logger of our own: nbgrader reports each file, and its errors come with tracebacks.
        converter.log = logging.Logger("nbgrader")
        converter.log.addHandler(said)
        try:
            converter.start()
        except NbGraderException:
            raise ReleaseError(f"nbgrader: {said.reason()}") from None
        return {
            chapter: nbformat.read(here / "chapters" / chapter / f"{chapter}.ipynb", as_version=4)
            for chapter in notebooks
        }


class LoggedErrors(logging.Handler):
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
