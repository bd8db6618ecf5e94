"""Measuring for an experiment: one step after the other, shown as they come, stopped when asked.

A measured experiment gives, beside its model, a generator of steps::

    def measured(result: Batching, door: Door) -> Iterator[Step]:
        yield Step(result, 0, len(BATCHES), "batch 1")      # what is known before any measuring
        for done, batch in enumerate(BATCHES, start=1):
            time = door.measure(f"lab_batching.batch={batch}", lambda: run(batch), seconds=0.1)
            result = replace(result, times={**result.times, batch: time})
            yield Step(result, done, len(BATCHES), ...)

The first step comes at once; each one after it should take well under a second. In a notebook the
steps run in the kernel's own loop, between its messages, never beside them: a cell that computes
doesn't disturb a measurement, nor a measurement a cell, and a moved control or a pressed button is
seen after the step that is running. What was measured until then is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from roofline.hardware import machine, trace
from roofline.hardware.profile import ProfileError
from roofline.hardware.trace import Measurement, Reading, TraceError
from roofline.lab.controls import ControlError

PAUSE = 0.03
"""Seconds between two steps, for the kernel to take its messages: a moved control, a pressed
button."""

PROBLEMS = (ControlError, TraceError, ProfileError, MemoryError, OSError, RuntimeError)
"""What a measurement may end with on somebody's machine: told in one line."""


@dataclass(frozen=True)
class Step:
    """How far a measurement has come.

    ``result``: with what has been measured so far. ``done`` of ``total`` steps are over; ``next``
    says in a few words what is measured now.
    """

    result: Any
    done: int
    total: int
    next: str = ""


@dataclass(frozen=True)
class Door:
    """Where an experiment's measurements come from: see :mod:`roofline.hardware.trace`."""

    measure: Callable[..., Measurement]
    measure_in_turn: Callable[..., dict[str, Measurement]]
    observe: Callable[..., Reading]


LIVE = Door(trace.measure, trace.measure_in_turn, trace.observe)
"""This machine, or what ``ROOFLINE_MEASURE`` says."""


def _recorded_seconds(name: str, *_: Any, **__: Any) -> Measurement:
    reading = trace.recorded(name)
    if not isinstance(reading, Measurement):
        raise TraceError(f"{name!r} was not recorded as a time")
    return reading


RECORDED = Door(
    _recorded_seconds,
    lambda functions, **_: {name: _recorded_seconds(name) for name in functions},
    lambda name, *_, **__: trace.recorded(name),
)
"""What was recorded, whatever ``ROOFLINE_MEASURE`` says: a saved picture comes from here."""


def finish(steps: Iterator[Step]) -> tuple[Step | None, str]:
    """The last step that can be had, and why it is not the end, or an empty string."""
    last = None
    try:
        for step in steps:
            last = step
    except PROBLEMS as problem:
        return last, reason(problem)
    return last, ""


def reason(problem: BaseException) -> str:
    """One line, with what to do where the sizes are too much for the memory."""
    why = machine.reason(problem)
    if why == machine.OUT_OF_MEMORY:
        return f"{why}: choose smaller sizes, or close other programs"
    return why


class Follower:
    """Takes one measurement at a time through its steps.

    ``show`` is called with each step; ``end`` once, with the reason if it ended before its time.
    """

    def __init__(self, show: Callable[[Step], None], end: Callable[[str], None]):
        self._show, self._end = show, end
        self._steps: Iterator[Step] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._steps is not None

    def start(self, steps: Iterator[Step], at_once: bool = False) -> None:
        """Show the first step now and the others as they come, dropping what was followed before.

        ``at_once``, and where there is no kernel that goes on running: only the last one, now.
        """
        self._steps = steps
        try:
            loop = None if at_once else asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is None:
            last, problem = finish(steps)
            if last is not None:
                self._show(last)
            self._steps = None
            self._end(problem)
        elif self._took(steps):
            self._task = loop.create_task(self._follow(steps))

    def stop(self) -> None:
        """Take no further step. ``end`` is not called."""
        self._steps = None

    async def _follow(self, steps: Iterator[Step]) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            if self._steps is not steps or not self._took(steps):
                return

    def _took(self, steps: Iterator[Step]) -> bool:
        """Take and show one step; False at the end."""
        problem = ""
        try:
            step = next(steps, None)
        except PROBLEMS as caught:
            step, problem = None, reason(caught)
        if step is not None:
            self._show(step)
            return True
        self._steps = None
        self._end(problem)
        return False
