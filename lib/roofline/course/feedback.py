"""A page for each graded submission: scores, what was checked, comments. No hidden tests.

The pages are nbgrader's own (its template, its GetGrades); stock nbgrader shows hidden tests in
them, because the graded notebook holds them. Here every cell that isn't the learner's is shown as
it was released.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat
import sqlalchemy as sql
from nbformat import NotebookNode

from roofline.course.files import plain
from roofline.course.folder import Course, CourseError
from roofline.course.gradebook import Book, Stopped
from roofline.course.master import Master, load
from roofline.course.shown import markdown
from roofline.course.writing import write_whole

MARK = "roofline-feedback"


@dataclass(frozen=True)
class Page:
    """One page. ``status``: ``written``, ``unchanged``, ``would write``, or ``missing`` (the graded
    notebook is gone: grade again)."""

    student: str
    assignment: str
    notebook: str
    path: str
    status: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def feedback(
    course: Course,
    assignment: str,
    *,
    students: list[str] | None = None,
    force: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Page]:
    """Write the pages of an assignment that aren't up to date. Raises :class:`CourseError`."""
    with Book(course) as book:
        masters = load(course, book, assignment)
        graded = sorted(book.graded(assignment, results=False))
        if students is not None:
            if missing := sorted(set(students) - set(graded)):
                raise CourseError(f"not graded in {assignment}: {', '.join(missing)}")
            graded = [student for student in graded if student in students]
        pages = []
        for number, student in enumerate(graded, 1):
            pages += one(course, book, masters, assignment, student, force, dry_run)
            on_progress(number, len(graded))
    return pages


def one(
    course: Course,
    book: Book,
    masters: list[Master],
    assignment: str,
    student: str,
    force: bool = False,
    dry_run: bool = False,
) -> list[Page]:
    """The pages of one submission, a page for each notebook."""
    pages = []
    for master in masters:
        source = course.autograded / student / assignment / f"{master.name}.ipynb"
        target = course.feedback / student / assignment / f"{master.name}.html"
        try:
            raw = source.read_bytes()
        except OSError:
            pages.append(Page(student, assignment, master.name, str(target), "missing"))
            continue
        grades = _grades(book, assignment, student, master.name)
        mark = hashlib.sha256(raw + json.dumps(grades, sort_keys=True).encode()).hexdigest()
        status = "unchanged"
        if force or _mark_of(target) != mark:
            status = "would write" if dry_run else "written"
        if status == "written":
            page = render(nbformat.reads(raw.decode(), as_version=4), master, grades)
            page += f"<!-- {MARK} {mark} -->\n"
            try:
                write_whole(target, page.encode("utf-8", "replace"))
            except OSError as error:
                raise Stopped(f"{target} can't be written: {error.strerror}") from None
        pages.append(Page(student, assignment, master.name, str(target), status))
    return pages


def _mark_of(path: Path) -> str:
    """What a page was made from; it stands in the last line."""
    try:
        with open(path, "rb") as file:
            file.seek(-200, os.SEEK_END)
            last = file.read().decode("ascii", "replace")
    except OSError:
        return ""
    return last.rpartition(f"<!-- {MARK} ")[2].split(" ")[0]


def _grades(book: Book, assignment: str, student: str, notebook: str) -> dict[str, Any]:
    """Scores and comments of one notebook, and what lateness costs, as the gradebook has them."""
    api = book.api
    with book.reading():
        found = book.gradebook.find_submission_notebook(notebook, assignment, student)
        scores = book.db.execute(
            sql.select(api.BaseCell.name, api.Grade.score)
            .join(api.BaseCell, api.BaseCell.id == api.Grade.cell_id)
            .where(api.Grade.notebook_id == found.id)
        ).all()
        comments = book.db.execute(
            sql.select(api.BaseCell.name, api.Comment.comment)
            .join(api.BaseCell, api.BaseCell.id == api.Comment.cell_id)
            .where(api.Comment.notebook_id == found.id)
        ).all()
        late = found.late_submission_penalty or 0.0
    return {
        "scores": {name: float(score or 0.0) for name, score in scores},
        "comments": {name: text for name, text in comments if text},
        "late": float(late),
    }


def render(notebook: NotebookNode, master: Master, grades: dict[str, Any]) -> str:
    """The page of a graded notebook, as HTML that does nothing."""
    known = master.by_id
    for cell in notebook.cells:
        own = cell.metadata.get("nbgrader")
        if not own:
            continue
        name = own.get("grade_id", "")
        if name in known and known[name].fixed:
            cell.source = known[name].shown
            hidden = known[name].source != known[name].shown
            for output in cell.get("outputs", []) if hidden else []:
                if output.output_type == "error":  # a traceback quotes the line that failed
                    output.traceback = [f"{output.ename}: a test that isn't shown failed"]
                    output.evalue = ""
        if own.get("grade") or own.get("task"):
            own["score"] = grades["scores"].get(name, 0.0)
            own["points"] = known[name].points if name in known else 0.0
        if own.get("solution") or own.get("task"):
            own["comment"] = plain(grades["comments"].get(name, ""))
    exporter = _exporter()
    resources = {
        "unique_key": master.name,
        "nbgrader": {
            "notebook": master.name,
            "score": max(0.0, sum(grades["scores"].values()) - grades["late"]),
            "max_score": master.points,
            "late_penalty": grades["late"],
        },
    }
    return exporter.from_notebook_node(notebook, resources)[0]


@lru_cache(maxsize=1)
def _exporter() -> Any:
    """nbgrader's feedback exporter, made once: reading its templates takes longest.

    nbconvert reads each page that it made once more to name pictures without a description, which
    takes twice as long as making it; that is done here by a pattern. Most cells are the same in all
    submissions, and coloured once.
    """
    from nbconvert.exporters import HTMLExporter
    from nbconvert.exporters.templateexporter import TemplateExporter
    from nbconvert.filters import Highlight2HTML
    from nbconvert.filters.widgetsdatatypefilter import WidgetsDataTypeFilter
    from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
    from nbgrader.converters import GenerateFeedback
    from traitlets.config import Config

    coloured = lru_cache(maxsize=512)(Highlight2HTML(pygments_lexer="ipython3"))

    class Exporter(HTMLExporter):
        def default_filters(self) -> Iterator[tuple[str, Any]]:
            yield from super().default_filters()
            yield "markdown2html", markdown

        def from_notebook_node(  # type: ignore[override]
            self, nb: NotebookNode, resources: dict[str, Any] | None = None, **more: Any
        ) -> tuple[str, dict[str, Any]]:
            resources = self._init_resources(resources)
            self.register_filter("highlight_code", lambda source, **_: coloured(source))
            own = {"notebook_metadata": self._nb_metadata, "resources": resources}
            self.register_filter("filter_data_type", WidgetsDataTypeFilter(parent=self, **own))
            page, resources = TemplateExporter.from_notebook_node(self, nb, resources, **more)
            return re.sub(r"<img(?![^>]*\balt=)", '<img alt="a picture"', page), resources

    config: Config = GenerateFeedback().config
    exporter = Exporter(config=config)
    exporter.log = logging.Logger("nbconvert", logging.CRITICAL + 1)
    exporter.register_preprocessor(CSSHTMLHeaderPreprocessor, enabled=True)
    return exporter
