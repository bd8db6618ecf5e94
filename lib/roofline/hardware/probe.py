"""Measuring this machine: matrix products, memory, launches and copies, on any device.

The same code probes the processor, a CUDA or ROCm card and Apple's GPU. Nothing is assumed of
their speed: each sweep goes from small to large and stops where the next size would cost more
than its share of the time. A CPU may be a thousand times slower in one dtype than in another.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import Any

import psutil
import torch

from roofline import __version__
from roofline.hardware.calibrate import calibrate
from roofline.hardware.load import Watch, gpu_in_use
from roofline.hardware.machine import best_device, machine, reason, synchronize
from roofline.hardware.profile import (
    Profile,
    ProfileError,
    Rate,
    load_profile,
    profile_from,
    save_profile,
)
from roofline.hardware.stopwatch import FEWEST, spread, time_in_turn
from roofline.hardware.trace import observe

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
GEMM_SIZES = tuple(2**power for power in range(5, 15))  # 32 to 16,384 rows
WORKING_SETS = tuple(2**power for power in range(16, 33))  # 64 KiB to 4 GiB
COPY_SIZES = (2**16, 2**20, 2**24, 2**28)
# A working set that most caches don't hold: without it a short probe would take a cache for memory.
BEYOND_CACHES = 2**25
# Spread beyond which a figure is said to be unsteady.
UNSTEADY = 0.25


def probe(
    device: torch.device | str | None = None,
    seconds: float = 16.0,
    progress: Callable[[str], None] = lambda step: None,
) -> Profile:
    """Measure one device, the best there is if None, in less than about ``seconds``.

    ``progress`` is told what is measured next. Raises :class:`ProfileError` if the device is not
    there or has not the memory for the smallest sizes.
    """
    device = _checked(device)
    start = time.perf_counter()
    notes: list[str] = []
    on_processor = device.type == "cpu"
    before = gpu_in_use(device)
    with Watch(torch.get_num_threads() if on_processor else 0) as watch:
        progress("launching an operator")
        overhead, latency = launch_overhead(device)
        progress("memory")
        bandwidth = bandwidth_sweep(device, 0.15 * seconds, notes)
        gemm: list[Rate] = []
        for dtype in DTYPES:
            progress(f"matrix products in {name_of(dtype)}")
            gemm += gemm_sweep(device, dtype, 0.1 * seconds, notes)
        if device.type == "cuda" and not torch.version.hip:
            progress("matrix products in tfloat32")
            with tensor_float():
                gemm += gemm_sweep(device, torch.float32, 0.1 * seconds, notes, "tfloat32")
        copies: list[Rate] = []
        kernels: dict[str, float] = {}
        if on_processor:
            progress("the kernels of training steps")
            costs = calibrate(0.3 * seconds)
            if not costs:
                notes.append("too slow or too busy to time kernels: no step times are predicted")
            kernels = {name: _short(cost) for name, cost in costs.items()}
        else:
            progress("copies to and from the device")
            copies = copy_sweep(device, 0.1 * seconds, notes)
    if not gemm or not bandwidth:
        raise ProfileError(f"{device.type} could not run the smallest sizes: {'; '.join(notes)}")
    reasons = filter(None, (before, watch.busy, unsteadiness(gemm + bandwidth)))
    return Profile(
        machine={"name": machine().name, **machine().as_dict()},
        device=device.type,
        threads=torch.get_num_threads() if on_processor else 0,
        date=date.today().isoformat(),
        code=f"roofline {__version__}",
        took=round(time.perf_counter() - start, 2),
        overhead=overhead,
        latency=latency,
        gemm=tuple(gemm),
        bandwidth=tuple(bandwidth),
        copies=tuple(copies),
        kernels=kernels,
        busy="; ".join(reasons),
        notes=tuple(notes),
    )


def this_machine(name: str, seconds: float = 8.0) -> Profile:
    """The profile that a chapter uses: saved by ``roofline machine``, or probed and saved now.

    It comes through the door of :mod:`roofline.hardware.trace`, under ``name``
    ("chapter.machine"), so that a notebook that is replayed shows the recorded one.
    """

    def saved_or_measured() -> dict[str, Any]:
        profile = load_profile()
        if profile is None:
            profile = probe(seconds=seconds)
            save_profile(profile)
        return profile.as_dict()

    reading = observe(name, saved_or_measured, device=best_device())
    return replace(profile_from(reading.value), replayed=reading.replayed)


def unsteadiness(rates: list[Rate]) -> str:
    """In words, that over a quarter of the rates is unsteady; "" if it is not."""
    unsteady = sum(rate.spread > UNSTEADY for rate in rates)
    if unsteady <= len(rates) / 4:
        return ""
    return f"{unsteady} of {len(rates)} figures spread by over {UNSTEADY:.0%}"


def launch_overhead(device: torch.device) -> tuple[float, float]:
    """Seconds of an addition of one element: queued behind others, and waited for each time."""
    x = torch.ones(1, device=device)
    queued = time_in_turn([lambda: torch.add(x, x)], 0.1)[0]

    def waited() -> None:
        torch.add(x, x)
        synchronize()

    return statistics.median(queued), statistics.median(time_in_turn([waited], 0.1)[0])


def gemm_sweep(
    device: torch.device, dtype: torch.dtype, seconds: float, notes: list[str], what: str = ""
) -> list[Rate]:
    """FLOP/s of square products, from small to large, while the time and the memory last.

    The matrices are random: on some cards power, and with it the clock, depends on the values.
    """

    def trial(size: int) -> Callable[[], object]:
        first = torch.randn(size, size, device=device).to(dtype)
        second = torch.randn(size, size, device=device).to(dtype)
        out = torch.empty(size, size, device=device, dtype=dtype)
        return lambda: torch.mm(first, second, out=out)

    memory = [3 * size * size * 4 for size in GEMM_SIZES]
    return _sweep(
        what or name_of(dtype), GEMM_SIZES, memory, [2 * size**3 for size in GEMM_SIZES],
        trial, device, seconds, notes,
    )  # fmt: skip


@contextmanager
def tensor_float() -> Iterator[None]:
    """Let NVIDIA's tensor cores round float32 factors to TF32 inside the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def bandwidth_sweep(device: torch.device, seconds: float, notes: list[str]) -> list[Rate]:
    """Bytes/s of a copy, by working set: each level of cache shows as a step.

    The launch, measured on a copy of one element, is subtracted, or it would hide the caches.
    """
    one, other = torch.ones(1, device=device), torch.ones(1, device=device)
    launch = min(time_in_turn([lambda: other.copy_(one)], 0.1)[0])

    def trial(size: int) -> Callable[[], object]:
        source = torch.ones(size // 8, device=device)
        target = torch.zeros(size // 8, device=device)
        return lambda: target.copy_(source)

    largest = 2**32 if device.type != "cpu" else 2**29
    sizes = [size for size in WORKING_SETS if size <= largest]
    return _sweep("copy", sizes, sizes, sizes, trial, device, seconds, notes, launch, BEYOND_CACHES)


def copy_sweep(device: torch.device, seconds: float, notes: list[str]) -> list[Rate]:
    """Bytes/s between main memory and the device, from pageable and from pinned memory."""
    rates: list[Rate] = []
    for pinned in (False, True) if device.type == "cuda" else (False,):
        for to_device in (True, False):

            def trial(
                size: int, pinned: bool = pinned, to_device: bool = to_device
            ) -> Callable[[], object]:
                here = torch.ones(size // 4, pin_memory=pinned)
                there = torch.ones(size // 4, device=device)
                target, source = (there, here) if to_device else (here, there)
                return lambda: target.copy_(source, non_blocking=pinned)

            way = f"{'to' if to_device else 'from'} device{', pinned' if pinned else ''}"
            share = seconds / 4
            rates += _sweep(way, COPY_SIZES, COPY_SIZES, COPY_SIZES, trial, device, share, notes)
    return rates


def _sweep(
    what: str,
    sizes: tuple[int, ...] | list[int],
    memory: tuple[int, ...] | list[int],
    work: tuple[int, ...] | list[int],
    trial: Callable[[int], Callable[[], object]],
    device: torch.device,
    seconds: float,
    notes: list[str],
    launch: float = 0.0,
    least: int = 0,
) -> list[Rate]:
    """Rates of ``work`` for each size, until the time, the memory or the device gives out.

    Sizes up to ``least`` are measured whatever time they take.
    """
    rates: list[Rate] = []
    end = time.perf_counter() + seconds
    free = free_memory(device)
    slowest = 0.0  # seconds for each unit of work, of the size before
    for size, needed, units in zip(sizes, memory, work, strict=True):
        expected = slowest * units * (FEWEST + 2)
        late = size > least and time.perf_counter() + expected > end
        if needed > free / 4 or late:
            break
        try:
            times = time_in_turn([trial(size)], seconds / len(sizes) / 2)[0]
        except (RuntimeError, TypeError, MemoryError) as error:
            # No kernel for the dtype, or no memory: what was measured before stands.
            notes.append(f"{what} stopped at {size:,}: {reason(error)[:120]}")
            break
        middle = statistics.median(times)
        slowest = middle / units
        net = max(middle - launch, middle / 4)
        rates.append(Rate(what, size, _short(units / net), _short(spread(times))))
    return rates


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return int(min(psutil.virtual_memory().available, machine().memory_bytes))


def name_of(dtype: torch.dtype) -> str:
    """float32 for torch.float32."""
    return str(dtype).removeprefix("torch.")


def _checked(device: torch.device | str | None) -> torch.device:
    if device is None:
        return best_device()
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ProfileError(
            f"there is no device {str(device)!r} here: choose cpu"
            + (f" or {best_device().type}" if best_device().type != "cpu" else "")
        ) from None
    return chosen


def _short(value: float) -> float:
    return float(f"{value:.4g}")
