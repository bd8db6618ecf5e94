"""Which of a submission's notebooks is which of the assignment's."""

from __future__ import annotations

import re

from roofline.course.files import plain
from roofline.course.layouts import File


def name_notebooks(
    notebooks: list[tuple[File, bytes]], expected: list[str]
) -> tuple[dict[str, bytes], list[str]]:
    """Notebooks under the names of the assignment's, and what there is to say about it.

    Systems and people append things to a file's name. Of several that stand for one notebook, the
    latest counts; one that nothing else is taken for is the one that is missing.
    """
    files: dict[str, bytes] = {}
    notes: list[str] = []
    taken: dict[str, str] = {}
    rest: list[tuple[File, bytes]] = []
    by_name = {name.casefold(): name for name in expected}
    for file, data in sorted(notebooks, key=lambda pair: (pair[0].order, _copy(pair[0].path[-1]))):
        name = by_name.get(_stem(file.path[-1].rsplit(".", 1)[0], by_name))
        if name is None:
            rest.append((file, data))
            continue
        if name in taken:
            notes.append(f"{plain(taken[name])} and {plain(file.path[-1])}: the latest counts")
        taken[name] = file.path[-1]
        files[f"{name}.ipynb"] = data
    missing = [name for name in expected if name not in taken]
    if len(missing) == 1 and rest:
        file, data = rest.pop()
        files[f"{missing[0]}.ipynb"] = data
        notes.append(f"{plain(file.path[-1])} is taken as {missing[0]}.ipynb")
    for file, data in rest:
        files.setdefault(plain(file.path[-1]), data)
    return files, notes


def _stem(name: str, known: dict[str, str]) -> str:
    """Which of the known names a file's name stands for, in small letters; systems and people
    append to a copy's."""
    stem = name.casefold()
    return stem if stem in known else re.sub(r"([-_ ]+copy)?[-_ ]*(\d+|\(\d+\))?$", "", stem)


def _copy(name: str) -> int:
    """2 of ``file-2.ipynb``, ``file (2).ipynb``; 0 if it isn't a copy."""
    match = re.search(r"[-_ ]\(?(\d{1,6})\)?\.ipynb$", name, re.I)
    return int(match[1]) if match else 0
