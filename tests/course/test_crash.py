"""The grader is killed at random moments, or the disk is full: nothing is lost, nothing is graded
twice, and what can't go on says so."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import sqlalchemy
from course import toy
from course.standin import Workers
from needs import need
from roofline.course import assign, folder, grading, running, sandbox
from roofline.course.folder import Course
from roofline.course.gradebook import Book, Stopped

COUNT = 12
SCORES = {0: 4.0, 1: 1.0, 2: 3.5, 3: 0.0}  # by number modulo 4
ANSWERS: dict[int, dict[str, str]] = {
    0: {"half": "half = 1.0"},
    1: {"square": "return abs(x) * 2", "half": "half = 1.0"},
    2: {},
    3: {"square": "return 0", "half": "half = 1 / 0"},
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class that has handed in. Every write to what was graded is counted by a trigger."""
    course = folder.create(tmp_path_factory.mktemp("crash") / "course", "crash")
    toy.write(course.source / toy.NAME)
    assign.release(course, toy.NAME)
    with Book(course) as book:
        book.add_students({f"s{number:02}": {} for number in range(COUNT)})
    for number in range(COUNT):
        path = course.submitted / f"s{number:02}" / toy.NAME / f"{toy.NAME}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(toy.answered(**ANSWERS[number % 4]), path)
    with sqlite3.connect(course.root / "gradebook.db") as book:
        book.execute("create table counted (student text)")
        for event in ("insert", "update"):
            book.execute(
                f"create trigger count_{event} after {event} on roofline_graded "
                "begin insert into counted values (new.student); end"
            )
        book.commit()
        book.execute("pragma page_size = 512")  # so that a few grades need another page
        book.execute("vacuum")
    return course.root


@pytest.fixture
def course(template: Path, tmp_path: Path) -> Course:
    return folder.open_course(shutil.copytree(template, tmp_path / "course"))


def counted(course: Course) -> list[str]:
    with sqlite3.connect(course.root / "gradebook.db", timeout=30) as book:
        return [row[0] for row in book.execute("select student from counted order by 1")]


def check_all(course: Course) -> None:
    """Everybody is in the gradebook once, with what they deserve, and with a graded notebook."""
    students = [f"s{number:02}" for number in range(COUNT)]
    assert counted(course) == students
    with Book(course) as book:
        scores = {student: score for student, (score, _, _) in book.scores(toy.NAME).items()}
    assert scores == {s: SCORES[n % 4] for n, s in enumerate(students)}
    with sqlite3.connect(course.root / "gradebook.db") as book:
        assert book.execute("pragma integrity_check").fetchone() == ("ok",)
        for table, number in (("submitted_assignment", 1), ("submitted_notebook", 1), ("grade", 2)):
            assert book.execute(f"select count(*) from {table}").fetchone()[0] == COUNT * number
    for student in students:
        nbformat.read(course.autograded / student / toy.NAME / f"{toy.NAME}.ipynb", as_version=4)
        assert len(list((course.autograded / student / toy.NAME).iterdir())) == 1


def start(course: Course) -> subprocess.Popen[bytes]:
    # The command; only that the library's files may be edited while this test runs, which would
    # rightly have everything graded again.
    code = (
        "from roofline import cli; from roofline.course import grading; "
        "grading.code_version = lambda: 'fixed'; cli.main()"
    )
    command = [sys.executable, "-c", code, "class", "grade", toy.NAME]
    own = {"HOME": str(course.root.parent), "OMP_NUM_THREADS": "1"}
    with open(course.root.parent / "said", "wb") as said:
        return subprocess.Popen(
            [*command, "--workers", "2"],
            cwd=course.root,
            env=os.environ | own,
            stdout=said,
            stderr=said,
        )


def test_killed_at_random_moments_and_started_again(course: Course) -> None:
    why = sandbox.available()
    need(why is None, f"a sandbox ({why})")
    rng = random.Random()
    deaths = 0
    for _ in range(3):
        grader = start(course)
        before = len(counted(course))
        while grader.poll() is None and len(counted(course)) < before + rng.randint(1, 3):
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        if grader.poll() is None:
            grader.send_signal(signal.SIGKILL)
            deaths += 1
        grader.wait()
    grader = start(course)
    assert grader.wait(300) == 0, (course.root.parent / "said").read_text()
    assert deaths >= 2
    check_all(course)


@pytest.fixture
def here(course: Course, monkeypatch: pytest.MonkeyPatch) -> Iterator[Course]:
    """Grading in this process, without a sandbox: what is tried here comes after it."""
    running.close_engines()
    monkeypatch.setattr(running, "_workers", lambda setup, overlay: Workers(setup.count))
    monkeypatch.setattr(grading, "code_version", lambda: "fixed")
    yield course
    running.close_engines()


def test_a_full_disk_stops_with_one_line_and_keeps_what_is_graded(
    here: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = grading.write_whole, 5

    def full(path: Path, content: bytes, mode: int = 0o644) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content, mode)

    monkeypatch.setattr(grading, "write_whole", full)
    with pytest.raises(Stopped) as caught:
        grading.grade(here, toy.NAME)
    said = str(caught.value)
    assert "No space left" in said and "5 of 12" in said and "\n" not in said
    assert len(counted(here)) == 5
    monkeypatch.undo()
    monkeypatch.setattr(running, "_workers", lambda setup, overlay: Workers(setup.count))
    grading.grade(here, toy.NAME)
    # The library stood still between the two in the test, so nothing was graded twice.
    assert sorted(set(counted(here))) == [f"s{number:02}" for number in range(COUNT)]


def test_a_gradebook_that_cannot_grow_keeps_what_is_graded(here: Course) -> None:
    """SQLite's own page limit: the same error as a full disk, at whichever write it comes."""
    real, stopped = Book.__init__, 0

    def limited(self: Book, course: Course) -> None:
        real(self, course)
        raw = self.gradebook.engine.raw_connection()
        pages = raw.execute("pragma page_count").fetchone()[0]
        raw.close()

        def limit(connection: Any, _: Any) -> None:
            connection.execute(f"pragma max_page_count = {pages}")

        sqlalchemy.event.listen(self.gradebook.engine, "connect", limit)
        self.db.remove()
        self.gradebook.engine.dispose()

    for _ in range(3):
        Book.__init__ = limited  # type: ignore[method-assign]
        try:
            grading.grade(here, toy.NAME)
            break
        except Stopped as error:
            stopped += 1
            assert "full" in str(error) and "\n" not in str(error)
        finally:
            Book.__init__ = real  # type: ignore[method-assign]
        with sqlite3.connect(here.root / "gradebook.db") as book:
            assert book.execute("pragma integrity_check").fetchone() == ("ok",)
    assert stopped > 0
    grading.grade(here, toy.NAME)
    check_all(here)
