"""Judges that end over a message, and those that can't be started."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from roofline.course import marking
from roofline.course.judging import Judges
from roofline.grading.checking import probed
from roofline.grading.registry import case_seed, find

DEADLY = """
import os
from roofline.grading import Exercise, Item, exercise

@exercise("mortal.deadly")
class Deadly(Exercise):
    '''Its judge ends with the answer "die".'''
    points = 2
    def probe(self, answer, cases):
        return answer
    def judge(self, outputs, cases):
        if outputs == "die":
            os._exit(9)
        return [Item("alive", 2, 2.0 if outputs == "live" else 0.0)]
"""


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Judges]:
    (tmp_path / "mortal.py").write_text(DEADLY)
    monkeypatch.setenv("ROOFLINE_EXERCISES", str(tmp_path))
    with Judges(1, tmp_path) as made:
        yield made


def test_a_message_that_ends_the_judge_costs_only_its_own_points(
    judges: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    exercise, seed = find("mortal.deadly"), case_seed("word", "mortal.deadly")
    die, live = (probed(exercise, answer, seed)[0] for answer in ("die", "live"))
    answer = judges.judge("mortal.deadly", die, seed)
    assert "ended over it, twice" in answer["refused"]
    assert judges.judge("mortal.deadly", live, seed)["result"]["earned"] == 2
    assert len(judges.all) == 1
    # If no judge is well, that is nobody's answer's fault.
    judges.all[0].stop()
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert "failed" in judges.judge("mortal.deadly", live, seed)


def test_a_judge_has_nothing_of_the_graders_environment(
    judges: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOFLINE_SEED", "the secret")
    judges.judge("mortal.deadly", b"", 1)
    pid = judges.all[0].process.pid
    environment = Path(f"/proc/{pid}/environ")
    if environment.exists():
        assert b"the secret" not in environment.read_bytes()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        ({"output_type": "stream", "name": 5, "text": ["a", 3, "b"]}, {"text": "ab"}),
        ({"output_type": "error", "ename": "E", "traceback": "no list"}, {"traceback": []}),
        ({"output_type": "display_data", "data": {"application/javascript": "x"}}, None),
        ({"output_type": "display_data", "data": {"image/svg+xml": "<svg/>"}}, None),
        ({"output_type": "update_display_data", "data": {"text/plain": "x"}}, None),
    ],
)
def test_outputs_are_made_anew(given: Any, kept: Any) -> None:
    made = marking.output(given)
    assert made is None if kept is None else made is not None
    if made is not None:
        assert {name: made[name] for name in kept} == kept


def test_html_of_a_submission_does_nothing() -> None:
    hostile = (
        "<table><tr><td onclick='x()' style='color:red'>1<script>alert(1)</script></td></tr>"
        "</table><img src=x onerror=y><a href='javascript:z'>a</a><iframe src=q></iframe>"
        "<form action=e><input></form>"
    )
    clean = marking.harmless(hostile)
    for bad in ("script>", "onclick", "onerror", "javascript", "iframe", "form", "input", "img"):
        assert bad not in clean, bad
    assert "<td" in clean and "color:red" in clean.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "points"),
    [("1.5", 1.5), ("2", 2.0), ("3", 0.0), ("-1", 0.0), ("nan", 0.0), ("inf", 0.0), ("True", 2.0)],
)
def test_partial_credit_of_an_ordinary_test_cell(text: str, points: float) -> None:
    """As nbgrader, but a value that is no number of points is none and stops nothing."""
    import nbformat

    cell = nbformat.v4.new_code_cell("x")
    cell.metadata["nbgrader"] = {"grade": True, "solution": False, "points": 2, "grade_id": "t"}
    data = {"text/plain": text}
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="careful"),
        nbformat.v4.new_output("execute_result", data, execution_count=1),
    ]
    assert marking._points(cell, 2.0, "ok") == points
    cell.outputs = []
    assert marking._points(cell, 2.0, "ok") == 2.0
    assert marking._points(cell, 2.0, "killed") == 0.0
