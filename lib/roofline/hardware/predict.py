"""How long a piece of code will take on this processor, from its kernels and the machine's profile.

Nothing is fitted to the time of a step. The code is run to see its kernels, not to time them. Each
kernel costs its amounts of work times the seconds that the probe measured for a unit of it; data
costs what its distance says (:mod:`roofline.hardware.reuse`); every operator costs its way through
PyTorch, every function of Python its call, every new page of memory the system's work. Where work
and data overlap, the slower of the two decides, as on the roofline (Williams et al., 2009).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from roofline.hardware.calibrate import FAR
from roofline.hardware.count import Call, Counter
from roofline.hardware.kernels import BLOCKED, Work, describe
from roofline.hardware.profile import Profile, ProfileError
from roofline.hardware.reuse import Reuse, Traffic
from roofline.hardware.stopwatch import pages_given, python_calls

Numbers = dict[str, float]

PAGE_RUNS = 3


@dataclass(frozen=True)
class Prediction:
    """Modelled seconds of one call, as a whole and by family of kernels.

    ``parts`` has "dispatch", "interpreter" and "pages" besides: what PyTorch and Python take on the
    way to the kernels, and the operating system to give new memory. ``references`` is the same
    time in reference products, which outlives a machine whose clock drifts.
    """

    seconds: float
    references: float
    parts: dict[str, float]


@dataclass(frozen=True)
class Trace:
    """What one call runs: kernels with their work and traffic; and what it takes besides.

    ``views`` go through PyTorch as kernels do, ``recorded`` by its autograd or not. ``calls`` are
    of Python functions. ``pages`` are given anew by the operating system: an allocator may return
    memory when it is freed, and ask for it again.
    """

    kernels: list[tuple[str, Work, Traffic, float]]
    views: int
    recorded: bool
    calls: int
    pages: float


def predict(function: Callable[[], Any], profile: Profile) -> Prediction:
    """Predict the time of ``function()`` on the processor, from the profile of this machine.

    The function is called nine times, as a training step would be: to warm up, to fill the
    caches, to list its kernels, to count its calls of functions and its pages.
    """
    if profile.device != "cpu" or not profile.kernels:
        raise ProfileError("times are predicted for the processor: `roofline machine --device cpu`")
    if profile.threads != torch.get_num_threads():
        raise ProfileError(
            f"the profile is of {profile.threads} threads and PyTorch uses "
            f"{torch.get_num_threads()}: probe again, or call torch.set_num_threads"
        )
    return price(trace(function), profile.kernels)


def trace(function: Callable[[], Any]) -> Trace:
    """List the kernels of ``function()``, in the state of the caches that it leaves to itself."""
    function()
    function()
    reuse = Reuse()
    for _ in range(2):
        listener = _Listener(reuse)
        with listener:
            function()
    counts = listener.counts
    calls = python_calls(function)
    function()
    before = pages_given()
    for _ in range(PAGE_RUNS):  # not every run is given as many
        function()
    pages = (pages_given() - before) / PAGE_RUNS
    return Trace(listener.kernels, counts.views, listener.recorded, calls, pages)


def price(trace: Trace, numbers: Numbers) -> Prediction:
    """The time of a trace on the machine whose numbers these are."""
    per_byte = traffic_cost(numbers)
    near = min(cost for name, cost in numbers.items() if name.startswith("traffic."))
    parts: dict[str, float] = {}
    for family, work, traffic, _ in trace.kernels:
        launch = numbers.get(f"{family}.launch", 0.0) - numbers.get("plain.launch", 0.0)
        compute = sum(
            amount * numbers.get(f"{family}.{unit}", 0.0)
            for unit, amount in work.items()
            if unit != "launch"
        )
        data = sum(count * per_byte(distance) for count, distance in traffic)
        if family in BLOCKED:
            busy = compute + max(0.0, data - near * sum(count for count, _ in traffic))
        else:
            busy = max(compute, data)
        seconds = busy + max(0.0, launch) + (work["launch"] - 1) * numbers["plain.launch"]
        parts[family] = parts.get(family, 0.0) + seconds
    parts["dispatch"] = dispatch(trace, numbers, per_byte)
    parts["interpreter"] = trace.calls * numbers["interpreter"]
    parts["pages"] = trace.pages * numbers["page"]
    seconds = sum(parts.values())
    return Prediction(seconds, seconds / numbers["reference"], parts)


def dispatch(trace: Trace, numbers: Numbers, per_byte: Callable[[float], float]) -> float:
    """Seconds that PyTorch takes on the way to the kernels of a trace.

    Code is as far away as data that was touched when it was called last.
    """
    nearest, farthest = per_byte(0.0), per_byte(FAR)
    span = farthest - nearest
    usual = max(0.0, numbers["launch.far"] - numbers["launch.near"])
    seconds = away = 0.0
    for family, _, _, distance in trace.kernels:
        share = (min(per_byte(distance), farthest) - nearest) / span if span > 0 else 0.0
        seconds += numbers["launch.near"] + share * numbers.get(f"{family}.far", usual)
        away += share / len(trace.kernels)
    for name, times in (
        ("view", trace.views),
        ("recorded", (len(trace.kernels) + trace.views) * trace.recorded),
    ):
        near, far = numbers[f"{name}.near"], numbers[f"{name}.far"]
        seconds += times * (near + away * max(0.0, far - near))
    return seconds


def traffic_cost(numbers: Numbers) -> Callable[[float], float]:
    """Seconds for a byte that comes from so many bytes ago, between the working sets measured."""
    measured = sorted(
        (float(name.split(".")[1]), cost)
        for name, cost in numbers.items()
        if name.startswith("traffic.")
    )

    def cost(distance: float) -> float:
        size, price = measured[0]
        if distance <= size:
            return price
        for next_size, next_price in measured[1:]:
            if distance <= next_size:
                share = math.log(distance / size) / math.log(next_size / size)
                return price + share * (next_price - price)
            size, price = next_size, next_price
        return price

    return cost


class _Listener(Counter):
    def __init__(self, reuse: Reuse):
        super().__init__()
        self.reuse = reuse
        self.kernels: list[tuple[str, Work, Traffic, float]] = []
        self.recorded = False

    def kernel(self, call: Call) -> None:
        code = self.reuse.code(call)
        self.kernels.append((*describe(call), self.reuse.traffic(call), code))
        self.recorded = self.recorded or any(each.requires_grad for each in call.inputs)
