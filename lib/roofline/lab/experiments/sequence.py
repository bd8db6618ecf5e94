"""One long sequence: a recurrent network, attention and convolutions at equal FLOPs.

All three turn (tokens, width) into as much, and may let every token depend on as many tokens as
there are. Attention has the width that is set. The others have the width at which they cost as many
FLOPs, so what differs is how much of the work must wait for other work: the recurrent network goes
from token to token, attention looks at all pairs at once, and a stack of convolutions, each dilated
``kernel`` times as far as the one before, needs log(tokens) layers (Vaswani et al., arXiv
1706.03762, table 1; van den Oord et al., arXiv 1609.03499, for the dilation).

Chains of kernels are *modelled*, from what one more token or layer adds, and *measured*: counted
while the library's operations run, exact and the same on every machine; attention runs as its
formula says it, not in blocks. Time is *modelled* as what no schedule gets below, the longer of all
work at the fastest rate and of the chain at one launch a kernel (Brent, JACM 21(2), 1974), and
*measured* on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from matplotlib.figure import Figure

from roofline.hardware.recordings import Measurement, duration
from roofline.lab import here as machines
from roofline.lab import style
from roofline.lab.chains import (
    FORWARD,
    KINDS,
    TRAINING,
    computation,
    counted_depth,
    equal_width,
    floor_seconds,
    forward_flops,
    growth,
    layers_of,
    modelled_depth,
)
from roofline.lab.controls import Choices, Range, bounded
from roofline.lab.experiment import Experiment, Question, register
from roofline.lab.frames import Scale, exponents, frame, legend, source, stands
from roofline.lab.here import Here
from roofline.lab.measuring import Door, Step

LENGTHS = (16, 64, 256, 1024)
"""Tokens at which chains are counted and times taken, beside those that are set."""
SOON = 32
"""Tokens up to which chains are counted at once: 2 kernels a token take a while."""
SECONDS = 0.15


@dataclass(frozen=True)
class Sequence:
    """Chains and times by kind and number of tokens.

    ``widths`` and ``flops`` of each kind at ``length``; ``lengths`` of the lines. ``depth`` and
    ``floor``, seconds, are modelled; ``counted`` and ``times`` measured, where they have been.
    """

    width: int
    length: int
    kernel: int
    walk: str
    machine: str
    widths: dict[str, int]
    flops: dict[str, int]
    lengths: tuple[int, ...]
    depth: dict[str, tuple[int, ...]]
    floor: dict[str, tuple[float, ...]]
    counted: dict[tuple[str, int], int] = field(default_factory=dict)
    times: dict[tuple[str, int], Measurement] = field(default_factory=dict)

    def modelled(self, kind: str) -> tuple[int, float]:
        """Chain and seconds at the length that is set."""
        place = self.lengths.index(self.length)
        return self.depth[kind][place], self.floor[kind][place]


@bounded
def model(
    length: Annotated[int, Range(16, 1024, doubling=True)] = 256,
    width: Annotated[int, Range(16, 128, doubling=True)] = 64,
    kernel: Annotated[str, Choices("3", "5", "7", "9")] = "3",
    walk: Annotated[str, Choices(FORWARD, TRAINING)] = FORWARD,
) -> Sequence:
    """Chains and least times along the number of tokens, and the chains that are counted soon.

    ``width`` of the attention; ``kernel`` of the convolutions. Times are of the machine that was
    recorded until this one is measured.
    """
    window = int(kernel)
    growth("recurrent", window, TRAINING)  # loads half a second of PyTorch: first, not at a move
    lengths = tuple(sorted({*(2**k for k in range(4, 11)), length}))
    widths = {kind: equal_width(kind, length, width, window) for kind in KINDS}
    result = Sequence(
        width, length, window, walk, "", widths,
        flops={
            kind: (1 if walk == FORWARD else 3) * forward_flops(kind, length, widths[kind], window)
            for kind in KINDS
        },
        lengths=lengths,
        depth={
            kind: tuple(modelled_depth(kind, n, window, walk) for n in lengths) for kind in KINDS
        },
        floor={},
        counted={
            (kind, n): counted_depth(kind, n, window, walk)
            for kind in KINDS
            for n in measured_lengths(length)
            if n <= SOON
        },
    )  # fmt: skip
    return on(result, machines.recorded())


def measured_lengths(length: int) -> list[int]:
    return sorted({*LENGTHS, length})


def on(result: Sequence, here: Here) -> Sequence:
    """``result`` with the least times on a machine."""
    passes = 1 if result.walk == FORWARD else 3
    floor = {}
    for kind in KINDS:
        times = []
        for n, depth in zip(result.lengths, result.depth[kind], strict=True):
            wide = equal_width(kind, n, result.width, result.kernel)
            work = passes * forward_flops(kind, n, wide, result.kernel)
            times.append(floor_seconds(work, depth, here))
        floor[kind] = tuple(times)
    return replace(result, floor=floor, machine=here.label)


def measured(result: Sequence, door: Door) -> Iterator[Step]:
    """Count the longer chains and time all, shortest sequences first."""
    work = [(kind, n) for n in measured_lengths(result.length) for kind in KINDS]
    yield from machines.with_machine(
        door,
        lambda here: _taken(on(result, here), work, door),
        lambda words: Step(result, 0, len(work), words),
    )


def _taken(result: Sequence, work: list[tuple[str, int]], door: Door) -> Iterator[Step]:
    yield Step(result, 0, len(work), "measuring short sequences")
    for done, (kind, n) in enumerate(work, start=1):
        wide = equal_width(kind, n, result.width, result.kernel)
        where = machines.device()
        once = computation(kind, n, wide, result.kernel, result.walk, where)
        walk = "forward" if result.walk == FORWARD else "training"
        name = f"lab_sequence.{kind}.{walk}.tokens={n}.width={wide}.kernel={result.kernel}"
        time = door.measure(name, once, seconds=SECONDS, device=where)
        depth = counted_depth(kind, n, result.kernel, result.walk)
        result = replace(
            result,
            counted={**result.counted, (kind, n): depth},
            times={**result.times, (kind, n): time},
        )
        coming = f"measuring {work[done][0]}, {work[done][1]:,} tokens" if done < len(work) else ""
        yield Step(result, done, len(work), coming)


_LOOKS: dict[str, dict[str, Any]] = {
    "recurrent": {"color": style.VERMILION, "linestyle": "--"},
    "attention": {"color": style.BLUE, "linestyle": "-"},
    "convolution": {"color": style.GREEN, "linestyle": "-."},
}
_POINTS = {"recurrent": "s", "attention": "o", "convolution": "^"}

_TOKENS = Scale("tokens", 3.8, 10.2, {k: f"{2**k:,}" for k in range(4, 11, 2)})
_DEPTH = Scale.powers(
    "Longest chain of kernels", {10.0**k: f"{10**k:,}" for k in range(5)}, margin=0.02
)
_TIME = Scale.powers(
    "Time of one sequence", {10.0**k: duration(10.0**k) for k in range(-6, 2)}, margin=0.02
)


def draw(result: Sequence) -> Figure:
    """Left: kernels in the longest chain. Right: time. Both against the number of tokens."""
    along = [math.log2(n) for n in result.lengths]
    panels: tuple[tuple[Scale, Any, Any], ...] = (
        (_DEPTH, result.depth, result.counted),
        (_TIME, result.floor, {key: time.median for key, time in result.times.items()}),
    )
    with style.applied():
        figure = style.figure(8.4, 3.6)
        for place, (scale, lines, points) in enumerate(panels):
            left = 0.085 + 0.505 * place
            axis = frame(figure, (left, 0.33, left + 0.39, 0.9), _TOKENS, scale)
            stands(axis, math.log2(result.length))
            for kind in KINDS:
                axis.plot(along, exponents(lines[kind]), **_LOOKS[kind])
                seen = {n: value for (of, n), value in points.items() if of == kind}
                axis.plot(
                    [math.log2(n) for n in seen],
                    exponents(seen.values()),
                    **{**style.MEASURED, "marker": _POINTS[kind]},
                )
        entries: dict[str, Any] = {f"{kind} (modelled)": _LOOKS[kind] for kind in KINDS}
        taken = "measured" if result.times else "measured; no times yet"
        for kind in KINDS:
            entries[f"{kind} ({taken})"] = {**style.MEASURED, "marker": _POINTS[kind]}
        legend(figure, entries, (0.03, 0.345, 0.66), 0.135)
        source(figure, _label(result) or f"model: {result.machine}")
    return figure


def describe(result: Sequence) -> str:
    """The picture in one line."""
    said = []
    for kind in KINDS:
        depth, floor = result.modelled(kind)
        counted = result.counted.get((kind, result.length))
        time = result.times.get((kind, result.length))
        chain = f"{counted:,} measured, {depth:,} modelled" if counted else f"{depth:,} modelled"
        taken = f"{duration(time.median)} measured, " if time else ""
        said.append(
            f"{kind} of width {result.widths[kind]:,}, {style.amount(result.flops[kind])} FLOPs, "
            f"a chain of {chain} kernels, {taken}at least {duration(floor)} modelled"
        )
    longest = result.lengths[-1]
    most = []
    for kind in KINDS:
        time = result.times.get((kind, longest))
        most.append(
            f"{kind} {result.depth[kind][-1]:,} kernels modelled"
            + (f", {duration(time.median)} measured" if time else "")
        )
    busiest = _label(result)
    clock = f"Times {busiest}. " if busiest else "No time has been measured yet. "
    layers = layers_of(result.length, result.kernel)
    return (
        f"{result.length:,} tokens, {result.walk}, {layers} convolutions of {result.kernel}: "
        f"{'; '.join(said)}. At {longest:,} tokens: {'; '.join(most)}. Chains are counted while "
        f"the operations run, the same on every machine. {clock}"
        f"The model's figures: {result.machine}."
    )


def _label(result: Sequence) -> str:
    """Of which machine and when the times are, the busiest's; "" if there are none."""
    return max((time.label for time in result.times.values()), key=len, default="")


def row(result: Sequence) -> dict[str, Any]:
    """What the table of trials says of a result."""
    cells: dict[str, Any] = {}
    for kind in KINDS:
        depth, floor = result.modelled(kind)
        time = result.times.get((kind, result.length))
        cells |= {
            f"{kind}: chain, kernels (measured)": result.counted.get((kind, result.length), ""),
            f"{kind}: chain, kernels (modelled)": depth,
            f"{kind}: ms (measured)": round(1e3 * time.median, 4) if time else "",
            f"{kind}: ms at least (modelled)": round(1e3 * floor, 4),
        }
    return {**cells, "of": _label(result) or result.machine}


def ask(result: Sequence) -> str:
    """What to predict, about the controls as they stand at first."""
    way = "Forward alone" if result.walk == FORWARD else "Forward and back"
    return (
        f"Before you look: a recurrent network and attention read {result.length:,} tokens and "
        f"cost the same number of FLOPs. {way}, how many times as long is the chain of kernels "
        f"that must wait for each other in the recurrent network?"
    )


def chains_apart(result: Sequence) -> float | None:
    """The recurrent network's longest chain over attention's, counted; None until it is."""
    chains = [result.counted.get((kind, result.length)) for kind in ("recurrent", "attention")]
    return None if None in chains else chains[0] / chains[1]  # type: ignore[operator]


sequence = register(
    Experiment(
        name="sequence",
        title="One long sequence: recurrent network, attention and convolution at equal FLOPs",
        model=model,
        draw=draw,
        describe=describe,
        row=row,
        question=Question(text=ask, unit="times", truth=chains_apart),
        measure=measured,
    )
)
