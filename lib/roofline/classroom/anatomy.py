"""The size of a chapter, as far as a machine can see it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from roofline.classroom.source import Chapter

CELLS = (20, 40)
WORDS = (1500, 2500)
EXERCISES = (4, 7)
FILE_BYTES = 1_500_000
PEAK_BYTES = 2_000_000_000
SECONDS = 120


@dataclass(frozen=True)
class Anatomy:
    """What can be counted without running a chapter. An exercise's three cells are its own."""

    cells: int
    words: int
    exercises: int


def anatomy(chapter: Chapter) -> Anatomy:
    """Count a chapter. The cards that the build adds are not in the count."""
    prose = [cell.text for cell in chapter.cells if cell.kind == "markdown"]
    cells = sum(cell.role is None for cell in chapter.cells)
    return Anatomy(cells, sum(map(words, prose)), len(chapter.exercises()))


def words(markdown: str) -> int:
    """Words of prose: without code, formulas, tags, and the targets of links."""
    for noise in (
        r"```.*?```",
        r"\$\$.*?\$\$",
        r"\$[^$\n]+\$",
        r"<[^>]+>",
        r"\]\([^)]*\)",
        r"https?://\S+",
    ):
        markdown = re.sub(noise, " ", markdown, flags=re.S)
    return len(re.findall(r"[^\W_]+(?:['’.,-][^\W_]+)*", markdown))


def problems(counted: Anatomy) -> list[str]:
    """One line for each count that is out of its range."""
    ranges = (("cells", CELLS), ("words", WORDS), ("exercises", EXERCISES))
    return [
        f"{getattr(counted, name)} {name}, expected {low:,} to {high:,}"
        for name, (low, high) in ranges
        if not low <= getattr(counted, name) <= high
    ]


def heavy(seconds: float, peak_bytes: int, file_bytes: int) -> list[str]:
    """One line for each cost that is above its limit. A busy machine takes longer."""
    costs = (
        (seconds, SECONDS, "seconds"),
        (peak_bytes, PEAK_BYTES, "bytes at the peak"),
        (file_bytes, FILE_BYTES, "bytes in a notebook file"),
    )
    return [f"{cost:,.0f} {what}, at most {most:,}" for cost, most, what in costs if cost > most]
