"""A training step over many devices: what a plan costs, and the best plans that there are.

Everything here is modelled, by :mod:`roofline.hardware.planner_step`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import overload

from roofline.hardware.catalogue import Device
from roofline.hardware.cost import Transformer
from roofline.hardware.cost.checks import of_kind, whole
from roofline.hardware.planner_step import Step
from roofline.hardware.plans import MOST_DEVICES, Cluster, Estimate, Plan

__all__ = [
    "Cluster",
    "Estimate",
    "Plan",
    "Rejected",
    "Rejection",
    "Search",
    "cluster",
    "estimate",
    "indivisible",
    "misfit",
    "search",
]


Arguments = tuple[int | str, ...]
"""Of a :class:`Plan`: making it checks it, which takes longer than to time it."""
Fit = tuple[float, float, Arguments]
"""Seconds, bytes, and the plan."""


PAYLOAD = 0.8
"""Share of a link's rate within a node that is data and not what data is packed in: "roughly, the
app-level bandwidth is 80% of the peak" (NCCL's maintainers on NVLink, NVIDIA/nccl issue 1054)."""


def cluster(
    device: Device, count: int, node: int = 8, network: float = 50e9, dtype: str | None = None
) -> Cluster:
    """``count`` of a catalogue's ``device``, ``network`` bytes a second of each to other nodes.

    The efficiency is the catalogue's achieved rate over its peak where there is one, else the
    default; of a link :data:`PAYLOAD` carries data. A device without a known link talks to its node
    over the network, and ``network`` is what arrives. Of disputed figures the middle is used.
    """
    of_kind("device", device, Device, how=", such as catalogue.find('h100 sxm')")
    kind = dtype or device.training_dtype
    peak = device.peak(kind).value
    best = device.achieved.get(kind)
    return Cluster(
        count=count,
        peak=peak,
        memory=device.memory.value,
        bandwidth=device.bandwidth.value,
        inside=PAYLOAD * device.link.value if device.link else network,
        network=network,
        node=node,
        efficiency=best.value / peak if best else Cluster.efficiency,
        units=device.multiprocessors,
    )


@dataclass(frozen=True)
class Rejection:
    """A plan that can't be, and the constraint that it breaks."""

    plan: Plan
    constraint: str


class Rejected(Sequence[Rejection]):
    """All rejected plans of a search, each worked out when it is looked at."""

    def __init__(self, step: Step) -> None:
        self.constraints: Counter[str] = Counter()
        """How many plans each kind of constraint broke."""
        self._step = step
        self._plans: list[tuple[Arguments, str]] = []

    def add(self, plan: Arguments, constraint: str = "") -> None:
        """The arguments of a plan and what it breaks: memory, if nothing is said."""
        self.constraints[constraint.split(":")[0] or "memory"] += 1
        self._plans.append((plan, constraint))

    def shapes(self) -> dict[tuple[int, int], int]:
        """Of every (tensor, pipeline) that broke before its memory was asked for, a place here."""
        places: dict[tuple[int, int], int] = {}
        for place, (plan, constraint) in enumerate(self._plans):
            if constraint:
                places.setdefault((int(plan[1]), int(plan[2])), place)
        return places

    def __len__(self) -> int:
        return len(self._plans)

    @overload
    def __getitem__(self, place: int) -> Rejection: ...
    @overload
    def __getitem__(self, place: slice) -> list[Rejection]: ...
    def __getitem__(self, place: int | slice) -> Rejection | list[Rejection]:
        if isinstance(place, slice):
            return [self[k] for k in range(*place.indices(len(self)))]
        arguments, constraint = self._plans[place]
        plan = _plan(arguments)
        if not constraint:
            constraint = misfit(self._step.machines, self._step.estimate(plan))
        return Rejection(plan, constraint)


@dataclass(frozen=True)
class Search:
    """``best`` plans, fastest first, of ``feasible``; all rejected ones; whether all were tried.

    ``shapes``: for every split into (tensor, pipeline), the fastest plan of it that fits, or else
    what broke it: of plans that only lack memory, the one that needs the least.
    """

    best: list[Estimate]
    rejected: Rejected = field(repr=False)
    feasible: int
    complete: bool
    shapes: dict[tuple[int, int], Estimate | Rejection] = field(repr=False)

    @property
    def tried(self) -> int:
        return self.feasible + len(self.rejected)

    @property
    def constraints(self) -> dict[str, int]:
        """How many plans each kind of constraint broke, most first."""
        return dict(self.rejected.constraints.most_common())


def estimate(model: Transformer, machines: Cluster, plan: Plan, batch: int) -> Estimate:
    """Time and memory of one step over ``batch`` sequences, whether it fits or not.

    Raises ValueError, one line, for a plan that doesn't multiply to the device count or doesn't
    divide the model or the batch. :func:`misfit` says whether it fits.
    """
    broken = indivisible(model, machines, plan, batch)
    if broken:
        raise ValueError(broken)
    return Step(model, machines, batch).estimate(plan)


def indivisible(model: Transformer, machines: Cluster, plan: Plan, batch: int) -> str:
    """The first thing that ``plan`` doesn't divide, in one line; empty if it divides all."""
    _check(model, machines)
    of_kind("plan", plan, Plan)
    whole("batch", batch, most=10**9)
    p, v, t = plan.pipeline, plan.chunks, plan.tensor
    devices = plan.data * t * p
    if devices != machines.count:
        return (
            f"devices: {plan.data} data × {t} tensor × {p} pipeline is {devices:,}, "
            f"there are {machines.count:,}; give factors that multiply to that"
        )
    for name, size in (
        ("heads", model.heads), ("key-value heads", model.kv_heads), ("MLP width", model.mlp_width),
        ("dense MLP width", model.dense_width),
    ):  # fmt: skip
        if size % t:
            return f"{name}: {size:,} don't divide over {t} tensor parallel devices"
    if batch % (plan.data * plan.micro_batch):
        return (
            f"batch: {batch:,} sequences don't divide over {plan.data} replicas in micro-batches "
            f"of {plan.micro_batch}"
        )
    return _uneven(model, p, v, batch // (plan.data * plan.micro_batch))


def _check(model: Transformer, machines: Cluster) -> None:
    of_kind("model", model, Transformer)
    of_kind("machines", machines, Cluster)


def _uneven(model: Transformer, pipeline: int, chunks: int, micro_batches: int) -> str:
    """What doesn't come out even along the pipeline; empty if all does."""
    if model.layers % (pipeline * chunks):
        each = f" of {chunks} chunks" if chunks > 1 else ""
        return f"layers: {model.layers:,} don't divide into {pipeline} stages{each}"
    if chunks > 1 and pipeline == 1:
        return f"chunks: {chunks} chunks need a pipeline of at least 2 stages"
    if chunks > 1 and micro_batches % pipeline:
        return f"chunks: {micro_batches} micro-batches aren't a multiple of {pipeline} stages"
    return ""


def misfit(machines: Cluster, result: Estimate) -> str:
    """What an estimate needs more memory for than there is, in one line; empty if it fits."""
    available = machines.memory * machines.usable
    if result.memory_bytes <= available:
        return ""
    largest = max(result.memory, key=lambda part: result.memory[part])
    return (
        f"memory: {result.memory_bytes / 1e9:.1f} of {available / 1e9:.1f} GB, "
        f"above all {largest} ({result.memory[largest] / 1e9:.1f} GB)"
    )


def search(
    model: Transformer, machines: Cluster, batch: int, keep: int = 10, limit: int = 200_000
) -> Search:
    """Every plan of whole factors, the ``keep`` fastest of those that fit, and why others don't.

    Micro-batches and chunks are powers of two, chunks at most 8. At most ``limit`` plans are tried;
    :attr:`Search.complete` says whether that was all. What doesn't divide is rejected once, for all
    the plans that differ in what is beside the point.
    """
    _check(model, machines)
    whole("batch", batch, most=10**9)
    whole("keep", keep)
    whole("limit", limit)
    step = Step(model, machines, batch)
    available = machines.memory * machines.usable
    fits: list[Fit] = []
    least: dict[tuple[int, int], tuple[float, Arguments]] = {}
    rejected = Rejected(step)
    complete = True
    for shape, micro_batch, chunks in _shapes(model, machines, batch, rejected):
        sizes = (shape.data, shape.tensor, shape.pipeline, micro_batch, chunks)
        split = shape.tensor, shape.pipeline
        if not complete:
            break
        zeros = range(4 if shape.data > 1 else 1)
        for zero, recompute, seconds, size in step.totals(shape, micro_batch, chunks, zeros):
            if len(fits) + len(rejected) >= limit:
                complete = False
                break
            arguments = (*sizes, zero, recompute)
            if size > available:
                rejected.add(arguments)
                if split not in least or size < least[split][0]:
                    least[split] = size, arguments
            else:
                fits.append((seconds, size, arguments))
    best = [step.estimate(_plan(arguments)) for _, _, arguments in heapq.nsmallest(keep, fits)]
    return Search(best, rejected, len(fits), complete, _best_of_shapes(step, fits, least, rejected))


def _best_of_shapes(
    step: Step,
    fits: list[Fit],
    least: dict[tuple[int, int], tuple[float, Arguments]],
    rejected: Rejected,
) -> dict[tuple[int, int], Estimate | Rejection]:
    shapes: dict[tuple[int, int], Estimate | Rejection] = {
        split: rejected[place] for split, place in rejected.shapes().items()
    }
    for split, (_, arguments) in least.items():
        found = step.estimate(_plan(arguments))
        shapes[split] = Rejection(found.plan, misfit(step.machines, found))
    fastest: dict[tuple[int, int], Fit] = {}
    for fit in fits:
        split = int(fit[2][1]), int(fit[2][2])
        if split not in fastest or fit < fastest[split]:
            fastest[split] = fit
    for split, (_, _, arguments) in fastest.items():
        shapes[split] = step.estimate(_plan(arguments))
    return shapes


def _plan(arguments: Arguments) -> Plan:
    return Plan(*arguments)  # type: ignore[arg-type]


def _shapes(
    model: Transformer, machines: Cluster, batch: int, rejected: Rejected
) -> Iterator[tuple[Plan, int, int]]:
    """Every split of devices, micro-batch and chunks that divides; ``rejected`` gets the others."""
    for pipeline, tensor in product(_divisors(machines.count), repeat=2):
        if machines.count // pipeline % tensor:
            continue
        data = machines.count // (pipeline * tensor)
        shape = Plan(data, tensor, pipeline)
        broken = indivisible(model, machines, shape, batch)
        if broken:
            rejected.add((data, tensor, pipeline), broken)
            continue
        for micro_batch, chunks in product(_powers(batch // data), (1, 2, 4, 8)):
            if chunks > 1 and pipeline == 1:
                continue
            broken = _uneven(model, pipeline, chunks, batch // (data * micro_batch))
            if broken:
                rejected.add((data, tensor, pipeline, micro_batch, chunks), broken)
            else:
                yield shape, micro_batch, chunks


def _divisors(n: int) -> list[int]:
    low = [k for k in range(1, int(n**0.5) + 1) if n % k == 0]
    return sorted({*low, *(n // k for k in low)})


def _powers(n: int) -> list[int]:
    """Powers of two that divide n, as far as a plan takes them."""
    most = min(n, MOST_DEVICES).bit_length()
    return [2**k for k in range(most) if n % 2**k == 0]
