"""The learner's trials: what was set, what came out, kept as rows and saved as a file."""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from roofline.lab.controls import ControlError

Row = dict[str, Any]


def columns(rows: list[Row]) -> list[str]:
    """The names of all columns, in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row))


def as_csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(rows), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_json(rows: list[Row]) -> str:
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def save(rows: list[Row], path: str | Path, own: Collection[Path] = ()) -> Path:
    """Write ``rows`` as the path's ending says, ``.csv`` or ``.json``; gives the absolute path.

    A file that is there already is only written over if it is among ``own``. Written whole or not
    at all: beside the file first, then moved into its place.
    """
    target = Path(path).absolute()
    writers = {".csv": as_csv, ".json": as_json}
    if target.suffix not in writers:
        raise ControlError(f"can't save as {target.name!r}: end the name in .csv or .json")
    if not rows:
        raise ControlError("there is nothing to save yet: keep a trial first")
    if os.path.isfile(target) and target not in own:
        raise ControlError(
            f"{target.name} is there already, from another time: choose another name"
        )
    beside = target.with_name(target.name + ".part")
    try:
        beside.write_text(writers[target.suffix](rows), encoding="utf-8")
        beside.replace(target)
    except OSError as problem:
        with suppress(OSError):
            beside.unlink()
        reason = problem.strerror or str(problem)
        raise ControlError(f"can't write {target}: {reason}; choose another place") from None
    return target


def as_html(rows: list[Row], caption: str) -> str:
    """A table in the colours of the reader's theme."""
    if not rows:
        return ""
    names = columns(rows)
    cell = "padding:2px 10px;text-align:right;border-bottom:1px solid currentColor"
    head = "".join(f'<th scope="col" style="{cell}">{html.escape(name)}</th>' for name in names)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{cell};white-space:nowrap">{_shown(row.get(n, ""))}</td>' for n in names
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<table style="border-collapse:collapse;line-height:1.5"><caption style="text-align:left">'
        f"{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return html.escape(str(value))
