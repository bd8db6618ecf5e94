"""The texts and the series that come with the course."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .dataset import Texts
from .sources import Source, read, source


def shakespeare() -> str:
    """Nine plays by Shakespeare: 1,142,971 characters of ASCII. ``source("shakespeare")`` says
    where they come from."""
    return read("shakespeare", "shakespeare.txt").decode("ascii")


def chinese_poetry(anthology: str = "tang") -> str:
    """An anthology of Chinese poems: title, author, lines, a blank line.

    Args:
        anthology: "tang", in traditional characters, or "song", in simplified ones.
    """
    if anthology not in ("tang", "song"):
        raise ValueError(f"anthology is {anthology!r}, expected 'tang' or 'song'")
    return read("chinese_poetry", f"{anthology}.txt").decode("utf-8")


def names() -> Texts:
    """7,481 surnames, labelled with one of 16 locales that write in Latin letters.

    129 names occur in several locales, and are labelled with each.
    """
    lines = read("names", "names.txt").decode("utf-8").splitlines()
    locales, texts = zip(*(line.split("\t") for line in lines), strict=True)
    classes = tuple(sorted(set(locales)))
    labels = torch.tensor([classes.index(locale) for locale in locales])
    return Texts(texts, labels, classes, source("names"))


@dataclass(frozen=True, eq=False)
class Series:
    """One number a month. ``values``: (N,), float32; ``months`` such as "1749-01"."""

    values: torch.Tensor
    months: tuple[str, ...]
    source: Source | None = None

    def __len__(self) -> int:
        return len(self.values)


def sunspots() -> Series:
    """Monthly mean sunspot numbers from January 1749 to June 2009: 3,126 months, no gap."""
    lines = read("sunspots", "sunspots.csv").decode("ascii").splitlines()[1:]
    months, values = zip(*(line.split(",") for line in lines), strict=True)
    return Series(torch.tensor([float(value) for value in values]), months, source("sunspots"))
