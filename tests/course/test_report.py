"""The report's figures against a second way to get them, and its page."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from course.made import course as made_course
from course.made import graded
from roofline.course.analysis import Analysis, analyse, correlation, upper_lower
from roofline.course.folder import Course, CourseError
from roofline.course.report import histogram, page, summary, write

# first (of 3), second (of 2), essay (of 5)
SCORES = {
    **{"ada": (3, 2, 5), "bob": (3, 2, 4), "cyd": (3, 1, 4), "dan": (1, 2, 3), "eve": (1, 0, 1)},
    **{"fay": (0, 2, 1), "gus": (0, 1, 0), "hal": (3, 0, 5)},
}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    made = made_course(tmp_path_factory.mktemp("report") / "class")
    for student, (first, second, essay) in SCORES.items():
        late = {"hal": 1.5}.get(student, 0.0)
        reason = "<script>alert(1)</script> took too long" if student == "eve" else ""
        graded(made, student, first, second, essay, days_late=late, reason=reason)
    from roofline.course.gradebook import Book

    with Book(made) as book:
        book.add_students({"absent": {"first_name": "Ann"}})
    record = made.submitted / "ada" / "01_toy" / "progress.jsonl"
    record.parent.mkdir(parents=True)
    times = ["10:00:00", "10:04:00", "10:10:00", "13:00:00", "13:01:00"]
    names = ["toy.first", "toy.first", "toy.second_part", "toy.second_part", "toy.second_part"]
    lines = [
        json.dumps({"time": f"2026-01-09T{t}+00:00", "kind": "check", "exercise": n, "earned": 1})
        for t, n in zip(times, names, strict=True)
    ]
    record.write_text("\n".join([*lines, "{broken", '{"kind": "check", "time": 3}', "[]"]))
    (made.submitted / "bob" / "01_toy").mkdir(parents=True)
    os.symlink(record, made.submitted / "bob" / "01_toy" / "progress.jsonl")  # not bob's own
    if hasattr(os, "mkfifo"):
        (made.submitted / "cyd" / "01_toy").mkdir(parents=True)
        os.mkfifo(made.submitted / "cyd" / "01_toy" / "progress.jsonl")
    return made


@pytest.fixture(scope="module")
def analysis(course: Course) -> Analysis:
    return analyse(course, "01_toy")


def test_the_class_as_a_whole(analysis: Analysis) -> None:
    totals = [sum(scores) for scores in SCORES.values()]
    totals[-1] -= 0.2 * totals[-1]  # hal is a day and a half late, which is two begun days
    assert analysis.scores == pytest.approx(sorted(totals))
    assert (analysis.students, analysis.submitted, analysis.late) == (9, 8, 1)
    assert analysis.mean == pytest.approx(np.mean(totals))
    assert analysis.median == pytest.approx(np.median(totals))
    assert analysis.deviation == pytest.approx(np.std(totals, ddof=1))
    assert analysis.max_score == 10


def test_each_exercise_against_numpy(analysis: Analysis) -> None:
    scores = np.array(list(SCORES.values()), float)
    names = ["toy.first", "toy.second_part", "01_toy-essay"]
    lines = {line.name: line for line in analysis.exercises}
    assert set(lines) == set(names)
    for column, (name, points) in enumerate(zip(names, (3, 2, 5), strict=True)):
        own = scores[:, column]
        rest = scores.sum(1) - own
        line = lines[name]
        assert line.mean == pytest.approx(own.mean() / points)
        assert line.full == pytest.approx((own == points).mean())
        assert line.nothing == pytest.approx((own == 0).mean())
        assert line.correlation == pytest.approx(np.corrcoef(own, rest)[0, 1], abs=1e-6)
    assert analysis.discriminates_least == min(
        names, key=lambda name: lines[name].correlation or 0.0
    )


def test_point_biserial_is_the_textbooks() -> None:
    """For scores of 0 and 1: (M1 - M0) / s · sqrt(p q), with the population's s."""
    rest = np.array([9.0, 8, 7, 7, 4, 3, 2, 1])
    right = np.array([1, 1, 0, 1, 0, 1, 0, 0])
    p = right.mean()
    means = rest[right == 1].mean() - rest[right == 0].mean()
    textbook = means / rest.std() * np.sqrt(p * (1 - p))
    assert correlation(right.astype(float).tolist(), rest.tolist()) == pytest.approx(textbook, 1e-5)


def test_upper_lower_by_hand() -> None:
    totals = [float(i) for i in range(100)]
    fractions = [1.0 if i >= 73 else 0.25 if i < 27 else 0.5 for i in range(100)]
    assert upper_lower(fractions, totals) == pytest.approx(0.75)
    # A tie at the edge is shared, so the order doesn't matter: both groups take half of the tie.
    tied = [0.0, 1, 1, 1, 1, 1, 1, 1, 1, 2]
    mixed = [0.0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    upper, lower = (1 + 1.7 * 0.5) / 2.7, (0 + 1.7 * 0.5) / 2.7
    assert upper_lower(mixed, tied) == pytest.approx(upper - lower, abs=1e-6)
    assert upper_lower(mixed[::-1], tied[::-1]) == pytest.approx(upper - lower, abs=1e-6)


def test_nothing_is_said_about_few_or_equal_scores() -> None:
    assert correlation([0, 1, 0, 1], [1, 2, 3, 4]) is None
    assert correlation([1.0] * 9, [float(i) for i in range(9)]) is None
    assert upper_lower([1.0] * 9, [5.0] * 9) is None


def test_items(analysis: Analysis) -> None:
    [first, second] = analysis.exercises[:2]
    assert [(i.name, i.seen, i.lost) for i in first.items] == [("result", 8, 2), ("gradient", 8, 4)]
    assert [(i.name, i.seen, i.lost) for i in second.items] == [
        ("result", 8, 2),
        ("gradient", 8, 4),
    ]
    assert first.items[1].hint == "look again"
    assert analysis.fails_most == "toy.first: gradient"


def test_minutes_and_tries_come_from_the_students_own_record(analysis: Analysis) -> None:
    [first, second, essay] = analysis.exercises
    assert (first.minutes, first.tries) == (4.0, 2.0)
    # Six minutes, three hours away, one minute; neither a link nor a pipe is read.
    assert (second.minutes, second.tries) == (7.0, 3.0)
    assert essay.minutes is None


def test_histogram_has_everybody_once() -> None:
    counts, edges = histogram([0, 0.99, 1, 9.99, 10, 11], 10)
    assert counts == [2, 1, 0, 0, 0, 0, 0, 0, 0, 3]
    assert edges == [float(i) for i in range(11)]


def test_the_page_stands_alone_and_escapes(analysis: Analysis, tmp_path: Path) -> None:
    write(analysis, tmp_path / "deep" / "report.html")
    text = (tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    assert text == page(analysis)
    pictures = re.findall(r'<img alt="([^"]{20,})" src="data:image/png;base64,([^"]+)"', text)
    assert len(pictures) == 2
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for _, data in pictures)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "9 students" in text and "toy.first: gradient" in text
    assert list(tmp_path.glob("**/*.part")) == []


def test_a_class_that_has_handed_in_nothing(tmp_path: Path) -> None:
    empty = analyse(made_course(tmp_path / "class"), "01_toy")
    assert empty.mean is None and empty.scores == []
    assert summary(empty) == ["0 of 0 students handed in."]
    assert "<table" in page(empty)
    json.dumps(empty.as_dict())


def test_an_unknown_assignment_is_named(course: Course) -> None:
    with pytest.raises(CourseError, match="no assignment '02_toy'.*there are: 01_toy"):
        analyse(course, "02_toy")
