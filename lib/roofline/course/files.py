"""What lies in a submission's folder, read without trusting any of it."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

MAX_NOTEBOOK = 32 * 2**20
MAX_FILES = 500
MAX_BESIDE = 32 * 2**20


@dataclass
class Files:
    """What lies in a submission's folder: notebooks, and what is beside them, by relative path."""

    notebooks: dict[str, bytes] = field(default_factory=dict)
    beside: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)  # of a notebook that wasn't read

    def digest(self) -> str:
        """Stands for every byte."""
        sums = [
            [kind, name, hashlib.sha256(content).hexdigest()]
            for kind, files in (("notebook", self.notebooks), ("file", self.beside))
            for name, content in sorted(files.items())
        ]
        text = json.dumps([sums, sorted(self.problems.items())])
        return hashlib.sha256(text.encode()).hexdigest()


# What collecting writes beside a submission; it isn't part of it.
OURS = ("timestamp.txt", ".collected.json")


def read_files(folder: Path) -> Files:
    """Everything in a submission's folder, up to the limits. Links are left alone, never raises."""
    files = Files()
    left, beside = 0, 0
    try:
        found = sorted(_walk(folder, files.notes))
    except OSError as error:
        files.notes.append(f"the folder can't be read: {error.strerror}")
        return files
    for path in found:
        name = path.relative_to(folder).as_posix()
        top = "/" not in name
        if top and name in OURS:
            continue
        is_notebook = top and name.endswith(".ipynb")
        try:
            size = path.stat(follow_symlinks=False).st_size
            if is_notebook and size > MAX_NOTEBOOK:
                files.problems[path.stem] = f"the file has {size:,} bytes, at most {MAX_NOTEBOOK:,}"
                continue
            over = len(files.beside) >= MAX_FILES or beside + size > MAX_BESIDE
            if not is_notebook and (over or not _is_text(name)):
                left += 1
                continue
            with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
                content = file.read(MAX_NOTEBOOK + 1)
        except OSError as error:
            files.notes.append(f"{plain(name)} can't be read: {error.strerror}")
            continue
        if is_notebook:
            files.notebooks[path.stem] = content
        else:
            beside += len(content)
            files.beside[name] = content
    if left:
        files.notes.append(f"{left} files beside the notebook were left out: too many or too large")
    return files


def _walk(folder: Path, notes: list[str]) -> list[Path]:
    found: list[Path] = []
    todo = [folder]
    while todo and len(found) < 20 * MAX_FILES:
        for entry in os.scandir(todo.pop()):
            if entry.is_symlink():
                notes.append(f"{plain(entry.name)} is a link and was not followed")
            elif entry.is_dir(follow_symlinks=False):
                if entry.name not in (".ipynb_checkpoints", "__pycache__", ".git"):
                    todo.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                found.append(Path(entry.path))
            else:
                notes.append(f"{plain(entry.name)} is not a plain file and was left out")
    return found


def _is_text(name: str) -> bool:
    """Whether a relative name can be written anywhere."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return len(name.encode()) < 400


def plain(text: str) -> str:
    """Text that every file and database takes: no lone surrogates, no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


_NUMBER = re.compile(r"&#x?[0-9a-f]+;?", re.I)


def without_formula_links(text: str) -> str:
    """HTML or LaTeX without ``\\href``, with which MathJax would make a link to anything."""
    if "\\href" not in _decoded(text):
        return text
    return _decoded(text).replace("\\href", "href")


def _decoded(text: str) -> str:
    """Letters and backslashes as themselves; what is markup stays written as it is."""
    return _NUMBER.sub(lambda m: _letter(m[0]), text).replace("&bsol;", "\\")


def _letter(reference: str) -> str:
    found = html.unescape(reference)
    return found if found.isalpha() or found == "\\" else reference
