"""The table of what is done: in a chapter's first cell, and at the command line."""

from __future__ import annotations

import html
from typing import Any

from roofline.grading.display import show
from roofline.grading.records import Done, done
from roofline.grading.registry import chapter_of
from roofline.grading.table import number


def progress(chapter: str) -> None:
    """Show the exercises of a chapter (``"02_backprop"``) and what is done, offline."""
    found, notes = done(chapter_of(chapter))
    rows = found[chapter_of(chapter)]
    if not rows and not notes:
        show(
            f"{chapter} has no exercises yet.",
            f"<div>{html.escape(chapter)} has no exercises yet.</div>",
        )
        return
    lines, cells = [], []
    width = max((len(row.exercise.title) for row in rows), default=0)
    for row in rows:
        points = f"{number(row.best)} of {number(row.exercise.points)} points"
        sign, word = state(row)
        lines.append(f"  {sign} {row.exercise.title:{width}}  {points:16} {word}")
        cells.append((f"{sign} {word}", row.exercise.title, points, f"{row.exercise.minutes} min"))
    best = number(sum(row.best for row in rows))
    possible = number(sum(row.exercise.points for row in rows))
    minutes = sum(row.exercise.minutes for row in rows)
    finished = sum(row.best == row.exercise.points for row in rows)
    head = f"{finished} of {len(rows)} exercises done, {best} of {possible} points"
    text = "\n".join([head, *lines, *(f"  note: {note}" for note in notes)])
    cell = "padding:.15em .7em;text-align:left;background:transparent;color:inherit"
    body = "".join(
        '<tr style="background:transparent">'
        + "".join(f'<td style="{cell}">{html.escape(c)}</td>' for c in row)
        + "</tr>"
        for row in cells
    )
    extra = "".join(f"<div>note: {html.escape(note)}</div>" for note in notes)
    markup = (
        f'<div class="roofline-progress"><strong>{head}</strong> ({minutes} minutes in all)'
        '<table style="border-collapse:collapse;margin:.3em 0;color:inherit;font:inherit">'
        f"<tbody>{body}</tbody></table>{extra}</div>"
    )
    show(text, markup)


def state(row: Done) -> tuple[str, str]:
    """A sign and a word for one exercise."""
    if not row.attempts:
        return "·", "not attempted yet"
    if row.best == row.exercise.points:
        return "✓", "done"
    return ("◐", "in part") if row.best else ("✗", "tried")


def as_dict(found: dict[str, list[Done]], notes: list[str]) -> dict[str, Any]:
    """Plain data, for JSON."""
    return {
        "chapters": {
            chapter: [
                {
                    "exercise": row.exercise.id,
                    "title": row.exercise.title,
                    "best": row.best,
                    "points": row.exercise.points,
                    "attempts": row.attempts,
                    "last": row.last,
                }
                for row in rows
            ]
            for chapter, rows in found.items()
        },
        "notes": notes,
    }


def print_table(found: dict[str, list[Done]], notes: list[str]) -> None:
    """Print what was done, one line for each exercise, chapters in the order that they are read."""
    from rich.console import Console
    from rich.table import Table

    from roofline.grading.notebook import released

    titles = {chapter_of(path.stem): path.stem for path in released()[::-1]}
    found = {titles.get(chapter_of(name), name): rows for name, rows in found.items()}

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("chapter", "exercise", "best", "tries", "last", "state"):
        table.add_column(title, no_wrap=title != "state", justify="left")
    for chapter, rows in sorted(found.items()):  # 02_backprop before 03_losses
        for row in rows:
            points = f"{number(row.best)} of {number(row.exercise.points)}"
            name = row.exercise.id.split(".")[-1]
            table.add_row(
                chapter, name, points, str(row.attempts), row.last[:10], " ".join(state(row))
            )
    console = Console()
    console.print(table)
    every = [row for rows in found.values() for row in rows]
    best, possible = sum(r.best for r in every), sum(r.exercise.points for r in every)
    console.print(f"{number(best)} of {number(possible)} points")
    for note in notes:
        console.print(f"note: {note}", markup=False)
