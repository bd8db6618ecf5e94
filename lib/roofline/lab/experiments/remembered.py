"""How many bytes one training step remembers between its forward and its backward walk.

A network of images 784 -> width -> ... -> width -> 10 with one activation after each of its
``depth`` hidden layers, up to its ten scores (the logits), all in float32. *Modelled* is the
formula in :func:`modelled_bytes`. *Measured* is counted on the tape of the same network, built
with the library on torch's meta device, where tensors have shapes and storages but no numbers: the
count is exact, and the same on every machine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from matplotlib.figure import Figure

from roofline import autograd
from roofline.autograd import Tensor, kept
from roofline.lab import style
from roofline.lab.controls import Choices, Range, bounded, controls
from roofline.lab.experiment import Experiment, Question, register
from roofline.lab.frames import Scale, curves, frame, legend

INPUTS, CLASSES = 784, 10
FLOAT, BOOL = 4, 1
"""Bytes of one float32, one truth value."""

BESIDE_OUTPUT = {
    "relu": 0,
    "tanh": 0,
    "sigmoid": 0,
    "leaky_relu": BOOL,
    "silu": FLOAT,
    "gelu": FLOAT,
}
"""Bytes for each number that an activation remembers beside its output.

The output itself is remembered anyway, once, by the next layer, which needs its input. relu, tanh
and sigmoid find their slope from the output: nothing more. leaky_relu keeps where its input was
positive, silu and gelu keep their slope.
"""

STATE = {"sgd": 0, "momentum": FLOAT, "adam": 2 * FLOAT}
"""Bytes of state for each parameter: none; a velocity; two moments (Kingma and Ba, 1412.6980)."""


@dataclass(frozen=True)
class Sweep:
    """One control moved over its range, the others left: bytes at each of ``values``.

    ``measured`` has a few of the values only, each with its bytes.
    """

    values: tuple[int, ...]
    modelled: tuple[int, ...]
    beside: tuple[int, ...]
    measured: dict[int, int]


@dataclass(frozen=True)
class Remembered:
    """What one training step remembers, in bytes, and what stands beside it in memory."""

    batch: int
    width: int
    depth: int
    activation: str
    optimizer: str
    modelled: int
    measured: int
    parameters: int
    beside: int
    """Weights, gradients and the optimizer's state, modelled."""
    sweeps: dict[str, Sweep]


def layer_widths(width: int, depth: int) -> list[int]:
    """The widths of all layers, input and output included."""
    return [INPUTS] + [width] * depth + [CLASSES]


def modelled_bytes(batch: int, width: int, depth: int, activation: str) -> int:
    """Every layer's input, and what activations keep beside it.

    batch * (4 * (784 + depth * width) + beside * depth * width)
    """
    hidden = depth * width
    return batch * (FLOAT * (INPUTS + hidden) + BESIDE_OUTPUT[activation] * hidden)


def parameter_count(width: int, depth: int) -> int:
    """Weights and biases of all layers."""
    widths = layer_widths(width, depth)
    return sum((n + 1) * m for n, m in zip(widths, widths[1:], strict=False))


def beside_bytes(width: int, depth: int, optimizer: str) -> int:
    """Weights, gradients and the optimizer's state: they don't depend on the batch."""
    return parameter_count(width, depth) * (2 * FLOAT + STATE[optimizer])


@functools.lru_cache(maxsize=4096)
def measured_bytes(
    batch: int, width: int, depth: int, activation: str, device: str = "meta"
) -> int:
    """The same, counted on the tape of the network, weights not counted.

    On a device with numbers, these are zeros: what is remembered doesn't depend on them.
    """
    widths = layer_widths(width, depth)
    parameters = [
        (
            Tensor(torch.zeros(m, n, device=device), True),
            Tensor(torch.zeros(m, device=device), True),
        )
        for n, m in zip(widths, widths[1:], strict=False)
    ]
    x = Tensor(torch.zeros(batch, INPUTS, device=device))
    for weight, bias in parameters[:-1]:
        x = getattr(autograd, activation)(autograd.linear(x, weight, bias))
    logits = autograd.linear(x, *parameters[-1])
    return kept(logits, besides=[p for pair in parameters for p in pair]).total


@bounded
def model(
    batch: Annotated[int, Range(1, 4096, doubling=True)] = 512,
    width: Annotated[int, Range(16, 2048, doubling=True)] = 512,
    depth: Annotated[int, Range(1, 8)] = 4,
    activation: Annotated[str, Choices(*BESIDE_OUTPUT)] = "relu",
    optimizer: Annotated[str, Choices(*STATE)] = "adam",
) -> Remembered:
    """Modelled and measured bytes at one setting, and along each of batch, width and depth.

    Along each it is modelled at every stop of the slider, and measured here and at its most:
    counting takes about a millisecond for each layer.
    """
    here = {"batch": batch, "width": width, "depth": depth}
    sweeps = {}
    for name, value in here.items():
        kind = controls(model)[name].kind
        assert isinstance(kind, Range)
        stops = [int(stop) for stop in kind.stops()]
        counted = sorted({value, stops[-1]})
        settings = [{**here, name: stop} for stop in stops]
        sweeps[name] = Sweep(
            values=tuple(stops),
            modelled=tuple(modelled_bytes(**s, activation=activation) for s in settings),
            beside=tuple(beside_bytes(s["width"], s["depth"], optimizer) for s in settings),
            measured={
                n: measured_bytes(**{**here, name: n}, activation=activation) for n in counted
            },
        )
    return Remembered(
        **here,
        activation=activation,
        optimizer=optimizer,
        modelled=modelled_bytes(**here, activation=activation),
        measured=sweeps["batch"].measured[batch],
        parameters=parameter_count(width, depth),
        beside=beside_bytes(width, depth, optimizer),
        sweeps=sweeps,
    )


def draw(result: Remembered) -> Figure:
    """Remembered bytes against batch, width and depth: lines modelled, points measured.

    The axes never move, so that what moves is what the control changed.
    """
    with style.applied():
        figure = style.figure(8.4, 3.3)
        for place, (name, sweep) in enumerate(result.sweeps.items()):
            what, ticks, scale = _ALONG[name]
            low, high = scale(sweep.values[0]), scale(sweep.values[-1])
            margin = (high - low) / 20
            marks = {scale(n): f"{n:,}" for n in ticks}
            left = 0.075 + 0.309 * place
            axis = frame(
                figure,
                (left, 0.265, left + 0.292, 0.9),
                Scale(what, low - margin, high + margin, marks),
                Scale(f"{name} {getattr(result, name):,}", *_BYTES_ENDS, _BYTES[place > 0]),
            )
            curves(
                axis,
                scale(getattr(result, name)),
                [scale(n) for n in sweep.values],
                [(sweep.beside, _BESIDE), (sweep.modelled, style.MODELLED)],
                {scale(n): [size] for n, size in sweep.measured.items()},
            )
        entries: dict[str, Any] = {
            f"remembered, {result.activation} (modelled)": style.MODELLED,
            "remembered (measured)": style.MEASURED,
            f"weights, gradients, {result.optimizer} state (modelled)": _BESIDE,
        }
        legend(figure, entries, (0.02, 0.35, 0.585), 0.055)
    return figure


_BESIDE: dict[str, Any] = {"color": style.VERMILION, "linestyle": "--"}

_BYTES_ENDS = (3, 9)
_BYTES = (
    {k: style.size(10.0**k) for k in range(3, 10)},
    dict.fromkeys(range(3, 10), ""),
)
"""The marks of the axis of bytes, as exponents of 10: with words in the first picture only."""

_ALONG: dict[str, tuple[str, tuple[int, ...], Callable[[float], float]]] = {
    "batch": ("images in a batch", (1, 8, 64, 512, 4096), math.log2),
    "width": ("numbers in a hidden layer", (16, 64, 256, 1024), math.log2),
    "depth": ("hidden layers", (1, 2, 4, 6, 8), float),
}
"""For each axis: what it counts, its marks, and where a number stands on it."""


def describe(result: Remembered) -> str:
    """The picture in one line."""
    most = [
        f"{name} {sweep.values[-1]:,}: {style.size(sweep.measured[sweep.values[-1]])}"
        for name, sweep in result.sweeps.items()
    ]
    return (
        f"Batch {result.batch:,}, width {result.width:,}, depth {result.depth}, "
        f"{result.activation}: one training step remembers {style.size(result.measured)} "
        f"(measured on the tape; modelled {style.size(result.modelled)}), beside "
        f"{style.size(result.beside)} of weights, gradients and {result.optimizer} state "
        f"(modelled). With one of them at its most, measured on the tape: {', '.join(most)}."
    )


def row(result: Remembered) -> dict[str, Any]:
    """What the table of trials says of a result."""
    return {
        "remembered, bytes (measured)": result.measured,
        "remembered, bytes (modelled)": result.modelled,
        "weights, gradients, state, bytes (modelled)": result.beside,
    }


def ask(result: Remembered) -> str:
    """What to predict, about the controls as they stand at first."""
    layers = " → ".join(str(n) for n in layer_widths(result.width, result.depth))
    return (
        f"Before you look: a network {layers} with {result.activation} learns from "
        f"{result.batch:,} images at a time, all in float32. How many MB does a training step "
        f"remember for the walk back, up to the {CLASSES} scores and without the weights?"
    )


remembered = register(
    Experiment(
        name="remembered",
        title="Bytes that training remembers, against batch, width and depth",
        model=model,
        draw=draw,
        describe=describe,
        row=row,
        question=Question(text=ask, unit="MB", truth=lambda result: result.measured / 1e6),
    )
)
