"""What comes of a check: the items, the notes, and the score."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from roofline.grading.registry import Item


@dataclass
class Result:
    """One exercise, judged.

    ``attempted`` is false for the untouched stub. ``notes`` cost nothing. ``about`` says which
    cases were used, if not the visible ones. ``broken`` is true if the exercise itself failed,
    which is its author's fault and not the learner's. ``problem`` stands in place of the table:
    there is no such exercise, or the outputs are judged elsewhere.
    """

    exercise: str
    points: float
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    attempted: bool = True
    about: str = ""
    broken: bool = False
    problem: str = ""

    @property
    def earned(self) -> float:
        """The sum of the items, never more than the exercise's points."""
        if not self.attempted:
            return 0.0
        return float(min(round(sum(i.earned for i in self.items), 6), self.points))

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "earned": self.earned}


class Score(float):
    """The points earned: a number, which also remembers its :class:`Result`.

    Its ``repr`` is the number and nothing else, because nbgrader reads a check cell's last value as
    the points of partial credit.
    """

    result: Result

    def __new__(cls, result: Result) -> Score:
        self = super().__new__(cls, result.earned)
        self.result = result
        return self

    def __repr__(self) -> str:
        return float.__repr__(self)

    __str__ = __repr__

    def __reduce__(self) -> Any:
        return (Score, (self.result,))
