"""The gradebook in PostgreSQL, by URL: a real server that this test starts."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from course import toy
from course.made import course as made_course
from course.made import graded
from course.postgres import Server, programs, running
from course.standin import Workers
from needs import need
from roofline.course import running as running_
from roofline.course.analysis import analyse
from roofline.course.assign import release
from roofline.course.export import export
from roofline.course.folder import Course, create, open_course
from roofline.course.gradebook import Book, Stopped
from roofline.course.grading import Row, grade


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    need(programs() is not None, "postgresql")
    need(importlib.util.find_spec("psycopg") is not None, "psycopg")
    with running() as started:
        yield started


@pytest.fixture
def course(server: Server, tmp_path: Path) -> Iterator[Course]:
    server.sql("drop database if exists gradebook with (force)")
    server.sql("create database gradebook")
    yield made_course(tmp_path / "class", server.url())


CUT = (
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where datname = 'gradebook' and pid <> pg_backend_pid()"
)
CLASS = {"ada": (3, 2, 5), "bob": (1, 0, 4), "cyd": (0, 2, 1), "dan": (3, 0, 0), "eve": (2, 1, 3)}


def test_grades_are_the_same_as_in_sqlite(course: Course, tmp_path: Path) -> None:
    local = made_course(tmp_path / "local")
    for made in (course, local):
        for student, scores in CLASS.items():
            graded(made, student, *scores, days_late=0.5 if student == "eve" else 0)
    assert not (course.root / "gradebook.db").exists()
    for form in ("csv", "json", "canvas", "moodle"):
        assert export(course, form) == export(local, form)
    assert analyse(course, "01_toy").as_dict() == analyse(local, "01_toy").as_dict()


def test_it_is_all_in_the_server(course: Course, server: Server) -> None:
    graded(course, "ada", 3, 2, 5)
    assert server.sql("select sum(auto_score) from grade", "gradebook") == "10"
    assert server.sql("select student, attempts from roofline_graded", "gradebook") == "ada|1"
    server.stop("immediate")  # as after a power cut
    server.start()
    with Book(open_course(course.root)) as book:
        assert book.scores("01_toy") == {"ada": (10.0, 10.0, 0.0)}


def test_a_lost_connection_leaves_the_gradebook_whole(course: Course, server: Server) -> None:
    """Cut while a submission is being written: all of it or nothing, and the next try is good."""
    graded(course, "ada", 1, 1, 1)
    with Book(course) as book:
        with pytest.raises(Stopped, match="can't be written"), book.transaction():
            grade = book.gradebook.find_grade("01_toy-first-check", "toy", "01_toy", "ada")
            grade.auto_score = 3
            book.db.flush()
            server.sql(CUT)
            book.gradebook.find_grade("01_toy-essay", "toy", "01_toy", "ada").auto_score = 5
            book.db.flush()
        assert book.scores("01_toy")["ada"][0] == 3.0
    graded(course, "ada", 3, 1, 5)
    with Book(course) as book:
        assert book.scores("01_toy")["ada"][0] == 9.0


def test_many_write_at_once(course: Course) -> None:
    """A grader, formgrader and an export at the same time: nobody waits for a file lock."""
    problems: list[BaseException] = []

    def write(student: str) -> None:
        try:
            for score in (1, 2, 3):
                graded(course, student, score, 0, 0)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(student,)) for student in CLASS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    with Book(course) as book:
        assert {s: got[0] for s, got in book.scores("01_toy").items()} == dict.fromkeys(CLASS, 3.0)


def test_a_server_that_is_not_there_is_one_line(server: Server, tmp_path: Path) -> None:
    made = create(tmp_path / "class", database=server.url("nothing"))
    with pytest.raises(Stopped, match='can\'t be opened.*database "nothing" does not exist'):
        Book(made)


def test_a_class_is_graded_there_also_if_the_connection_is_cut(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released, graded, cut off midway, graded to the end: each once, nothing lost."""
    server.sql("drop database if exists gradebook with (force)")
    server.sql("create database gradebook")
    monkeypatch.setattr(running_, "_workers", lambda setup, overlay: Workers(setup.count))
    made = create(tmp_path / "class", database=server.url())
    release(made, "toy", toy.write(tmp_path / "written"))
    students = [f"s{i}" for i in range(6)]
    with Book(made) as book:
        book.add_students({student: {} for student in students})
    for number, student in enumerate(students):
        path = made.submitted / student / "toy" / "toy.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(toy.answered(half=f"half = {number / 10}"), path)

    def cut(done: int, of: int, row: Row) -> None:
        if done == 3:
            server.sql(CUT)

    try:
        with pytest.raises(Stopped):
            grade(made, "toy", workers=1, on_progress=cut)
        again = {row.student: row.status for row in grade(made, "toy", workers=1)}
    finally:
        running_.close_engines()
    assert sorted(again.values()) == ["graded"] * 3 + ["unchanged"] * 3
    with Book(made) as book:
        scores = {student: score[0] for student, score in book.scores("toy").items()}
        attempts = {student: one.attempts for student, one in book.graded("toy").items()}
    assert scores == {student: 3 + number / 10 for number, student in enumerate(students)}
    assert set(attempts.values()) == {1}
