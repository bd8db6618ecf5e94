"""Every experiment in a real browser: answered, moved and stopped from the keyboard, and seen.

Screenshots of each are left in ``build/screenshots``, light and dark.
"""

from __future__ import annotations

import re
from typing import Any

import nbformat
from browser.laboratory import SCREENSHOTS, Server, Watched
from browser.notebook import Notebook, open_notebook
from browser.steps import LAB
from roofline import lab

LONG = ("batching", "checkpointing")
"""Those that take several seconds, so that a learner may stop them."""
WAIT = 60_000
"""Milliseconds. A busy machine is no failure."""


def all_of_them() -> str:
    """A notebook with a cell for each experiment."""
    cells = [nbformat.v4.new_code_cell("from roofline import lab")]
    cells += [nbformat.v4.new_code_cell(f"lab.{name}()") for name in lab.names()]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}))


def test_every_experiment_is_operated_from_the_keyboard(
    page: Any, server: Server, watched: Watched
) -> None:
    (server.folder / "experiments.ipynb").write_text(all_of_them(), encoding="utf-8")
    notebook = open_notebook(page, server, "experiments.ipynb")
    notebook.run_all(120)
    for number, name in enumerate(lab.names(), start=1):
        operate(page, notebook, number, lab.find(name))
    notebook.command("apputils:change-theme", theme="JupyterLab Dark")
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    for number, name in enumerate(lab.names(), start=1):
        screenshot(notebook.show(number), f"lab_{name}_dark")


def operate(page: Any, notebook: Notebook, number: int, experiment: lab.Experiment) -> None:
    from playwright.sync_api import expect

    cell = notebook.show(number)
    field = cell.locator(f"{LAB} input")
    field.wait_for()
    assert cell.locator(f"{LAB} img").count() == 0, "a picture before the prediction"
    assert field.bounding_box()["width"] > 120, "no room for a number"
    field.focus()
    for key in ("2", "Tab", "Enter"):
        page.keyboard.press(key)
    picture, line = cell.locator(f"{LAB} img"), cell.locator(f"{LAB}-line p")
    line.wait_for()
    cell.get_by_text("You predicted 2 ").wait_for()
    if experiment.measure is not None:
        # It measures by itself once the learner has committed, until they stop it or it is done.
        switch = cell.get_by_role("button", name=re.compile("^(Stop|Measure)$"))
        if experiment.name in LONG:
            expect(switch).to_have_text("Stop", timeout=WAIT)
            cell.get_by_text(re.compile(r", [1-9] of \d+$")).wait_for()
            switch.press("Enter")
            cell.get_by_text("stopped: what was measured so far is kept").wait_for()
            expect(switch).to_be_focused()
        # The line first: a button that still says Measure may belong to a measurement to come.
        expect(line).to_contain_text("measured on", timeout=WAIT)
        expect(switch).to_have_text("Measure", timeout=WAIT)
        screenshot(cell, f"lab_{experiment.name}_measured")
    before, shown = line.inner_text(), picture.get_attribute("src")
    assert picture.get_attribute("title") == before
    slider = cell.locator(f"{LAB} .noUi-handle").first
    slider.focus()
    last = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
    page.keyboard.press("ArrowLeft" if last else "ArrowRight")
    stands = cell.locator(f"{LAB} .widget-readout").first.inner_text()
    changed(page, line, before, stands)
    assert picture.get_attribute("src") != shown
    assert picture.get_attribute("title") == line.inner_text()
    cell.get_by_role("button", name="Keep this trial").press("Enter")
    kept = cell.locator(f"{LAB} tbody tr")
    kept.wait_for()
    assert kept.bounding_box()["height"] < 40, "a trial of several lines"
    screenshot(cell, f"lab_{experiment.name}")


def changed(page: Any, line: Any, before: str, words: str) -> None:
    """Wait until the line of text is another one, with ``words`` in it."""
    for _ in range(WAIT // 100):
        if line.inner_text() != before and words in line.inner_text():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the text under the picture is still {before!r}")


def screenshot(cell: Any, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    cell.locator(LAB).screenshot(path=SCREENSHOTS / f"{name}.png")
