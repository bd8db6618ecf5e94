"""Stopping code that takes too long, in the thread that runs it.

On Linux and macOS, in the main thread, an interval timer rings and its handler raises
:class:`Stopped` in the learner's code. Elsewhere a second thread does: through the interrupt
signal in Windows's main thread, and through ``PyThreadState_SetAsyncExc`` in any other thread,
where a call that blocks (``time.sleep``) ends first. A long call of compiled code ends first
everywhere.

An answer may swallow the exception (``except: pass`` in a loop). The timer therefore rings again,
and from the second time also lets the n-th line that runs next raise, with n growing, so that
sooner or later it is raised outside the answer's ``try``. That stops mistakes and most malice;
what is written to defeat it (recursion that catches everything at every level) needs a process that
can be killed.
"""

from __future__ import annotations

import ctypes
import math
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

AGAIN = 0.05


class Stopped(BaseException):
    """The time limit is over. Not an Exception, so that ``except Exception`` lets it pass."""


class Clock:
    """The limit of one check.

    ``expired``: the limit is over. ``interrupted``: the user asked to stop (Ctrl-C, the notebook's
    stop button), which is not the answer's doing. ``armed``: the learner's code is running.
    """

    def __init__(self, seconds: float = math.inf):
        self.seconds = seconds
        self.expired = False
        self.interrupted = False
        self.armed = True
        self.rings = 0

    @contextmanager
    def disarmed(self) -> Iterator[None]:
        """Let nothing be raised in this block, which is ours, nor after it once time is over."""
        before, self.armed = self.armed, False
        try:
            yield
        finally:
            self.armed = before and not self.expired

    @contextmanager
    def armed_for_the_learner(self) -> Iterator[None]:
        """The opposite, for the learner's code inside such a block."""
        self.armed = True
        try:
            yield
        finally:
            self.armed = False

    def ring(self, frame: types.FrameType | None) -> None:
        """Raise :class:`Stopped` in the code that runs now."""
        self.expired = True
        if not self.armed:
            return
        self.rings += 1
        if self.rings > 1:
            self._raise_at_line(self.rings, frame)
        raise Stopped

    def _raise_at_line(self, lines: int, frame: types.FrameType | None) -> None:
        left = [lines]

        def trace(frame: types.FrameType, event: str, argument: Any) -> Callable | None:
            if not self.armed:
                return None
            if event == "line":
                left[0] -= 1
                if left[0] <= 0:
                    raise Stopped
            return trace

        while frame is not None and frame.f_code.co_filename != __file__:
            frame.f_trace = trace
            frame = frame.f_back
        sys.settrace(trace)


def apart(function: Callable[[], Any]) -> Any:
    """Call ``function`` where a stop can leave nothing behind.

    An exception that is raised inside an ``except`` clause just before its end leaves the one that
    was being handled in the interpreter's record, and every later one would be chained to it. A
    generator has a record of its own.
    """
    outcome: list[tuple[Any, BaseException | None]] = []

    def generator() -> Iterator[None]:
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))
        yield

    next(generator())
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


@contextmanager
def limit(seconds: float) -> Iterator[Clock]:
    """Raise :class:`Stopped` in the code of this block after ``seconds``, as often as it takes."""
    clock = Clock(seconds)
    tracing = sys.gettrace()
    main = threading.current_thread() is threading.main_thread()
    by = _timer if main and hasattr(signal, "setitimer") else _thread
    with _own_interrupts(clock, main), by(clock, main):
        try:
            yield clock
        finally:
            clock.armed = False
            if sys.gettrace() is not tracing:
                sys.settrace(tracing)


@contextmanager
def _own_interrupts(clock: Clock, main: bool) -> Iterator[None]:
    """Tell Ctrl-C from an answer that raises KeyboardInterrupt; lend it to the limit's thread."""
    if not main:
        yield
        return

    def handler(number: int, frame: types.FrameType | None) -> None:
        if clock.expired and not hasattr(signal, "setitimer"):
            clock.ring(frame)
        else:
            clock.interrupted = True
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)


@contextmanager
def _timer(clock: Clock, main: bool) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, lambda number, frame: clock.ring(frame))
    start = time.monotonic()
    left, again = signal.setitimer(signal.ITIMER_REAL, clock.seconds, AGAIN)
    try:
        yield
    finally:
        clock.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)
        if left:  # somebody else's timer goes on where it was: a test's, or an outer check's
            left = max(left - (time.monotonic() - start), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left, again)


@contextmanager
def _thread(clock: Clock, main: bool) -> Iterator[None]:
    over = threading.Event()
    lock = threading.Lock()
    target = ctypes.c_ulong(threading.get_ident())
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch() -> None:
        wait = clock.seconds
        while not over.wait(wait):
            wait = AGAIN
            with lock:
                clock.expired = True
                if over.is_set() or not clock.armed:
                    continue
                if main:
                    import _thread

                    _thread.interrupt_main()
                else:
                    set_exception(target, ctypes.py_object(Stopped))

    watcher = threading.Thread(target=watch, name="time limit of a check", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        clock.armed = False
        with lock:
            over.set()
        if clock.expired and not main:
            # One may have been sent that has not arrived yet. Taking it back would leave Python
            # 3.11 looking for it for ever, so send one more and wait for it here.
            try:
                set_exception(target, ctypes.py_object(Stopped))
                while True:
                    pass
            except Stopped:
                pass
