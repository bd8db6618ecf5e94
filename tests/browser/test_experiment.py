"""An experiment alone, in a real browser, from the keyboard."""

from __future__ import annotations

from typing import Any

from browser.laboratory import SCREENSHOTS, Server, Watched
from browser.notebook import open_notebook
from browser.steps import LAB, line, picture, slider
from roofline import lab
from roofline.lab.alone import notebook as alone


def test_an_experiment_is_operated_from_the_keyboard(
    page: Any, server: Server, watched: Watched
) -> None:
    path = server.folder / "remembered.ipynb"
    path.write_text(alone(lab.remembered, server.folder), encoding="utf-8")
    notebook = open_notebook(page, server, path.name)
    notebook.run_all(60)

    # Asked first, and no picture before the answer.
    field = page.locator(f"{LAB} input")
    field.wait_for()
    assert page.locator(f"{LAB} img").count() == 0
    notebook.picture("experiment_question")
    field.focus()
    for key in ("much", "Tab", "Enter"):
        page.keyboard.type(key) if len(key) == 4 else page.keyboard.press(key)
    page.get_by_text("'much' is not a number above 0").wait_for()
    field.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("1.5")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    # The picture is the model's, byte for byte, and says so in words too.
    first = lab.remembered.model()
    line(page, lab.remembered.describe(first))
    assert picture(page) == lab.style.png(lab.remembered.draw(first))
    assert page.locator(f"{LAB} img").get_attribute("title") == lab.remembered.describe(first)
    page.get_by_text("You predicted 1.5 MB. It is 5.8 MB (measured)").wait_for()
    notebook.picture("experiment")

    # From control to control with Tab, along each with the arrows.
    slider(page, "batch").focus()
    page.keyboard.press("ArrowRight")
    line(page, "Batch 1,024, width 512, depth 4, relu")
    page.keyboard.press("End")
    line(page, "Batch 4,096, width 512, depth 4, relu")
    slider(page, "depth").focus()
    page.keyboard.press("ArrowUp")
    line(page, "Batch 4,096, width 512, depth 5, relu")
    page.get_by_role("button", name="silu").press("Enter")
    moved = lab.remembered.model(batch=4096, depth=5, activation="silu")
    line(page, lab.remembered.describe(moved))
    assert picture(page) == lab.style.png(lab.remembered.draw(moved))

    # What is worth keeping is kept, and saved beside the notebook.
    page.get_by_role("button", name="Keep this trial").press("Enter")
    page.locator(f"{LAB} table").wait_for()
    page.get_by_role("button", name="Save trials").press("Enter")
    saved = server.folder / "remembered_trials.csv"
    page.get_by_text(f"1 saved in {saved}").wait_for()
    assert f"4096,512,5,silu,adam,{moved.measured}," in saved.read_text(encoding="utf-8")

    page.locator(LAB).screenshot(path=SCREENSHOTS / "experiment_trials.png")

    notebook.command("apputils:change-theme", theme="JupyterLab Dark")
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    notebook.picture("experiment_dark")
