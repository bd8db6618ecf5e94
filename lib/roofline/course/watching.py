"""Looking into a folder that anybody may write to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from roofline.course.files import MAX_NOTEBOOK

DEPTH = 3  # folders in folders

# Size, time of change and number of a file: as long as all three are the same, so is the file.
Signature = tuple[int, int, int]


def notebooks(folder: Path) -> list[tuple[Path, Signature]]:
    """The plain files ``*.ipynb`` of a folder and the folders in it; links are not followed."""
    found = []
    todo = [(folder, 1)]
    while todo:
        here, depth = todo.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if depth < DEPTH:
                            todo.append((Path(entry.path), depth + 1))
                    elif entry.name.endswith(".ipynb") and entry.is_file(follow_symlinks=False):
                        about = entry.stat(follow_symlinks=False)
                        signature = (about.st_size, about.st_mtime_ns, about.st_ino)
                        found.append((Path(entry.path), signature))
        except OSError:
            continue
    return found


def read(path: Path) -> bytes:
    """A submission's bytes. Raises ValueError if it can't be one, OSError if it can't be read."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is not a plain file")
        if about.st_size > MAX_NOTEBOOK:
            raise ValueError(f"the file has {about.st_size:,} bytes, at most {MAX_NOTEBOOK:,}")
        return file.read(MAX_NOTEBOOK + 1)
