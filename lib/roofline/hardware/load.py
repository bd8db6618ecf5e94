"""Whether something else kept the machine busy while it was measured."""

from __future__ import annotations

import time

import psutil
import torch

# Above these shares of the time a measurement is said to be disturbed.
OTHERS = 0.15
STOLEN = 0.05
WAITING = 0.10


class Watch:
    """Watches the machine between ``with Watch() as watch:`` and the end of the block.

    After it, ``busy`` is a phrase that says what disturbed the measurement, or "".

    ``threads``: how many processor threads the measured code keeps running; 0 if it leaves the
    processor idle, as code on a GPU does.
    """

    def __init__(self, threads: int = 0):
        self.threads = threads
        self.busy = ""

    def __enter__(self) -> Watch:
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        before, after = self._before, self._now()
        wall, own, busy, stolen, total = (b - a for a, b in zip(before, after, strict=True))
        self.busy = disturbance(wall, own, busy, stolen, total, self.threads)

    def _now(self) -> tuple[float, float, float, float, float]:
        """Seconds so far: of the clock, of this process, and of all cores: busy, stolen, any."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        stolen = getattr(times, "steal", 0.0)
        # guest time is in user time already
        total = sum(
            value for field, value in times._asdict().items() if not field.startswith("guest")
        )
        return time.perf_counter(), time.process_time(), total - idle - stolen, stolen, total


def disturbance(
    wall: float, own: float, busy: float, stolen: float, total: float, threads: int
) -> str:
    """What disturbed a measurement that took ``wall`` seconds, in words; "" if nothing did.

    ``own``: processor seconds of this process; ``busy``, ``stolen`` and ``total``: of all cores,
    by all processes, taken by the hypervisor, and in all.
    """
    reasons = []
    if total > 0.2:  # the system counts in steps of 0.01 s
        others = (busy - own) / total
        if others > OTHERS:
            reasons.append(f"other programs used {others:.0%} of the processor")
        if stolen / total > STOLEN:
            reasons.append(f"the hypervisor withheld {stolen / total:.0%} of the processor")
    if threads and wall > 0.05:
        waiting = 1 - own / (wall * threads)
        if waiting > WAITING and (threads == 1 or reasons):
            reasons.append(f"the measured code was off the processor {waiting:.0%} of the time")
    return "; ".join(reasons)


def gpu_in_use(device: torch.device) -> str:
    """In words, that something else computes on a GPU right now; "" if nothing does or none tells.

    To be asked before measuring: afterwards it is the measurement that used it.
    """
    if device.type != "cuda":
        return ""
    try:
        share = torch.cuda.utilization(device) / 100
    except Exception:  # neither nvidia-ml-py nor amdsmi is there, or the driver does not tell
        return ""
    return f"something else used {share:.0%} of the GPU" if share > OTHERS else ""


def spread_reason(spread: float, limit: float = 0.25) -> str:
    """In words, that runs differed by more than ``limit`` of their median; "" if they did not."""
    return f"runs spread by {spread:.0%} of their median" if spread > limit else ""
