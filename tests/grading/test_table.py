"""The table: the same facts as text and as HTML, legible on any page, to any reader."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from roofline.grading import Item
from roofline.grading.result import Result
from roofline.grading.table import _RULES, WIDTH, headline, markup, text

RESULT = Result(
    "drill.linear",
    4,
    [
        Item("result", 1, 1.0, "as expected"),
        Item("a name & <b>tag</b>", 2, 0.5, "half of it", "try <script>alert(1)</script>"),
        Item("gradient", 1, 0.0, "it raised ValueError: " + "long " * 60),
    ],
    ["it printed: <img src=x onerror=alert(1)>"],
)


class Reader(HTMLParser):
    """Collects the tags that are open, their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "


def test_both_forms_say_the_same() -> None:
    words = " ".join(Reader(markup(RESULT)).words.split())
    plain = " ".join(text(RESULT).split())
    for fact in (
        "drill.linear · 1.5 of 4 points",
        "✓ earned",
        "◐ part",
        "✗ lost",
        "a name & <b>tag</b>",
        "half of it",
        "hint: try <script>alert(1)</script>",
        "note: it printed: <img src=x onerror=alert(1)>",
    ):
        assert fact in words and fact in plain


def test_the_html_is_well_formed_and_what_the_learner_wrote_is_text() -> None:
    page = Reader(markup(RESULT))
    assert page.open == []
    assert not {"script", "img", "b"} & set(page.tags)
    assert {name for name, _ in page.attributes} <= {"class", "style", "scope"}
    assert page.tags.count("tr") == 4 and page.tags.count("th") == 4


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, section 1.4.3."""

    def luminance(colour: str) -> float:
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_it_is_legible_on_light_and_dark(page: str) -> None:
    """Text has the page's colour. The rules beside it reach the 3:1 of WCAG 2.2, 1.4.11."""
    style = markup(RESULT)
    assert set(re.findall(r"(?<![-\w])color:([^;\"]+)", style)) == {"inherit"}
    assert set(re.findall(r"background:([^;\"]+)", style)) == {"none"}
    assert set(re.findall(r"#[0-9A-Fa-f]{6}", style)) == set(_RULES.values())
    for colour in _RULES.values():
        assert contrast(colour, page) >= 3


def test_text_keeps_to_its_width_and_repeats_nothing() -> None:
    assert max(map(len, text(RESULT).splitlines())) <= WIDTH
    same = Item("x", 1, 0.0, "it raised ValueError", "a hint")
    result = Result("drill.linear", 3, [same, Item("y", 1, 0.0, same.message, same.hint)])
    assert text(result).count("it raised ValueError") == 1
    assert "as above" in text(result) and "as above" in markup(result)
    earned = Result("drill.linear", 2, [Item("x", 1, 1.0, "fine"), Item("y", 1, 1.0, "fine")])
    assert text(earned).count("fine") == 2


def test_headlines() -> None:
    assert headline(Result("a.b", 2, attempted=False)) == (
        "a.b · not attempted yet (0 of 2 points)"
    )
    assert headline(Result("a.b", 2, about="fresh cases")) == "a.b · 0 of 2 points · fresh cases"
    assert headline(Result("", 0, attempted=False, problem="no exercise")) == "no exercise"
    assert text(Result("a.b", 2, [Item("x", 2)], problem="handed in")) == "a.b · handed in"


def test_points_never_exceed_what_there_is() -> None:
    many = [Item(f"n{i}", 0.1, 0.1) for i in range(3)]
    assert Result("a.b", 0.3, many).earned == 0.3
    assert Result("a.b", 0.2, many).earned == 0.2
    assert Result("a.b", 2, [Item("x", 2, 2.0)], attempted=False).earned == 0
