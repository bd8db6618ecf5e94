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

from roofline.grading.capture import capture
from roofline.grading.learner import is_stub, learner_line, message_of
from roofline.grading.limit import Clock, Stopped

RETURNED, RAISED, BLANK, STOPPED, UNREACHED = "returned", "raised", "blank", "stopped", "unreached"
COUNTS = ("flops", "bytes_moved", "bytes_allocated", "largest_allocation", "peak_bytes", "launches")


@dataclass
class Call:
    """One call of the learner's code.

    Attributes:
        status: "returned", "raised", "blank" (the untouched stub), "stopped" (out of time) or
            "unreached" (an earlier call failed, so this one was not made).
        value: what was returned; beside the judge, plain data (see :mod:`roofline.grading.protocol`).
        fault: why there is no value, a phrase that completes "it ..."; empty if there is a value.
        line: the learner's own line that raised, and its number and function, or empty.
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
            return replace(self, value=self.value[index], gave_back="")
        except (TypeError, LookupError):
            wanted = _at_least(index)
            fault = f"returned {describe(self.value)}, expected {wanted}"
            return replace(self, status=RAISED, value=None, fault=fault, gave_back="")


@dataclass
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
            result.value = _unwrapped(result.value)
    session.calls.append(result)
    return result


def _call(
    session: Session, function: Any, inputs: tuple, options: dict, count: bool, may_change: tuple
) -> Call:
    for given in (function, *inputs):
        if isinstance(given, Call) and not given.ok:
            status = given.status if given.status == BLANK else UNREACHED
            return replace(given, status=status, value=None)
    function = _value(function)
    inputs = tuple(_value(i) for i in inputs)
    result = Call(device=_device(inputs))
    clock = session.clock
    if clock.expired:
        return replace(result, status=UNREACHED, fault="was not called: the time was used up")
    if function is None or function is Ellipsis:
        return replace(result, status=BLANK, fault="is not attempted yet")
    if not callable(function):
        fault = f"is {describe(function)}, expected a function"
        return replace(result, status=RAISED, fault=fault)

    names = _names(function, len(inputs))
    given = [_copy(i) for i in inputs]
    options = {name: _copy(_value(value)) for name, value in options.items()}
    before = [_snapshot(i) for i in given]
    run = _counted if count else _plain
    with capture() as written:
        try:
            with session.watch(), clock.armed_for_the_learner():
                result.value, result.counts = run(function, given, options)
        except BaseException as error:
            if clock.interrupted:
                raise
            _explain(result, error, session)
    result.printed, result.warned = written.printed, list(written.warned)
    if result.ok and (result.value is None or result.value is Ellipsis) and is_stub(function):
        result.status, result.fault, result.value = BLANK, "is not attempted yet", None
    for position, name in enumerate(names):
        if position not in may_change and not _same(_snapshot(given[position]), before[position]):
            result.changed.append(name)
        if result.ok and isinstance(result.value, torch.Tensor) and result.value is given[position]:
            result.gave_back = name
    return result


def _plain(function: Any, inputs: list, options: dict) -> tuple[Any, dict[str, int]]:
    return function(*inputs, **options), {}


def _counted(function: Any, inputs: list, options: dict) -> tuple[Any, dict[str, int]]:
    from roofline.hardware.count import count

    counts = count(function, *inputs, **options)
    return counts.result, {name: int(getattr(counts, name)) for name in COUNTS}


def _explain(result: Call, error: BaseException, session: Session) -> None:
    """Write down what was raised, and the learner's own line that raised it."""
    own, innermost = learner_line(error, session.ours)
    result.line = own
    if isinstance(error, Stopped) and session.clock.expired:
        result.status = STOPPED
        result.fault = f"was stopped after {session.clock.seconds:g} seconds"
    elif isinstance(error, NotImplementedError) and innermost:
        result.status, result.fault = BLANK, "is not attempted yet"
    else:
        result.status, result.fault = RAISED, f"raised {message_of(error)}"


def _at_least(index: int | str) -> str:
    if not isinstance(index, int):
        return f"{index!r} in it"
    return f"at least {index + 1} value{'s' if index else ''}"


def describe(value: Any) -> str:
    """What a value is, in a few words: "a tensor of shape (3, 4)", "a tuple of 2", "None"."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Strange):
        return value.kind
    if isinstance(value, (tuple, list, dict)) and type(value).__module__ == "builtins":
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int):
        return "an int"
    kind = type(value).__name__
    if isinstance(kind, str) and kind == "ndarray":
        return f"a NumPy array of shape {getattr(value, 'shape', '?')}"
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind[:60]}"


@dataclass(frozen=True)
class Strange:
    """Stands beside the judge for a value that isn't data: "a function", "a generator"."""

    kind: str


def _value(given: Any) -> Any:
    return given.value if isinstance(given, Call) else given


def _names(function: Any, number: int) -> list[str]:
    """The names of the first ``number`` positional arguments."""
    names: list[str] = []
    try:
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                names.append(parameter.name)
    except (TypeError, ValueError):
        pass
    return [names[i] if i < len(names) else f"number {i + 1}" for i in range(number)]


def _mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """``value`` with ``leaf`` applied inside plain lists, tuples and dicts."""
    if type(value) in (list, tuple):
        return type(value)(_mapped(v, leaf) for v in value)
    if type(value) is dict:
        return {k: _mapped(v, leaf) for k, v in value.items()}
    return leaf(value)


def _copy(value: Any) -> Any:
    def leaf(v: Any) -> Any:
        if type(v) is torch.Tensor:
            return v.detach().clone().requires_grad_(v.requires_grad)
        return v

    return _mapped(value, leaf)


def _inner(value: Any) -> torch.Tensor | None:
    """The tensor that a value is or, as a Parameter or a Tensor of our own, holds as ``.data``."""
    try:
        data = getattr(value, "data", None)
    except Exception:
        return None
    return data if isinstance(data, torch.Tensor) else None


def _unwrapped(value: Any) -> Any:
    def leaf(v: Any) -> Any:
        inner = _inner(v)
        return v if inner is None or isinstance(v, torch.Tensor) else inner

    return _mapped(value, leaf)


def _snapshot(value: Any) -> Any:
    def leaf(v: Any) -> Any:
        inner = _inner(v)
        if inner is not None:
            return inner.detach().clone()
        return v if isinstance(v, (int, float, str, bytes)) else None

    return _mapped(value, leaf)


def _same(now: Any, before: Any) -> bool:
    if type(now) is not type(before):
        return False
    if isinstance(now, (list, tuple)):
        return len(now) == len(before) and all(map(_same, now, before))
    if isinstance(now, dict):
        return list(now) == list(before) and all(_same(now[k], before[k]) for k in now)
    if isinstance(now, torch.Tensor):
        if now.shape != before.shape or now.dtype != before.dtype or now.device != before.device:
            return False
        if now.device.type == "meta":
            return True
        return bool(((now == before) | ((now != now) & (before != before))).all())
    return bool(now == before) or now != now


def _device(inputs: tuple) -> str:
    found: list[str] = []

    def leaf(v: Any) -> Any:
        inner = _inner(v)
        if inner is not None:
            found.append(str(inner.device))
        return v

    _mapped(inputs, leaf)
    return found[0] if found else "cpu"
