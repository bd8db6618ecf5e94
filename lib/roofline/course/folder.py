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
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from roofline.course.settings import CourseError, Late, Settings, read_settings, template

__all__ = ["Course", "CourseError", "Late", "Settings", "create", "open_course"]

SETTINGS = "course.toml"
FOLDERS = (
    *("source", "release", "submitted", "autograded", "feedback", "overlay", "runs"),
    "unmatched",
)


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
            return Course(folder, read_settings(folder / SETTINGS), _secret(folder / "secret"))
    raise CourseError(f"no {SETTINGS} in {start} or above: make a course with roofline class init")


def create(path: Path | str, name: str = "", database: str = "") -> Course:
    """Make a course's folder with a new secret. Raises :class:`CourseError`."""
    root = check_place(path)
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
        if not (root / "nbgrader_config.py").exists():  # an nbgrader course that becomes ours
            (root / "nbgrader_config.py").write_text(_CONFIG, encoding="utf-8")
        # Last, because this is what makes it a course.
        (root / SETTINGS).write_text(template(name, database), encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{root} can't be written: {error.strerror}") from None
    return open_course(root)


def check_place(path: Path | str) -> Path:
    """Where a new course may be made. Raises :class:`CourseError` where it may not."""
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
    return root


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

import importlib.util
import os
import sys
import tomllib
from pathlib import Path

c = get_config()  # noqa: F821  (nbgrader defines it)
course = Path(__file__).resolve().parent
settings = tomllib.loads((course / "course.toml").read_text(encoding="utf-8"))
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])

c.CourseDirectory.root = str(course)
# The name in the exchange. Empty, it would name no course, and PostgreSQL wants one that is there.
c.CourseDirectory.course_id = settings.get("name") or "course"
c.CourseDirectory.db_url = settings.get("database") or f"sqlite:///{course / 'gradebook.db'}"
c.OverwriteCells.add_missing_cells = True
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = "."
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\\nraise NotImplementedError()"}
# Formgrader shows what students wrote without what could act in the browser of whoever grades.
if importlib.util.find_spec("roofline") is not None:
    c.HTMLExporter.filters = {"markdown2html": "roofline.course.shown.markdown"}
'''
