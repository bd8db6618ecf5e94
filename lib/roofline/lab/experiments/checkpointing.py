"""Memory bought with time: a chain of layers in k segments, of which only the inputs are kept.

On the way back each segment is run again from its input. With ``depth`` layers in ``k`` segments
there are k inputs and the inside of one segment in memory, depth/k layers, instead of all layers;
k = √depth makes the sum least (Chen et al., "Training Deep Nets with Sublinear Memory Cost",
arXiv 1604.06174, section 4.1). The price is one more way forward.

Bytes are *modelled* by :func:`roofline.lab.segments.modelled_bytes`, and *measured*: counted on
the tape of the same network on torch's meta device, exact and the same on every machine. Time is
*modelled* as FLOPs, and *measured* on the machine, each number of segments in turn with no segments
at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from matplotlib.figure import Figure

from roofline.autograd import Tensor, backward
from roofline.hardware.recordings import Measurement, duration
from roofline.lab import style
from roofline.lab.controls import Choices, Range, bounded, controls
from roofline.lab.experiment import Experiment, Question, register
from roofline.lab.experiments.remembered import FLOAT
from roofline.lab.frames import Scale, frame, legend, source, stands
from roofline.lab.measuring import Door, Step
from roofline.lab.segments import (
    Layer,
    chain,
    forward,
    measured_bytes,
    modelled_bytes,
    modelled_slowdown,
)

SECONDS = 0.3
"""How long to go on timing one number of segments, and as long its rival."""


@dataclass(frozen=True)
class Checkpointed:
    """Bytes and times by number of segments; 0 stands for no checkpointing.

    ``inputs`` are the bytes of the segments' inputs, part of ``modelled``. ``slower``: FLOPs as a
    multiple of those without checkpointing, modelled. ``times``: of a step with as many segments
    and of one without, measured in turn.
    """

    depth: int
    width: int
    batch: int
    activation: str
    segments: int
    inputs: dict[int, int]
    modelled: dict[int, int]
    slower: float
    measured: dict[int, int] = field(default_factory=dict)
    times: dict[int, tuple[Measurement, Measurement]] = field(default_factory=dict)

    def ratio(self, segments: int) -> float | None:
        """Time with as many segments as a multiple of that without; None if not measured."""
        if segments not in self.times:
            return None
        ours, plain = self.times[segments]
        return ours.median / plain.median

    @property
    def best(self) -> int:
        """The number of segments, of those drawn, that keeps least."""
        return min((k for k in self.modelled if k), key=lambda k: self.modelled[k])


@bounded
def model(
    depth: Annotated[int, Range(16, 64, doubling=True)] = 64,
    width: Annotated[int, Range(64, 256, doubling=True)] = 256,
    batch: Annotated[int, Range(32, 256, doubling=True)] = 128,
    activation: Annotated[str, Choices("relu", "tanh", "gelu")] = "relu",
    segments: Annotated[int, Range(1, 16, doubling=True)] = 8,
) -> Checkpointed:
    """Bytes for every number of segments, and FLOPs, modelled."""
    kind = controls(model)["segments"].kind
    assert isinstance(kind, Range)
    several = sorted({segments, *map(int, kind.stops())})
    network = (depth, width, batch, activation)
    return Checkpointed(
        *network,
        segments=segments,
        inputs={k: FLOAT * k * batch * width for k in several},
        modelled={k: modelled_bytes(*network, segments=k) for k in (0, *several)},
        slower=modelled_slowdown(depth),
    )


def measured(result: Checkpointed, door: Door) -> Iterator[Step]:
    """Count and time each number of segments, the one that is asked about first."""
    others = [k for k in result.inputs if k != result.segments]
    several = [result.segments, *others]
    name = (
        f"lab_checkpointing.depth={result.depth}.width={result.width}.batch={result.batch}"
        f".{result.activation}"
    )
    network = (result.depth, result.width, result.batch, result.activation)
    yield Step(result, 0, len(several), _named(several[0]))
    for done, segments in enumerate(several, start=1):
        functions = {
            f"{name}.segments={segments}": training_step(result, segments),
            f"{name}.segments={segments}.without": training_step(result, 0),
        }
        ours, plain = door.measure_in_turn(functions, seconds=SECONDS).values()
        counted = {k: measured_bytes(*network, segments=k) for k in (0, segments)}
        result = replace(
            result,
            times={**result.times, segments: (ours, plain)},
            measured={**result.measured, **counted},
        )
        after = several[done] if done < len(several) else None
        yield Step(result, done, len(several), "" if after is None else _named(after))


def _named(segments: int) -> str:
    return f"measuring {style.several(segments, 'segment')}"


def training_step(result: Checkpointed, segments: int) -> Callable[[], None]:
    """A way forward and a way back, on the processor; the weights are made at the first call."""
    made: list[tuple[Tensor, list[Layer]]] = []

    def step() -> None:
        if not made:
            x = Tensor(torch.randn(result.batch, result.width))
            made.append((x, chain(result.width, result.depth, "cpu")))
        x, layers = made[0]
        y = forward(x, layers, result.activation, segments)
        backward(y, torch.ones_like(y.data))
        for layer in layers:
            for parameter in layer:
                parameter.grad = None

    return step


_INPUTS: dict[str, Any] = {"color": style.VERMILION, "linestyle": "--", "linewidth": 1.5}
_WITHOUT: dict[str, Any] = {"color": style.GREY, "linestyle": "-.", "linewidth": 1.5}
_RATIO = 2.0


def draw(result: Checkpointed) -> Figure:
    """Left: bytes against the number of segments. Right: time, as a multiple of without."""
    several = sorted(result.inputs)
    along = [math.log2(k) for k in several]
    marks = {math.log2(k): str(k) for k in (1, 2, 4, 8, 16)}
    x = Scale("segments", -0.2, 4.2, marks)
    with style.applied():
        figure = style.figure(8.4, 3.5)
        room = Scale.even("Remembered at the worst moment", 1.12 * result.modelled[0], style.size)
        left = frame(figure, (0.1, 0.32, 0.51, 0.9), x, room)
        left.axhline(result.modelled[0], **_WITHOUT)
        left.plot(along, [result.inputs[k] for k in several], **_INPUTS)
        left.plot(along, [result.modelled[k] for k in several], **style.MODELLED)
        counted = [k for k in result.measured if k]
        left.plot(
            [math.log2(k) for k in counted],
            [result.measured[k] for k in counted],
            **style.MEASURED,
        )
        ratios = {1 + k / 4: f"{1 + k / 4:.2f}" for k in range(5)}
        right = frame(
            figure, (0.62, 0.32, 0.985, 0.9), x,
            Scale("Time of a step, without = 1", 0.85, _RATIO + 0.1, ratios),
        )  # fmt: skip
        right.axhline(1, **_WITHOUT)
        right.plot([-0.2, 4.2], [result.slower] * 2, **style.MODELLED)
        for k in result.times:
            ratio = result.ratio(k)
            assert ratio is not None
            high = ratio > _RATIO  # drawn at the edge, and the line of text has the number
            look = {**style.MEASURED, "marker": "^"} if high else style.MEASURED
            right.plot([math.log2(k)], [min(ratio, _RATIO + 0.05)], **look)
        for axis in (left, right):
            stands(axis, math.log2(result.segments))
        entries: dict[str, Any] = {
            "with checkpoints (modelled)": style.MODELLED,
            "without (modelled)": _WITHOUT,
            "measured" if result.times else "not measured yet": style.MEASURED,
            "of it the segments' inputs (modelled)": _INPUTS,
        }
        legend(figure, entries, (0.1, 0.56), 0.145)
        if result.times:
            source(figure, next(iter(result.times.values()))[0].label)
    return figure


def describe(result: Checkpointed) -> str:
    """The picture in one line."""
    k = result.segments
    others = ", ".join(f"{n} {style.size(result.modelled[n])}" for n in sorted(result.inputs))
    said = (
        f"{result.depth} layers of {result.width} with {result.activation}, batch {result.batch}, "
        f"in {style.several(k, 'segment')}: {style.size(result.modelled[k])} remembered at the "
        f"worst moment, {style.size(result.modelled[0])} without checkpoints (modelled). By "
        f"segments (modelled): {others}; least with {result.best}. A step computes "
        f"{result.slower:.3g} times as much as without (modelled, in FLOPs). "
    )
    if k not in result.times:
        return said + "Nothing of it has been measured yet."
    ours, plain = result.times[k]
    counts = ", ".join(f"{n} {style.size(result.measured[n])}" for n in sorted(result.times))
    ratios = ", ".join(f"{n} {result.ratio(n):.3g}" for n in sorted(result.times))
    return said + (
        f"Measured, counted on the tape: {style.size(result.measured[k])}, without checkpoints "
        f"{style.size(result.measured[0])}; by segments {counts}. A step takes "
        f"{duration(ours.median)}, without checkpoints {duration(plain.median)}: "
        f"{result.ratio(k):.3g} times as long; by segments {ratios} ({ours.label})."
    )


def row(result: Checkpointed) -> dict[str, Any]:
    """What the table of trials says of a result."""
    ratio = result.ratio(result.segments)
    times = result.times.get(result.segments)
    return {
        "remembered, bytes (modelled)": result.modelled[result.segments],
        "remembered, bytes (measured)": result.measured.get(result.segments, ""),
        "without checkpoints, bytes (measured)": result.measured.get(0, ""),
        "step, ms (measured)": "" if times is None else round(1000 * times[0].median, 3),
        "times as long (measured)": "" if ratio is None else round(ratio, 3),
        "times as long (modelled)": round(result.slower, 3),
        "time is": "modelled" if times is None else times[0].label,
    }


def ask(result: Checkpointed) -> str:
    """What to predict, about the controls as they stand at first."""
    return (
        f"Before you look: {result.depth} layers learn in {result.segments} segments. On the way "
        f"forward only the input of each segment is kept, on the way back each segment is computed "
        f"again. How many times as long does a training step take as one that keeps everything?"
    )


checkpointing = register(
    Experiment(
        name="checkpointing",
        title="Memory bought with time: checkpoints in k segments",
        model=model,
        draw=draw,
        describe=describe,
        row=row,
        question=Question(
            text=ask, unit="times", truth=lambda result: result.ratio(result.segments)
        ),
        measure=measured,
    )
)
