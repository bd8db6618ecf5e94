"""A zip file or a folder, as a list of files that can be read with a limit.

Whoever hands in chooses names and contents, so nothing here is unpacked by name: paths that lead
out, links, devices, and files that grow too much on unpacking are named and left out.
"""

from __future__ import annotations

import io
import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from roofline.course.files import plain
from roofline.course.folder import CourseError

MAX_ENTRIES = 100_000  # in an archive
MAX_ENTRY = 32 * 2**20  # bytes of one file
MAX_SUBMISSION = 64 * 2**20  # bytes of one submission
MAX_FILES = 500  # of one submission
MAX_RATIO = 200  # unpacked to packed, of a file above a megabyte
MAX_TOTAL = 20 * 2**30  # bytes of all that is taken from an archive


class Unreadable(Exception):
    """An entry that can't be taken. The message is one line."""


@dataclass(frozen=True)
class Entry:
    """A file in a source: its path in parts, when it was written if known, how to read it."""

    parts: tuple[str, ...]
    size: int
    modified: datetime | None
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        return self.parts[-1]


@dataclass
class Listing:
    """What a source holds. ``refused``: name and reason of each entry that can't be taken."""

    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def listing(source: Path) -> Listing:
    """The files of a folder or a zip file. Raises :class:`CourseError`."""
    if source.is_dir():
        return _folder(source)
    if not source.exists():
        raise CourseError(f"there is no {source}")
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise CourseError(f"{source} is no zip file that can be read: {error}") from None
    return _zip(archive)


def inner(content: bytes) -> Listing:
    """The files of a zip file that was handed in. Raises :class:`Unreadable`."""
    try:
        return _zip(zipfile.ZipFile(io.BytesIO(content)), MAX_FILES, MAX_SUBMISSION)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError, CourseError) as error:
        raise Unreadable(f"no zip file that can be read: {plain(str(error))[:100]}") from None


def _zip(archive: zipfile.ZipFile, most: int = MAX_ENTRIES, total: int = MAX_TOTAL) -> Listing:
    found = Listing()
    infos = archive.infolist()
    if len(infos) > most:
        raise CourseError(f"the zip file has {len(infos):,} entries, at most {most:,}")
    taken = 0
    for info in infos:
        if info.is_dir():
            continue
        name = plain(info.filename)
        try:
            parts = safe_parts(info.filename)
            _check_info(info)
            if taken + info.file_size > total:
                raise Unreadable(f"the archive unpacks to more than {total:,} bytes")
        except Unreadable as error:
            found.refused.append((name, str(error)))
            continue
        taken += info.file_size
        try:
            modified = datetime(*info.date_time)
        except ValueError:
            modified = None
        found.entries.append(Entry(parts, info.file_size, modified, _reader(archive, info)))
    return found


def _check_info(info: zipfile.ZipInfo) -> None:
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise Unreadable("a link or a device, which is not followed")
    if info.flag_bits & 0x1:
        raise Unreadable("encrypted")
    if info.file_size > MAX_ENTRY:
        raise Unreadable(f"it unpacks to {info.file_size:,} bytes, at most {MAX_ENTRY:,}")
    if info.file_size > 2**20 and info.file_size > MAX_RATIO * max(1, info.compress_size):
        raise Unreadable(f"it unpacks to more than {MAX_RATIO} times its size")


def _reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with archive.open(info) as file:
                content = file.read(MAX_ENTRY + 1)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
            raise Unreadable(f"it can't be unpacked: {plain(str(error))[:100]}") from None
        except (zlib.error, RuntimeError) as error:
            raise Unreadable(f"it can't be unpacked: {plain(str(error))[:100]}") from None
        if len(content) > MAX_ENTRY:  # whatever its header said
            raise Unreadable(f"it unpacks to more than {MAX_ENTRY:,} bytes")
        return content

    return read


def _folder(root: Path) -> Listing:
    found = Listing()
    todo = [root]
    while todo:
        folder = todo.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            found.refused.append((plain(str(folder.relative_to(root))), error.strerror or "?"))
            continue
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(root).as_posix()
            if entry.is_symlink():
                found.refused.append((plain(name), "a link, which is not followed"))
            elif entry.is_dir(follow_symlinks=False):
                todo.append(path)
            elif not entry.is_file(follow_symlinks=False):
                found.refused.append((plain(name), "not a plain file"))
            elif len(found.entries) >= MAX_ENTRIES:
                raise CourseError(f"{root} has more than {MAX_ENTRIES:,} files")
            else:
                _add_file(found, path, name, entry.stat(follow_symlinks=False))
    return found


def _add_file(found: Listing, path: Path, name: str, status: os.stat_result) -> None:
    try:
        parts = safe_parts(name)
        if status.st_size > MAX_ENTRY:
            raise Unreadable(f"it has {status.st_size:,} bytes, at most {MAX_ENTRY:,}")
    except Unreadable as error:
        found.refused.append((plain(name), str(error)))
        return

    def read() -> bytes:
        try:
            number = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(number, "rb") as file:
                return file.read(MAX_ENTRY)
        except OSError as error:
            raise Unreadable(f"it can't be read: {error.strerror}") from None

    modified = datetime.fromtimestamp(status.st_mtime)
    found.entries.append(Entry(parts, status.st_size, modified, read))


def safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a relative path that stays where it is put, composed as Unicode NFC.

    Raises :class:`Unreadable` for any other.
    """
    text = unicodedata.normalize("NFC", name.replace("\\", "/"))
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    if text.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        raise Unreadable("its path leads out of the archive")
    bad = [p for p in parts if any(unicodedata.category(c) in ("Cc", "Cs") for c in p)]
    if not parts or bad or any(len(part.encode("utf-8", "replace")) > 200 for part in parts):
        raise Unreadable("its name can't be a file's name")
    if len(parts) > 12:
        raise Unreadable("its path is too deep")
    return parts
