"""Calling the learner's code, and writing down everything that came of it.

:func:`call` is what a probe uses. It never raises because of the answer: what was returned, raised,
printed, warned or changed is in the :class:`Call` that it gives back, which may be part of a
probe's outputs. On the judge's side the same :class:`Call` comes out, its value as plain data.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from roofline.grading import values
from roofline.grading.capture import capture
from roofline.grading.learner import Raised, is_stub, message_of
from roofline.grading.limit import Clock, Stopped, apart
from roofline.grading.surroundings import as_they_were

RETURNED, RAISED, BLANK, STOPPED, UNREACHED = "returned", "raised", "blank", "stopped", "unreached"
COUNTS = ("flops", "bytes_moved", "bytes_allocated", "largest_allocation", "peak_bytes", "launches")
NOT_YET = "is not attempted yet"


@dataclass(eq=False)
class Call:
    """One call of the learner's code.

    Attributes:
        status: "returned", "raised", "blank" (the untouched stub), "stopped" (out of time) or
            "unreached" (an earlier call failed, so this one was not made).
        value: what was returned; beside the judge, plain data (:mod:`roofline.grading.protocol`).
        fault: why there is no value, a phrase that completes "it ..."; empty if there is a value.
        line: the learner's own line that raised, with its number and function, or empty.
        printed, warned: what the call wrote, and the warnings that it raised.
        changed: names of the arguments that it changed.
        gave_back: name of the argument that it returned as it is, or empty.
        device: where the tensors among the arguments are.
        counts: with ``count=True`` flops, bytes_moved, bytes_allocated, largest_allocation,
            peak_bytes and launches; else empty.
    """

    status: str = RETURNED
    value: Any = None
    fault: str = ""
    line: str = ""
    printed: str = ""
    warned: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gave_back: str = ""
    device: str = "cpu"
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.status == RETURNED

    def __getitem__(self, index: int | str) -> Call:
        """One part of a tuple, list or dict that was returned. Asking for a part that isn't there
        gives a Call that says so: neither a probe nor a judge has to look first."""
        if not self.ok:
            return self
        try:
            if not isinstance(self.value, (tuple, list, dict)):
                raise TypeError
            part: Any = self.value[index]  # type: ignore[index]
            return replace(self, value=part, gave_back="")
        except (TypeError, LookupError):
            wanted = f"{index!r} in it"
            if isinstance(index, int):
                number = index + 1 if index >= 0 else -index
                wanted = f"at least {number} value{'s' if number > 1 else ''}"
            fault = f"returned {values.describe(self.value)}, expected {wanted}"
            return replace(self, status=RAISED, value=None, fault=fault, gave_back="")


@dataclass(eq=False)
class Session:
    """The calls of one check, its time limit, and the watch for forbidden calls.

    ``ours`` are file names whose frames are not the learner's: the exercise's own.
    """

    clock: Clock = field(default_factory=Clock)
    watch: Callable[[], AbstractContextManager[Any]] = nullcontext
    ours: tuple[str, ...] = ()
    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> Session:
        _sessions.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _sessions.remove(self)


_sessions: list[Session] = []


def call(
    function: Any,
    *inputs: Any,
    count: bool = False,
    may_change: Sequence[int] = (),
    unwrap: bool = False,
    **options: Any,
) -> Call:
    """Call ``function(*inputs, **options)`` and return all that came of it as a :class:`Call`.

    Args:
        function: the answer, or something that it returned; a Call stands for its value.
        inputs: handed on. Tensors, also inside lists, tuples and dicts, are handed on as copies. A
            Call stands for its value; if it has none, this call isn't made and has the same fault.
        count: also count FLOPs, bytes and launches (:mod:`roofline.hardware.count`).
        may_change: positions of arguments that the answer is asked to change.
        unwrap: replace every value that holds a ``torch.Tensor`` as ``.data``, such as a
            ``roofline.autograd.Tensor``, by that tensor. Without it such a value is a wrong type.
        options: keyword arguments of the answer.
    """
    session = _sessions[-1] if _sessions else Session()
    with session.clock.disarmed():
        result = _call(session, function, inputs, options, count, tuple(may_change))
        if unwrap and result.ok:
            result.value = values.unwrapped(result.value)
    session.calls.append(result)
    return result


def _call(
    session: Session, function: Any, inputs: tuple, options: dict, count: bool, may_change: tuple
) -> Call:
    for given in (function, *inputs):
        if isinstance(given, Call) and not given.ok:
            status = given.status if given.status == BLANK else UNREACHED
            return replace(given, status=status, value=None, printed="", warned=[])
    function = _value(function)
    inputs = tuple(_value(i) for i in inputs)
    result = Call(device=values.device_of(inputs))
    if session.clock.expired:
        return replace(result, status=UNREACHED, fault="was not called: the time was used up")
    if function is None or function is Ellipsis:
        return replace(result, status=BLANK, fault=NOT_YET)
    if not callable(function):
        fault = f"is {values.describe(function)}, expected a function"
        return replace(result, status=RAISED, fault=fault)

    names = _names(function, len(inputs))
    given = [values.copied(i) for i in inputs]
    options = {name: values.copied(_value(value)) for name, value in options.items()}
    before = [values.snapshot(i) for i in given]
    run = _counted if count else _plain
    with capture() as written:
        try:
            with session.watch(), as_they_were(), session.clock.armed_for_the_learner():
                result.value, result.counts = apart(lambda: run(function, given, options))
        except BaseException as error:
            if session.clock.interrupted:
                raise
            _explain(result, error, function, session)
    result.printed, result.warned = written.printed, list(written.warned)
    result.value = values.plain_numbers(result.value)
    if result.ok and (result.value is None or result.value is Ellipsis) and is_stub(function):
        result.status, result.fault, result.value = BLANK, NOT_YET, None
    for position, name in enumerate(names):
        now = given[position]
        if position not in may_change:
            if not values.unchanged(values.snapshot(now), before[position]):
                result.changed.append(name)
        if result.ok and isinstance(result.value, torch.Tensor) and result.value is now:
            result.gave_back = name
    return result


def _plain(function: Any, inputs: list, options: dict) -> tuple[Any, dict[str, int]]:
    return function(*inputs, **options), {}


def _counted(function: Any, inputs: list, options: dict) -> tuple[Any, dict[str, int]]:
    from roofline.hardware.count import count

    counts = count(function, *inputs, **options)
    return counts.result, {name: int(getattr(counts, name)) for name in COUNTS}


def _explain(result: Call, error: BaseException, function: Any, session: Session) -> None:
    """Write down what was raised, and the learner's own line that raised it."""
    raised = Raised.by(error, session.ours)
    result.line = raised.line
    if isinstance(error, Stopped) and session.clock.expired:
        result.status = STOPPED
        result.fault = f"was stopped after {session.clock.seconds:g} seconds"
    elif isinstance(error, NotImplementedError) and raised.on_purpose:
        result.status, result.fault = BLANK, NOT_YET
        if raised.code is getattr(function, "__code__", None):
            result.line = ""
    else:
        result.status, result.fault = RAISED, f"raised {message_of(error)}"


def _value(given: Any) -> Any:
    return given.value if isinstance(given, Call) else given


def _names(function: Any, number: int) -> list[str]:
    """The names of the first ``number`` positional arguments."""
    names: list[str] = []
    try:
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                names.append(parameter.name)
    except Exception:  # a callable of the learner's, whose signature may be anything
        pass
    return [names[i] if i < len(names) else f"number {i + 1}" for i in range(number)]
