"""What an instructor opens: nbgrader's formgrader, inside JupyterLab, listing the chapters."""

from __future__ import annotations

import importlib.util
from typing import Any

from browser.laboratory import Server, Watched
from browser.notebook import Notebook
from needs import need


def test_formgrader_lists_the_chapter(page: Any, server: Server, watched: Watched) -> None:
    need(importlib.util.find_spec("nbgrader") is not None, "nbgrader")
    page.goto(f"{server.url}/lab?reset&token={server.token}")
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)")
    window = Notebook(page)
    window.command("nbgrader:open-formgrader")
    page.frame_locator("iframe").get_by_role("link", name="02_backprop").first.wait_for()
    window.picture("formgrader")
