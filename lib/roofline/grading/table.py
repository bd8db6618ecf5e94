"""The table that a check shows, as plain text and as HTML.

The HTML takes its colours from the page, so that it is legible on light and on dark, and says
everything in words and signs; the colours of its rules (green, blue and vermilion, from Okabe and
Ito's palette for all kinds of colour vision) repeat what the words say.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator

from roofline.grading.registry import Item
from roofline.grading.result import Result

WIDTH = 96
_SIGNS = {"earned": "✓", "part": "◐", "lost": "✗"}
_RULES = {"earned": "#009E73", "part": "#0072B2", "lost": "#D55E00"}


def number(value: float) -> str:
    """Points: ``2``, ``1.5``, ``0.33``."""
    return f"{round(value, 2):g}"


def _word(item: Item) -> str:
    return "earned" if not item.lost else "part" if item.earned else "lost"


def headline(result: Result) -> str:
    """One line: which exercise, and how many points."""
    said = f"{number(result.earned)} of {number(result.points)} points"
    if result.problem:
        said = result.problem
    elif not result.attempted:
        said = f"not attempted yet (0 of {number(result.points)} points)"
    return " · ".join(part for part in (result.exercise, said, result.about) if part)


def _rows(result: Result) -> Iterator[tuple[str, Item, str, str]]:
    """Word, item, message and hint for each line; what stands in the line above isn't repeated."""
    above = None
    for item in result.items if result.attempted and not result.problem else []:
        if item.lost and (item.message, item.hint) == above:
            yield _word(item), item, "as above", ""
        else:
            yield _word(item), item, item.message, item.hint
        above = item.message, item.hint


def _points(item: Item) -> str:
    return f"{number(item.earned)}/{number(item.points)}"


def text(result: Result) -> str:
    """The table for a terminal."""
    lines = [headline(result)]
    width = max((len(item.name) for _, item, _, _ in _rows(result)), default=0)

    def add(words: str, start: str, indent: str) -> None:
        lines.extend(textwrap.wrap(words, WIDTH, initial_indent=start, subsequent_indent=indent))

    wide = max((len(_points(item)) for _, item, _, _ in _rows(result)), default=0)
    for word, item, message, hint in _rows(result):
        start = f"  {_SIGNS[word]} {word:6}  {_points(item):>{wide}}  {item.name:{width}}  "
        indent = " " * min(len(start), WIDTH // 2)
        add(message or "-", start, indent)
        if hint:
            add(f"hint: {hint}", indent, indent)
    for note in result.notes:
        add(f"note: {note}", "  ", "    ")
    return "\n".join(lines)


def markup(result: Result) -> str:
    """The table for a notebook."""
    cell = "padding:.25em .7em;text-align:left;vertical-align:top;background:none;color:inherit"
    rows = []
    for word, item, message, hint in _rows(result):
        more = f"<br><em>hint:</em> {html.escape(hint)}" if hint else ""
        points = f"{number(item.earned)} of {number(item.points)}"
        rows.append(
            f'<tr style="background:none">'
            f'<td style="{cell};border-left:4px solid {_RULES[word]};white-space:nowrap">'
            f"{_SIGNS[word]} {word}</td>"
            f'<td style="{cell};min-width:9em">{html.escape(item.name)}</td>'
            f'<td style="{cell};white-space:nowrap">{points}</td>'
            f'<td style="{cell}">{html.escape(message)}{more}</td></tr>'
        )
    table = ""
    if rows:
        titles = ("result", "checked", "points", "what came out")
        heads = "".join(f'<th scope="col" style="{cell}">{title}</th>' for title in titles)
        table = (
            '<table style="border-collapse:collapse;margin:.3em 0;color:inherit;font:inherit">'
            f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )
    notes = "".join(f"<div>note: {html.escape(note)}</div>" for note in result.notes)
    head = html.escape(headline(result))
    return f'<div class="roofline-check"><div><strong>{head}</strong></div>{table}{notes}</div>'
