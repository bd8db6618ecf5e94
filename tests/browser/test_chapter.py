"""Chapter 2 as a learner meets it: run, solved wrongly, solved rightly, played with."""

from __future__ import annotations

from typing import Any

from browser.laboratory import ROOT, Server, Watched
from browser.notebook import Notebook, open_notebook
from browser.steps import LAB, line, picture, slider
from needs import need
from roofline import lab

CHAPTER = "chapters/02_backprop/02_backprop.ipynb"

WRONG = """
def sigmoid(x):
    y = torch.sigmoid(x)
    return y, lambda dy: (y * (1 - y),)
"""
RIGHT = """
def sigmoid(x):
    y = torch.sigmoid(x)
    return y, lambda dy: (dy * y * (1 - y),)
"""


def checked(notebook: Notebook, solution: str) -> Any:
    """Put ``solution`` into the first exercise's cell, run it and its check; the check's cell."""
    cell = notebook.index("sigmoid-solution")
    notebook.write(cell, solution)
    notebook.run(cell)
    return notebook.run(notebook.index("sigmoid-check"))


def test_a_learner_s_first_hour(page: Any, server: Server, watched: Watched) -> None:
    need((ROOT / CHAPTER).exists(), "chapter 2 (make notebooks)")
    notebook = open_notebook(page, server, CHAPTER)
    notebook.picture("chapter_opened")

    # The untouched chapter runs from top to bottom.
    notebook.run_all(120)
    outputs = [output for cell in notebook.cells() for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    checks = [cell for cell in notebook.cells() if cell["source"].startswith("check(")]
    assert checks and all("not attempted yet" in str(cell["outputs"]) for cell in checks)
    notebook.show(notebook.index("picture-mistakes"))
    notebook.picture("chapter_mistakes")

    # A wrong answer sees which mistake it looks like; a right one its points.
    cell = checked(notebook, WRONG)
    cell.get_by_text("this is the derivative alone").first.wait_for()
    notebook.picture("chapter_wrong")
    cell = checked(notebook, RIGHT)
    cell.get_by_text("3 of 3").first.wait_for()
    assert cell.get_by_text("this is the derivative alone").count() == 0
    notebook.picture("chapter_right")

    # The experiment: a prediction, then a control moved from the keyboard.
    notebook.show(notebook.index("experiment"))
    field = page.locator(f"{LAB} input")
    field.focus()
    page.keyboard.type("1.5")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    line(page, "Batch 512, width 512, depth 4, relu")
    before = picture(page)
    slider(page, "batch").focus()
    page.keyboard.press("ArrowRight")
    line(page, lab.remembered.describe(lab.remembered.model(batch=1024)))
    assert picture(page) != before
    notebook.picture("chapter_experiment")
