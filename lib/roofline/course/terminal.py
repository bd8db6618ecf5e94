"""What the commands of a class print, and how they end when something can be put right."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer


@contextmanager
def one_line() -> Iterator[None]:
    """What an instructor can put right ends the command with one line and exit code 2."""
    from roofline.course.folder import CourseError
    from roofline.course.sandbox import NoSandbox

    try:
        yield
    except (CourseError, NoSandbox) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None


@contextmanager
def bar(what: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, gone when it is done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, disable=hidden or not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def show(as_json: bool, data: Any, lines: list[str]) -> None:
    if as_json:
        print(json.dumps(data, indent=1))
    else:
        print("\n".join(lines))


def show_rows(as_json: bool, rows: list[Any], columns: tuple[str, ...]) -> None:
    """Rows as JSON, or as a table and a line that counts them."""
    if as_json:
        print(json.dumps([row.as_dict() for row in rows], indent=1))
        return
    cells = [[_cell(row.as_dict()[name]) for name in columns] for row in rows]
    widths = [max((len(line[i]) for line in cells), default=0) for i in range(len(columns) - 1)]
    for line in cells:
        padded = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        print("  ".join([*padded, line[-1]]).rstrip())
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    said = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    print(f"{len(rows)} submissions: {said}" if rows else "no submissions")


def _cell(value: Any) -> str:
    """One cell of a table; what a submission wrote can't move the cursor."""
    if value is None:
        return "-"
    text = f"{round(value, 2):g}" if isinstance(value, float) else str(value)
    return "".join(c if c.isprintable() else " " for c in text)
