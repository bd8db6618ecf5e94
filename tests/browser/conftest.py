"""One JupyterLab and one browser for all tests of this folder; a fresh page for each test."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from browser.laboratory import BROWSER_ARGUMENTS, ROOT, Server, Watched, serve, watch
from needs import need


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    need(importlib.util.find_spec("playwright") is not None, "playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    need(program is not None, "chromium")
    from playwright.sync_api import sync_playwright

    root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = [*BROWSER_ARGUMENTS, *(["--no-sandbox"] if root else [])]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


COURSE = ("chapters", "solutions", "nbgrader_config.py", "lib/roofline/lab/jupyter")
"""What of a clone JupyterLab and its extensions read."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab in a copy of the course, for a user with an empty home."""
    need(importlib.util.find_spec("jupyterlab") is not None, "jupyterlab")
    folder = tmp_path_factory.mktemp("course")
    for name in COURSE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            shutil.copy(ROOT / name, folder / name)
    with serve(folder, tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page of its own, that nothing is remembered in."""
    context = chromium.new_context(viewport={"width": 1280, "height": 960})
    fresh = context.new_page()
    fresh.set_default_timeout(60_000)  # a busy machine is no failure
    yield fresh
    context.close()


@pytest.fixture
def watched(page: Any, server: Server) -> Iterator[Watched]:
    """Watches ``page`` for a new learner. At the end: no complaint, and nothing has left."""
    shutil.rmtree(server.records, ignore_errors=True)
    seen = watch(page)
    yield seen
    assert not seen.outside()
    assert not server.left(), "the server or a kernel asked another machine"
    assert not seen.complaints
