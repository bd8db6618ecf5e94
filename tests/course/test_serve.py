"""A folder that is watched: every submission gets its score beside it, whatever else lies there."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from course import toy
from course.standin import Workers
from roofline.course import running
from roofline.course.assign import release
from roofline.course.folder import Course, CourseError, create
from roofline.course.serve import Server


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    folder = tmp_path_factory.mktemp("serve")
    made = create(folder / "class")
    release(made, "toy", toy.write(folder / "written"))
    return made


@pytest.fixture(autouse=True)
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files are what is tested here; the sandbox has its own tests."""
    running.close_engines()
    monkeypatch.setattr(running, "_workers", lambda setup, overlay: Workers(setup.count))
    Workers.ran.clear()
    yield
    running.close_engines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


def once(course: Course, folder: Path, **more: Any) -> dict[str, dict[str, Any]]:
    """Grade what is there; the scores by file name."""
    Server(course, folder, workers=2, **more).serve(once=True)
    return scores(folder)


def scores(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.relative_to(folder).as_posix().removesuffix(".score.json"): json.loads(
            path.read_text()
        )
        for path in folder.rglob("*.score.json")
        if path.is_file()
    }


def hand_in(path: Path, **answers: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(toy.answered(**answers), path)


def test_score_and_feedback_lie_beside_each(course: Course, folder: Path) -> None:
    hand_in(folder / "ada.ipynb")
    hand_in(folder / "toy" / "b" / "bob.ipynb", square="return 4", half="half = 2.0")
    found = once(course, folder)
    assert found["ada"]["score"] == 3.5 and found["ada"]["max_score"] == 4
    assert found["ada"]["status"] == "graded" and found["ada"]["reason"] == ""
    assert found["ada"]["sandbox"] == "none"
    assert found["toy/b/bob"]["score"] == 0  # 4 for every x; 2.0 is more than the test's maximum
    feedback = json.loads((folder / "ada.feedback.json").read_text())
    assert [cell["score"] for cell in feedback["cells"]] == [3.0, 0.5]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("ada.feedback.json", "ada.ipynb", "ada.score.json", "toy")
    ]


def test_what_is_no_submission_gets_a_reason_and_stops_nothing(
    course: Course, folder: Path
) -> None:
    (folder / "empty.ipynb").write_bytes(b"")
    (folder / "broken.ipynb").write_bytes(b'{"cells": [')
    (folder / "huge.ipynb").touch()
    os.truncate(folder / "huge.ipynb", 2**30)
    (folder / "folder.ipynb").mkdir()
    (folder / "readme.txt").write_text("no notebook")
    (folder / "link.ipynb").symlink_to("/etc/passwd")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.ipynb")
    (folder / "taken.ipynb").write_bytes(b"{}")
    (folder / "taken.score.json").mkdir()  # its score can't be written
    hand_in(folder / "good.ipynb")
    server = Server(course, folder, workers=2)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        _until(lambda: len(scores(folder)) == 4)
        time.sleep(0.3)
    finally:
        server.stop.set()
        thread.join()
    found = scores(folder)
    assert set(found) == {"empty", "broken", "huge", "good"}
    assert found["good"]["score"] == 3.5
    for name, word in (("empty", "empty"), ("broken", "not JSON"), ("huge", "bytes, at most")):
        assert found[name]["status"] == "refused" and word in found[name]["reason"]
    assert list(folder.glob(".*")) == []  # no half-written file


def test_a_file_that_changes_is_graded_again_and_no_other(course: Course, folder: Path) -> None:
    hand_in(folder / "ada.ipynb", half="half = 0.25")
    hand_in(folder / "bob.ipynb")
    assert once(course, folder)["ada"]["score"] == 3.25
    assert len(Workers.ran) == 2
    assert once(course, folder)["ada"]["score"] == 3.25  # a new server knows what is done
    assert len(Workers.ran) == 2
    hand_in(folder / "ada.ipynb", half="half = 1.0")
    assert once(course, folder)["ada"]["score"] == 4
    assert Workers.ran[2:] == ["ada.ipynb/toy"]


def test_it_goes_on_watching(course: Course, folder: Path) -> None:
    seen: list[str] = []
    server = Server(course, folder, workers=2, on_graded=lambda path, _: seen.append(path.stem))
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        hand_in(folder / "first.ipynb")
        _until(lambda: seen == ["first"])
        # A slow upload: what is there at first is cut off, and its score is put right.
        whole = (folder / "first.ipynb").read_bytes()
        (folder / "second.ipynb").write_bytes(whole[:100])
        _until(lambda: scores(folder).get("second", {}).get("status") == "refused")
        (folder / "second.ipynb").write_bytes(whole)
        _until(lambda: scores(folder)["second"]["score"] == 3.5)
        (folder / "first.ipynb").unlink()
        hand_in(folder / "third.ipynb")
        _until(lambda: "third" in seen)
    finally:
        server.stop.set()
        thread.join()
    assert seen.count("first") == 1


def test_where_the_fault_is_ours_it_is_tried_again(
    course: Course, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in(folder / "ada.ipynb")
    real, calls = running.grade_one, []

    def fails_twice(item: Any) -> Any:
        calls.append(1)
        return real(item) if len(calls) > 2 else {"failed": "the sandbox failed", "notebooks": {}}

    monkeypatch.setattr(running, "grade_one", fails_twice)
    assert once(course, folder)["ada"]["score"] == 3.5
    monkeypatch.setattr(running, "grade_one", lambda item: 1 / 0)
    hand_in(folder / "bob.ipynb")
    found = once(course, folder)["bob"]
    assert found["status"] == "failed" and "ZeroDivisionError" in found["reason"]


def test_mistakes_are_one_line(course: Course, folder: Path) -> None:
    with pytest.raises(CourseError, match="is no folder"):
        Server(course, folder / "none")
    with pytest.raises(CourseError, match="no assignment 'two'; there are: toy"):
        Server(course, folder, "two")


def _until(true: Any, seconds: float = 60) -> None:
    """Wait for something that will come; how long it takes says nothing."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
