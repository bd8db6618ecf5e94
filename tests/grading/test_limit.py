"""The time limit stops what it should, and only that."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from roofline.grading.calling import Session, call
from roofline.grading.checking import grade
from roofline.grading.limit import Stopped, limit

HAS_TIMER = hasattr(signal, "setitimer")  # not on Windows
SIGNALS = [signal.SIGINT, *([signal.SIGALRM] if HAS_TIMER else [])]
SHORT = 0.2
PATIENT = 10.0  # a test that needs longer than this has found code that isn't stopped


def spins() -> None:
    while True:
        pass


def sleeps() -> None:
    time.sleep(PATIENT)


def swallows_all() -> None:
    while True:
        try:
            pass
        except:  # noqa: E722
            pass


def sleeps_and_swallows_all() -> None:
    while True:
        try:
            time.sleep(PATIENT)
        except BaseException:
            continue


def swallows_twice() -> None:
    while True:
        try:
            try:
                time.sleep(0.01)
            except BaseException:
                time.sleep(0.01)
        except BaseException:
            time.sleep(0.01)


def suppresses() -> None:
    while True:
        with contextlib.suppress(BaseException):
            while True:
                time.sleep(0.001)


def returns_in_finally() -> None:
    def inner() -> None:
        try:
            spins()
        finally:
            return  # noqa: B012

    while True:
        inner()


def generates_for_ever() -> list:
    def numbers() -> Any:
        while True:
            yield 1

    return list(numbers())


def multiplies_for_ever() -> None:
    x = torch.ones(64, 64)
    while True:
        x = x @ x


ENDLESS = [
    spins,
    sleeps,
    swallows_all,
    sleeps_and_swallows_all,
    swallows_twice,
    suppresses,
    returns_in_finally,
    generates_for_ever,
    multiplies_for_ever,
]


@pytest.mark.parametrize("endless", ENDLESS, ids=lambda f: f.__name__)
def test_endless_code_is_stopped(endless: Callable) -> None:
    tracing, handlers = sys.gettrace(), [signal.getsignal(each) for each in SIGNALS]
    start = time.monotonic()
    with limit(SHORT) as clock, Session(clock):
        result = call(endless)
    assert result.status == "stopped"
    assert result.fault == "was stopped after 0.2 seconds"
    assert result.line.startswith("line ")
    assert time.monotonic() - start < PATIENT
    assert sys.gettrace() is tracing
    assert sys.exc_info() == (None, None, None)
    assert handlers == [signal.getsignal(each) for each in SIGNALS]
    assert not HAS_TIMER or signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_after_the_limit_nothing_more_is_called() -> None:
    called = []
    with limit(SHORT) as clock, Session(clock) as session:
        call(spins)
        later = call(called.append, 1)
    assert later.status == "unreached"
    assert "the time was used up" in later.fault
    assert not called
    assert [c.status for c in session.calls] == ["stopped", "unreached"]


def test_nothing_is_raised_in_code_of_ours() -> None:
    with limit(SHORT) as clock, Session(clock):
        result = call(lambda: 3)
        with clock.disarmed():
            time.sleep(2 * SHORT)
        time.sleep(SHORT)  # once the limit is over, a probe may go on to its end
    assert result.value == 3
    assert clock.expired


def test_what_came_before_the_limit_counts() -> None:
    with limit(SHORT) as clock, Session(clock):
        results = [call(lambda: 3), call(spins)]
        time.sleep(SHORT)
        results.append(call(lambda: 4))
    assert [r.status for r in results] == ["returned", "stopped", "unreached"]


def test_a_probe_is_stopped_too_where_it_runs_an_answer_by_itself() -> None:
    with pytest.raises(Stopped), limit(SHORT):
        spins()


@pytest.mark.parametrize("endless", [spins, swallows_all, generates_for_ever])
def test_another_thread_is_stopped_too(endless: Callable) -> None:
    results = []

    def run() -> None:
        with limit(SHORT) as clock, Session(clock):
            results.append(call(endless).status)
            results.append(sum(range(1000)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENT)
    assert results == ["stopped", 499500]


@pytest.mark.parametrize("endless", [spins, sleeps, swallows_all, sleeps_and_swallows_all])
def test_without_a_timer_the_main_thread_is_stopped_by_another(
    endless: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows. A blocked call gets the signal there too."""
    monkeypatch.delattr(signal, "setitimer", raising=False)
    if endless in (sleeps, sleeps_and_swallows_all) and HAS_TIMER:
        # Setting a signal's flag wakes a sleep on Windows only; here a real signal does.
        main = threading.main_thread().ident
        assert main is not None
        monkeypatch.setattr(
            _thread, "interrupt_main", lambda: signal.pthread_kill(main, signal.SIGINT)
        )
    start = time.monotonic()
    with limit(SHORT) as clock, Session(clock):
        assert call(endless).status == "stopped"
    assert time.monotonic() - start < PATIENT


def test_the_users_interrupt_is_not_the_answers_doing() -> None:
    """The stop button ends the check; an answer that raises KeyboardInterrupt doesn't."""

    def answer(x: torch.Tensor) -> torch.Tensor:
        signal.raise_signal(signal.SIGINT)
        return x

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        grade("drill.double", answer, 1)
    assert signal.getsignal(signal.SIGINT) is before


if HAS_TIMER:

    def test_somebody_elses_timer_goes_on() -> None:
        rung = []
        before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with limit(0.1) as clock, Session(clock):
                call(spins)
            assert not rung
            deadline = time.monotonic() + PATIENT
            while not rung and time.monotonic() < deadline:
                time.sleep(0.01)
            assert rung
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def test_a_check_says_that_it_was_stopped_and_where() -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        while x.sum() < float("inf"):
            x = -x
        return x

    result = grade("drill.double", answer, 1)
    assert result.earned == 0
    assert result.items[0].message.startswith("it was stopped after 1 seconds (your line ")
