"""The machine that an experiment runs on, as far as a roofline needs to know it.

In a notebook: what ``roofline machine`` has saved of it, or two quick measurements, once for each
kernel. Where nothing has been measured yet, and in saved pictures, the machine of the recording;
``label`` always says which.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from roofline.hardware import trace
from roofline.hardware.machine import best_device
from roofline.hardware.probe import bandwidth_sweep, gemm_sweep, launch_overhead
from roofline.hardware.profile import Profile, ProfileError, Rate, load_profile
from roofline.hardware.recordings import Reading
from roofline.lab.measuring import LIVE, RECORDED, Door

SECONDS = 0.6
"""For each of the two sweeps."""

RECORDING = "lab_machine"


@dataclass(frozen=True)
class Here:
    """A machine in float32.

    ``peak``: FLOP/s of the fastest square product. ``bandwidth``: bytes a second of a copy by
    working set in bytes, smallest first. ``overhead``: seconds of an operator with nothing to do.
    ``label``: where these figures are from.
    """

    peak: float
    bandwidth: tuple[tuple[int, float], ...]
    overhead: float
    label: str

    @property
    def memory(self) -> float:
        """Bytes a second of the largest working set, which no cache holds."""
        return self.bandwidth[-1][1]

    @property
    def cache(self) -> float:
        """Bytes a second of the fastest working set."""
        return max(rate for _, rate in self.bandwidth)

    def rate(self, working_set: float) -> float:
        """Bytes a second within ``working_set`` bytes: between two that were measured, in between
        on the scale of their exponents."""
        points = self.bandwidth
        if working_set <= points[0][0]:
            return points[0][1]
        for (low, slow), (high, fast) in zip(points, points[1:], strict=False):
            if working_set <= high:
                share = math.log(working_set / low) / math.log(high / low)
                return math.exp((1 - share) * math.log(slow) + share * math.log(fast))
        return self.memory


def device() -> torch.device:
    """The best device there is."""
    return torch.device(best_device())


@functools.cache
def recorded() -> Here:
    """The machine that the recordings were made on."""
    *_, last = measured(RECORDED)
    assert isinstance(last, Here)
    return last


def known() -> Here | None:
    """This machine, if it was measured in this process or saved by ``roofline machine``."""
    where, threads = device(), torch.get_num_threads()
    if (where.type, threads) not in _measured:
        if trace.mode() == "record":
            return None
        profile = load_profile(where.type)
        if profile is None or where.type == "cpu" and profile.threads != threads:
            return None
        _measured[where.type, threads] = _from_profile(profile)
    return _measured[where.type, threads]


_measured: dict[tuple[str, int], Here] = {}


def measured(door: Door) -> Iterator[str | Here]:
    """First what is measured next, in words, as often as there is something to measure; then it."""
    live = door is LIVE and trace.mode() != "replay"
    before = known() if live else None
    if before is not None:
        yield before
        return
    if live:
        yield "measuring this machine's memory"
    memory = door.observe(f"{RECORDING}.memory", _memory, device=device())
    if live:
        yield "measuring this machine's products"
    products = door.observe(f"{RECORDING}.products", _products, device=device())
    here = Here(
        peak=max(rate for _, rate in products.value),
        bandwidth=tuple((int(size), rate) for size, rate in memory.value["bandwidth"]),
        overhead=memory.value["overhead"],
        label=_label(products, memory),
    )
    if live:
        _measured[device().type, torch.get_num_threads()] = here
    yield here


def _label(*readings: Reading) -> str:
    """Of the busiest of them: one label for figures that were measured together."""
    return max(readings, key=lambda reading: len(reading.busy)).label


def _memory() -> dict[str, Any]:
    return {
        "bandwidth": _swept(lambda notes: bandwidth_sweep(device(), SECONDS, notes)),
        "overhead": launch_overhead(device())[0],
    }


def _products() -> list[list[float]]:
    return _swept(lambda notes: gemm_sweep(device(), torch.float32, SECONDS, notes))


def _swept(sweep: Callable[[list[str]], list[Rate]]) -> list[list[float]]:
    """Sizes and rates of a sweep; one that did not get beyond its first size is a problem."""
    notes: list[str] = []
    rates = sweep(notes)
    if not rates:
        raise ProfileError("; ".join(notes) or "there is not the memory for the smallest sizes")
    return [[rate.size, rate.per_second] for rate in rates]


def _from_profile(profile: Profile) -> Here:
    rates = sorted((rate.size, rate.per_second) for rate in profile.bandwidth)
    return Here(profile.peak("float32"), tuple(rates), profile.overhead, profile.label)


def with_machine(
    door: Door, go_on: Callable[[Here], Iterator[Any]], waiting: Callable[[str], Any]
) -> Iterator[Any]:
    """The steps of ``go_on``, after those that measure the machine, each as ``waiting`` says."""
    for step in measured(door):
        if isinstance(step, Here):
            yield from go_on(step)
        else:
            yield waiting(step)
