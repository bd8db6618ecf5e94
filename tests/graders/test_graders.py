"""Every grader is graded.

For each chapter's answers in this folder: each wrong one loses exactly the items that it names and
gets the hint that it names, each right one earns every point, both on several seeds; the untouched
stub earns nothing; and there are enough of them.
"""

from __future__ import annotations

import pytest
from graders import graded
from roofline.grading import chapters, exercises, find, sealed
from roofline.grading.answers import answers
from roofline.grading.checking import grade
from roofline.grading.registry import case_seed


def every_exercise() -> list[str]:
    return [e.id for chapter in chapters() for e in exercises(chapter)]


@pytest.mark.parametrize("chapter", chapters())
def test_a_chapter_with_exercises_has_answers(chapter: str) -> None:
    assert chapter in graded.modules()
    graded.load(chapter)
    assert graded.strangers(chapter) == []


@pytest.mark.parametrize("exercise", every_exercise())
def test_the_grader_is_right(exercise: str, table_of_rows: list[graded.Row]) -> None:
    graded.load(exercise.split(".")[0])
    row = graded.row(exercise)
    table_of_rows.append(row)
    assert not row.complaints, "\n".join(row.complaints)


@pytest.mark.parametrize("exercise", every_exercise())
def test_the_process_that_judges_agrees(exercise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_SEED", "first")
    graded.load(exercise.split(".")[0])
    wrong, right = answers(exercise)[0], answers(exercise)[-1]
    assert sealed(exercise, right.answer) == find(exercise).points
    here = grade(exercise, wrong.answer, case_seed("first", exercise))
    assert sealed(exercise, wrong.answer).result.items == here.items


@pytest.mark.parametrize("chapter", chapters())
def test_the_untouched_release_earns_nothing(chapter: str) -> None:
    for notebook in graded.notebooks("chapters", chapter):
        scores = graded.scores(notebook)
        assert set(scores) == {e.id for e in exercises(chapter)}
        assert all(score == 0 and not score.result.attempted for score in scores.values())


@pytest.mark.parametrize("chapter", chapters())
def test_the_solutions_earn_everything(chapter: str) -> None:
    for notebook in graded.notebooks("solutions", chapter):
        scores = graded.scores(notebook)
        assert set(scores) == {e.id for e in exercises(chapter)}
        lost = {e: s.result.items for e, s in scores.items() if s != s.result.points}
        assert not lost
