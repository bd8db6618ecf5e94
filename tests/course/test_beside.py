"""What was handed in beside a notebook, beside its graded copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from roofline.course.beside import acts, put_beside


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


def test_what_was_handed_in_last_and_nothing_else(tmp_path: Path) -> None:
    folder, outside = tmp_path / "graded", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    (folder / "one.ipynb").write_text("{}")
    put_beside(folder, {"a.txt": b"1", "b/c.png": b"2", "b/d": b"", "page.html": b"<script>"})
    assert names(folder) == {"one.ipynb", "a.txt", "b/c.png", "b/d"}
    (folder / "link").symlink_to(outside)
    (folder / "b" / "c.png").unlink()
    (folder / "b" / "c.png").symlink_to(outside / "kept.txt")
    put_beside(folder, {"a.txt/now a folder": b"3", "b": b"now a file"})
    assert names(folder) == {"one.ipynb", "a.txt/now a folder", "b"}
    put_beside(folder, {"b/c.png": b"4"})
    assert names(folder) == {"one.ipynb", "b/c.png"}
    assert (folder / "b" / "c.png").read_bytes() == b"4"
    assert (outside / "kept.txt").read_text() == "kept"


def test_a_name_that_is_too_long_stops_nobody_and_a_full_disk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_beside(tmp_path, {"x" * 300: b"1", "y": b"2"})
    assert names(tmp_path) == {"y"}

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        put_beside(tmp_path, {"z": b"3"})


@pytest.mark.parametrize(
    "name", ["a.html", "a.HTM", "b/a.svg", "a.svgz", "a.xhtml", "a.xml", "a.js"]
)
def test_what_a_browser_would_run(name: str) -> None:
    assert acts(name)


@pytest.mark.parametrize("name", ["a.png", "a.csv", "a.py", "a.json", "a.pdf", "html", "a.npz"])
def test_what_it_would_not(name: str) -> None:
    assert not acts(name)
