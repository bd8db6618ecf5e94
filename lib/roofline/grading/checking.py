"""Running a check: probe, judge, table, score."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from roofline.grading import records, table
from roofline.grading.calling import BLANK, RETURNED, UNREACHED, Session
from roofline.grading.capture import capture
from roofline.grading.display import show
from roofline.grading.forbidden import Watch
from roofline.grading.learner import is_stub, learner_line, message_of
from roofline.grading.limit import Stopped, limit
from roofline.grading.protocol import Outcome, Refused, pack, unpack
from roofline.grading.registry import (
    VISIBLE,
    Exercise,
    Item,
    UnknownExercise,
    case_seed,
    find,
)
from roofline.grading.result import Result, Score


def check(exercise: str, answer: Any) -> Score:
    """Check an answer here and now, and show the table of its rubric items.

    Args:
        exercise: the exercise's id, ``"chapter.name"``.
        answer: what the exercise asks for, usually a function.

    Returns the score: a number, with the items in ``score.result``. Never raises because of the
    answer.
    """
    with capture(descriptors=True):
        result = grade(exercise, answer, case_seed(VISIBLE, str(exercise)))
        records.record(result)
    return show_result(result)


def grade(exercise: str, answer: Any, seed: int) -> Result:
    """Probe and judge in this process, and show nothing."""
    try:
        found = find(exercise)
    except UnknownExercise as error:
        return unknown(str(exercise), error)
    return judged(found, probed(found, answer, seed)[1], seed)


def unknown(exercise: str, error: UnknownExercise) -> Result:
    """The result of a check of an exercise that there isn't."""
    return Result(exercise, 0.0, [Item("exercise", 0.0, 0.0, str(error))])


def probed(exercise: Exercise, answer: Any, seed: int) -> tuple[bytes, Outcome]:
    """Run an exercise's probe on an answer. Never raises because of the answer.

    Returns what comes of it twice: as the message to hand in, and as a judge gets it from there.
    """
    outcome = _probed(exercise, answer, seed)
    try:
        message = pack(exercise.id, outcome)
    except Refused as error:
        outcome = Outcome(None, str(error), False, outcome.forbidden, outcome.notes)
        message = pack(exercise.id, outcome)
    return message, unpack(message, exercise.id)


def _probed(exercise: Exercise, answer: Any, seed: int) -> Outcome:
    ours = (inspect.getfile(type(exercise)),)
    outcome = Outcome()
    watch = Watch(exercise.forbidden, ours)
    if answer is None or answer is Ellipsis or is_stub(answer):
        outcome.blank = True
        return outcome
    cases = exercise.cases(seed)
    watch.read(answer)
    with _torch_as_it_was(), capture(descriptors=True) as written, limit(exercise.limit) as clock:
        with Session(clock, watch.running, ours) as session:
            try:
                outcome.outputs = exercise.probe(answer, cases)
            except Stopped:
                outcome.fault = f"stopped after {exercise.limit:g} seconds"
            except BaseException as error:
                if clock.interrupted:
                    raise
                line = learner_line(error, ours)[0]
                at = f" (your {line})" if line else ""
                outcome.fault = f"the check could not go on: {message_of(error)}{at}"
            clock.armed = False
    statuses = {c.status for c in session.calls}
    outcome.blank = BLANK in statuses and statuses <= {BLANK, UNREACHED}
    outcome.forbidden = watch.found
    outcome.notes = _notes(session, written.printed)
    return outcome


def judged(exercise: Exercise, outcome: Outcome, seed: int) -> Result:
    """Let an exercise's judge turn an outcome into items."""
    result = Result(exercise.id, exercise.points, notes=list(outcome.notes))
    if outcome.blank:
        result.attempted = False
        return result
    if outcome.fault:
        result.items = [Item("the answer", exercise.points, 0.0, outcome.fault)]
        return result
    try:
        items = list(exercise.judge(outcome.outputs, exercise.cases(seed)))
        if not all(isinstance(item, Item) for item in items):
            raise TypeError("a judge returns a list of Items")
    except Exception as error:
        message = f"the judge of this exercise failed, which is not your doing: {message_of(error)}"
        result.items, result.broken = [Item("the answer", exercise.points, 0.0, message)], True
        return result
    if outcome.forbidden:
        why = f"not counted: the answer calls {' and '.join(outcome.forbidden)}"
        hint = "this exercise asks you to write what that function does"
        items = [Item(i.name, i.points, 0.0, why, hint) for i in items]
    result.items = items
    return result


def _notes(session: Session, elsewhere: str) -> list[str]:
    """What was printed and warned, each once."""
    notes = []
    printed = "".join(call.printed for call in session.calls) + elsewhere
    if printed.strip():
        first = " ".join(printed.split())
        notes.append(f"it printed: {first[:200]}{' ...' if len(first) > 200 else ''}")
    for call in session.calls:
        for warning in call.warned:
            note = f"it warned: {' '.join(warning.split())}"
            if note not in notes:
                notes.append(note)
    returned = [c for c in session.calls if c.status == RETURNED]
    changed = sorted({name for c in returned for name in c.changed})
    if changed:
        notes.append(f"it changed its argument {', '.join(changed)} in place")
    return notes[:8]


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Put back what an answer may have switched: default dtype, gradients, random state, threads."""
    state = torch.get_rng_state()
    dtype, grad, threads = (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
    )
    try:
        yield
    finally:
        torch.set_rng_state(state)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def show_result(result: Result) -> Score:
    """Show the table, and return the score."""
    show(table.text(result), table.markup(result), result.as_dict())
    return Score(result)
