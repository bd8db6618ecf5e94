"""How to spread one training step over many devices: the best plans, and what broke the others.

All of it is modelled, by :mod:`roofline.hardware.planner`, from the figures of the catalogue. Every
plan of whole factors is tried: sizes of micro-batches and chunks are powers of two. Beside the best
ones stands the learner's own, and where it can't be, the constraint that breaks it.
"""

from __future__ import annotations

import math
import textwrap
from typing import Annotated, Any

from matplotlib.figure import Figure

from roofline.hardware.catalogue import recorded
from roofline.hardware.cost import flops
from roofline.hardware.planner import Estimate, Plan, Rejection, estimate, indivisible, misfit
from roofline.lab import style
from roofline.lab.controls import Choices, ControlError, Range, bounded
from roofline.lab.experiment import Experiment, Question, register
from roofline.lab.frames import Scale, frame, legend
from roofline.lab.planned import DEVICES, NETWORK, NETWORKS, SHOWN, Planned, machines, searched

TENSORS = tuple(2**k for k in range(7))
PIPELINES = tuple(2**k for k in range(8))
"""Splits that the map has a place for."""


@bounded
def model(
    network: Annotated[str, Choices(*NETWORKS)] = "GPT 175B",
    device: Annotated[str, Choices(*DEVICES)] = "A100 80GB SXM",
    devices: Annotated[int, Range(8, 4096, doubling=True)] = 1024,
    batch: Annotated[int, Range(16, 8192, doubling=True)] = 2048,
    tensor: Annotated[int, Range(1, 64, doubling=True)] = 8,
    pipeline: Annotated[int, Range(1, 128, doubling=True)] = 1,
    micro_batch: Annotated[int, Range(1, 64, doubling=True)] = 1,
    zero: Annotated[int, Range(0, 3)] = 1,
    recompute: Annotated[str, Choices(*flops.RECOMPUTE)] = "none",
) -> Planned:
    """The best plans for one step over ``batch`` sequences on ``devices``, and the learner's own:
    ``tensor`` × ``pipeline`` devices hold the model together, so many replicas as there is room."""
    shape, cluster_ = NETWORKS[network], machines(device, devices)
    replicas = max(1, devices // (tensor * pipeline))
    try:
        plan = Plan(replicas, tensor, pipeline, micro_batch, 1, zero, recompute)
        broken = indivisible(shape, cluster_, plan, batch)
        own = None if broken else estimate(shape, cluster_, plan, batch)
        found = searched(network, device, devices, batch)
    except ValueError as problem:
        raise ControlError(str(problem)) from None
    if own is not None:
        broken = misfit(cluster_, own)
    return Planned(network, device, cluster_, batch, plan, own, broken, found)


def draw(result: Planned) -> Figure:
    """A map of all splits, by how well they use the devices or what breaks them; and step times."""
    with style.applied():
        figure = style.figure(8.4, 3.6)
        axis = frame(figure, (0.065, 0.335, 0.36, 0.9), _TENSOR, _PIPELINE)
        shades = axis.imshow(
            _shares(result), "cividis", vmin=0, vmax=80, origin="lower", aspect="auto", zorder=0.5
        )
        entries: dict[str, Any] = {"your plan": {**_OWN, "markersize": 9}}
        for kind, places in _broken(result).items():
            look = _MARKS.get(kind, _OTHER)
            axis.plot(*zip(*places, strict=True), **look)
            entries[f"broken: {kind}"] = look
        own = result.plan
        axis.plot([math.log2(own.tensor)], [math.log2(own.pipeline)], **_OWN)
        _shade_scale(figure, shades)
        _bars(figure, result)
        legend(figure, entries, (0.03, 0.175, 0.335), 0.125)
        parts = {part: {"hatch": "", "facecolor": colour} for part, (_, colour) in _PARTS.items()}
        legend(figure, parts, (0.555, 0.72, 0.885), 0.125)
    return figure


_TENSOR = Scale(
    "tensor parallel devices", -0.5, len(TENSORS) - 0.5,
    {float(k): f"{n}" for k, n in enumerate(TENSORS)},
)  # fmt: skip
_PIPELINE = Scale(
    "Pipeline stages (modelled)", -0.5, len(PIPELINES) - 0.5,
    {float(k): f"{n}" for k, n in enumerate(PIPELINES)},
)  # fmt: skip

_MARK: dict[str, Any] = {"linestyle": "none", "color": style.BLACK, "fillstyle": "none"}
_OWN = {**_MARK, "marker": "o", "markersize": 15, "markeredgewidth": 2.2, "color": style.VERMILION}
_MARKS: dict[str, dict[str, Any]] = {
    "memory": {**_MARK, "marker": "x", "markersize": 6},
    "heads": {**_MARK, "marker": "|", "markersize": 8},
    "layers": {**_MARK, "marker": "_", "markersize": 8},
    "batch": {**_MARK, "marker": "^", "markersize": 6},
}
_OTHER = {**_MARK, "marker": "s", "markersize": 5}
"""What a broken split looks like, by the constraint that broke it."""

_PARTS: dict[str, tuple[tuple[str, ...], str]] = {
    "computation": (("computation",), style.BLUE),
    "tensor parallel": (("tensor parallel",), style.ORANGE),
    "bubble": (("pipeline bubble",), style.GREY),
    "data parallel": (("data parallel",), style.GREEN),
    "other": (("pipeline transfers", "update"), style.PURPLE),
}
"""The pieces of a bar from left to right: the parts of a step that they hold, their colour."""


def _shares(result: Planned) -> list[list[float]]:
    """Of every split on the map the MFU in percent; not a number where nothing fits."""
    shares = [[math.nan] * len(TENSORS) for _ in PIPELINES]
    for (tensor, pipeline), found in result.found.shapes.items():
        if isinstance(found, Estimate) and tensor in TENSORS and pipeline in PIPELINES:
            shares[PIPELINES.index(pipeline)][TENSORS.index(tensor)] = 100 * found.mfu
    return shares


def _broken(result: Planned) -> dict[str, list[tuple[float, float]]]:
    """Places on the map of splits that can't be, by the kind of constraint."""
    places: dict[str, list[tuple[float, float]]] = {}
    for (tensor, pipeline), found in result.found.shapes.items():
        if isinstance(found, Rejection) and tensor in TENSORS and pipeline in PIPELINES:
            kind = found.constraint.split(":")[0]
            places.setdefault(kind, []).append((math.log2(tensor), math.log2(pipeline)))
    return dict(sorted(places.items()))


def _shade_scale(figure: Figure, shades: Any) -> None:
    """What the shades of the map mean."""
    low, high = shades.get_clim()
    axis = frame(
        figure,
        (0.375, 0.335, 0.39, 0.9),
        Scale("", 0, 1, {}),
        Scale("", low, high, {}),
    )
    axis.imshow(
        [[n] for n in range(int(low), int(high) + 1)],
        "cividis", origin="lower", aspect="auto", extent=(0, 1, low, high),
    )  # fmt: skip
    axis.set_xlabel("MFU")
    for share, words in ((2, "0"), (40, "40"), (78, "80%\nMFU")):
        axis.text(1.4, share, words, va="center", fontsize=8)


def _bars(figure: Figure, result: Planned) -> None:
    """Step times of the best splits and of the learner's plan, part by part."""
    rows = [(_name(each.plan), each) for each in result.splits]
    names = {float(place): name for place, (name, _) in enumerate(rows)}
    names[float(SHOWN)] = f"yours: {_name(result.plan)}"
    shown = [each for _, each in rows] + ([result.own] if result.own else [])
    longest = max((each.step_seconds for each in shown), default=1.0)
    seconds = Scale.even("seconds of one step (modelled)", 1.02 * longest, "{:g}".format)
    axis = frame(
        figure,
        (0.62, 0.335, 0.985, 0.9),
        seconds,
        Scale("Fastest, data × tensor × pipeline", SHOWN + 0.65, -0.6, names),
    )
    places = [float(place) for place in range(len(rows))] + ([float(SHOWN)] if result.own else [])
    left = [0.0] * len(shown)
    for held, colour in _PARTS.values():
        sizes = [sum(each.seconds[name] for name in held) for each in shown]
        ends = [a + b for a, b in zip(left, sizes, strict=True)]
        axis.hlines(places, left, ends, colour, linewidth=17)
        left = ends
    if result.broken:
        said = result.broken if len(result.broken) < 50 else result.broken.split(",")[0]
        said = textwrap.shorten(said, 56, placeholder=" …")
        axis.text(0.01 * longest, SHOWN + 0.5, said, va="center", fontsize=7.5)
    if not rows:
        axis.text(0.5 * longest, 1.5, "no plan fits", ha="center")


def _name(plan: Plan) -> str:
    """A plan in a few letters."""
    chunks = f" v{plan.chunks}" if plan.chunks > 1 else ""
    again = "" if plan.recompute == "none" else f" {plan.recompute[:3]}."
    return (
        f"{plan.data}×{plan.tensor}×{plan.pipeline} b{plan.micro_batch}{chunks} z{plan.zero}{again}"
    )


def _in_words(found: Estimate) -> str:
    plan = found.plan
    chunks = f", {plan.chunks} chunks a stage" if plan.chunks > 1 else ""
    parts = ", ".join(
        f"{part} {seconds:.3g}" for part, seconds in found.seconds.items() if seconds >= 0.0005
    )
    return (
        f"{plan.data} data × {plan.tensor} tensor × {plan.pipeline} pipeline, micro-batch "
        f"{plan.micro_batch}{chunks}, ZeRO {plan.zero}, recompute {plan.recompute}: "
        f"{found.step_seconds:.3g} s ({parts}), MFU {100 * found.mfu:.3g}%, "
        f"{found.memory_bytes / 1e9:.3g} GB"
    )


def describe(result: Planned) -> str:
    """The picture in one line."""
    found = result.found
    best = "; ".join(_in_words(each) for each in result.splits) or "none"
    constraints = ", ".join(f"{kind} {count:,}" for kind, count in found.constraints.items())
    broken: dict[str, list[str]] = {}
    for (tensor, pipeline), each in sorted(found.shapes.items()):
        if isinstance(each, Rejection) and tensor in TENSORS and pipeline in PIPELINES:
            broken.setdefault(each.constraint, []).append(f"{tensor} × {pipeline}")
    splits = "; ".join(f"{', '.join(where)} ({why})" for why, where in broken.items())
    machine = result.machines
    own = f"{_in_words(result.own)}" if result.own else _name(result.plan)
    verdict = f"broken by {result.broken}" if result.broken else "it fits"
    return (
        f"{result.network} on {machine.count:,} {result.device}, {result.batch:,} sequences a "
        f"step: {found.tried:,} plans tried, {found.feasible:,} fit"
        f"{'' if found.complete else ' (not all tried)'}. Fastest, of different splits: {best}. "
        f"Your plan, {own}: {verdict}. Plans broken by {constraints or 'nothing'}. "
        f"Splits (tensor × pipeline) of which none fits: {splits or 'none'}. All modelled from the "
        f"catalogue of {recorded()}, products at {100 * machine.efficiency:.0f}% of the peak, "
        f"{NETWORK / 1e9:g} GB/s of each device to other nodes, {machine.usable:.0%} of a memory "
        f"for the program (assumed); a real step takes longer."
    )


def row(result: Planned) -> dict[str, Any]:
    """What the table of trials says of a result."""
    best, own = result.best, result.own
    return {
        "best plan (modelled)": _name(best.plan) if best else "none fits",
        "its step, s (modelled)": round(best.step_seconds, 4) if best else "",
        "its MFU, % (modelled)": round(100 * best.mfu, 2) if best else "",
        "your step, s (modelled)": round(own.step_seconds, 4) if own else "",
        "your plan is broken by": result.broken,
        "plans that fit (modelled)": result.found.feasible,
    }


def ask(result: Planned) -> str:
    """What to predict, about the controls as they stand at first."""
    return (
        f"Before you look: {result.network} learns from {result.batch:,} sequences of "
        f"{NETWORKS[result.network].sequence:,} tokens in one step, on "
        f"{result.machines.count:,} {result.device}. Of all their peak, how many percent does the "
        f"best plan use for the model's own arithmetic (its MFU)?"
    )


planner = register(
    Experiment(
        name="planner",
        title="One training step over up to 4,096 devices: the best plans, and what breaks others",
        model=model,
        draw=draw,
        describe=describe,
        row=row,
        question=Question(
            text=ask,
            unit="%",
            truth=lambda result: 100 * result.best.mfu if result.best else None,
            kind="modelled",
        ),
    )
)
