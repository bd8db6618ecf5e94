"""A check from end to end: probe, judge, table, score."""

from __future__ import annotations

import inspect
from typing import Any

from roofline.grading import records, table
from roofline.grading.calling import BLANK, RETURNED, UNREACHED, Session
from roofline.grading.capture import capture
from roofline.grading.display import show
from roofline.grading.forbidden import Watch
from roofline.grading.learner import Raised, is_stub, message_of
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

NOT_YOURS = "this exercise failed, which is not your doing"


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
    except Exception as error:
        return not_found(exercise, error)
    return judged(found, probed(found, answer, seed)[1], seed)


def not_found(exercise: str, error: Exception) -> Result:
    """The result of a check of an exercise that there isn't, or whose chapter can't be loaded."""
    text = str(error)
    if not isinstance(error, UnknownExercise):
        text = f"{exercise} can't be loaded, which is not your doing: {message_of(error)}"
    return Result("", 0.0, attempted=False, broken=True, problem=text)


def show_result(result: Result) -> Score:
    """Show the table, and return the score."""
    show(table.text(result), table.markup(result), result.as_dict())
    return Score(result)


def probed(exercise: Exercise, answer: Any, seed: int) -> tuple[bytes, Outcome]:
    """Run an exercise's probe on an answer. Never raises because of the answer.

    Returns what comes of it twice: as the message to hand in, and as a judge gets it from there.
    """
    outcome = _probed(exercise, answer, seed)
    try:
        message = pack(exercise.id, outcome)
    except Exception as error:  # too much of it, or a torch that the answer has broken
        why = str(error) if isinstance(error, Refused) else message_of(error)
        outcome.outputs, outcome.fault = None, f"what it returned can't be handed in: {why}"
        message = pack(exercise.id, outcome)
    return message, unpack(message, exercise.id)


def _probed(exercise: Exercise, answer: Any, seed: int) -> Outcome:
    if answer is None or answer is Ellipsis or is_stub(answer):
        return Outcome(blank=True)
    try:
        ours = _files(exercise)
        watch = Watch(exercise.forbidden, ours)
        cases = exercise.cases(seed)
    except Exception as error:
        return Outcome(fault=f"{NOT_YOURS}: {message_of(error)}", broken=True)
    outcome = Outcome()
    with (
        capture(descriptors=True) as written,
        limit(exercise.limit) as clock,
        Session(clock, watch.running, ours) as session,
    ):
        try:
            watch.read(answer)
            outcome.outputs = exercise.probe(answer, cases)
            clock.armed = False
        except Stopped:
            outcome.fault = f"it was stopped after {exercise.limit:g} seconds"
        except BaseException as error:
            clock.armed = False
            if clock.interrupted:
                raise
            line = Raised.by(error, ours).line
            at = f" (your {line})" if line else ""
            outcome.fault = f"the check could not go on: {message_of(error)}{at}"
    statuses = {c.status for c in session.calls}
    outcome.blank = BLANK in statuses and statuses <= {BLANK, UNREACHED}
    outcome.forbidden = watch.found
    outcome.notes = _notes(session, written.printed)
    return outcome


def judged(exercise: Exercise, outcome: Outcome, seed: int) -> Result:
    """Let an exercise's judge turn an outcome into items."""
    result = Result(exercise.id, exercise.points, notes=list(outcome.notes), broken=outcome.broken)
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
        fault = f"{NOT_YOURS}: {message_of(error)}"
        result.items, result.broken = [Item("the answer", exercise.points, 0.0, fault)], True
        return result
    if outcome.forbidden:
        why = f"not counted: the answer calls {' and '.join(outcome.forbidden)}"
        hint = "this exercise asks you to write what that function does"
        items = [Item(i.name, i.points, 0.0, why, hint) for i in items]
    result.items = items
    return result


def _files(exercise: Exercise) -> tuple[str, ...]:
    """The file of the exercise, whose lines in a traceback are not the learner's."""
    try:
        return (inspect.getfile(type(exercise)),)
    except (OSError, TypeError):  # defined in a notebook or a shell
        return ()


def _notes(session: Session, elsewhere: str) -> list[str]:
    """What was printed, warned and changed, each once."""
    notes = []
    printed = " ".join(("".join(call.printed for call in session.calls) + elsewhere).split())
    if printed:
        notes.append(f"it printed: {printed[:200]}{' ...' if len(printed) > 200 else ''}")
    for call in session.calls:
        for warning in call.warned:
            note = f"it warned: {' '.join(warning.split())}"
            if note not in notes:
                notes.append(note)
    changed = sorted({name for c in session.calls if c.status == RETURNED for name in c.changed})
    if changed:
        notes.append(f"it changed its argument {', '.join(changed)} in place")
    return notes[:8]
