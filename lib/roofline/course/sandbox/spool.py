"""One submission in one file, for the process that runs it: a line of JSON, then its files.

Only regular files of the folder are taken: a link, a device or a pipe stays behind, and so does
what is too large. Nothing outside the folder is ever opened, whatever the links in it say.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from roofline.course.work import Work

MAX_FILES = 2000
MAX_PATH = 1000
_NOT_FOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def spooled(work: Work) -> tuple[IO[bytes], int, list[str]]:
    """An unnamed file with ``work``, the bytes of its files, and the names of those left out.

    The sealed word stays here: what goes in are the seeds of the exercises' cases.
    """
    file = tempfile.TemporaryFile()
    try:
        total, skipped = _write(work, file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file, total, skipped


def _write(work: Work, file: IO[bytes]) -> tuple[int, list[str]]:
    from roofline.grading.registry import case_seed  # imports torch; most commands need none

    cells = [
        {
            "index": cell.index,
            "source": cell.source,
            "exercise": cell.exercise,
            "answer": cell.answer,
            "locked": cell.locked,
            "seed": case_seed(work.word, cell.exercise) if cell.exercise else 0,
        }
        for cell in work.cells
    ]
    limits = {
        "cell_seconds": work.limits.cell_seconds,
        "output_bytes": work.limits.output_bytes,
        "message_bytes": work.limits.message_bytes,
        "cpu_seconds": work.limits.cpu_seconds,
        "memory_bytes": work.limits.memory_bytes,
        "processes": work.limits.processes,
        "file_bytes": work.limits.file_bytes,
    }
    head = {"cells": cells, "stop_on_error": work.stop_on_error, "limits": limits}
    file.write(json.dumps(head).encode() + b"\n")
    total, skipped = 0, []
    room = 4 * work.limits.file_bytes
    count = 0
    for name, path in _files(work.files) if work.files is not None else ():
        data = _content(path, min(work.limits.file_bytes, room - total))
        count += 1
        if data is None or len(name) > MAX_PATH or count > MAX_FILES or not _is_text(name):
            skipped.append(name)
            if count > 2 * MAX_FILES:
                break
            continue
        file.write(json.dumps({"name": name, "bytes": len(data)}).encode() + b"\n")
        file.write(data)
        total += len(data)
    return total, skipped


def _is_text(name: str) -> bool:
    try:
        name.encode()
        return True
    except UnicodeEncodeError:
        return False


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Name inside the folder, and path, of all but folders, in the order of names."""
    root = os.fspath(folder)
    for above, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        folders[:] = [name for name in folders if not os.path.islink(os.path.join(above, name))]
        for name in sorted(files):
            path = os.path.join(above, name)
            yield os.path.relpath(path, root).replace(os.sep, "/"), path


def _content(path: str, most: int) -> bytes | None:
    """A regular file's bytes; None if it is something else, or too large, or can't be read."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | _NOT_FOLLOWED | _BINARY)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_size <= most:
                data = file.read(most + 1)
                return data if len(data) <= most else None
    return None


def unspooled(file: IO[bytes], folder: str) -> dict[str, Any]:
    """The other side: the work as plain data, its files written into ``folder``."""
    head = json.loads(file.readline())
    while line := file.readline():
        entry = json.loads(line)
        target = Path(folder, entry["name"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read(entry["bytes"]))
    return head
