"""Take in submissions: from a folder, a zip file of Canvas or Moodle, or nbgrader's exchange.

Every submission found becomes a row. One whose student is in the gradebook goes to
``submitted/STUDENT/ASSIGNMENT/``; any other to ``unmatched/ASSIGNMENT/``, so that it isn't lost.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

from roofline.course.archive import MAX_FILES, MAX_SUBMISSION, Entry, Unreadable, inner, listing
from roofline.course.files import plain, read_files
from roofline.course.folder import Course, CourseError, valid_id
from roofline.course.gradebook import Book
from roofline.course.layouts import Directory, File, Found, from_exchange, same_name, sort_out
from roofline.course.naming import name_notebooks
from roofline.course.submissions import (
    COLLECTED,
    TIMESTAMP,
    read_timestamp,
    recover,
    set_aside,
)

WOULD = {"collected": "would collect", "replaced": "would replace"}  # said by a dry run
EXCHANGE = Path("/usr/local/share/nbgrader/exchange")  # nbgrader's own default


@dataclass(frozen=True)
class Collected:
    """What came of one submission, or of one file that belongs to none.

    ``status``: ``collected``, ``replaced`` (an earlier one), in a dry run ``would collect`` and
    ``would replace``, ``unchanged``, ``older`` (than what
    was collected before, or than another one here: left alone), ``unmatched`` (no student for it),
    ``refused`` (a file that can't be taken), or ``ignored`` (a file that belongs to nobody).
    """

    name: str
    student: str
    status: str
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


@dataclass
class _Content:
    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, path: tuple[str, ...], content: bytes) -> None:
        if len(self.files) >= MAX_FILES:
            raise Unreadable(f"more than {MAX_FILES} files")
        if self.size + len(content) > MAX_SUBMISSION:
            raise Unreadable(f"more than {MAX_SUBMISSION:,} bytes in all")
        self.size += len(content)
        self.files["/".join(path)] = content


def collect(
    course: Course,
    assignment: str,
    source: Path | None = None,
    *,
    exchange: Path | None = None,
    check_owner: bool = True,
    dry_run: bool = False,
    on_progress: Callable[[int, int, Collected], None] = lambda done, of, row: None,
) -> list[Collected]:
    """Take in the submissions of ``source``, or of nbgrader's exchange without one.

    Of two submissions by one student the latest counts. Raises :class:`CourseError` if the source
    as a whole can't be read.
    """
    with course.locked("collect"), Book(course) as book:
        expected = sorted(book.sources(assignment))
        students = book.students()
        due = book.sources(assignment)
    if not due:
        raise CourseError(f"no assignment {assignment!r}: roofline class release {assignment}")
    if not dry_run:
        recover(course, assignment)
    rows: list[Collected] = []
    if source is not None:
        listed = listing(source)
        found, left = sort_out(listed.entries, assignment, set(students))
        rows += [Collected(name, "", "refused", why) for name, why in listed.refused]
        rows += [Collected("/".join(e.parts), "", "ignored", "belongs to no student") for e in left]
    else:
        inbound = _inbound(course, exchange)
        listed = listing(inbound)
        found = from_exchange(listed.entries, assignment)
        rows += [Collected(name, "", "refused", why) for name, why in listed.refused]
        found, strangers = _owned(inbound, found) if check_owner else (found, [])
        rows += strangers
    matched = _match(found, Directory(students), course.settings.unknown_students == "add", rows)
    for number, (one, student, why) in enumerate(matched, 1):
        row = _take(course, assignment, expected, one, student, why, dry_run)
        rows.append(row)
        on_progress(number, len(matched), row)
    return rows


def _inbound(course: Course, exchange: Path | None) -> Path:
    root = exchange or EXCHANGE
    for inbound in (root / course.settings.name / "inbound", root / "inbound"):
        if inbound.is_dir():
            return inbound
    raise CourseError(
        f"no {course.settings.name}/inbound in {root}: give the exchange with --exchange"
    )


def _owned(inbound: Path, found: list[Found]) -> tuple[list[Found], list[Collected]]:
    """As in nbgrader, a submission must belong to the user that it names."""
    try:
        import pwd
    except ImportError:  # Windows
        return found, []
    good, bad = [], []
    for one in found:
        try:
            owner = pwd.getpwuid((inbound / one.label).stat().st_uid).pw_name
        except (KeyError, OSError):
            owner = "somebody unknown"
        if owner == one.student:
            good.append(one)
        else:
            why = f"names {one.student} but belongs to {owner}: --no-check-owner takes it anyway"
            bad.append(Collected(plain(one.label), one.student, "refused", why))
    return good, bad


def _match(
    found: list[Found], directory: Directory, add: bool, rows: list[Collected]
) -> list[tuple[Found, str, str]]:
    """Each submission with its student, or with why it has none; older ones become rows."""
    people = Counter(same_name(one.person) for one in found if one.person and not one.lms)
    by_student: dict[str, list[Found]] = defaultdict(list)
    lost: list[tuple[Found, str, str]] = []
    for one in found:
        student, why = directory.find(one)
        if not student and add and "students are called" not in why:
            student = one.student or one.label
            why = "" if valid_id(student) else f"{why}, and its name can't be an id"
            student = student if valid_id(student) else ""
        if student and one.person and not one.lms and people[same_name(one.person)] > 1:
            student, why = "", f"{people[same_name(one.person)]} submissions by a {one.person!r}"
        if student:
            by_student[student].append(one)
        else:
            lost.append((one, "", why))
    kept = []
    for student, several in by_student.items():
        latest = max(several, key=_age)
        for one in several:
            if one is not latest:
                why = f"{student} handed in more than once: {plain(latest.label)} is later"
                rows.append(Collected(plain(one.label), student, "older", why))
        if len(several) > 1:
            latest.notes.append(f"{len(several)} submissions: the latest one counts")
        kept.append((latest, student, ""))
    return sorted([*kept, *lost], key=lambda entry: (entry[1] or "~", entry[0].label))


def _age(one: Found) -> tuple[float, tuple[float, ...], str]:
    when = one.when.timestamp() if one.when else 0.0
    return when, max((file.order for file in one.files), default=(0.0,)), one.label


def _take(
    course: Course,
    assignment: str,
    expected: list[str],
    one: Found,
    student: str,
    why: str,
    dry_run: bool,
) -> Collected:
    label = plain(one.label)
    if student:
        target = course.submitted / student / assignment
    else:
        safe = re.sub(r"[^\w .@-]", "_", label)[:80].strip(" .") or "nameless"
        mark = hashlib.sha256(label.encode()).hexdigest()[:6]
        target = course.unmatched / assignment / f"{safe}-{mark}"
    content = _read(one, assignment, expected)
    notes = [*one.notes, *content.notes]
    reason = "; ".join(part for part in (why, *notes) if part)
    status = "collected" if student else "unmatched"
    if student and target.is_dir():
        status = _compare(target, content, one)
        if status in ("unchanged", "older"):
            return Collected(label, student, status, reason)
    if not dry_run:
        said = {"from": label, "late": one.late, "notes": notes, "problem": why}
        content.files[COLLECTED] = json.dumps(said, indent=1).encode()
        if one.when is not None:
            content.files[TIMESTAMP] = (
                f"{one.when.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC".encode()
            )
        try:
            _place(target, content.files)
        except OSError as error:
            raise CourseError(f"{target} can't be written: {error.strerror}") from None
    return Collected(label, student, WOULD.get(status, status) if dry_run else status, reason)


def _compare(target: Path, content: _Content, one: Found) -> str:
    before = read_files(target)
    there = {f"{name}.ipynb": data for name, data in before.notebooks.items()} | before.beside
    if there == content.files and not before.problems:
        return "unchanged"
    try:
        when = read_timestamp(target)
    except ValueError:
        when = None
    if when is not None and one.when is not None and one.when < when:
        return "older"
    return "replaced"


def _place(target: Path, files: dict[str, bytes]) -> None:
    """Put a submission where it belongs, as a whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    old = set_aside(target)
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        for name, content in files.items():
            path = part / name
            # A file and a folder of one name can't both be: the first one is.
            with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        part.mkdir(parents=True, exist_ok=True)
        if target.exists():
            os.rename(target, old)
        os.rename(part, target)
    except OSError:
        if old.exists() and not target.exists():
            os.rename(old, target)
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _read(one: Found, assignment: str, expected: list[str]) -> _Content:
    """A submission's files, its notebooks under the names that they should have."""
    content = _Content()
    notebooks: list[tuple[File, bytes]] = []
    for file in sorted(one.files, key=lambda file: (file.order, file.path)):
        try:
            data = file.entry.read()
            if file.path[-1].casefold().endswith(".zip"):
                _unpack(file, data, content, notebooks)
            elif file.path[-1].casefold().endswith(".ipynb"):
                notebooks.append((file, data))
            elif file.path not in ((TIMESTAMP,), (COLLECTED,)):
                content.add(file.path, data)
        except Unreadable as error:
            content.notes.append(f"{plain('/'.join(file.path))}: {error}")
    named, said = name_notebooks(notebooks, expected)
    content.files |= named
    content.notes += said
    return content


def _unpack(
    file: File, data: bytes, content: _Content, notebooks: list[tuple[File, bytes]]
) -> None:
    listed = inner(data)
    content.notes += [f"{name[:80]}: {why}" for name, why in listed.refused[:5]]
    tops = {entry.parts[0] for entry in listed.entries}
    wrapped = len(tops) == 1 and all(len(entry.parts) > 1 for entry in listed.entries)
    for entry in listed.entries:
        path = entry.parts[1:] if wrapped else entry.parts
        if {".ipynb_checkpoints", "__MACOSX"} & set(entry.parts):
            continue
        inside = Entry(path, entry.size, entry.modified, entry.read)
        if path[-1].casefold().endswith(".ipynb"):
            notebooks.append((File(path, inside, file.order), entry.read()))
        elif path not in ((TIMESTAMP,), (COLLECTED,)):
            content.add(path, entry.read())
