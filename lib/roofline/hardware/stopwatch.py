"""Timing calls: warm-up, repetition, rivals taken in turn."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from roofline.hardware.machine import synchronize

SHORTEST = 2e-3  # a sample of fewer seconds says more about the clock than about the code
FEWEST, MOST = 5, 50


def time_in_turn(
    functions: Sequence[Callable[[], Any]],
    seconds: float = 0.5,
    clock: Callable[[], float] = time.perf_counter,
    shortest: float = SHORTEST,
) -> list[list[float]]:
    """Seconds of one call of each function, sample by sample.

    Each is called twice to warm up. Then rounds are run, every function once in each, so that
    what slows the machine for a while slows all alike; until ``seconds`` for each function are
    over, at least ``FEWEST`` and at most ``MOST`` rounds. A sample repeats a function that is
    faster than ``shortest``.
    """
    numbers = []
    for function in functions:
        function()
        once = sample(function, 1)
        numbers.append(max(1, round(shortest / max(once, 1e-7))))
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds * len(functions)
    with no_garbage_collection():
        while len(rounds) < FEWEST or (len(rounds) < MOST and time.perf_counter() < end):
            rounds.append(
                [
                    sample(each, number, clock)
                    for each, number in zip(functions, numbers, strict=True)
                ]
            )
    return [list(column) for column in zip(*rounds, strict=True)]


def sample(
    function: Callable[[], Any], number: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of one call, from ``number`` calls in a row, accelerators waited for."""
    synchronize()
    start = clock()
    for _ in range(number):
        function()
    synchronize()
    return (clock() - start) / number


def pages_given() -> int:
    """Pages of memory that the operating system has given this process so far; 0 on Windows."""
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def python_calls(function: Callable[[], Any]) -> int:
    """How many functions of Python ``function()`` calls, itself and its callees included."""
    calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


def spread(samples: Sequence[float]) -> float:
    """The middle half of the samples, from quartile to quartile, as a share of their median."""
    if len(samples) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return (high - low) / middle if middle else 0.0


@contextmanager
def fixed_threads(threads: int | None) -> Iterator[int]:
    """Let PyTorch use ``threads`` threads inside the block, or as many as it does already."""
    before = torch.get_num_threads()
    if threads is not None and threads != before:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python from collecting garbage inside the block, as timeit does."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
