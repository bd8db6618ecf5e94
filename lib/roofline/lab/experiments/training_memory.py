"""What fills memory while a GPT is trained, and what of it one layer keeps for the walk back.

*Modelled*: weights, gradients, the optimizer's state and activations by the formulas of
:mod:`roofline.hardware.cost.memory`; the activations of a layer are ``sbh(34 + 5as/h)`` bytes in 16
bits (Korthikanti et al., arXiv 2205.05198, equation 2). *Measured*: the bytes that the pullbacks of
such a layer hold, counted on its tape. The layer is built on torch's meta device, where tensors
have shapes and storages but no numbers, so the count is exact and the same on every machine, and a
layer of 100 GB can be counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from roofline.hardware import catalogue
from roofline.hardware.cost import Transformer, memory, parameters
from roofline.hardware.cost.flops import RECOMPUTE
from roofline.lab import style
from roofline.lab.controls import Choices, ControlError, Range, bounded, controls
from roofline.lab.experiment import Experiment, Question, register
from roofline.lab.frames import Scale, curves, frame, legend
from roofline.lab.transformer_layer import DTYPES, VOCABULARY, measured_bytes, modelled_bytes

DEVICE = "H100 SXM"


@dataclass(frozen=True)
class Filled:
    """Bytes of one training step on one device.

    ``parts``: all of them by way to recompute, part by part, modelled. ``layer``: what one layer
    keeps, by way to recompute, along ``sequences``, modelled. ``measured``: the same at a few
    sequences, counted, with the recompute that was chosen.
    """

    settings: dict[str, Any]
    parameters: int
    parts: dict[str, dict[str, float]]
    sequences: tuple[int, ...]
    layer: dict[str, tuple[float, ...]]
    formula: float
    measured: dict[int, int]

    @property
    def here(self) -> int:
        """What one layer keeps at these settings, measured."""
        return self.measured[self.settings["sequence"]]

    @property
    def total(self) -> float:
        return sum(self.parts[self.settings["recompute"]].values())


@bounded
def model(
    layers: Annotated[int, Range(1, 128, doubling=True)] = 32,
    hidden: Annotated[int, Range(128, 16384, doubling=True)] = 2048,
    heads: Annotated[int, Range(1, 128, doubling=True)] = 16,
    sequence: Annotated[int, Range(128, 32768, doubling=True)] = 2048,
    batch: Annotated[int, Range(1, 64, doubling=True)] = 4,
    optimizer: Annotated[str, Choices(*memory.OPTIMIZER_BYTES)] = "adam",
    precision: Annotated[str, Choices(*DTYPES)] = "mixed",
    recompute: Annotated[str, Choices(*RECOMPUTE)] = "none",
) -> Filled:
    """Every part of memory, modelled; one layer's activations, modelled and counted."""
    if hidden % heads:
        raise ControlError(f"{heads} heads don't divide hidden {hidden}: choose heads that do")
    network = Transformer(layers, hidden, heads, VOCABULARY, sequence)
    kind = controls(model)["sequence"].kind
    assert isinstance(kind, Range)
    sequences = tuple(int(stop) for stop in kind.stops())
    return Filled(
        settings={
            "layers": layers,
            "hidden": hidden,
            "heads": heads,
            "sequence": sequence,
            "batch": batch,
            "optimizer": optimizer,
            "precision": precision,
            "recompute": recompute,
        },  # fmt: skip
        parameters=parameters.parameters(network),
        parts={
            way: memory.training_parts(network, batch, optimizer, precision, way)
            for way in RECOMPUTE
        },
        sequences=sequences,
        layer={
            way: tuple(modelled_bytes(batch, s, hidden, heads, precision, way) for s in sequences)
            for way in RECOMPUTE
        },
        formula=modelled_bytes(batch, sequence, hidden, heads, precision, recompute),
        measured={
            s: measured_bytes(batch, s, hidden, heads, precision, recompute)
            for s in sorted({sequence, sequences[-1]})
        },
    )


_PARTS: dict[str, dict[str, Any]] = {
    "weights": {"facecolor": style.BLUE, "hatch": None},
    "gradients": {"facecolor": style.SKY, "hatch": "///"},
    "optimizer": {"facecolor": style.ORANGE, "hatch": None},
    "activations": {"facecolor": style.GREEN, "hatch": "xxx"},
    "temporary": {"facecolor": style.PURPLE, "hatch": None},
}
_WAYS = {"none": "-", "selective": "--", "full": ":"}
_BYTES = {k: style.size(10.0**k) for k in range(4, 15, 2)}


def _bars(result: Filled, part: str) -> list[list[tuple[float, float]]]:
    """The corners of a part of each way's bar, thicker for the way that was chosen."""
    corners = []
    for number, (way, sizes) in enumerate(result.parts.items()):
        left = sum(list(sizes.values())[: list(sizes).index(part)])
        right = left + sizes[part]
        half = 0.31 if way == result.settings["recompute"] else 0.15
        low, high = -number - half, -number + half
        corners.append([(left, low), (right, low), (right, high), (left, high)])
    return corners


def draw(result: Filled) -> Figure:
    """Left: all of memory, part by part. Right: what a layer keeps, against the sequence."""
    chosen = result.settings["recompute"]
    totals = {way: sum(parts.values()) for way, parts in result.parts.items()}
    most = max(totals.values())
    with style.applied():
        figure = style.figure(8.8, 3.6)
        ways = {-number: "nothing" if way == "none" else way for number, way in enumerate(_WAYS)}
        axis = frame(
            figure,
            (0.1, 0.31, 0.52, 0.9),
            Scale.even("bytes on one device (modelled)", 1.02 * most, style.size),
            Scale("All of memory, recomputing:", -2.75, 0.5, ways),
        )
        for part, look in _PARTS.items():
            bars = PolyCollection(_bars(result, part), edgecolors="white", linewidths=0, **look)
            axis.add_collection(bars, autolim=False)
        room = catalogue.find(DEVICE).memory.value
        if room < most:
            axis.axvline(room, color=style.BLACK, linewidth=1.2, linestyle="--")
            axis.text(
                room, -2.7, f" {DEVICE}: {style.size(room)} ", fontsize=8.5, va="bottom",
                ha="left" if room < 0.55 * most else "right",
            )  # fmt: skip
        right = frame(
            figure,
            (0.63, 0.31, 0.975, 0.9),
            Scale("tokens in a sequence", 6.8, 15.2, {k: f"{2**k:,}" for k in (7, 9, 11, 13, 15)}),
            Scale("What one layer keeps", 4, 14, _BYTES),
        )
        looks: dict[str, dict[str, Any]] = {
            way: {
                "color": style.BLUE if way == chosen else style.GREY,
                "linestyle": dash,
                "linewidth": 2.4 if way == chosen else 1.3,
            }
            for way, dash in _WAYS.items()
        }
        curves(
            right,
            math.log2(result.settings["sequence"]),
            [math.log2(s) for s in result.sequences],
            [(result.layer[way], look) for way, look in looks.items()],
            {math.log2(s): [size] for s, size in result.measured.items()},
        )
        legend(figure, _PARTS, (0.1, 0.24, 0.38), 0.12)
        entries: dict[str, Any] = {
            f"{ways[-number]} (modelled)": looks[way] for number, way in enumerate(_WAYS)
        }
        entries[f"{ways[-list(_WAYS).index(chosen)]} (measured)"] = style.MEASURED
        legend(figure, entries, (0.58, 0.785), 0.12)
    return figure


def describe(result: Filled) -> str:
    """The picture in one line."""
    s = result.settings
    parts = ", ".join(
        f"{part} {style.size(size)}" for part, size in result.parts[s["recompute"]].items()
    )
    others = ", ".join(
        f"{'nothing' if way == 'none' else way} {style.size(sum(sizes.values()))}"
        for way, sizes in result.parts.items()
    )
    ends = ", ".join(f"{q:,} tokens {style.size(size)}" for q, size in result.measured.items())
    room = catalogue.find(DEVICE).memory
    count = result.parameters
    size = f"{count / 1e9:,.3g} billion" if count >= 1e9 else f"{count / 1e6:,.3g} million"
    fits = "more" if result.total > room.value else "less"
    return (
        f"GPT of {size} parameters ({style.several(s['layers'], 'layer')}, hidden "
        f"{s['hidden']:,}, {style.several(s['heads'], 'head')}), "
        f"{style.several(s['batch'], 'sequence')} of {s['sequence']:,} tokens, {s['optimizer']}, "
        f"{s['precision']}, recompute {s['recompute']}: "
        f"{style.size(result.total)} in all (modelled: {parts}), {fits} than the "
        f"{style.size(room.value)} of one {DEVICE} (catalogue: {room.confidence}). Recomputing "
        f"decides between (modelled): {others}. One layer keeps {style.size(result.here)} "
        f"(measured: counted on its tape, the same on every machine; modelled "
        f"{style.size(result.formula)}, with dropout's masks of 1 byte, which are of "
        f"{DTYPES[s['precision']].itemsize} here). Measured by length: {ends}."
    )


def row(result: Filled) -> dict[str, Any]:
    """What the table of trials says of a result."""
    return {
        "parameters (modelled)": result.parameters,
        "memory in all, bytes (modelled)": round(result.total),
        "one layer keeps, bytes (modelled)": round(result.formula),
        "one layer keeps, bytes (measured)": result.here,
    }


def ask(result: Filled) -> str:
    """What to predict, about the controls as they stand at first."""
    s = result.settings
    return (
        f"Before you look: one layer of a GPT, hidden {s['hidden']:,}, {s['heads']} heads, "
        f"{s['batch']} sequences of {s['sequence']:,} tokens, in 16 bits with dropout, nothing "
        f"recomputed. Its weights are {style.size(24 * s['hidden'] ** 2)}. How many GB does it "
        f"keep from the way forward for the way back?"
    )


training_memory = register(
    Experiment(
        name="training_memory",
        title="What fills memory in training, and what one Transformer layer keeps",
        model=model,
        draw=draw,
        describe=describe,
        row=row,
        question=Question(text=ask, unit="GB", truth=lambda result: result.here / 1e9),
    )
)
