"""A sandbox for the tests that need one, made once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import need
from roofline.course.sandbox import Workers

DRILLS = Path(__file__).parents[1] / "grading" / "exercises"


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Workers]:
    """Two workers in sandboxes, with the drill exercises as an instructor's private ones."""
    need(sys.platform.startswith("linux") and bool(shutil.which("bwrap")), "bubblewrap")
    with Workers(2, overlay=DRILLS) as workers:
        workers.start()
        yield workers
