"""What a unit of each kind of work costs on this processor: seconds, from kernels timed alone.

Every kernel is timed in turn with one reference product of matrices, and what is kept is the
ratio: the clock of a machine drifts by a third within minutes, ratios hardly do. Kernels of one
family but of different shapes give one equation each, and non-negative least squares the seconds
for each unit of work. No model and no training step is timed here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

from roofline.hardware import samples
from roofline.hardware.count import Call, Counter, count
from roofline.hardware.kernels import BLOCKED, Work, describe
from roofline.hardware.stopwatch import no_garbage_collection, pages_given, python_calls

REFERENCE = 384  # rows of the product that every time is divided by
ROUNDS = 7
LONG = 20e-3  # seconds: such a call steadies itself
FAR = 1 << 22  # bytes: more than a core's own caches hold
WORKING_SETS = tuple(2**power for power in (16, 18, 19, 20, 21, 22, 23, 24, 26, 28))

Numbers = dict[str, float]


def calibrate(seconds: float = 6.0) -> Numbers:
    """Seconds by "family.unit", with these besides:

    ``reference``: one product of ``REFERENCE`` rows, float32. ``traffic.BYTES``: one byte of memory
    traffic in a working set of so many bytes. ``launch`` and ``view``: an operator with next to
    nothing to do; ``recorded``: what PyTorch's autograd adds; each "near" and "far".
    ``FAMILY.far``: what a kernel costs more that was not called for a while. ``interpreter``: one
    call of a function in Python. ``page``: one page of memory that the system gives anew.

    Where the machine is too slow or too busy for ``ROUNDS`` samples of each in about so many
    seconds, it takes three. Where even these take twice as long, it gives up: no numbers.
    """
    reference = Reference()
    numbers: Numbers = {}
    families = samples.samples()
    start, total = time.perf_counter(), sum(map(len, families.values()))
    done = 0
    with no_garbage_collection():
        for family, functions in families.items():
            equations = []
            for function in functions:
                if time.perf_counter() - start > 2 * seconds:
                    return {}
                late = time.perf_counter() - start > seconds * done / total + 0.1
                ratio = reference.ratio(function, 3 if late else ROUNDS)
                equations.append((work_of(function, family), ratio))
                done += 1
            numbers |= solve(family, equations)
            if family in BLOCKED:
                # The first sample is the smallest: code of this size is fetched from afar slowly.
                far = reference.ratio_from_afar(functions[0]) - equations[0][1]
                numbers[f"{family}.far"] = max(0.0, far)
        numbers |= traffic(reference) | dispatch(reference)
        numbers["page"] = reference.page()
    second = reference.seconds
    return {"reference": second, **{name: ratio * second for name, ratio in numbers.items()}}


def traffic(reference: Reference) -> Numbers:
    """What a byte of memory traffic costs, by working set: a copy touches all of it once."""
    launch = reference.ratio(_copy(256))
    return {
        f"traffic.{size}": max(reference.ratio(_copy(size)) - launch, 0.0) / size
        for size in WORKING_SETS
    }


def dispatch(reference: Reference) -> Numbers:
    """What operators and calls cost where there is next to nothing to do.

    "near" is right after they were called, "far" after ``FAR`` bytes of other things.
    """
    alone, recorded = samples.launches(), samples.launches(recorded=True)
    views, python = samples.views(), samples.python()
    many, few, both = count(alone), count(views), count(recorded)
    numbers: Numbers = {"interpreter": reference.ratio(python) / python_calls(python)}
    for where in ("near", "far"):
        ratio = reference.ratio if where == "near" else reference.ratio_from_afar
        launch, view = ratio(alone) / many.launches, ratio(views) / few.views
        extra = ratio(recorded) - both.launches * launch - both.views * view
        numbers |= {
            f"launch.{where}": launch,
            f"view.{where}": view,
            f"recorded.{where}": max(0.0, extra) / (both.launches + both.views),
        }
    return numbers


class Reference:
    """The product that everything is measured against, and the clock that it is measured with.

    With one thread it is the clock of that thread, which stands still while others use the core.
    """

    def __init__(self) -> None:
        self.factor = torch.randn(REFERENCE, REFERENCE)
        self.times: list[float] = []
        alone = torch.get_num_threads() == 1
        fine = time.get_clock_info("thread_time").resolution < 1e-6  # on Windows it is not
        self.clock = time.thread_time if alone and fine else time.perf_counter
        for _ in range(20):
            self()
        self.tick = statistics.median(self.time(int) for _ in range(100))

    def __call__(self) -> None:
        self.factor @ self.factor

    def now(self) -> float:
        """Seconds of one product, at present. One goes before, to bring the matrix near."""
        self()
        self.times.append(self.time(self, 2))
        return self.times[-1]

    @property
    def seconds(self) -> float:
        return statistics.median(self.times)

    def ratio(self, function: Callable[[], object], rounds: int = ROUNDS) -> float:
        """How many reference products one call takes: the median of neighbouring pairs."""
        function()
        once = self.time(function)
        number = max(1, round(1e-3 / max(once, 1e-7)))
        rounds = rounds if once < LONG else 3
        ratios = []
        for _ in range(rounds):
            taken = self.time(function, number)
            self.now()
            ratios.append(taken / self.times[-1])
        return statistics.median(ratios)

    def ratio_from_afar(self, function: Callable[[], object], rounds: int = 3 * ROUNDS) -> float:
        """The same for a call whose code and data have left the nearest caches."""
        other = torch.ones(FAR // 4)
        function()
        ratios = []
        for _ in range(rounds):
            other.mul_(1.0)
            taken = self.time(function, 1) - self.tick
            self.now()
            ratios.append(taken / self.times[-1])
        return statistics.median(ratios)

    def page(self, size: int = 1 << 26) -> float:
        """The same for a page of new memory: taken, written to and given back, less the writing.

        ``size`` is more than an allocator keeps for itself.
        """

        def fresh() -> None:
            torch.empty(size // 4).fill_(1.0)

        kept = torch.ones(size // 4)
        before = pages_given()
        fresh()
        pages = pages_given() - before
        if not pages:
            return 0.0
        return max(0.0, self.ratio(fresh, 3) - self.ratio(partial(kept.fill_, 1.0), 3)) / pages

    def time(self, function: Callable[[], object], number: int = 1) -> float:
        """Seconds of one call, from so many in a row."""
        start = self.clock()
        for _ in range(number):
            function()
        return (self.clock() - start) / number


def work_of(function: Callable[[], object], family: str) -> Work:
    """The amounts of work of the one kernel of a family that a call runs."""
    found: list[Work] = []

    class Listener(Counter):
        def kernel(self, call: Call) -> None:
            kind, work = describe(call)
            if kind == family:
                found.append(work)

    with Listener():
        function()
    if len(found) != 1:
        raise AssertionError(f"a sample of {family} runs {len(found)} of its kernels, not one")
    return found[0]


def solve(family: str, equations: list[tuple[Work, float]]) -> Numbers:
    """The cost of each unit of work, none negative, that explains the times best.

    Errors are relative: each equation is divided by its time. A unit that would get a negative
    cost is left out, the most negative one first, until none is.
    """
    units = list(dict.fromkeys(unit for work, _ in equations for unit in work))
    rows = [
        [work.get(unit, 0.0) / max(taken, 1e-15) for unit in units] for work, taken in equations
    ]
    matrix = torch.tensor(rows, dtype=torch.float64)
    ones = torch.ones(len(equations), 1, dtype=torch.float64)
    scale = matrix.amax(0)
    costs = dict.fromkeys(units, 0.0)
    kept = [column for column in range(len(units)) if scale[column] > 0]
    while kept:
        scaled = matrix[:, kept] / scale[kept]
        answer = torch.linalg.lstsq(scaled, ones, driver="gelsd").solution[:, 0]
        if answer.min() >= 0:
            found = (answer / scale[kept]).tolist()
            costs |= {units[column]: cost for column, cost in zip(kept, found, strict=True)}
            break
        kept.pop(int(answer.argmin()))
    return {f"{family}.{unit}": cost for unit, cost in costs.items()}


def _copy(size: int) -> Callable[[], object]:
    source, target = torch.ones(size // 8), torch.zeros(size // 8)
    return lambda: target.copy_(source)
