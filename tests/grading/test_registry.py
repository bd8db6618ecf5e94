"""Exercises are found by name, in the library and in an instructor's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from roofline.grading import (
    Call,
    Exercise,
    UnknownExercise,
    chapters,
    check,
    exercise,
    exercises,
    find,
    generator,
    progress,
    sealed,
)
from roofline.grading.records import done
from roofline.grading.registry import case_seed, chapter_of

EXERCISES = Path(__file__).parent / "exercises"

PRIVATE = """
from roofline.grading import Exercise, exercise

@exercise("{chapter}.{name}")
class Private(Exercise):
    "A private exercise."
    points = 7
"""


def test_an_exercise_is_found_by_its_name() -> None:
    found = find("drill.double")
    assert (found.id, found.title, found.points) == ("drill.double", "Twice as much", 2)
    assert [e.id for e in exercises("drill")] == ["drill.linear", "drill.double", "drill.row_norms"]
    assert exercises("07_drill") == exercises("drill")
    assert "drill" in chapters()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("drill.liner", "no exercise 'drill.liner'; did you mean drill.linear"),
        ("dril.double", "did you mean drill.double"),
        ("drill", "expected 'chapter.name'"),
        ("zzzz.qqqq", "the chapters with exercises are "),
        ("../../etc.passwd", "no exercise"),
        ("os.path", "no exercise 'os.path'"),
        (3, "expected 'chapter.name'"),
        ("drill.double\nmore", "no exercise"),
    ],
)
def test_an_unknown_name_is_one_line(name: str, words: str) -> None:
    with pytest.raises(UnknownExercise) as error:
        find(name)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_private_exercises_come_from_an_overlay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in ("one", "two"):
        folder = tmp_path / number
        folder.mkdir()
        (folder / "overlaid.py").write_text(PRIVATE.format(chapter="overlaid", name=number))
    folders = [str(tmp_path / number) for number in ("one", "two")]
    monkeypatch.setenv("ROOFLINE_EXERCISES", os.pathsep.join(folders))
    assert {e.id for e in exercises("overlaid")} == {"overlaid.one", "overlaid.two"}
    assert find("overlaid.one").points == 7


def test_a_broken_module_says_so_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shattered.py").write_text("1 / 0")
    monkeypatch.setenv("ROOFLINE_EXERCISES", str(tmp_path))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            find("shattered.one")


def test_another_chapters_trouble_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "shattered.py").write_text("1 / 0")
    monkeypatch.setenv("ROOFLINE_EXERCISES", f"{tmp_path}{os.pathsep}{EXERCISES}")
    with pytest.raises(UnknownExercise):
        find("drill.liner")
    rows, notes = done()
    assert rows["shattered"] == [] and len(rows["drill"]) == 3
    assert (
        "the exercises of shattered can't be loaded: ZeroDivisionError: division by zero" in notes
    )
    for function in (check, sealed):
        assert function("shattered.one", lambda: 1) == 0
        out = capsys.readouterr().out
        assert out.startswith("shattered.one can't be loaded, which is not your doing: ZeroDiv")
        assert out.count("\n") == 1
    progress("shattered")
    assert "can't be loaded" in capsys.readouterr().out


def test_names() -> None:
    assert chapter_of("02_backprop") == chapter_of("backprop.linear") == "backprop"
    for name in ("linear", "Chapter.name", "a.b.c", "a b.c", ""):
        with pytest.raises(ValueError, match="expected 'chapter.name'"):
            exercise(name)


def test_seeds_depend_on_secret_and_exercise_only() -> None:
    seed = case_seed("secret", "drill.double")
    assert seed == 0x1C9D166732BEA67E  # a regrade in a year draws the same cases
    assert seed != case_seed("secret", "drill.linear")
    assert seed != case_seed("other", "drill.double")
    a, b = (torch.randn(4, generator=generator(seed)) for _ in range(2))
    assert torch.equal(a, b)
    first, second = (find("drill.double").cases(seed) for _ in range(2))
    assert torch.equal(first, second)


def test_what_an_author_forgets_is_named() -> None:
    class Empty(Exercise):
        """Nothing."""

    with pytest.raises(NotImplementedError, match="Empty has no probe"):
        Empty().probe(None, None)
    with pytest.raises(NotImplementedError, match="Empty has no judge"):
        Empty().judge(Call(), None)
