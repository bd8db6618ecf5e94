"""Your own pictures and texts, from folders: one sub-folder for each class.

What can't be used is an error that names the file. With ``skip_unreadable=True`` a file that can't
be read is left out instead, with ``skip_unlabelled=True`` one whose label doesn't match, and the
data set's ``skipped`` names it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import torch

from .dataset import Texts

Listing = tuple[list[Path], torch.Tensor, tuple[str, ...]]


def scan(
    folder: str | Path,
    kinds: Iterable[str],
    classes: tuple[str, ...] | None = None,
    labels: str | Path | None = None,
    skipped: list[str] | None = None,
) -> Listing:
    """The files of ``folder`` whose names end in one of ``kinds``, their labels, the class names.

    Without ``labels`` each sub-folder is a class, and the classes are in alphabetical order. With
    it, a CSV file has a line "file,class" for each file, paths relative to ``folder``, and every
    file must be in it.

    Args:
        classes: the class names to expect, such as those of the training set; anything else is an
            error, and a class may have no file.
        skipped: instead of raising such an error, leave the file out and add its name here.

    Raises:
        FileNotFoundError: no such folder, or nothing in it.
        ValueError: labels or classes that don't match; the message names the file or sub-folder.
    """
    folder, kinds = Path(folder), tuple(kinds)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    if labels is not None:
        return _labelled(folder, kinds, classes, Path(labels), skipped)
    found = {path.name: _files(path, kinds) for path in sorted(folder.iterdir()) if _visible(path)}
    if not found:
        raise FileNotFoundError(
            f"{folder} has no sub-folders: put the files of each class into a sub-folder of its "
            f"name, or pass labels= a CSV file of lines 'file,class'"
        )
    if skipped is not None:
        strange = [name for name in found if classes is not None and name not in classes]
        skipped += [str(path) for name in strange for path in found.pop(name)]
        skipped += [str(folder / name) for name, files in found.items() if not files]
        found = {name: files for name, files in found.items() if files}
        if not found:
            raise FileNotFoundError(f"{folder} has no file of a class that is asked for")
    if classes is None:
        classes = tuple(found)
    for name, files in found.items():
        if name not in classes:
            raise ValueError(
                f"{folder / name} is not one of the classes {', '.join(classes)}: rename it, or "
                f"move it away"
            )
        if not files:
            raise FileNotFoundError(
                f"{folder / name} has no file that ends in {', '.join(kinds)}: add some, or remove "
                f"the sub-folder"
            )
    paths = [path for files in found.values() for path in files]
    numbers = [classes.index(name) for name, files in found.items() for _ in files]
    return paths, torch.tensor(numbers), classes


def _labelled(
    folder: Path,
    kinds: tuple[str, ...],
    classes: tuple[str, ...] | None,
    labels: Path,
    skipped: list[str] | None,
) -> Listing:
    rows: dict[str, str] = {}
    for number, row in enumerate(csv.reader(read_text(labels).splitlines()), start=1):
        if len(row) != 2:
            raise ValueError(f"{labels}, line {number}: expected 'file,class', found {row}")
        name, label = row[0].strip(), row[1].strip()
        if rows.setdefault(name, label) != label:
            raise ValueError(f"{labels}, line {number}: {name} is {rows[name]!r} further up")
    paths = _files(folder, kinds)
    names = [path.relative_to(folder).as_posix() for path in paths]
    if skipped is not None:
        known = [n for n in names if n in rows and (classes is None or rows[n] in classes)]
        skipped += [str(folder / n) for n in sorted({*names, *rows} - set(known))]
        paths, names, rows = [folder / n for n in known], known, {n: rows[n] for n in known}
    if set(rows) - set(names):
        missing = sorted(set(rows) - set(names))[0]
        raise ValueError(f"{labels} labels {missing}, but {folder / missing} is not there")
    unlabelled = next((name for name in names if name not in rows), None)
    if unlabelled is not None:
        raise ValueError(f"{folder / unlabelled} has no label: add a line for it to {labels}")
    if not paths:
        raise FileNotFoundError(f"{folder} has no file that ends in {', '.join(kinds)}")
    if classes is None:
        classes = tuple(sorted(set(rows.values())))
    for name in names:
        if rows[name] not in classes:
            raise ValueError(
                f"{labels} labels {name} as {rows[name]!r}, expected one of {', '.join(classes)}"
            )
    return paths, torch.tensor([classes.index(rows[name]) for name in names]), classes


def _visible(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _files(folder: Path, kinds: tuple[str, ...]) -> list[Path]:
    """Every file below ``folder`` of one of ``kinds``, hidden ones left out, in order."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in kinds
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """The text of a file.

    Raises:
        ValueError: the file is not in that encoding; the message says from which line on.
    """
    data = Path(path).read_bytes()
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} is not text in {encoding}: byte 0x{data[error.start]:02x} in line {line} "
            f"can't be read; save it as {encoding}, or pass the encoding that it has"
        ) from None


def text_folder(
    folder: str | Path,
    encoding: str = "utf-8",
    classes: tuple[str, ...] | None = None,
    labels: str | Path | None = None,
    skip_unreadable: bool = False,
    skip_unlabelled: bool = False,
) -> Texts:
    """The ``.txt`` files of ``folder``, one sub-folder for each class; see :func:`scan`.

    Args:
        skip_unreadable: leave out files that are not text in ``encoding``, and name them in
            ``skipped``.
        skip_unlabelled: leave out files whose label is missing or not among ``classes``, likewise.
    """
    skipped: list[str] = []
    unmatched = skipped if skip_unlabelled else None
    paths, numbers, classes = scan(folder, (".txt",), classes, labels, unmatched)
    texts, kept = [], []
    for i, path in enumerate(paths):
        try:
            texts.append(read_text(path, encoding))
            kept.append(i)
        except ValueError:
            if not skip_unreadable:
                raise
            skipped.append(str(path))
    if not kept:
        raise ValueError(f"none of the {len(paths)} texts in {folder} can be read as {encoding}")
    files = tuple(str(paths[i]) for i in kept)
    return Texts(tuple(texts), numbers[kept], classes, None, files, tuple(skipped))
