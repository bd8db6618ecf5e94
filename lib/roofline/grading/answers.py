"""Wrong and right answers: what an exercise's own grader is graded with.

Every exercise ships at least four wrong answers, the mistakes that learners make, and two right
ones that are written differently. They stand in ``tests/graders/<chapter>.py``::

    @wrong("backprop.linear", loses=["gradient of b"], hint="mean over the batch")
    def averages_over_the_batch(x, w, b): ...

    @right("backprop.linear")
    def with_einsum(x, w, b): ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Answered = TypeVar("Answered", bound=Callable)


@dataclass(frozen=True)
class Answer:
    """An answer and what it deserves.

    ``loses`` are the names of exactly the items that lose points, all or part; empty for a right
    answer. ``hint`` is a piece of the hint or message that one of these items must carry.
    """

    exercise: str
    answer: Any
    loses: tuple[str, ...] = ()
    hint: str = ""

    @property
    def name(self) -> str:
        return str(getattr(self.answer, "__name__", type(self.answer).__name__))


_answers: dict[str, list[Answer]] = {}


def wrong(exercise: str, loses: Sequence[str], hint: str) -> Callable[[Answered], Answered]:
    """Mark an answer as wrong: it must lose exactly the items ``loses`` and get ``hint``."""
    if not loses or isinstance(loses, str) or not hint:
        raise ValueError("a wrong answer names the items that it loses, and a piece of its hint")

    def keep(answer: Answered) -> Answered:
        _answers.setdefault(exercise, []).append(Answer(exercise, answer, tuple(loses), hint))
        return answer

    return keep


def right(exercise: str) -> Callable[[Answered], Answered]:
    """Mark an answer as right: it must earn every point."""

    def keep(answer: Answered) -> Answered:
        _answers.setdefault(exercise, []).append(Answer(exercise, answer))
        return answer

    return keep


def answers(exercise: str) -> list[Answer]:
    """The answers to an exercise that were marked so far, wrong ones first."""
    return sorted(_answers.get(exercise, []), key=lambda a: not a.loses)


def complaint(answer: Answer, seed: int) -> str:
    """What an exercise does wrong with an answer on the cases of ``seed``; empty if nothing."""
    from roofline.grading.checking import grade

    result = grade(answer.exercise, answer.answer, seed)
    table = "\n".join(
        f"    {i.name}: {i.earned}/{i.points} {i.message} [{i.hint}]" for i in result.items
    )
    who = f"{answer.exercise}, {answer.name}, seed {seed}"
    if result.broken:
        return f"{who}: the judge failed\n{table}"
    total = sum(i.points for i in result.items)
    if result.attempted and total != result.points:
        return f"{who}: the items are worth {total} points, the exercise {result.points}\n{table}"
    names = [i.name for i in result.items]
    if len(set(names)) != len(names):
        return f"{who}: two items have the same name\n{table}"
    lost = {i.name for i in result.items if i.lost}
    if not answer.loses:
        if result.earned == result.points:
            return ""
        return f"{who}: right, and earned {result.earned} of {result.points}\n{table}"
    if not result.attempted:
        return f"{who}: taken for the untouched stub"
    if lost != set(answer.loses):
        return f"{who}: lost {sorted(lost)}, expected {sorted(answer.loses)}\n{table}"
    if not any(answer.hint in f"{i.message} {i.hint}" for i in result.items if i.lost):
        return f"{who}: no lost item says {answer.hint!r}\n{table}"
    return ""
