"""A chapter of a few cells, in a course of its own, for the tests of the pipeline."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


EXERCISES = str(HERE / "sample" / "exercises")


@pytest.fixture(autouse=True)
def sample_exercises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_EXERCISES", EXERCISES)


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A fresh course folder with the sample chapter, unbuilt."""
    return _make(tmp_path)


@pytest.fixture(scope="session")
def built_course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course whose sample chapter has been built, executed and all. Tests leave it as it is."""
    from roofline.classroom import build

    course = _make(tmp_path_factory.mktemp("course"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROOFLINE_EXERCISES", EXERCISES)
        assert build.main(["--root", str(course)]) == 0
    return course


def _make(folder: Path) -> Path:
    shutil.copytree(HERE / "sample" / "solutions", folder / "solutions")
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    return folder
