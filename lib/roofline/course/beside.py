"""What was handed in beside a notebook, put beside its graded copy, where formgrader shows it.

Formgrader serves these files to the browser of whoever grades, as pages of its own. So what a
browser would run (HTML, SVG and their like) stays where it was handed in.
"""

from __future__ import annotations

import errno
import mimetypes
import os
from pathlib import Path

# Of one odd name, which some file systems take and others don't.
_ODD = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR}


def put_beside(folder: Path, files: dict[str, bytes]) -> None:
    """Have ``files``, by relative name, lie in ``folder``, and nothing else but its notebooks.

    What is there already as it should be is left alone. Raises OSError if the disk is full.
    """
    wanted = {name: content for name, content in files.items() if not acts(name)}
    _clear(folder, set(wanted))
    for name, content in sorted(wanted.items()):
        path = folder / name
        try:
            if _same(path, content):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            if error.errno not in _ODD:
                raise


def acts(name: str) -> bool:
    """Whether a browser that opens a file of this name might run what is in it."""
    kind = mimetypes.guess_type(name.lower())[0] or ""
    return "html" in kind or "xml" in kind or "javascript" in kind or "rfc822" in kind


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _clear(folder: Path, wanted: set[str]) -> None:
    """Take away what an earlier submission had; links are taken away themselves, not followed."""
    for above, folders, files in os.walk(folder, topdown=False, followlinks=False):
        top = Path(above) == folder
        for name in files + [f for f in folders if os.path.islink(os.path.join(above, f))]:
            path = Path(above, name)
            if top and name.endswith(".ipynb"):
                continue
            if path.is_symlink() or path.relative_to(folder).as_posix() not in wanted:
                path.unlink()
        if not top and not os.listdir(above):
            os.rmdir(above)
