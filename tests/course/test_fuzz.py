"""2,000 damaged notebooks, through cleaning and through collecting: no crash, and each is a row."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import nbformat
import pytest
from course import toy
from course.hostile.world import CHAPTER, as_bytes, solved
from course.mutations import mutated
from roofline.course.assign import release
from roofline.course.collect import collect
from roofline.course.files import read_files
from roofline.course.folder import Course, create
from roofline.course.gradebook import Book
from roofline.course.marking import to_bytes
from roofline.course.master import Master, load
from roofline.course.plan import plan
from roofline.course.sanitize import clean

# A chapter takes ten times as long as a small notebook, and has more to damage.
SEEDS = {"toy": range(1600), CHAPTER: range(1600, 2000)}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    folder = tmp_path_factory.mktemp("fuzz")
    made = create(folder / "class")
    release(made, "toy", toy.write(folder / "written", essay=True))
    release(made, CHAPTER)
    with Book(made) as book:
        book.add_students({f"s{seed}": {} for seeds in SEEDS.values() for seed in seeds})
    return made


@pytest.fixture(scope="module")
def masters(course: Course) -> dict[str, Master]:
    with Book(course) as book:
        return {name: load(course, book, name)[0] for name in SEEDS}


def original(assignment: str) -> bytes:
    return as_bytes(toy.answered() if assignment == "toy" else solved())


@pytest.mark.parametrize("assignment", SEEDS)
def test_each_becomes_a_notebook_or_a_reason(masters: dict[str, Master], assignment: str) -> None:
    master, whole = masters[assignment], original(assignment)
    graded = {cell.grade_id: cell for cell in master.cells if cell.graded}
    good = 0
    for seed in SEEDS[assignment]:
        raw = mutated(whole, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notebook, notes, why = clean(raw, master)
        assert all(isinstance(note, str) for note in notes), seed
        if notebook is None:
            assert why and "\n" not in why, seed
            json.dumps(why).encode()
            continue
        good += 1
        to_bytes(notebook)  # it is valid, and can be written
        nbformat.validate(notebook)
        there = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade")]
        # Every graded cell is there once, with its own points; a test, with its own source.
        assert {c.metadata.nbgrader.grade_id for c in there} == set(graded), seed
        assert len(there) == len(graded), seed
        for cell in there:
            known = graded[cell.metadata.nbgrader.grade_id]
            assert cell.metadata.nbgrader.points == known.points, seed
            assert known.solution or cell.source == known.source, seed
        plan(notebook, master)
    # The damage is neither so small that all survive, nor so large that none does.
    assert 0.2 * len(SEEDS[assignment]) < good < 0.9 * len(SEEDS[assignment])


def test_collecting_takes_all_of_them(course: Course, tmp_path: Path) -> None:
    """Damaged files are taken as they are: nothing is lost, and grading will say what is wrong."""
    for assignment, seeds in SEEDS.items():
        inbox, whole = tmp_path / assignment, original(assignment)
        for seed in seeds:
            folder = inbox / f"s{seed}"
            folder.mkdir(parents=True)
            (folder / f"{assignment}.ipynb").write_bytes(mutated(whole, seed))
        rows = collect(course, assignment, inbox)
        assert sorted(row.student for row in rows) == sorted(f"s{seed}" for seed in seeds)
        assert {row.status for row in rows} == {"collected"}
        for seed in seeds[::50]:
            files = read_files(course.submitted / f"s{seed}" / assignment)
            assert files.notebooks == {assignment: mutated(whole, seed)}
