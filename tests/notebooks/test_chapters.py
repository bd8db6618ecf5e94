"""The committed chapters: built from their sources, of the right size, without secrets."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from roofline.classroom import build
from roofline.classroom.anatomy import FILE_BYTES, anatomy, problems
from roofline.classroom.source import BEGIN, HIDDEN, Chapter, read_source, solution_lines
from roofline.grading.registry import find

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "solutions").glob("*.py"))
every_chapter = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)


def test_there_are_chapters() -> None:
    assert SOURCES


def test_what_is_committed_is_what_the_sources_build() -> None:
    """Sources, ids and metadata, byte for byte. Outputs are compared where nbval runs them."""
    assert build.differing(ROOT, build.build(ROOT, run=False)) == []


@every_chapter
def test_a_chapter_keeps_to_its_size(path: Path) -> None:
    assert problems(anatomy(read_source(path))) == []
    for notebook in (build.solution_path(path.stem), build.release_path(path.stem)):
        assert (ROOT / notebook).stat().st_size < FILE_BYTES


WORDS_A_MINUTE = 200


@every_chapter
def test_a_chapters_minutes_cover_its_exercises_and_its_prose(path: Path) -> None:
    chapter = read_source(path)
    said = re.search(r"^\| (\d+) \|", chapter.cells[0].text, re.M)
    assert said, "the first cell has no card"
    exercises = sum(find(name).minutes for name in chapter.exercises())
    assert int(said[1]) > exercises + anatomy(chapter).words / WORDS_A_MINUTE


@every_chapter
def test_difficulty_rises(path: Path) -> None:
    found = [find(name).difficulty for name in read_source(path).exercises()]
    assert found == sorted(found) and found[0] < found[-1]


@every_chapter
def test_a_picture_has_a_ground_of_its_own_and_text_beside_it(path: Path) -> None:
    """Without a white ground, black ink is lost in a dark theme; without text, on who can't see."""
    notebook = nbformat.read(ROOT / build.solution_path(path.stem), as_version=4)
    for cell in notebook.cells:
        pictures = ["image/png" in output.get("data", {}) for output in cell.get("outputs", [])]
        assert sum(pictures) >= cell.source.count("plt.show()"), f"{cell.id} shows nothing"
        for output in cell.get("outputs", []):
            if "image/png" not in output.get("data", {}):
                continue
            picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
            assert picture.convert("RGBA").getchannel("A").getextrema() == (255, 255), cell.id
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255), cell.id
            beside = [other for other in cell.outputs if other.output_type == "stream"]
            described = output.get("metadata", {}).get("image/png", {}).get("alt")
            assert beside or described, f"nothing beside the picture of {cell.id}"


def release_text(chapter: Chapter) -> str:
    """Everything in a release: sources, outputs and metadata, with strings as they read."""
    notebook = nbformat.read(ROOT / build.release_path(chapter.name), as_version=4)
    cells = "\n".join(cell.source for cell in notebook.cells)
    return cells + "\n" + json.dumps(notebook, ensure_ascii=False)


@every_chapter
def test_no_sealed_thing_is_in_a_release(path: Path) -> None:
    chapter = read_source(path)
    text = release_text(chapter)
    assert "YOUR CODE HERE" in text
    for secret in (
        "sealed",
        BEGIN,
        HIDDEN,
        "roofline.exercises",
        ".judge(",
        ".probe(",
        "Exercise(",
    ):
        assert secret not in text, f"{secret!r} is in the release of {chapter.name}"


@every_chapter
def test_no_solution_is_in_a_release(path: Path) -> None:
    """No line that is only a solution's, and no solution of which half can be read elsewhere."""
    chapter = read_source(path)
    released = {_plain(line) for line in release_text(chapter).splitlines()}
    public = {
        _plain(line)
        for cell in chapter.cells
        for line in set(cell.text.splitlines()) - set(_solution(cell))
    }
    for cell in chapter.cells:
        lines = [line for line in map(_plain, _solution(cell)) if len(line) > 8]
        own = [line for line in lines if line not in public]
        assert [line for line in own if line in released] == []
        if lines:
            assert len(own) > len(lines) / 2, (
                f"{path.name}:{cell.line}: most lines of this solution stand elsewhere in the "
                f"chapter: {sorted(set(lines) - set(own))}"
            )


def _solution(cell: object) -> list[str]:
    return solution_lines(cell) if cell.role == "solution" else []  # type: ignore[attr-defined]


def _plain(line: str) -> str:
    return re.sub(r"\s*#.*|\s+", "", line)
