"""The glossary: every term that a chapter marks is in it, in English and in Chinese.

A chapter marks a term where it first occurs: ``[**ridge**](../glossary.md#ridge)``. The path works
from ``solutions/NN_name/`` and from ``chapters/NN_name/``, and inside a JupyterLab that was opened
on ``chapters/``, where nothing above that folder can be reached.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from roofline.classroom.source import read_source

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "solutions" / "glossary.md"
SOURCES = sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py"))
every_chapter = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)

ROW = re.compile(r'^\| <a id="([^"]+)"></a>([^|]+) \| ([^|]+) \| ([^|]+) \| ([\d, ]+) \|$')
LINK = re.compile(r"\]\((?P<path>[^)#\s]*glossary\.md)(?:#(?P<anchor>[^)]*))?\)")
BOLD = re.compile(r"(?P<open>\[?)\*\*(?P<text>[^*]+)\*\*")
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$]+\$", re.S)
GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi pi rho sigma"
)
GREEK += " tau phi chi psi omega nabla partial odot"
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def rows() -> list[tuple[str, str, str, str, str]]:
    """(anchor, English, Chinese, meaning, chapters) of every term and symbol, in order."""
    lines = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if "<a id" in line]
    found = [ROW.match(line) for line in lines if line.startswith("|")]
    assert all(found), "a row isn't: anchor, term, Chinese, one line, chapters"
    return [match.groups() for match in found if match]  # type: ignore[misc]


def terms() -> dict[str, str]:
    """Terms, without the symbols, by their anchors."""
    return {anchor: term for anchor, term, *_ in rows() if not anchor.startswith("symbol-")}


@cache
def prose(path: Path) -> str:
    cells = [cell.text for cell in read_source(path).cells if cell.kind == "markdown"]
    text = re.sub(r"```.*?```|`[^`]*`", " ", "\n\n".join(cells), flags=re.S)
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def symbols(text: str) -> dict[str, str]:
    """The letters and Greek letters in the formulas of a text, each with a formula that has it."""
    found: dict[str, str] = {}
    for formula in FORMULA.findall(text):
        bare = re.sub(r"\\(?:text|mathrm)\{[^}]*\}", " ", formula)
        greek = re.findall(rf"\\({'|'.join(GREEK.split())})(?![a-z])", bare)
        latin = re.findall(r"[A-Za-z]", re.sub(r"\\[a-zA-Z]+", " ", bare))
        found |= dict.fromkeys([*greek, *latin], formula)
    return found


def slug(term: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", term.casefold()).strip("-")


def test_every_row_is_complete() -> None:
    for anchor, english, chinese, meaning, chapters in rows():
        assert CHINESE.search(chinese), f"{english} has no Chinese"
        assert len(meaning) > 3 and set(chapters.split(", ")) <= set("1234567"), english
        assert anchor.startswith("symbol-") or anchor == slug(english)


def test_terms_are_in_alphabetical_order_and_once() -> None:
    anchors = [anchor for anchor, *_ in rows()]
    assert len(set(anchors)) == len(anchors)
    for part in (list(terms()), [a for a in anchors if a.startswith("symbol-")]):
        assert part == sorted(part) and len(part) > 40


def test_a_chapter_that_an_entry_names_exists() -> None:
    known = {int(path.stem[:2]) for path in SOURCES}
    assert {int(c) for *_, chapters in rows() for c in chapters.split(", ")} == known


def test_learners_have_the_same_glossary() -> None:
    copy = ROOT / "chapters" / "glossary.md"
    assert copy.read_bytes() == GLOSSARY.read_bytes(), "copy solutions/glossary.md to chapters/"


@every_chapter
def test_links_lead_to_an_entry(path: Path) -> None:
    links = list(LINK.finditer(prose(path)))
    assert any(link["anchor"] is None for link in links), "the summary doesn't name the glossary"
    assert any(link["anchor"] for link in links), "no term is marked"
    chapters = {anchor: places.split(", ") for anchor, *_, places in rows()}
    for link in links:
        for folder in ("chapters", "solutions"):
            target = (ROOT / folder / path.stem / link["path"]).resolve()
            assert target == ROOT / folder / "glossary.md"
        if link["anchor"] is not None:
            assert link["anchor"] in chapters, link[0]
            assert str(int(path.stem[:2])) in chapters[link["anchor"]], link[0]


@every_chapter
def test_a_term_that_is_marked_is_linked_and_in_the_glossary(path: Path) -> None:
    """Bold is for terms and for stress. A bold word that the glossary has is a term."""
    text = prose(path)
    unlinked = [bold["text"] for bold in BOLD.finditer(text) if not bold["open"]]
    assert [word for word in unlinked if slug(word) in terms()] == []
    for bold in BOLD.finditer(text):
        if bold["open"]:
            link = LINK.match(text, bold.end())
            assert link and link["anchor"] in terms(), f"{bold['text']} isn't in the glossary"
            assert slug(bold["text"]) in link["anchor"], f"{bold['text']} leads elsewhere"


@every_chapter
def test_every_symbol_of_a_formula_is_in_the_glossary(path: Path) -> None:
    known = symbols(" ".join(english for anchor, english, *_ in rows() if "symbol-" in anchor))
    used = symbols(prose(path))
    assert used
    assert {symbol: formula for symbol, formula in used.items() if symbol not in known} == {}
