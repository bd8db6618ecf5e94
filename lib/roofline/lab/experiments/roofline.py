"""Your machine's roofline, any operation of the course on it, and the catalogue's beside it.

A roofline is the FLOP/s that a machine can reach at an arithmetic intensity, FLOPs for each byte
moved: ``min(peak, intensity · bandwidth)`` (Williams, Waterman and Patterson, CACM 52(4), 2009,
equation 1). Where an operation stands is *measured*: its FLOPs and bytes are counted, the same on
every machine, and its time is taken on this one. The roof is *modelled* from what was measured of
this machine, and for devices of the catalogue from their makers' figures.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from roofline.hardware import catalogue
from roofline.hardware.catalogue import Device
from roofline.hardware.cost import rates
from roofline.hardware.recordings import Measurement, duration
from roofline.lab import here as machines
from roofline.lab import style
from roofline.lab.controls import Choices, Range, bounded
from roofline.lab.experiment import Experiment, Question, register
from roofline.lab.frames import Scale, exponents, frame, legend, source, stands
from roofline.lab.here import Here
from roofline.lab.measuring import Door, Step
from roofline.lab.operations import OPERATIONS, Asked, asked, words

SECONDS = 0.2
LEAST, MOST = 2.0**-6, 2.0**14
"""Ends of the picture, in FLOPs a byte."""
SLOWEST, FASTEST = 1e5, 1e16
"""Ends of the picture, in FLOP/s."""


@dataclass(frozen=True)
class Placed:
    """One operation, counted, on this machine and on another.

    ``here`` is the recorded machine until this one is measured, and ``time`` None.
    """

    operation: str
    width: int
    batch: int
    compare: str
    asked: Asked
    here: Here
    time: Measurement | None = None

    @property
    def roof(self) -> float:
        """FLOP/s at most on this machine, modelled."""
        return rates.roofline(self.asked.intensity, self.here.peak, self.here.memory)

    @property
    def reached(self) -> float | None:
        """FLOP/s on this machine, measured."""
        return None if self.time is None else self.asked.work / self.time.median

    @property
    def other(self) -> Device:
        return catalogue.find(self.compare)

    @property
    def there(self) -> float:
        """FLOPs a byte on the other device, whose numbers have 2 bytes and not 4."""
        return self.asked.intensity * 4 / _element(self.other)

    @property
    def other_roof(self) -> float:
        """FLOP/s at most on the other device, modelled from its maker's figures."""
        return rates.roofline(self.there, self.other.peak().value, self.other.bandwidth.value)


def _element(device: Device) -> int:
    return 4 if device.training_dtype == "fp32" else 2


@bounded
def model(
    operation: Annotated[str, Choices(*OPERATIONS)] = "linear",
    width: Annotated[int, Range(64, 1024, doubling=True)] = 512,
    batch: Annotated[int, Range(1, 256, doubling=True)] = 64,
    compare: Annotated[str, Choices(*(d.name for d in catalogue.devices()))] = "H100 SXM",
) -> Placed:
    """Count the operation; its place under the rooflines follows."""
    return Placed(
        operation, width, batch, compare, asked(operation, width, batch), machines.recorded()
    )


def measured(result: Placed, door: Door) -> Iterator[Step]:
    """Measure this machine, once, and the time of the operation on it."""
    yield from machines.with_machine(
        door,
        lambda here: _timed(replace(result, here=here), door),
        lambda doing: Step(result, 0, 1, doing),
    )


def _timed(result: Placed, door: Door) -> Iterator[Step]:
    yield Step(result, 0, 1, f"measuring {result.operation}")
    device = machines.device()
    run = functools.cache(
        lambda: OPERATIONS[result.operation].build(result.batch, result.width, device)
    )
    name = result.operation.replace(" ", "_")
    time = door.measure(
        f"lab_roofline.{name}.width={result.width}.batch={result.batch}",
        lambda: run()(),
        seconds=SECONDS,
        device=device,
    )
    yield Step(replace(result, time=time), 1, 1)


def _roof(peak: float, bandwidth: float) -> list[tuple[float, float]]:
    """The corners of a roofline within the picture, as exponents."""
    ridge = rates.ridge_point(peak, bandwidth)
    corners = [(LEAST, LEAST * bandwidth), (ridge, peak), (MOST, peak)]
    return [(math.log2(x), math.log10(y)) for x, y in corners]


@functools.cache
def _catalogue() -> list[list[tuple[float, float]]]:
    return [_roof(d.peak().value, d.bandwidth.value) for d in catalogue.devices()]


_HERE: dict[str, Any] = {**style.MODELLED, "linewidth": 2.6}
_CACHE: dict[str, Any] = {"color": style.BLUE, "linestyle": ":", "linewidth": 1.6}
_OTHER: dict[str, Any] = {"color": style.VERMILION, "linestyle": "--", "linewidth": 1.8}
_ALL: dict[str, Any] = {"color": "#BDBDBD", "linestyle": "-", "linewidth": 0.7}
_PLACE: dict[str, Any] = {
    "linestyle": "none", "marker": "D", "markersize": 8, "markerfacecolor": "white",
}  # fmt: skip
_REACHED: dict[str, Any] = {**style.MEASURED, "markersize": 7}


def draw(result: Placed) -> Figure:
    """FLOP/s against FLOPs a byte: this machine, the one compared, the rest of the catalogue."""
    x = Scale(
        "FLOPs for each byte moved", math.log2(LEAST), math.log2(MOST),
        {k: f"1/{2**-k}" if k < 0 else f"{2**k:,}" for k in range(-4, 14, 4)},
    )  # fmt: skip
    y = Scale(
        "FLOP/s", math.log10(SLOWEST), math.log10(FASTEST),
        {k: style.amount(10.0**k) for k in range(5, 17)},
    )  # fmt: skip
    here, device = result.here, result.other
    with style.applied():
        figure = style.figure(8.4, 4.4)
        axis = frame(figure, (0.08, 0.31, 0.985, 0.92), x, y)
        axis.add_collection(
            LineCollection(_catalogue(), colors=_ALL["color"], linewidths=_ALL["linewidth"]),
            autolim=False,
        )
        axis.plot(*zip(*_roof(device.peak().value, device.bandwidth.value), strict=True), **_OTHER)
        axis.plot(*zip(*_roof(here.peak, here.cache)[:2], strict=True), **_CACHE)
        axis.plot(*zip(*_roof(here.peak, here.memory), strict=True), **_HERE)
        place, there = math.log2(result.asked.intensity), math.log2(result.there)
        stands(axis, place)
        axis.plot([place], exponents([result.roof]), color=style.BLUE, **_PLACE)
        axis.plot([there], exponents([result.other_roof]), color=style.VERMILION, **_PLACE)
        if result.reached is not None:
            axis.plot([place], exponents([result.reached]), **_REACHED)
        timed = "measured" if result.time else "not measured yet"
        entries: dict[str, Any] = {
            f"{_which(here)} (modelled, its rates measured)": _HERE,
            f"{device.name} in {device.training_dtype} (modelled, as printed)": _OTHER,
            "from its fastest cache (modelled)": _CACHE,
            "the rest of the catalogue (modelled, as printed)": _ALL,
            f"{result.operation}, at most (modelled)": {**_PLACE, "color": style.BLUE},
            f"{result.operation} ({timed})": _REACHED,
        }
        legend(figure, entries, (0.06, 0.57), 0.155)
        source(figure, f"{_which(here)}: {here.label}")
    return figure


def _which(here: Here) -> str:
    return "the recorded machine" if here.label.startswith("replayed") else "this machine"


def _bound(intensity: float, peak: float, bandwidth: float) -> str:
    return "memory" if intensity < peak / bandwidth else "arithmetic"


def describe(result: Placed) -> str:
    """The picture in one line."""
    a, here, device = result.asked, result.here, result.other
    flops = functools.partial(style.amount, unit="FLOP/s")
    said = (
        f"{result.operation}, {words(result.operation, result.width, result.batch)}: "
        f"{style.amount(a.work, 'FLOP')} and {style.size(a.moved)} moved, {a.intensity:.3g} FLOPs "
        f"a byte in float32 (measured: counted, the same on every machine). On {_which(here)} "
        f"{_bound(a.intensity, here.peak, here.memory)} limits it to {flops(result.roof)} "
        f"(modelled; peak {flops(here.peak)}, memory {style.amount(here.memory, 'B/s')}, fastest "
        f"cache {style.amount(here.cache, 'B/s')}: {here.label})"
    )
    if result.time is None or result.reached is None:
        said += "; it has not been timed yet. "
    else:
        said += (
            f"; it takes {duration(result.time.median)}, {flops(result.reached)}, "
            f"{result.reached / result.roof:.3g} times that roof ({result.time.label}). "
        )
    peak, bandwidth = device.peak(), device.bandwidth
    return said + (
        f"On {device.full_name} in {device.training_dtype} it is {result.there:.3g} FLOPs a byte, "
        f"and {_bound(result.there, peak.value, bandwidth.value)} limits it to "
        f"{flops(result.other_roof)} (modelled from {peak} and {bandwidth}, as printed)."
    )


def row(result: Placed) -> dict[str, Any]:
    """What the table of trials says of a result."""
    return {
        "FLOPs (measured)": result.asked.work,
        "bytes moved (measured)": result.asked.moved,
        "FLOPs a byte (measured)": round(result.asked.intensity, 4),
        "FLOP/s at most (modelled)": float(f"{result.roof:.4g}"),
        "FLOP/s (measured)": "" if result.reached is None else float(f"{result.reached:.4g}"),
        "compared, FLOP/s at most (modelled)": float(f"{result.other_roof:.4g}"),
        "of": result.here.label,
    }


def ask(result: Placed) -> str:
    """What to predict, about the controls as they stand at first."""
    return (
        f"Before you look: {result.operation}, "
        f"{words(result.operation, result.width, result.batch)}, all in float32. Count each number "
        f"that is read or written once. How many FLOPs does it do for each byte that it moves?"
    )


roofline = register(
    Experiment(
        name="roofline",
        title="Your machine's roofline, with any operation of the course on it",
        model=model,
        draw=draw,
        describe=describe,
        row=row,
        question=Question(
            text=ask, unit="FLOPs a byte", truth=lambda result: result.asked.intensity
        ),
        measure=measured,
        recorded=tuple({"operation": name} for name in OPERATIONS),
    )
)
