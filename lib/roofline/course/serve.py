"""``roofline serve-grader``: a folder is watched, each submission in it gets its score beside it.

Behind a web system: it puts ``anything.ipynb`` into the folder, or into a folder of the
assignment's name in it, and finds ``anything.feedback.json`` and then ``anything.score.json``
there. Both are written as a whole, the score last, so whoever sees the score can read the feedback.
A file that changes is graded again. The gradebook is read and never written; a submission earns
what ``roofline class grade`` would give it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roofline.course import marking, running
from roofline.course.files import plain, read_files
from roofline.course.fingerprint import code_version, private_exercises
from roofline.course.folder import Course, CourseError
from roofline.course.gradebook import Book
from roofline.course.master import Master, load
from roofline.course.plan import plan
from roofline.course.sanitize import blank, clean
from roofline.course.watching import Signature, notebooks, read
from roofline.course.writing import write_whole

POLL = 0.1  # seconds between two looks; a file that two looks find the same is complete
TRIES = 3  # where the fault is ours
PAUSE = 10.0  # seconds before a result is written again that couldn't be, for the disk was full
SCORE, FEEDBACK = ".score.json", ".feedback.json"

OnGraded = Callable[[Path, dict[str, Any]], None]


@dataclass(frozen=True)
class _Assignment:
    """What an assignment's submissions are graded by."""

    name: str
    masters: dict[str, Master]
    word: str
    files: dict[str, bytes]
    version: str


@dataclass
class _Seen:
    """A file of the folder: how it looked, whether it looked so before, and how often it failed."""

    signature: Signature
    steady: bool = False
    done: bool = False
    tries: int = 0
    running: bool = False
    not_before: float = 0.0


@dataclass
class Server:
    """Grades what comes into a folder. ``assignment`` is for files that aren't in a folder of an
    assignment's name."""

    course: Course
    folder: Path
    assignment: str | None = None
    workers: int = 0
    trust: bool = False
    on_graded: OnGraded = lambda path, score: None
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise CourseError(f"{self.folder} is no folder: make it, then start again")
        self.count = self.workers or self.course.settings.workers or os.cpu_count() or 1
        self.setup = running.Setup(
            self.count,
            self.trust,
            private_exercises(self.course.overlay),
            self.course.settings.sandbox_user,
        )
        self.seen: dict[Path, _Seen] = {}
        self.assignments = self._load()

    def _load(self) -> dict[str, _Assignment]:
        limits = repr(self.course.settings.limits)
        found = {}
        with Book(self.course) as book:
            known = book.assignments()
            if self.assignment is None and len(known) == 1:
                self.assignment = known[0]
            if self.assignment is not None and self.assignment not in known:
                there = ", ".join(known) or "none yet"
                raise CourseError(f"no assignment {self.assignment!r}; there are: {there}")
            for name in known:
                try:
                    masters = {master.name: master for master in load(self.course, book, name)}
                except CourseError:
                    if name == self.assignment:
                        raise
                    continue  # an old one whose release is gone
                word = self.course.word(name)
                parts = [master.digest() for master in masters.values()]
                text = json.dumps([parts, word, code_version(), self.setup.overlay, limits])
                version = hashlib.sha256(text.encode()).hexdigest()
                beside = read_files(self.course.source / name).beside
                found[name] = _Assignment(name, masters, word, beside, version)
        return found

    # The loop

    def warm(self) -> None:
        """Start sandboxes and judges, and grade the release itself with each of them, so that the
        first submission doesn't wait. Raises NoSandbox."""
        running.engine(self.setup)
        one = self.assignments.get(self.assignment or "") or next(iter(self.assignments.values()))
        master = next(iter(one.masters.values()))
        with ThreadPoolExecutor(self.count) as pool:
            list(pool.map(lambda i: self._run(f"warm-{i}", blank(master), one, master), range(2)))

    def serve(self, once: bool = False) -> int:
        """Watch until ``stop`` is set; with ``once``, until everything there is graded. Returns how
        many were graded."""
        graded = 0
        with ThreadPoolExecutor(self.count, thread_name_prefix="serve") as pool:
            futures: set[Future[bool]] = set()
            while not self.stop.is_set():
                graded += _finished(futures)
                ready = list(self._ready())
                for path in ready:
                    self.seen[path].running = True
                    futures.add(pool.submit(self._grade, path, self.seen[path]))
                if once and not futures and all(seen.done for seen in self.seen.values()):
                    break
                self.stop.wait(POLL)
        return graded + _finished(futures)

    def waiting(self) -> list[Path]:
        """What would be graded now."""
        return sorted(path for path, _ in notebooks(self.folder) if not self._known(path))

    def _ready(self) -> Iterator[Path]:
        """Files that are complete and not graded as they are."""
        there = set()
        for path, signature in notebooks(self.folder):
            there.add(path)
            seen = self.seen.get(path)
            if seen is None or seen.signature != signature:
                busy = seen is not None and seen.running
                self.seen[path] = _Seen(signature, running=busy)
                continue
            if not seen.steady:
                seen.steady = True
                seen.done = self._known(path)
            if not seen.done and not seen.running and time.monotonic() >= seen.not_before:
                yield path
        for path in set(self.seen) - there:
            del self.seen[path]

    def _known(self, path: Path) -> bool:
        """Whether the score beside it is of these very bytes, by these very rules."""
        try:
            said = json.loads(_beside(path, SCORE).read_bytes())
            content = read(path)
            assignment = self._assignment_of(path)
        except (OSError, ValueError):
            return False
        digest = hashlib.sha256(content).hexdigest()
        same = isinstance(said, dict) and said.get("submission") == digest
        return bool(same and assignment and said.get("version") == assignment.version)

    def _grade(self, path: Path, seen: _Seen) -> bool:
        """Grade one file and write what came of it; whatever is wrong with it, go on."""
        started = time.perf_counter()
        try:
            score, feedback = self._result(path)
        except Exception as error:  # a fault of ours, or the file went away
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            score, feedback = _nothing("failed", said), {}
        score["seconds"] = round(time.perf_counter() - started, 3)
        if score["status"] == "failed" and seen.tries + 1 < TRIES:
            seen.tries += 1
            seen.running = False
            return False
        written = False
        if path.exists():
            seen.not_before = time.monotonic() + PAUSE
            with suppress(OSError):
                write_whole(_beside(path, FEEDBACK), _json(feedback))
                write_whole(_beside(path, SCORE), _json(score))
                written = True
        seen.done = written or not path.exists()
        seen.running = False
        now = self.seen.get(path)
        if now is not None:  # it changed meanwhile: whatever it is now may be graded
            now.running = False
        if written:
            self.on_graded(path, score)
        return written

    # One submission

    def _assignment_of(self, path: Path) -> _Assignment | None:
        top = path.relative_to(self.folder).parts[0]
        return self.assignments.get(top) or self.assignments.get(self.assignment or "")

    def _result(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        assignment = self._assignment_of(path)
        if assignment is None:
            there = ", ".join(self.assignments)
            return _nothing("refused", f"no assignment is meant: use a folder named {there}"), {}
        try:
            content = read(path)
        except ValueError as error:
            return _nothing("refused", str(error)), {}
        master = assignment.masters.get(path.stem)
        if master is None and len(assignment.masters) == 1:
            master = next(iter(assignment.masters.values()))
        if master is None:
            names = ", ".join(assignment.masters)
            return _nothing("refused", f"which notebook is it? expected one of {names}"), {}
        about = {
            "assignment": assignment.name,
            "notebook": master.name,
            "max_score": master.points,
            "submission": hashlib.sha256(content).hexdigest(),
            "version": assignment.version,
        }
        notebook, notes, why = clean(content, master)
        if notebook is None:
            return _nothing("refused", why) | about, {"notes": notes}
        done = self._run(path.name, notebook, assignment, master)
        if done["failed"]:
            return _nothing("failed", done["failed"]) | about, {"notes": notes}
        ran = done["notebooks"][master.name]
        grades, results = marking.mark(notebook, master, ran)
        reason = "" if ran["status"] == "done" else f"{ran['status']}: {ran['reason']}"
        score = _nothing("graded", reason) | about
        score["score"] = round(sum(value or 0.0 for value in grades.scores.values()), 6)
        score["waiting"] = any(value is None for value in grades.scores.values())
        score["sandbox"] = done["sandbox"]
        cells = [
            {"cell": cell.grade_id, "points": cell.points, "score": grades.scores[cell.grade_id]}
            for cell in master.cells
            if cell.grade_id in grades.scores
        ]
        return score, {"exercises": results, "cells": cells, "notes": notes}

    def _run(self, key: str, notebook: Any, one: _Assignment, master: Master) -> dict[str, Any]:
        cells = {master.name: plan(notebook, master)}
        item = running.item(
            *(plain(key), cells, one.files, one.word, self.course.settings.limits, self.setup)
        )
        return running.grade_one(item)


def _nothing(status: str, reason: str) -> dict[str, Any]:
    return {"score": 0.0, "status": status, "reason": plain(reason)}


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=True, default=str) + "\n").encode()


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.stem + ending)


def _finished(futures: set[Future[bool]]) -> int:
    """Take out what is done; how many of it were written."""
    done = {future for future in futures if future.done()}
    futures -= done
    return sum(future.result() for future in done)
