"""Grade the submissions of an assignment: read, clean, run, judge, record.

Submissions are read and recorded here, one at a time; running and judging is done elsewhere, many
at a time. Nothing here keeps a submission after it was recorded. What one submission's score
depends on is summed up in a digest that is recorded with the score; a later run leaves it alone as
long as the digest is the same. So a run that was killed is finished by starting it again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from roofline.course import marking, pool, running
from roofline.course.beside import put_beside
from roofline.course.files import Files, read_files
from roofline.course.fingerprint import code_version, private_exercises
from roofline.course.folder import Course, CourseError
from roofline.course.gradebook import Book, Graded, Grades, Stopped
from roofline.course.master import load
from roofline.course.plan import plan, probes
from roofline.course.recording import record, refresh_penalty
from roofline.course.rows import UNSANDBOXED, Row
from roofline.course.runs import noted
from roofline.course.sanitize import blank, clean
from roofline.course.submissions import Submission, recover, submissions
from roofline.course.writing import write_whole

__all__ = ["Row", "grade"]


@dataclass
class _Ready:
    """A submission between reading and recording."""

    given: Submission
    digest: str
    files_digest: str
    notebooks: dict[str, NotebookNode]
    notes: list[str]
    beside: dict[str, bytes]
    problems: dict[str, str] = field(default_factory=dict)
    only: str | None = None


def grade(
    course: Course,
    assignment: str,
    *,
    students: list[str] | None = None,
    exercise: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    trust: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    on_progress: Callable[[int, int, Row], None] = lambda done, of, row: None,
) -> list[Row]:
    """Grade the submissions of an assignment, in any order; only what changed since the last run.

    ``exercise`` regrades one exercise for all; who has handed in anew is graded as a whole.
    ``force`` grades everything again. ``trust`` allows grading without a sandbox. ``scheduler`` is
    the address of a Dask cluster. Rows come back in the order of the students' ids. Raises
    :class:`~roofline.course.folder.CourseError` and :class:`~roofline.course.sandbox.NoSandbox`.
    """
    with course.locked("grade"), Book(course) as book:
        run = _Run(course, book, assignment, exercise, force, trust, workers)
        rows: list[Row] = []
        todo: list[Submission] = []
        if not dry_run:
            recover(course, assignment)
        for given in submissions(course, assignment, students):
            row = run.without_running(given, dry_run)
            if row is None:
                todo.append(given)
            else:
                rows.append(row)
        total = len(rows) + len(todo)
        for number, row in enumerate(rows, 1):
            on_progress(number, total, row)
        if not todo or dry_run:
            return sorted(rows, key=lambda row: row.student)
        if not scheduler:
            # If there is no sandbox, say so before anything is written.
            run.sandbox = running.engine(run.setup).workers.sandbox
        run.facts = run.about(len(todo), scheduler)
        with noted(course, run.facts, rows) as run.id:
            try:
                for row in run.graded(todo, scheduler):
                    rows.append(row)
                    on_progress(len(rows), total, row)
            except OSError as error:  # a full disk, as a rule
                why = error.strerror or type(error).__name__
                left = total - len(rows)
                raise Stopped(
                    f"stopped: {why}; {len(todo) - left} of {len(todo)} are graded and kept: "
                    "put it right and grade again"
                ) from None
    return sorted(rows, key=lambda row: row.student)


class _Run:
    """One run of the grader: what it knows, and the steps that touch the course."""

    def __init__(
        self,
        course: Course,
        book: Book,
        assignment: str,
        exercise: str | None,
        force: bool,
        trust: bool,
        workers: int | None,
    ):
        self.course, self.book, self.assignment = course, book, assignment
        self.exercise, self.force = exercise, force
        self.overlay = private_exercises(course.overlay)
        self.masters = {master.name: master for master in load(course, book, assignment)}
        known = {p.exercise for m in self.masters.values() for p in probes(m).values()}
        if exercise is not None and exercise not in known:
            there = ", ".join(sorted(known)) or "none of ours"
            raise CourseError(f"no exercise {exercise!r} in {assignment}: there is {there}")
        self.points = sum(master.points for master in self.masters.values())
        self.word = course.word(assignment)
        self.students = set(book.students())
        self.before = book.graded(assignment, results=False)
        self.count = workers or course.settings.workers or os.cpu_count() or 1
        self.setup = running.Setup(self.count, trust, self.overlay, course.settings.sandbox_user)
        self.beside = read_files(course.source / assignment).beside
        released = [master.digest() for master in self.masters.values()]
        released.append(Files(beside=self.beside).digest())
        parts = [released, self.word, code_version(), self.overlay, asdict(course.settings.limits)]
        self.version = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        self.open: dict[str, _Ready] = {}
        self.id = ""
        self.sandbox = "unknown"  # on a cluster, each worker has its own
        self.facts: dict[str, Any] = {}

    def about(self, count: int, scheduler: str | None) -> dict[str, Any]:
        """What is recorded of the run."""
        return {
            "assignment": self.assignment,
            "exercise": self.exercise,
            "word": self.word,
            "sandbox": self.sandbox,
            "scheduler": scheduler,
            "workers": self.count,
            "to_grade": count,
            "code": code_version(),
        }

    def without_running(self, given: Submission, dry_run: bool) -> Row | None:
        """The row of a submission that needn't be run, or None if it has to be."""
        if given.problem:
            return self._row(given, None, "unknown", given.problem)
        adds = self.course.settings.unknown_students == "add"
        if given.student not in self.students and not adds:
            why = "no such student in the gradebook: roofline class students --add, and grade again"
            return self._row(given, None, "unknown", why)
        before = self.before.get(given.student)
        if before is not None and not self.force and self.exercise is None:
            if before.digest == self._digest(read_files(given.folder)):
                late = self.course.settings.late
                if not dry_run:
                    refresh_penalty(self.book, self.assignment, given.student, given.late, late)
                return self._row(given, before.score, "unchanged", before.reason, before)
        return self._row(given, None, "would grade") if dry_run else None

    def graded(self, todo: list[Submission], scheduler: str | None) -> Iterator[Row]:
        """Grade what is to be graded; rows come as they are done."""
        refused: list[_Ready] = []
        items = self._items(todo, refused)
        function = "roofline.course.running:grade_one"
        if scheduler:
            from roofline.course import cluster

            done = cluster.each(items, function, scheduler)
        else:
            done = pool.each(items, function, self.count)
        for outcome in done:
            yield self._record(self.open.pop(outcome["student"]), outcome)
            while refused:
                yield self._record(refused.pop(), {"notebooks": {}, "failed": ""})
        while refused:
            yield self._record(refused.pop(), {"notebooks": {}, "failed": ""})

    def _items(self, todo: list[Submission], refused: list[_Ready]) -> Iterator[pool.Plain]:
        """Read and clean submissions when there is room to run them."""
        for given in todo:
            ready = self._read(given)
            runnable = {n: b for n, b in ready.notebooks.items() if n not in ready.problems}
            if not runnable:
                refused.append(ready)
                continue
            cells = {n: plan(b, self.masters[n], ready.only) for n, b in runnable.items()}
            self.open[given.student] = ready
            files = {**ready.beside, **self.beside}
            limits = self.course.settings.limits
            yield running.item(given.student, cells, files, self.word, limits, self.setup)

    def _read(self, given: Submission) -> _Ready:
        files = read_files(given.folder)
        notes = [*given.notes, *files.notes]
        ready = _Ready(given, self._digest(files), files.digest(), {}, notes, files.beside)
        before = self.before.get(given.student)
        if before is not None and before.submission == ready.files_digest:
            ready.only = self.exercise
        extra = sorted(set(files.notebooks) - set(self.masters))
        if extra:
            ready.notes.append(f"notebooks that aren't in the assignment: {', '.join(extra)[:200]}")
        for name, master in self.masters.items():
            why = files.problems.get(name, "")
            notebook = None
            if name in files.notebooks:
                notebook, notes, why = clean(files.notebooks[name], master)
                ready.notes += notes
            elif not why:
                why = "it was not handed in"
            if notebook is None:
                ready.problems[name] = f"{name}: {why}"
                notebook = blank(master)
            ready.notebooks[name] = notebook
        return ready

    def _digest(self, files: Files) -> str:
        return hashlib.sha256(f"{self.version} {files.digest()}".encode()).hexdigest()

    def _record(self, ready: _Ready, outcome: pool.Plain) -> Row:
        """Write the graded notebooks, then the gradebook, in this order: what the gradebook says
        is what counts, and a notebook that it doesn't speak of is written again."""
        if outcome["failed"]:
            return self._row(ready.given, None, "failed", outcome["failed"])
        grades: list[Grades] = []
        results: dict[str, Any] = {}
        reasons = [*ready.problems.values()]
        if outcome.get("sandbox") == "none":
            reasons.append(UNSANDBOXED)
            self.facts["sandbox"] = "none"
        seconds = 0.0
        for name, notebook in ready.notebooks.items():
            master = self.masters[name]
            if name in ready.problems:
                grades.append(marking.nothing(master, ready.problems[name]))
            else:
                done = outcome["notebooks"][name]
                given, found = marking.mark(notebook, master, done, ready.only)
                grades.append(given)
                results |= found
                seconds += done["seconds"]
                if done["status"] != "done":
                    reasons.append(f"{name}: {done['status']}: {done['reason']}")
                broken = [exercise for exercise, result in found.items() if result.get("broken")]
                reasons += [f"the exercise {exercise} itself failed" for exercise in broken]
            self._write(ready, name, notebook, reasons)
        if ready.only is None:
            put_beside(self._autograded(ready), ready.beside)
        status = "refused" if len(ready.problems) == len(self.masters) else "graded"
        reason = "; ".join(dict.fromkeys([*reasons, *ready.notes]))[:2000]
        student = ready.given.student
        if student not in self.students:
            self.book.add_students({student: {}})
            self.students.add(student)
        graded = Graded(
            *(self.assignment, student, ready.digest, ready.files_digest),
            *(status, reason, round(seconds, 3), results),
            run=self.id,
        )
        record(
            self.book,
            graded,
            grades,
            timestamp=ready.given.timestamp,
            marked_late=ready.given.late,
            late=self.course.settings.late,
            partial=ready.only is not None,
        )
        score = self.book.score(self.assignment, student)
        return self._row(ready.given, score, status, reason, graded)

    def _write(self, ready: _Ready, name: str, notebook: NotebookNode, reasons: list[str]) -> None:
        path = self._autograded(ready) / f"{name}.ipynb"
        if ready.only is not None:
            notebook = marking.merge(path, notebook, ready.only)
        else:
            marking.about(notebook, [*reasons, *ready.notes])
        for leftover in path.parent.glob(".*.part"):  # of a run that was killed
            leftover.unlink(missing_ok=True)
        write_whole(path, marking.to_bytes(notebook))

    def _autograded(self, ready: _Ready) -> Path:
        return self.course.autograded / ready.given.student / self.assignment

    def _row(
        self,
        given: Submission,
        score: float | None,
        status: str,
        reason: str = "",
        graded: Graded | None = None,
    ) -> Row:
        seconds, digest = (graded.seconds, graded.digest) if graded else (0.0, "")
        return Row(
            given.student, self.assignment, score, self.points, status, reason, seconds, digest
        )
