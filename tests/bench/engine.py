"""What a training step costs beside PyTorch's: forward, backward, AdamW, from the same weights.

On a processor: one thread, seconds of that thread's own computing, every rival once in each round,
so that what slows the machine slows all; the ratio is taken within each round. Bytes are those of
torch's own allocator, as its profiler reports them, gradients included, weights and moments not.

Where there is CUDA the same table is made on it, with a compiled step beside, by a clock that waits
for the card. ``PYTHONPATH=tests ROOFLINE_MEASURE=record python -m bench.engine`` keeps that table,
under the name of the card or processor, with the other recordings of ``roofline.hardware``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from bench.works import WORKS, Step, Work, work
from roofline.autograd import Tensor
from roofline.hardware.count import Call, Counter
from roofline.hardware.stopwatch import fixed_threads, time_in_turn
from roofline.hardware.trace import observe

# What the median ratio of time, and of bytes, is to be at most; 0.08 is noise.
NOISE = 0.08
TIME = {"mlp": 0.92, "lenet": 0.87, "conv": 0.85, "article": 0.95, "lstm": 1.10, "gpt": 0.98}
BYTES = {"gpt": {"ours": 1.0, "keeping_weights": 1.15}, "lstm": {"ours": 0.65}}  # no noise
SCALAR, IMPORT = 1.0, 0.3
SECONDS = 3.0  # of measuring each rival
SAMPLE = 10e-3  # seconds of steps in a row, so that a step finds the caches as steps leave them
PRODUCTS = {"mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_"}


def run() -> dict:
    result = table("cpu", SECONDS)
    result["scalar"] = scalar(1000, SECONDS)
    result["import"] = imports()
    result["missed"] = missed(result)
    if torch.cuda.is_available():
        result["cuda"] = table("cuda", SECONDS, compiled=True)
    return result


def missed(result: dict) -> list[str]:
    """What is above its target, by more than noise."""
    found = [name for name in WORKS if result[name]["ours"]["ratio"] > TIME[name] + NOISE]
    for name, ways in BYTES.items():
        found += [
            f"bytes of {name}, {way}"
            for way, target in ways.items()
            if result[name]["bytes"][way]["ratio"] > target
        ]
    if result["scalar"]["ratio"] > SCALAR + NOISE:
        found.append("scalar")
    if result["import"]["with_autograd_nn_losses_optim"] > IMPORT:
        found.append("import")
    return found


def table(device: str, seconds: float, small: bool = False, compiled: bool = False) -> dict:
    with fixed_threads(1):
        return {name: measure(name, device, seconds, small, compiled) for name in WORKS}


def measure(
    name: str, device: str, seconds: float, small: bool = False, compiled: bool = False
) -> dict:
    """Every way to do one work, each as a ratio to PyTorch's."""
    task = work(name, small).to(device)
    ways: dict[str, Step] = {"torch": task.rival(), "ours": task.step()[0]}
    ways["plain_update"] = work(name, small).to(device).step(fused=False)[0]
    if task.convolves:
        ways["readable"] = work(name, small).to(device).step(readable=True)[0]
    if task.attends:
        ways["keeping_weights"] = work(name, small).to(device).step(recompute=False)[0]
    if compiled:
        step, _ = work(name, small).to(device).step()
        ways["compiled"] = torch.compile(step, fullgraph=True)
    ways["products"] = floor(work(name, small).to(device))
    clock = time.thread_time if device == "cpu" else time.perf_counter
    times = time_in_turn(list(ways.values()), seconds, clock, SAMPLE)
    rival = times[0]
    result: dict[str, Any] = {
        way: ratios(own, rival) for way, own in zip(ways, times, strict=True) if way != "torch"
    }
    result["torch_seconds"] = _rounded(statistics.median(rival))
    result["target"] = TIME[name] if device == "cpu" else None
    result["bytes"] = memory(task, device)
    return result


def ratios(own: list[float], rival: list[float]) -> dict[str, float]:
    """The median of own over rival, and its quartiles."""
    low, middle, high = statistics.quantiles(
        [a / b for a, b in zip(own, rival, strict=True)], n=4, method="inclusive"
    )
    return {"ratio": _rounded(middle), "low": _rounded(low), "high": _rounded(high)}


def memory(task: Work, device: str) -> dict:
    """The most bytes that are allocated at one time in a step, each as a ratio to PyTorch's.

    Our optimizer keeps the gradients in a buffer between steps: it counts.
    """
    ways = {"ours": {}}
    if task.convolves:
        ways["readable"] = {"readable": True}
    if task.attends:
        ways["keeping_weights"] = {"recompute": False}
    rival = peak(task.rival(), device)
    found: dict[str, Any] = {"torch": rival}
    for way, options in ways.items():
        step, optimizer = task.step(**options)
        gradients = sum(flat.grad.untyped_storage().nbytes() for flat in optimizer.flats)
        found[way] = {"ratio": _rounded((peak(step, device) + gradients) / rival)}
    return found


def peak(step: Step, device: str) -> int:
    """The most bytes that ``step`` has allocated at one time."""
    for _ in range(2):
        step()
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    kinds = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds, profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    most = now = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


class Products(Counter):
    """Takes down the operands of every matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[torch.Tensor, torch.Tensor]] = []

    def kernel(self, call: Call) -> None:
        if call.operator.name in PRODUCTS:
            left, right = [x for x in call.inputs if x.dim() > 1][-2:]
            self.found.append((_like(left), _like(right)))


def _like(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).normal_()


def floor(task: Work) -> Callable[[], None]:
    """The matrix products of a step and nothing else: those of the readable convolution, and of
    attention that keeps its weights."""
    step, _ = task.step(readable=True, recompute=False)
    with Products() as counter:
        step()
    operands = [(a, b, torch.matmul(a, b)) for a, b in counter.found]

    def products() -> None:
        for left, right, out in operands:
            torch.matmul(left, right, out=out)

    return products


def scalar(operations: int, seconds: float) -> dict:
    """An expression of single numbers: Python's own time, and the tape's."""

    def expression(x: Any, y: Any) -> Any:
        for _ in range(operations // 4):
            x = (x * y + y) / y - 1.0  # stays the same, so that no number becomes too small
        return x

    def ours() -> None:
        expression(Tensor(one, requires_grad=True), Tensor(two, requires_grad=True)).backward()

    def theirs() -> None:
        expression(one.clone().requires_grad_(), two.clone().requires_grad_()).backward()

    one, two = torch.tensor(1.0), torch.tensor(2.0)
    with fixed_threads(1):
        rival, own = time_in_turn([theirs, ours], seconds, time.thread_time)
    return {**ratios(own, rival), "target": SCALAR}


IMPORTING = """
import time, torch
times = [time.process_time()]
import roofline
times.append(time.process_time())
import roofline.autograd, roofline.nn, roofline.losses, roofline.optim
times.append(time.process_time())
print(times[1] - times[0], times[2] - times[0])
"""


def imports(repeat: int = 5) -> dict:
    """Seconds of computing that ``import roofline`` adds to ``import torch``, and with the rooms
    that a chapter begins with."""
    command = [sys.executable, "-c", IMPORTING]
    runs = [subprocess.check_output(command, text=True) for _ in range(repeat)]
    package, rooms = zip(*[map(float, run.split()) for run in runs], strict=True)
    return {
        "roofline": _rounded(statistics.median(package)),
        "with_autograd_nn_losses_optim": _rounded(statistics.median(rooms)),
        "target": IMPORT,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def record(seconds: float = SECONDS, small: bool = False) -> None:
    """The table of this machine's card, or of its processor if it has none, through the one door
    for measurements: live, replayed, or live and kept."""
    place = "cuda" if torch.cuda.is_available() else "cpu"
    for name in WORKS:

        def row(name: str = name) -> dict:
            with fixed_threads(1):
                return measure(name, place, seconds, small, compiled=place == "cuda")

        found = observe(f"engine.{name}", row, device=place)
        print(name, json.dumps(found.value, indent=1), found.label)


if __name__ == "__main__":
    record()
