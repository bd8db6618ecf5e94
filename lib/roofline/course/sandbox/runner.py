"""Runs one submission's cells, in a process of its own, and sends what comes of each at once.

Everything here shares the process with the submission. What it sends is the submission's word.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

from roofline.course.sandbox.frames import Forged, checked_output
from roofline.course.sandbox.pristine import Hooks, Pristine
from roofline.course.sandbox.shell import Collector, Shell, make_shell, outputs_of_a_cell
from roofline.grading.checking import probed
from roofline.grading.registry import Exercise, chapters, exercises
from roofline.grading.surroundings import _modes, _set_modes

AGAIN = 0.5  # seconds until a cell that swallowed its time limit is interrupted once more


class CellTimeout(BaseException):
    """The cell took too long. Not an Exception, so that ``except Exception`` lets it pass."""


class Runner:
    """All that is imported and looked up before a submission runs. Made once, then forked."""

    def __init__(self) -> None:
        self.exercises: dict[str, Exercise] = {}
        for chapter in chapters():
            # One chapter that can't be loaded is not the others' trouble; a check in it says so.
            with suppress(Exception):
                self.exercises.update({e.id: e for e in exercises(chapter)})
        self.shell: Shell = make_shell()
        for module in _IMPORTS:
            importlib.import_module(module)
        for source in ("1", "1/0", "def f(:"):  # their first time takes long
            with outputs_of_a_cell(self.shell.collector, {}):
                self.shell.run_cell(source)
        self.hooks = Hooks(self.shell)
        self.pristine = Pristine(self.exercises.values())
        self.namespace = self.shell.user_module.__dict__
        self.modes, self.depth = _modes(), sys.getrecursionlimit()

    def run(self, work: dict[str, Any], descriptor: int, files: dict[str, int]) -> None:
        """Run ``work`` and send frames to ``descriptor``. ``files``: see ``outputs_of_a_cell``."""
        # Taken now: a submission may put others in their places.
        send, getpid, leave, forget = _sender(descriptor), os.getpid, os._exit, BaseException
        trace, profile, depth = sys.settrace, sys.setprofile, sys.setrecursionlimit
        timer = getattr(signal, "setitimer", None)
        turns = [(cell, _line({"start": cell["index"]})) for cell in work["cells"]]
        end = _line({"end": True})
        own, self.folder = getpid(), os.getcwd()
        self.shell.collector.room = work["limits"]["output_bytes"]
        self.room = work["limits"]["message_bytes"]
        self.files, self.seconds = files, work["limits"]["cell_seconds"]
        stopped = False
        _seed(0)
        for cell, start in turns:
            if cell["exercise"] is None and stopped:
                continue
            send(start)
            if timer is not None:  # one that a cell has left behind
                timer(signal.ITIMER_REAL, 0)
            if cell["exercise"] is not None or cell["locked"]:
                trace(None)
                profile(None)
                depth(self.depth)
            status, message, frames = "error", b"", b""
            # Nothing that a cell does may keep the next one from its turn.
            try:
                status, message = self._turn(cell)
            except forget:
                pass
            if getpid() != own:  # it forked, and this is the child
                leave(0)
            if status == "error" and cell["exercise"] is None:
                stopped = work["stop_on_error"]
            try:
                frames = self._frames(cell, status, message)
            except forget:
                self.pristine.restore()
                frames = self._frames(cell, status, message)
            send(frames)
        send(end)

    def _turn(self, cell: dict[str, Any]) -> tuple[str, bytes]:
        """Run one cell: its status, and a check's message."""
        status, message = "error", b""
        with outputs_of_a_cell(self.shell.collector, self.files):
            try:
                if cell["exercise"] is not None or cell["locked"]:
                    self.pristine.restore()
                    self.hooks.restore()
                if cell["exercise"] is None:
                    status = self._cell(cell["source"])
                else:
                    message = self._check(cell)
                    status = "ok"
            except BaseException as error:
                kind = type(error).__name__
                self.shell._showtraceback(type(error), error, [f"{kind}: {error}"[:2000]])
        return status, message

    def _frames(self, cell: dict[str, Any], status: str, message: bytes) -> bytes:
        """What is sent about a cell that has run."""
        frames = b""
        if message:
            frames = _line({"message": cell["exercise"], "bytes": len(message)}) + message
        outputs = sendable(self.shell.collector)
        if self.shell.collector.capped and status == "ok":
            status = "output-capped"
        return frames + _line({"cell": cell["index"], "status": status, "outputs": outputs})

    def _cell(self, source: str) -> str:
        with _time_limit(self.seconds) as late:
            result = self.shell.run_cell(source, store_history=True)
        if late[0] and not result.success:
            return "timeout"
        return "ok" if result.success else "error"

    def _check(self, cell: dict[str, Any]) -> bytes:
        name, exercise = cell["exercise"], self.exercises.get(cell["exercise"])
        namespace = self.namespace
        if exercise is None:
            raise LookupError(f"no exercise {name!r} could be loaded")
        if cell["answer"] not in namespace:
            raise NameError(f"name {cell['answer']!r} is not defined")
        self._usual()
        _seed(cell["seed"])
        message, _ = probed(exercise, namespace[cell["answer"]], cell["seed"])
        if len(message) > self.room:
            raise ValueError(f"what it returned has {len(message):,} bytes: too many")
        self.room -= len(message)
        return message

    def _usual(self) -> None:
        """Python's and torch's settings as the judge has them."""
        _set_modes(self.modes)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        torch.set_num_threads(1)
        # Not torch.use_deterministic_algorithms, which imports 800 modules: a second and a half.
        torch._C._set_deterministic_algorithms(False)
        np.seterr(all="warn", under="ignore")
        os.chdir(self.folder)


# What notebooks and tests import, so that no submission waits for it, and patches can be undone.
_IMPORTS = (
    *("collections", "dataclasses", "functools", "itertools", "math", "statistics", "unittest"),
    *("matplotlib.pyplot", "numpy.linalg", "numpy.random", "numpy.testing", "torch.testing"),
    *("tqdm.auto", "roofline.data", "roofline.hardware.count", "roofline.hardware.trace"),
    *("roofline.lab", "roofline.losses", "roofline.models", "roofline.nn", "roofline.optim"),
    "roofline.train",
)


def _seed(seed: int) -> None:
    """The same random numbers on every run, whatever ran before."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _line(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame).encode() + b"\n"


def _sender(descriptor: int) -> Callable[[bytes], None]:
    write, seen = os.write, memoryview

    def send(data: bytes) -> None:
        left = seen(data)
        while left:
            left = left[write(descriptor, left) :]

    return send


def sendable(collector: Collector) -> list[dict[str, Any]]:
    """The outputs of a cell that are of the shape that a notebook can hold; the others go."""
    kept = []
    for output in collector.taken():
        try:
            plain = json.loads(json.dumps(output, allow_nan=False, default=_strange))
            kept.append(checked_output(plain))
        except (ValueError, TypeError, RecursionError, Forged):
            collector.capped = True
    return kept


def _strange(value: Any) -> str:
    return f"<{type(value).__name__[:60]}>"


@contextmanager
def _time_limit(seconds: float) -> Iterator[list[bool]]:
    """Raise :class:`CellTimeout` in this block after ``seconds``, and again if it is swallowed.

    Without such a timer (Windows) only the parent's limit holds, which ends the process.
    """
    late = [False]
    if not hasattr(signal, "setitimer"):
        yield late
        return

    def ring(number: int, frame: types.FrameType | None) -> None:
        late[0] = True
        raise CellTimeout(f"the cell took longer than {seconds:g} seconds")

    signal.signal(signal.SIGALRM, ring)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield late
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)


def capture_files() -> dict[str, int]:
    """Two unnamed files in place of descriptors 1 and 2, which C code and children write to."""
    import tempfile

    files = {}
    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor, path = tempfile.mkstemp()
        os.close(descriptor)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0))
        with suppress(OSError):  # not on Windows, where the sandbox's folder goes as a whole
            os.unlink(path)
        os.dup2(descriptor, number)
        os.set_inheritable(number, True)
        files[name] = descriptor
    sys.stdin = open(os.devnull)
    return files
