"""An ordinary nbgrader assignment gets stock nbgrader's scores, cell by cell."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from course import ordinary
from needs import need
from roofline.course import assign, feedback, folder, running
from roofline.course.gradebook import Book
from roofline.course.grading import Row, grade
from roofline.course.sandbox import available

NOT_THERE = "words: it was not handed in"


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A class graded by us, and its rows; and a copy of its folder from before that."""
    why = available()
    need(why is None, f"a sandbox ({why})")
    base = tmp_path_factory.mktemp("ordinary")
    course = folder.create(base / "course", "ordinary")
    ordinary.write_source(course.source / ordinary.NAME)
    assign.release(course, ordinary.NAME)
    students = ordinary.submit(course.release, course.submitted)
    with Book(course) as book:
        book.add_students({student: {} for student in students})
    shutil.copytree(course.root, base / "stock")
    rows = grade(course, ordinary.NAME, workers=2)
    yield course, {row.student: row for row in rows}, base / "stock"
    running.close_engines()


def cells(database: Path) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    """By student, notebook and cell: points, whether a person has to look, and the comment."""
    query = """
        select s.student_id, n.name, c.name, g.auto_score, g.needs_manual_grade, k.auto_comment
        from submitted_assignment s join submitted_notebook m on m.assignment_id = s.id
        join notebook n on n.id = m.notebook_id join base_cell c on c.notebook_id = n.id
        left join grade g on g.notebook_id = m.id and g.cell_id = c.id
        left join comment k on k.notebook_id = m.id and k.cell_id = c.id"""
    with sqlite3.connect(database) as book:
        return {
            row[:3] + (i,): row[3:] for i, row in enumerate(sorted(book.execute(query), key=repr))
        }


def test_the_scores_are_what_each_deserves(graded: tuple[Any, dict[str, Row], Path]) -> None:
    _, rows, _ = graded
    assert {name: row.score for name, row in rows.items()} == {
        "right": 6.0,
        "seen": 2.0,
        "untouched": 0.0,
        "editor": 2.0,
        "deleter": 5.0,
        "half": 5.0,
    }
    assert {row.status for row in rows.values()} == {"graded"}
    assert "hidden was deleted" in rows["deleter"].reason
    assert "visible was edited" in rows["editor"].reason
    assert "words: it was not handed in" in rows["half"].reason


def test_every_cell_has_stock_nbgraders_score(graded: tuple[Any, dict[str, Row], Path]) -> None:
    course, _, stock = graded
    own = {"HOME": str(stock), "IPYTHONDIR": str(stock / "ipython"), "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("nbgrader")), "autograde", ordinary.NAME]
    done = subprocess.run(
        command, cwd=stock, env=os.environ | own, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = cells(course.root / "gradebook.db"), cells(stock / "gradebook.db")
    assert len(ours) == len(theirs) > 6 * 9
    # Where nothing was handed in, ours says so beside the points; stock is silent.
    silent = {
        key: (*cell[:2], None) if cell[2] == NOT_THERE else cell for key, cell in ours.items()
    }
    assert silent == theirs and silent != ours


def test_pages_show_comments_and_no_hidden_tests(graded: tuple[Any, dict[str, Row], Path]) -> None:
    course, _, _ = graded
    pages = feedback.feedback(course, ordinary.NAME)
    assert {page.status for page in pages} == {"written"} and len(pages) == 12
    for page in pages:
        text = Path(page.path).read_text(encoding="utf-8")
        assert "HIDDEN" not in text and "9 * scale" not in text
    seen = Path(course.feedback / "seen" / ordinary.NAME / "squares.html").read_text()
    assert "a test that isn" in seen
