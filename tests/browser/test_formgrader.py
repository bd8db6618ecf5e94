"""What an instructor opens: nbgrader's formgrader, inside JupyterLab, listing the chapters."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from browser.laboratory import ROOT, Server, Watched, serve
from browser.notebook import Notebook
from course.hostile.world import CHAPTER, hand_in, released, solved
from needs import need
from roofline.course.assign import release
from roofline.course.folder import create
from roofline.course.gradebook import Book


def test_formgrader_lists_the_chapter(page: Any, server: Server, watched: Watched) -> None:
    need(importlib.util.find_spec("nbgrader") is not None, "nbgrader")
    page.goto(f"{server.url}/lab?reset&token={server.token}")
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)")
    window = Notebook(page)
    window.command("nbgrader:open-formgrader")
    page.frame_locator("iframe").get_by_role("link", name="02_backprop").first.wait_for()
    window.picture("formgrader")


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab in the folder of a class of three that was graded."""
    need(importlib.util.find_spec("nbgrader") is not None, "nbgrader")
    need(sys.platform == "linux" and shutil.which("bwrap") is not None, "bubblewrap")
    folder = tmp_path_factory.mktemp("formgrader")
    course = create(folder / "class")
    release(course, CHAPTER)
    answers = {"ada": solved(), "bob": solved("sigmoid", "linear"), "chi": released()}
    with Book(course) as book:
        book.add_students({student: {} for student in answers})
    for student, notebook in answers.items():
        hand_in(course.submitted / student / CHAPTER, notebook)
    command = [sys.executable, "-m", "roofline.cli", "class", "grade", CHAPTER]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "lib")}
    subprocess.run(command, cwd=course.root, env=os.environ | own, check=True, capture_output=True)
    with serve(course.root, tmp_path_factory.mktemp("home")) as running:
        yield running


def test_formgrader_shows_a_graded_class(page: Any, graded: Server) -> None:
    """The scores of all, and for one, the notebook with the tables of its checks."""
    page.set_extra_http_headers({"Authorization": f"token {graded.token}"})
    page.goto(f"{graded.url}/formgrader/gradebook/{CHAPTER}/{CHAPTER}")
    page.locator("tbody td.score", has_text="26 / 26").wait_for()
    scores = [cell.inner_text() for cell in page.locator("tbody td.score").all()]
    assert sorted(scores) == ["0 / 26", "26 / 26", "7 / 26"]
    Notebook(page).picture("formgrader_class")
    row = page.locator("tbody tr", has=page.locator("td.score", has_text="7 / 26"))
    row.locator("a.name-hidden").click()
    page.get_by_text("backprop.linear · 4 of 4 points").first.wait_for()
    assert page.get_by_text("not attempted yet").count() > 0
    page.get_by_text("backprop.linear · 4 of 4 points").first.scroll_into_view_if_needed()
    Notebook(page).picture("formgrader_submission")
