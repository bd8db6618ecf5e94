"""Who handed in which file, by the shapes in which submissions come.

- Canvas, "Download submissions": ``lastnamefirstname_LATE_1234_5678_file.ipynb``, all in one
  folder; the numbers are Canvas's ids of the user and of the upload, ``LATE`` is there or not.
- Moodle, "Download all submissions": ``First Last_1234_assignsubmission_file_/file.ipynb``; the
  number is a participant's in this assignment.
- A folder for each student, ``id/file.ipynb`` or nbgrader's ``id/assignment/file.ipynb``, or a file
  for each, ``id.ipynb`` or ``id_anything.ipynb``.
- nbgrader's exchange: ``id+assignment+time+random/file.ipynb``.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from roofline.course.archive import Entry

CANVAS = re.compile(
    r"(?P<name>[^_]+)(?P<late>_late)?_(?P<user>\d+)_(?P<upload>\d+)_(?P<file>.+)", re.I
)
MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_(?P<kind>[a-z]+)_?", re.I)
EXCHANGE = re.compile(r"(?P<student>[^+]+)\+(?P<assignment>[^+]+)\+(?P<time>[^+]+)(\+.*)?")


@dataclass(frozen=True)
class File:
    """A file of a submission: its path in it, and what puts the latest of a name last."""

    path: tuple[str, ...]
    entry: Entry
    order: tuple[float, ...] = (0.0,)


@dataclass
class Found:
    """One submission as it was found. ``label`` names it as its source does. ``student`` is an id
    that the source gives, ``lms`` a number of Canvas's, ``person`` a name; each may be empty."""

    label: str
    student: str = ""
    lms: str = ""
    person: str = ""
    late: bool = False
    when: datetime | None = None
    files: list[File] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def sort_out(
    entries: list[Entry], assignment: str, known: set[str]
) -> tuple[list[Found], list[Entry]]:
    """Submissions, and entries that belong to none. ``known``: the ids of the students."""
    entries = [e for e in entries if not _clutter(e)]
    if any(MOODLE.fullmatch(e.parts[0]) for e in entries if len(e.parts) > 1):
        return _moodle(entries)
    if any(len(e.parts) == 1 and CANVAS.fullmatch(e.name) for e in entries):
        return _canvas(entries)
    tops = {e.parts[0] for e in entries}
    if len(tops) == 1 and all(len(e.parts) > 1 for e in entries):
        top = next(iter(tops))
        inside = {e.parts[1] for e in entries}
        # A folder that was packed as a whole: what is meant lies in it.
        plainly_a_student = top in known or inside == {assignment}
        if not plainly_a_student and (any(len(e.parts) > 2 for e in entries) or len(inside) > 1):
            cut = [Entry(e.parts[1:], e.size, e.modified, e.read) for e in entries]
            return sort_out(cut, assignment, known)
    return _plain(entries, assignment, known)


def from_exchange(entries: list[Entry], assignment: str) -> list[Found]:
    """Submissions in the exchange's ``inbound`` folder: all of them, a student may have several."""
    found: dict[str, Found] = {}
    for entry in entries:
        match = EXCHANGE.fullmatch(entry.parts[0])
        if match is None or match["assignment"] != assignment or len(entry.parts) < 2:
            continue
        one = found.setdefault(entry.parts[0], Found(entry.parts[0], student=match["student"]))
        one.when = exchange_time(match["time"])
        one.files.append(File(entry.parts[1:], entry))
    return list(found.values())


def exchange_time(text: str) -> datetime | None:
    """``2026-11-21 23:59:00.000000 UTC``."""
    for form in ("%Y-%m-%d %H:%M:%S.%f %Z", "%Y-%m-%d %H:%M:%S %Z"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _clutter(entry: Entry) -> bool:
    """What systems leave behind in archives, and what Jupyter keeps for itself."""
    hidden = {"__MACOSX", ".ipynb_checkpoints", "__pycache__", ".git", ".DS_Store", "Thumbs.db"}
    return bool(hidden & set(entry.parts)) or entry.name.startswith("._")


def _moodle(entries: list[Entry]) -> tuple[list[Found], list[Entry]]:
    found: dict[str, Found] = {}
    left = []
    for entry in entries:
        match = MOODLE.fullmatch(entry.parts[0])
        if match is None or len(entry.parts) < 2:
            left.append(entry)
        elif match["kind"].casefold() == "file":
            key = f"{match['name']}_{match['number']}"
            one = found.setdefault(key, Found(key, person=match["name"]))
            one.files.append(File(entry.parts[1:], entry))
    return list(found.values()), left


def _canvas(entries: list[Entry]) -> tuple[list[Found], list[Entry]]:
    found: dict[str, Found] = {}
    left = []
    for entry in entries:
        match = CANVAS.fullmatch(entry.name) if len(entry.parts) == 1 else None
        if match is None:
            left.append(entry)
            continue
        key = f"{match['name']}_{match['user']}"
        one = found.setdefault(key, Found(key, lms=match["user"], person=match["name"]))
        one.late = one.late or bool(match["late"])
        one.files.append(File((match["file"],), entry, (float(match["upload"]),)))
    return list(found.values()), left


def _plain(
    entries: list[Entry], assignment: str, known: set[str]
) -> tuple[list[Found], list[Entry]]:
    found: dict[str, Found] = {}
    left = []
    for entry in entries:
        when = (entry.modified.timestamp(),) if entry.modified else (0.0,)
        if len(entry.parts) == 1:
            if not entry.name.endswith((".ipynb", ".zip")):
                left.append(entry)
                continue
            student, notebook = _student_of(entry.name, assignment, known)
            order = when
            path: tuple[str, ...] = (notebook + entry.name[entry.name.rindex(".") :],)
        else:
            student, path = entry.parts[0], entry.parts[1:]
            order = when
            if path[0] == assignment and len(path) > 1:
                path = path[1:]
            elif len(path) > 1 and _other_assignment(entries, entry.parts, assignment):
                continue
        one = found.setdefault(student, Found(student, student=student))
        one.files.append(File(path, entry, order))
    return list(found.values()), left


def _other_assignment(entries: list[Entry], parts: tuple[str, ...], assignment: str) -> bool:
    """In nbgrader's layout, whether a file belongs to another assignment of its student."""
    return any(e.parts[:2] == (parts[0], assignment) and len(e.parts) > 2 for e in entries)


def _student_of(name: str, assignment: str, known: set[str]) -> tuple[str, str]:
    """``ana_02_backprop.ipynb``: the student, and what the notebook's name is without."""
    stem = name[: name.rindex(".")]
    fits = [s for s in known if stem == s or re.match(re.escape(s) + r"[_ +(-]", stem)]
    student = max(fits, key=len, default="")
    if not student:
        stem = re.sub(r"\s*\(\d+\)$", "", stem)
        student = re.sub(rf"[_ +-]+{re.escape(assignment)}$", "", stem) or stem
    rest = stem[len(student) :].strip("_ +-")
    return student, rest if re.search(r"[^\W\d]", rest) else assignment


def same_name(text: str) -> str:
    """A name without what systems change in it: accents, case, spaces, signs."""
    taken_apart = unicodedata.normalize("NFKD", text)
    return "".join(c for c in taken_apart.casefold() if c.isalnum())


class Directory:
    """The students of a class, to be found by what a source calls them."""

    def __init__(self, students: dict[str, dict[str, str]]):
        self.ids = set(students)
        self.by_lms: dict[str, list[str]] = defaultdict(list)
        self.by_name: dict[str, set[str]] = defaultdict(set)
        for student, known in students.items():
            if known["lms_user_id"]:
                self.by_lms[known["lms_user_id"]].append(student)
            first, last = known["first_name"], known["last_name"]
            if first or last:
                self.by_name[same_name(last + first)].add(student)
                self.by_name[same_name(first + last)].add(student)

    def find(self, found: Found) -> tuple[str, str]:
        """The student's id, or why there is none."""
        if found.student:
            if found.student in self.ids:
                return found.student, ""
            near = [s for s in self.ids if s.casefold() == found.student.casefold()]
            if len(near) == 1:
                return near[0], ""
            return "", f"no student {found.student!r} in the gradebook"
        if len(fits := self.by_lms.get(found.lms, [])) == 1:
            return fits[0], ""
        if found.lms in self.ids:
            return found.lms, ""
        named = self.by_name.get(same_name(found.person), set())
        if len(named) == 1:
            return next(iter(named)), ""
        if named:
            return (
                "",
                f"{len(named)} students are called {found.person!r}: {', '.join(sorted(named))}",
            )
        return "", f"no student called {found.person!r} in the gradebook"
