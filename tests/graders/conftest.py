"""The results of grading the graders, printed as one table, and kept in build/graders.txt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from graders import graded


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's progress file gets the answers of these tests."""
    monkeypatch.setenv("ROOFLINE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def table_of_rows(request: pytest.FixtureRequest) -> Iterator[list[graded.Row]]:
    """The rows of the table, shown when the last test of the session is done."""
    rows: list[graded.Row] = []
    yield rows
    text = graded.table(rows)
    build = graded.ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "graders.txt").write_text(text + "\n", encoding="utf-8")
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n\n" + text)
