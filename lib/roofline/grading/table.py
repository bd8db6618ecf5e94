"""The table that a check shows, as plain text and as HTML.

The HTML takes its colours from the page, so that it is legible on light and on dark, and says
everything in words and signs; the two colours of its rules (blue and vermilion, from Okabe and Ito's
palette for all kinds of colour vision) repeat what the words say.
"""

from __future__ import annotations

import html
import textwrap
from typing import Any

from roofline.grading.result import Result

WIDTH = 96
_SIGNS = {"earned": "✓", "part": "◐", "lost": "✗"}
_RULES = {"earned": "#0072B2", "part": "#E69F00", "lost": "#D55E00"}


def number(value: float) -> str:
    """Points: ``2``, ``1.5``, ``0.33``."""
    return f"{round(value, 2):g}"


def _word(item: Any) -> str:
    return "earned" if not item.lost else "part" if item.earned else "lost"


def headline(result: Result) -> str:
    """One line: which exercise, and how many points."""
    points = f"{number(result.earned)} of {number(result.points)} points"
    if not result.attempted:
        points = f"not attempted yet (0 of {number(result.points)} points)"
    about = f" · {result.about}" if result.about else ""
    return f"{result.exercise} · {points}{about}"


def text(result: Result) -> str:
    """The table for a terminal."""
    lines = [headline(result)]
    items = result.items if result.attempted else []
    width = max((len(i.name) for i in items), default=0)
    for item in items:
        points = f"{number(item.earned)}/{number(item.points)}"
        start = f"  {_SIGNS[_word(item)]} {_word(item):6} {points:>5}  {item.name:{width}}  "
        indent = " " * len(start)
        lines += textwrap.wrap(item.message, WIDTH, initial_indent=start, subsequent_indent=indent)
        if item.hint:
            lines += textwrap.wrap(
                f"looks like: {item.hint}", WIDTH, initial_indent=indent, subsequent_indent=indent
            )
    for note in result.notes:
        lines += textwrap.wrap(
            f"note: {note}", WIDTH, initial_indent="  ", subsequent_indent="    "
        )
    return "\n".join(lines)


def markup(result: Result) -> str:
    """The table for a notebook."""
    cell = (
        "padding:.25em .7em;text-align:left;vertical-align:top;background:transparent;color:inherit"
    )
    rows = []
    for item in result.items if result.attempted else []:
        word = _word(item)
        hint = f"<br><em>looks like:</em> {html.escape(item.hint)}" if item.hint else ""
        rows.append(
            f'<tr style="background:transparent">'
            f'<td style="{cell};border-left:4px solid {_RULES[word]};white-space:nowrap">'
            f"{_SIGNS[word]} {word}</td>"
            f'<td style="{cell}">{html.escape(item.name)}</td>'
            f'<td style="{cell};white-space:nowrap">'
            f"{number(item.earned)} of {number(item.points)}</td>"
            f'<td style="{cell}">{html.escape(item.message)}{hint}</td></tr>'
        )
    table = ""
    if rows:
        heads = "".join(
            f'<th scope="col" style="{cell}">{h}</th>'
            for h in ("", "checked", "points", "what came out")
        )
        table = (
            '<table style="border-collapse:collapse;margin:.3em 0">'
            f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )
    notes = "".join(f"<div>note: {html.escape(note)}</div>" for note in result.notes)
    head = html.escape(headline(result))
    return f'<div class="roofline-check"><div><strong>{head}</strong></div>{table}{notes}</div>'
