"""A course's folder: where everything of a class lies, its settings, and its secret.

::

    course.toml          settings: name, gradebook, late rule, limits
    secret               what the sealed cases are drawn from; readable by its owner only
    nbgrader_config.py   so that nbgrader's own commands and formgrader work from here
    source/ASSIGNMENT/   what the instructor wrote
    release/ASSIGNMENT/  what the class gets
    submitted/STUDENT/ASSIGNMENT/, autograded/..., feedback/...
    gradebook.db         nbgrader's gradebook, the only store of grades
    overlay/             private exercises, ``<chapter>.py``
    runs/                one JSON file for each run of the grader
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import sys
import tomllib
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from roofline.course.work import Limits

SETTINGS = "course.toml"
FOLDERS = (
    *("source", "release", "submitted", "autograded", "feedback", "overlay", "runs"),
    "unmatched",
)


class CourseError(Exception):
    """What an instructor can put right. The message is one line."""


@dataclass(frozen=True)
class Late:
    """What a late submission loses, in percent of what it earned.

    ``grace_minutes`` cost nothing. ``percent_per_day`` is taken for each day that has begun, at
    most ``maximum_percent``. After ``zero_after_days``, if it is above 0, everything is lost. A
    submission that is only marked as late, without its time, counts as ``marked_days`` late.
    """

    grace_minutes: float = 0.0
    percent_per_day: float = 0.0
    maximum_percent: float = 100.0
    zero_after_days: float = 0.0
    marked_days: float = 1.0

    def fraction(self, seconds: float) -> float:
        """The fraction of the score, 0 to 1, that so many seconds cost."""
        days = seconds / 86_400
        if seconds <= 60 * self.grace_minutes or seconds <= 0:
            return 0.0
        if self.zero_after_days and days > self.zero_after_days:
            return 1.0
        begun = -(-seconds // 86_400)
        return max(0.0, min(begun * self.percent_per_day, self.maximum_percent, 100.0)) / 100


@dataclass(frozen=True)
class Settings:
    """What ``course.toml`` says.

    ``database`` is an SQLAlchemy URL; empty means ``gradebook.db`` in the folder. With
    ``unknown_students = "add"`` a submission by somebody who isn't in the gradebook is graded and
    its student added; with ``"report"`` it is named and left alone. ``workers`` is how many
    submissions run at once; 0 means as many as the machine has cores. ``sandbox_user`` is who a
    sandbox runs as if the grader is started by root; empty means nobody.
    """

    name: str = "course"
    database: str = ""
    unknown_students: str = "report"
    workers: int = 0
    sandbox_user: str = ""
    late: Late = field(default_factory=Late)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Course:
    """A course's folder that has been opened."""

    root: Path
    settings: Settings
    secret: str = field(repr=False)

    @property
    def source(self) -> Path:
        return self.root / "source"

    @property
    def release(self) -> Path:
        return self.root / "release"

    @property
    def submitted(self) -> Path:
        return self.root / "submitted"

    @property
    def autograded(self) -> Path:
        return self.root / "autograded"

    @property
    def feedback(self) -> Path:
        return self.root / "feedback"

    @property
    def overlay(self) -> Path:
        return self.root / "overlay"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def unmatched(self) -> Path:
        """Collected files that no student could be found for."""
        return self.root / "unmatched"

    @property
    def database(self) -> str:
        """The gradebook's URL."""
        return self.settings.database or f"sqlite:///{self.root / 'gradebook.db'}"

    @contextmanager
    def locked(self, what: str) -> Iterator[None]:
        """Let one process at a time do ``what``. Raises :class:`CourseError` if another does it;
        a process that is killed leaves no lock behind."""
        with open(self.root / f".{what}.lock", "a") as file:
            if sys.platform != "win32":
                import fcntl

                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise CourseError(
                        f"another process is busy with {what} in {self.root}: wait for it"
                    ) from None
            yield

    def word(self, assignment: str) -> str:
        """The sealed word of an assignment: from the secret, and no way back."""
        return hmac.new(self.secret.encode(), assignment.encode(), hashlib.sha256).hexdigest()


def open_course(path: Path | str = ".") -> Course:
    """The course in ``path`` or in a folder above it. Raises :class:`CourseError`."""
    start = Path(path).resolve()
    for folder in (start, *start.parents):
        if (folder / SETTINGS).is_file():
            return Course(folder, _settings(folder / SETTINGS), _secret(folder / "secret"))
    raise CourseError(f"no {SETTINGS} in {start} or above: make a course with roofline class init")


def create(path: Path | str, name: str = "", database: str = "") -> Course:
    """Make a course's folder with a new secret. Raises :class:`CourseError`."""
    root = Path(path).resolve()
    if (root / SETTINGS).exists():
        raise CourseError(f"{root} is a course already: nothing was changed")
    if root.exists() and not root.is_dir():
        raise CourseError(f"{root} is a file: give the folder that the course should be in")
    for folder in (root, *root.parents):
        if (folder / "lib" / "roofline" / "__init__.py").is_file():
            raise CourseError(
                f"{root} is inside the checkout {folder}: a course's secret must not lie in a "
                "repository, choose a folder elsewhere"
            )
    name = name or root.name
    if not valid_name(name):
        raise CourseError(f"course name {name!r}: expected letters, digits, spaces and - _ . only")
    try:
        for folder_name in FOLDERS:
            (root / folder_name).mkdir(parents=True, exist_ok=True)
        (root / "unmatched").chmod(0o700)
        if not (root / "secret").exists():  # a second try after a full disk keeps the first one
            with os.fdopen(
                os.open(root / "secret", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
            ) as file:
                file.write(secrets.token_hex(32) + "\n")
        (root / ".gitignore").write_text(_GITIGNORE, encoding="utf-8")
        (root / "nbgrader_config.py").write_text(_CONFIG, encoding="utf-8")
        # Last, because this is what makes it a course.
        (root / SETTINGS).write_text(_template(name, database), encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{root} can't be written: {error.strerror}") from None
    return open_course(root)


def valid_id(text: str) -> bool:
    """Whether a student's or assignment's id can be a folder's name without doing harm."""
    return (
        0 < len(text) <= 128
        and text == text.strip()
        and not text.startswith(".")
        and not set(text) & set('/\\:*?"<>|[]{}')
        and all(unicodedata.category(c)[0] != "C" for c in text)
        and text == unicodedata.normalize("NFC", text)
    )


def valid_name(text: str) -> bool:
    return bool(re.fullmatch(r"[\w .-]{1,100}", text))


def put_alembic_on_path() -> None:
    """nbgrader calls ``alembic`` for a new gradebook; it is installed beside this Python."""
    beside = os.path.dirname(sys.executable)
    paths = os.environ.get("PATH", "").split(os.pathsep)
    if beside not in paths:
        os.environ["PATH"] = os.pathsep.join([beside, *paths])


def _secret(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CourseError(f"{path} can't be read: {error.strerror}") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise CourseError(f"{path} can be read by others: chmod 600 {path}")
    if len(text) < 16:
        raise CourseError(f"{path} is too short to be a secret: expected what class init wrote")
    return text


def _settings(path: Path) -> Settings:
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CourseError(f"{path}: {' '.join(str(error).split())}") from None
    parts: dict[str, Any] = {}
    for table, kind in (("late", Late), ("limits", Limits)):
        parts[table] = _fill(kind, read.pop(table, {}), f"{path}: [{table}]")
    settings = _fill(Settings, read | parts, str(path))
    if settings.unknown_students not in ("add", "report"):
        given = settings.unknown_students
        raise CourseError(f"{path}: unknown_students = {given!r}, expected 'add' or 'report'")
    return settings


def _fill(kind: type[Any], given: Any, where: str) -> Any:
    """A dataclass from a table; every mistake is named."""
    known = {f.name: f for f in fields(kind)}
    if not isinstance(given, dict):
        raise CourseError(f"{where}: expected a table")
    for name, value in given.items():
        if name not in known:
            raise CourseError(
                f"{where}: unknown setting {name!r}, expected one of {', '.join(known)}"
            )
        wanted = type(getattr(kind(), name))
        number = wanted in (int, float) and isinstance(value, (int, float))
        if isinstance(value, bool) or not (isinstance(value, wanted) or number):
            raise CourseError(f"{where}: {name} = {value!r}, expected {wanted.__name__}")
        if number and value < 0:
            raise CourseError(f"{where}: {name} = {value!r}, expected 0 or more")
    return kind(**given)


def _template(name: str, database: str) -> str:
    late, limits = Late(), Limits()
    return f'''\
# A course of "Under the Roofline". What is commented out stands at its default.
name = "{name}"

# Where grades are kept: an SQLAlchemy URL, such as "postgresql+psycopg://user@host/database".
# Empty: gradebook.db in this folder.
database = "{database}"

# A submission by somebody who isn't in the gradebook: "report" it, or "add" the student.
unknown_students = "report"

# workers = 0          # submissions that run at once; 0: one for each core
# sandbox_user = ""    # who sandboxes run as if root grades; empty: nobody

[late]
# In percent of what was earned; a submission that is only marked late counts as marked_days late.
grace_minutes = {late.grace_minutes:g}
percent_per_day = {late.percent_per_day:g}
maximum_percent = {late.maximum_percent:g}
zero_after_days = {late.zero_after_days:g}   # 0: never
marked_days = {late.marked_days:g}

[limits]
# Of one submission.
# cell_seconds = {limits.cell_seconds}
# wall_seconds = {limits.wall_seconds}
# memory_bytes = {limits.memory_bytes}
'''


_GITIGNORE = """\
secret
gradebook.db*
submitted/
autograded/
feedback/
runs/
unmatched/
"""

_CONFIG = '''\
"""So that nbgrader's own commands and formgrader work from this folder."""

import os
import sys
import tomllib
from pathlib import Path

c = get_config()  # noqa: F821  (nbgrader defines it)
course = Path(__file__).resolve().parent
settings = tomllib.loads((course / "course.toml").read_text(encoding="utf-8"))
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])

c.CourseDirectory.root = str(course)
c.CourseDirectory.db_url = settings.get("database") or f"sqlite:///{course / 'gradebook.db'}"
c.OverwriteCells.add_missing_cells = True
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = "."
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\\nraise NotImplementedError()"}
'''
