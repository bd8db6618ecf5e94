"""Why batch: how long a batch takes, and how many inputs a second, against its size.

Dense layers one after the other, ``width`` to ``width``, without a gradient. Their weights come
from memory once for each batch, however large it is. As long as that takes longer than the
arithmetic, another input costs nothing: time is flat, and throughput grows. Where both take equally
long is the ridge of the roofline (Williams, Waterman and Patterson, CACM 52(4), 2009); beyond it
time grows and throughput stands still.

*Modelled*: :func:`modelled_seconds`, of this machine as it was measured or of a device of the
catalogue as its maker describes it. *Measured*: each size of batch, on this machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from matplotlib.figure import Figure

from roofline.autograd import Tensor, linear, no_grad
from roofline.hardware import catalogue
from roofline.hardware.recordings import Measurement, duration
from roofline.lab import here as machines
from roofline.lab import style
from roofline.lab.controls import Choices, Range, bounded
from roofline.lab.experiment import Experiment, Question, register
from roofline.lab.frames import Scale, exponents, frame, legend, source
from roofline.lab.here import Here
from roofline.lab.measuring import Door, Step

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ORDER = (1, 256, 16, 4, 64, 2, 8, 32, 128)
"""In which they are measured: a coarse picture first."""
SECONDS = 0.2
THIS = "this machine"
DEVICES = ("T4", "RTX 4090", "A100 80GB SXM", "H100 SXM", "TPU v5e")


@dataclass(frozen=True)
class Speed:
    """What a model of time needs: FLOP/s, bytes/s of the weights, seconds of a launch, bytes of a
    number, and whose figures they are."""

    peak: float
    bandwidth: float
    overhead: float
    element: int
    label: str


@dataclass(frozen=True)
class Batching:
    """Seconds of a batch by its size: ``modelled`` for each of ``BATCHES``, ``measured`` for those
    that have been."""

    width: int
    layers: int
    device: str
    speed: Speed
    modelled: dict[int, float]
    ridge: float
    measured: dict[int, Measurement] = field(default_factory=dict)

    @property
    def found(self) -> float | None:
        """The ridge as it was measured: where the time of one input, which is the flat part, meets
        the time that an input takes in the largest batch."""
        first, last = self.measured.get(BATCHES[0]), self.measured.get(BATCHES[-1])
        if first is None or last is None:
            return None
        return first.median / (last.median / BATCHES[-1])


def modelled_seconds(batch: int, width: int, layers: int, speed: Speed) -> float:
    """The longer of arithmetic and memory in each layer, and its launch.

    2·b·n² FLOPs; n² weights, b·n inputs and b·n outputs to be moved.
    """
    arithmetic = 2 * batch * width**2 / speed.peak
    memory = speed.element * (width**2 + 2 * batch * width) / speed.bandwidth
    return layers * (max(arithmetic, memory) + speed.overhead)


def modelled_ridge(width: int, speed: Speed) -> float:
    """The batch at which arithmetic and memory take equally long; infinite if there is none.

    From 2bn²/peak = e(n² + 2bn)/bandwidth with e bytes a number: about e/2 · peak/bandwidth.
    """
    arithmetic = 2 * width**2 / speed.peak
    memory = 2 * speed.element * width / speed.bandwidth
    if arithmetic <= memory:
        return math.inf
    return speed.element * width**2 / speed.bandwidth / (arithmetic - memory)


def speed_here(here: Here, width: int, layers: int) -> Speed:
    """Of a machine that was measured; weights that fit a cache come from there."""
    working_set = 4 * layers * width**2
    return Speed(here.peak, here.rate(working_set), here.overhead, 4, here.label)


def speed_of(name: str) -> Speed:
    """Of a device of the catalogue in 16 bits, its maker's figures, without launches."""
    device = catalogue.find(name)
    peak, dtype = device.peak(), device.training_dtype
    label = (
        f"{device.full_name} as printed: {peak} in {dtype}, {device.bandwidth}, no time for "
        f"launches"
    )
    return Speed(peak.value, device.bandwidth.value, 0.0, 2, label)


@bounded
def model(
    width: Annotated[int, Range(256, 2048, doubling=True)] = 2048,
    layers: Annotated[int, Range(1, 8, doubling=True)] = 4,
    device: Annotated[str, Choices(THIS, *DEVICES)] = THIS,
) -> Batching:
    """Modelled seconds of every batch. This machine is the recorded one until it is measured."""
    if device == THIS:
        speed = speed_here(machines.recorded(), width, layers)
    else:
        speed = speed_of(device)
    return _modelled(width, layers, device, speed)


def _modelled(width: int, layers: int, device: str, speed: Speed) -> Batching:
    return Batching(
        width, layers, device, speed,
        modelled={b: modelled_seconds(b, width, layers, speed) for b in BATCHES},
        ridge=modelled_ridge(width, speed),
    )  # fmt: skip


def measured(result: Batching, door: Door) -> Iterator[Step]:
    """Measure this machine, then each batch. There is nothing to measure of a catalogue."""
    if result.device != THIS:
        yield Step(result, 0, 0)
        return
    total = len(ORDER)
    yield from machines.with_machine(
        door,
        lambda here: _batches(result, here, door),
        lambda words: Step(result, 0, total, words),
    )


def _batches(result: Batching, here: Here, door: Door) -> Iterator[Step]:
    width, layers = result.width, result.layers
    result = _modelled(width, layers, THIS, speed_here(here, width, layers))
    yield Step(result, 0, len(ORDER), f"measuring batch {ORDER[0]}")
    for done, batch in enumerate(ORDER, start=1):
        time = door.measure(
            f"lab_batching.width={width}.layers={layers}.batch={batch}",
            forward(batch, width, layers),
            seconds=SECONDS,
            device=machines.device(),
        )
        result = replace(result, measured={**result.measured, batch: time})
        coming = f"measuring batch {ORDER[done]}" if done < len(ORDER) else ""
        yield Step(result, done, len(ORDER), coming)


def forward(batch: int, width: int, layers: int) -> Callable[[], None]:
    """All layers once, on the best device; the weights are made at the first call."""
    made: list[tuple[Tensor, list[Tensor]]] = []

    def run() -> None:
        if not made:
            device = machines.device()
            weights = [
                Tensor(torch.randn(width, width, device=device) * width**-0.5)
                for _ in range(layers)
            ]
            made.append((Tensor(torch.randn(batch, width, device=device)), weights))
        x, weights = made[0]
        with no_grad():
            for weight in weights:
                x = linear(x, weight)

    return run


_RIDGE: dict[str, Any] = {"color": style.BLUE, "linestyle": "--", "linewidth": 1.3}
_FOUND: dict[str, Any] = {"color": style.BLACK, "linestyle": ":", "linewidth": 1.6}


def draw(result: Batching) -> Figure:
    """Left: milliseconds of a batch. Right: inputs a second. Both against the batch's size."""
    times = [result.modelled[b] for b in BATCHES]
    seen = sorted(result.measured)
    clock = [result.measured[b].median for b in seen]
    places = [math.log2(b) for b in BATCHES]
    x = Scale("inputs in a batch", -0.3, 8.3, {k: f"{2**k}" for k in range(0, 9, 2)})
    with style.applied():
        figure = style.figure(8.4, 3.5)
        for place, (title, unit, values, points) in enumerate(
            (
                ("Time of a batch", "s", times, clock),
                (
                    "Inputs a second", "",
                    [b / t for b, t in zip(BATCHES, times, strict=True)],
                    [b / t for b, t in zip(seen, clock, strict=True)],
                ),
            )
        ):  # fmt: skip
            left = 0.09 + 0.5 * place
            axis = frame(
                figure, (left, 0.32, left + 0.4, 0.9), x, decades(title, [*values, *points], unit)
            )
            if result.ridge < 300:
                axis.axvline(math.log2(result.ridge), **_RIDGE)
            if result.found is not None:
                axis.axvline(math.log2(result.found), **_FOUND)
            axis.plot(places, exponents(values), **style.MODELLED)
            axis.plot([math.log2(b) for b in seen], exponents(points), **style.MEASURED)
        entries: dict[str, Any] = {"modelled": style.MODELLED}
        if result.ridge < 300:
            entries[f"ridge {result.ridge:.3g} (modelled)"] = _RIDGE
        entries["measured" if seen else "not measured"] = style.MEASURED
        if result.found is not None:
            entries[f"ridge {result.found:.3g} (measured)"] = _FOUND
        legend(figure, entries, (0.09, 0.5), 0.145)
        label = result.measured[seen[0]].label if seen else f"model: {result.speed.label}"
        source(figure, label)
    return figure


def decades(title: str, values: list[float], unit: str) -> Scale:
    """From a power of ten below the least to one above the greatest, at least two of them."""
    low = math.floor(math.log10(min(values)))
    high = max(math.ceil(math.log10(max(values))), low + 2)
    words = duration if unit == "s" else lambda value: style.amount(value, unit)
    step = 1 if high - low <= 6 else 2
    return Scale(title, low, high, {k: words(10.0**k) for k in range(low, high + 1, step)})


def describe(result: Batching) -> str:
    """The picture in one line."""
    b, least, most = 16, BATCHES[0], BATCHES[-1]
    ridge = f"{result.ridge:.3g} inputs" if result.ridge < math.inf else "no batch"
    replayed = result.speed.label.startswith("replayed")
    where = "the recorded machine" if replayed else result.device
    ends = ", ".join(
        f"batch {n} {duration(result.modelled[n])} and {n / result.modelled[n]:,.0f} inputs a "
        f"second"
        for n in (least, b, most)
    )
    said = (
        f"{style.several(result.layers, 'layer')} of {result.width:,} on {where}: arithmetic and "
        f"memory take equally long at {ridge} (modelled). Modelled: {ends}. The model's figures: "
        f"{result.speed.label}. "
    )
    if result.device != THIS:
        return said + "Nothing of it was measured here."
    if not result.measured:
        return said + "No batch has been measured yet."
    seen = sorted(result.measured)
    times = ", ".join(
        f"batch {n} {duration(result.measured[n].median)} and "
        f"{n / result.measured[n].median:,.0f} inputs a second"
        for n in seen
    )
    found = "" if result.found is None else f"Ridge found: {result.found:.3g} inputs (measured). "
    return f"{said}{found}Measured: {times} ({result.measured[seen[0]].label})."


def row(result: Batching) -> dict[str, Any]:
    """What the table of trials says of a result."""
    last = result.measured.get(BATCHES[-1])
    return {
        "ridge, inputs (modelled)": round(result.ridge, 2),
        "ridge, inputs (measured)": "" if result.found is None else round(result.found, 2),
        "inputs a second at most (modelled)": round(BATCHES[-1] / result.modelled[BATCHES[-1]]),
        "inputs a second at most (measured)": ""
        if last is None
        else round(BATCHES[-1] / last.median),
        "of": result.speed.label,
    }


def ask(result: Batching) -> str:
    """What to predict, about the controls as they stand at first."""
    size = style.size(4 * result.layers * result.width**2)
    return (
        f"Before you look: {result.layers} dense layers of {result.width:,} answer a batch of "
        f"inputs; their weights are {size}. One input takes as long as it takes to read them. "
        f"Up to about how many inputs at a time does a batch take no longer than one input?"
    )


batching = register(
    Experiment(
        name="batching",
        title="Why batch: time and throughput against the size of a batch, and where the ridge is",
        model=model,
        draw=draw,
        describe=describe,
        row=row,
        question=Question(text=ask, unit="inputs", truth=lambda result: result.found),
        measure=measured,
    )
)
