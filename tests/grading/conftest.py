"""A chapter of exercises of its own, and a home of its own, for every test of the grading room."""

from __future__ import annotations

from pathlib import Path

import pytest
from roofline.grading import records

EXERCISES = Path(__file__).parent / "exercises"
LIBRARY = Path(__file__).resolve().parents[2] / "lib"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Progress goes here; the exercises of ``exercises/drill.py`` can be found."""
    folder = tmp_path / "home"
    records._session.clear()
    monkeypatch.setenv("ROOFLINE_HOME", str(folder))
    monkeypatch.setenv("ROOFLINE_EXERCISES", str(EXERCISES))
    monkeypatch.setenv("PYTHONPATH", str(LIBRARY))  # for kernels, where roofline isn't installed
    for name in ("ROOFLINE_SEED", "ROOFLINE_OUTBOX", "NBGRADER_EXECUTION"):
        monkeypatch.delenv(name, raising=False)
    return folder
