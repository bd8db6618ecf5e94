"""One JupyterLab and one browser for all tests of this folder; a fresh page for each test."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on a copy of the chapters, for a user with an empty home."""
    need(importlib.util.find_spec("jupyterlab") is not None, "jupyterlab")
    folder = tmp_path_factory.mktemp("course")
    chapters: Path = ROOT / "chapters"
    if chapters.exists():
        shutil.copytree(chapters, folder / "chapters")
    with serve(folder, tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page of its own, that nothing is remembered in."""
    context = chromium.new_context(viewport={"width": 1280, "height": 960})
    yield context.new_page()
    context.close()


@pytest.fixture
def watched(page: Any, server: Server) -> Iterator[Watched]:
    """Watches ``page``. At the end: nothing has complained, nothing has left this machine."""
    seen = watch(page)
    yield seen
    assert not seen.outside()
    assert not server.left(), "the server or a kernel asked another machine"
    assert not seen.complaints
