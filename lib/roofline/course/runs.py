"""What is kept of each run of the grader: one JSON file under ``runs/``."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from roofline.course.folder import Course, CourseError
from roofline.course.writing import write_whole


@contextmanager
def noted(course: Course, facts: dict[str, Any], rows: list[Any]) -> Iterator[str]:
    """Note a run's start and its end, whatever the end; gives the run's id.

    ``facts`` may change until the end. A file of a run that was killed says ``running``. ``scores``
    stands for all rows' scores: two runs with the same ``scores`` gave everybody the same. Readable
    by the owner only, for it holds the sealed word. Raises :class:`CourseError` if nothing can be
    written.
    """
    started = datetime.now(UTC)
    identity = f"{started:%Y%m%dT%H%M%S}-{os.getpid()}"
    path = course.runs / f"{identity}.json"
    note = {
        "run": identity,
        "state": "running",
        "started": started.isoformat(timespec="seconds"),
        "versions": _versions(),
    }

    def write(**more: Any) -> None:
        text = json.dumps(note | facts | more, indent=1, sort_keys=True) + "\n"
        write_whole(path, text.encode(), 0o600)

    try:
        write()
    except OSError as error:
        raise CourseError(f"{path} can't be written: {error.strerror}") from None
    state = "stopped"
    try:
        yield identity
        state = "done"
    finally:
        statuses: dict[str, int] = {}
        for row in rows:
            statuses[row.status] = statuses.get(row.status, 0) + 1
        scores = sorted((row.student, row.score) for row in rows)
        with suppress(OSError):  # a full disk: the run's end is told in another way
            write(
                state=state,
                ended=datetime.now(UTC).isoformat(timespec="seconds"),
                rows=statuses,
                scores=hashlib.sha256(json.dumps(scores).encode()).hexdigest(),
            )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("roofline", "torch", "nbgrader", "numpy"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
