"""What is counted of a chapter, and when it is too much."""

from __future__ import annotations

import pytest
from roofline.classroom.anatomy import Anatomy, heavy, problems, words


@pytest.mark.parametrize(
    ("markdown", "count"),
    [
        ("Two words.", 2),
        ("A **well-kept** list:\n\n- one\n- don't count the dash", 8),
        ("The loss $L = f(x)$ falls.", 3),
        ("Before\n\n$$\nx = y + z\n$$\n\nafter", 2),
        ("Before\n\n```python\nx = several + words\n```\n\nafter", 2),
        ("See [Xiao et al. 2017](https://arxiv.org/abs/1708.07747).", 5),
        ("<details><summary>It fails</summary>Why\n</details>", 3),
        ("| minutes | 80 |\n|---|---|", 2),
    ],
)
def test_words_are_those_that_one_reads(markdown: str, count: int) -> None:
    assert words(markdown) == count


def test_each_count_has_a_range() -> None:
    assert problems(Anatomy(cells=20, words=1500, exercises=4)) == []
    assert problems(Anatomy(cells=40, words=2500, exercises=7)) == []
    assert problems(Anatomy(cells=41, words=1499, exercises=8)) == [
        "41 cells, expected 20 to 40",
        "1499 words, expected 1,500 to 2,500",
        "8 exercises, expected 4 to 7",
    ]


def test_each_cost_has_a_limit() -> None:
    assert heavy(119.0, 1_900_000_000, 1_400_000) == []
    assert heavy(121.0, 2_000_000_001, 400_000) == [
        "121 seconds, at most 120",
        "2,000,000,001 bytes at the peak, at most 2,000,000,000",
    ]
