"""A chapter of a few cells, in a course of its own, for the tests of the pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh course folder with the sample chapter, unbuilt, and its exercises findable."""
    return _make(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def built_course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A course whose sample chapter has been built, executed and all. Tests leave it as it is."""
    from roofline.classroom import build

    with pytest.MonkeyPatch.context() as patch:
        course = _make(tmp_path_factory.mktemp("course"), patch)
        assert build.main(["--root", str(course)]) == 0
        yield course


def _make(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    patch.setenv("ROOFLINE_EXERCISES", str(HERE / "sample" / "exercises"))
    shutil.copytree(HERE / "sample" / "solutions", folder / "solutions")
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    return folder
