"""Where the parameters and the FLOPs of a small convolutional network live.

The network of the articles this course starts from: a 3×3 convolution, a pooling over 2×2, a second
convolution of twice the channels, a pooling, then a dense layer if there is one, and ten scores.
*Modelled* is :mod:`roofline.hardware.cost.convolution`. *Measured* is counted while the library's
own layers run on torch's meta device, where tensors have shapes but no numbers: the count is exact,
and the same on every machine.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from matplotlib.figure import Figure

from roofline import nn
from roofline.autograd import Tensor, no_grad, relu
from roofline.hardware.cost import CNN, Conv, Dense, Pool
from roofline.hardware.cost.convolution import layers_of
from roofline.hardware.count import count
from roofline.lab import style
from roofline.lab.controls import Choices, Range, bounded, controls
from roofline.lab.experiment import Experiment, Question, register
from roofline.lab.frames import Scale, curves, frame, legend

KERNEL, POOL, CLASSES = 3, 2, 10
COLOURS = {"grey": 1, "colour": 3}


@dataclass(frozen=True)
class Layer:
    """What one layer learns, and what it computes for one image, forward: 2 for a multiply-add."""

    name: str
    parameters: int
    flops: int

    @property
    def convolution(self) -> bool:
        return self.name.startswith("conv")


@dataclass(frozen=True)
class Shares:
    """One network layer by layer, modelled and measured, and its sums along the image's size."""

    image: int
    colours: str
    channels: int
    stride: int
    dense: int
    modelled: tuple[Layer, ...]
    measured: tuple[Layer, ...]
    images: tuple[int, ...]
    along: dict[str, tuple[int, ...]]
    """At each of ``images``, modelled: parameters and flops of "convolutions" and of "dense"."""

    def total(self, what: str) -> int:
        """Measured "parameters" or "flops" of the whole network."""
        return sum(getattr(layer, what) for layer in self.measured)

    def part(self, what: str, convolution: bool) -> int:
        """Measured, of the convolutions alone or of the dense layers alone."""
        chosen = [layer for layer in self.measured if layer.convolution is convolution]
        return sum(getattr(layer, what) for layer in chosen)

    def percent(self, what: str, convolution: bool) -> float:
        return 100 * self.part(what, convolution) / self.total(what)


def modelled_layers(
    image: int, colours: str, channels: int, stride: int, dense: int
) -> tuple[Layer, ...]:
    """From the formulas: k²·C·F + F parameters, 2·k²·C FLOPs for each number that comes out."""
    convolutions = (
        Conv(channels, KERNEL, stride), Pool(POOL), Conv(2 * channels, KERNEL, stride), Pool(POOL)
    )  # fmt: skip
    ends = (Dense(dense), Dense(CLASSES)) if dense else (Dense(CLASSES),)
    network = CNN(COLOURS[colours], image, image, (*convolutions, *ends))
    costs = [cost for cost in layers_of(network) if cost.parameters]
    names = _names(dense)
    return tuple(
        Layer(name, cost.parameters, cost.flops) for name, cost in zip(names, costs, strict=True)
    )


@functools.lru_cache(maxsize=4096)
def measured_layers(
    image: int, colours: str, channels: int, stride: int, dense: int, device: str = "meta"
) -> tuple[Layer, ...]:
    """The same, counted while the library's layers run over one image."""
    return tuple(_counted(image, COLOURS[colours], channels, stride, dense, device))


def _counted(
    image: int, inputs: int, channels: int, stride: int, dense: int, device: str
) -> Iterator[Layer]:
    pool = nn.MaxPool2d(POOL)
    with torch.device(device), no_grad():
        x = Tensor(torch.zeros(1, inputs, image, image))
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, channels, KERNEL, stride=stride),
            nn.Conv2d(channels, 2 * channels, KERNEL, stride=stride),
        ]
        for convolution, name in zip(layers, _names(dense), strict=False):
            counts = count(convolution, x)
            yield Layer(name, _learned(convolution), counts.flops)
            x = relu(pool(counts.result))
        x = x.reshape(1, -1)
        widths = [dense, CLASSES] if dense else [CLASSES]
        for width, name in zip(widths, _names(dense)[2:], strict=True):
            linear = nn.Linear(x.shape[1], width)
            counts = count(linear, x)
            yield Layer(name, _learned(linear), counts.flops)
            x = relu(counts.result)


def _learned(module: nn.Module) -> int:
    return sum(parameter.data.numel() for parameter in module.parameters())


def _names(dense: int) -> tuple[str, ...]:
    return ("conv 1", "conv 2", "dense", "scores") if dense else ("conv 1", "conv 2", "scores")


@bounded
def model(
    image: Annotated[int, Range(64, 512, step=32)] = 224,
    colours: Annotated[str, Choices(*COLOURS)] = "colour",
    channels: Annotated[int, Range(4, 128, doubling=True)] = 32,
    stride: Annotated[int, Range(1, 4)] = 1,
    dense: Annotated[int, Range(0, 1024, step=64)] = 0,
) -> Shares:
    """Each layer's parameters and FLOPs, and both sums along the image's size.

    ``channels`` of the first convolution, the second has twice as many; ``stride`` of both;
    ``dense`` numbers in a hidden layer before the ten scores, 0 for none.
    """
    others = (colours, channels, stride, dense)
    kind = controls(model)["image"].kind
    assert isinstance(kind, Range)
    images = tuple(int(stop) for stop in kind.stops(image))
    along: dict[str, list[int]] = {}
    for size in images:
        layers = modelled_layers(size, *others)
        for what in ("parameters", "flops"):
            for where, is_convolution in (("convolutions", True), ("dense", False)):
                amount = sum(getattr(x, what) for x in layers if x.convolution is is_convolution)
                along.setdefault(f"{what} {where}", []).append(amount)
    return Shares(
        image=image,
        colours=colours,
        channels=channels,
        stride=stride,
        dense=dense,
        modelled=modelled_layers(image, *others),
        measured=measured_layers(image, *others),
        images=images,
        along={name: tuple(amounts) for name, amounts in along.items()},
    )


def draw(result: Shares) -> Figure:
    """Bars: every layer's share of both. Lines: both against the image's size.

    The axes never move, so that what moves is what the control changed.
    """
    names = {float(place): layer.name for place, layer in enumerate(result.measured)}
    with style.applied():
        figure = style.figure(8.4, 3.4)
        axis = frame(
            figure,
            (0.085, 0.265, 0.385, 0.9),
            Scale("% of the network (measured)", 0, 180, _PERCENT),
            Scale("Share of each layer", 3.6, -0.6, names),
        )
        for bar in _BARS:
            _bars(axis, result, *bar)
        for what, left, title, marks in _LINES:
            axis = frame(
                figure, (left, 0.265, left + 0.235, 0.9), _PIXELS, Scale.powers(title, marks)
            )
            curves(
                axis,
                result.image,
                result.images,
                [(result.along[f"{what} {where}"], look) for where, look in _PARTS.items()],
                {result.image: [result.part(what, where == "convolutions") for where in _PARTS]},
            )
        entries = {
            "convolutions (modelled)": _PARTS["convolutions"],
            "dense layers (modelled)": _PARTS["dense"],
            "this network (measured)": style.MEASURED,
        }
        legend(figure, entries, (0.2, 0.47, 0.74), 0.05)
    return figure


_BARS = (("parameters", "parameters", -0.2, style.ORANGE), ("flops", "FLOPs", 0.2, style.GREEN))
"""The two bars of a layer: what, in words, where it stands, its colour. The words stand behind each
bar, so the colour is not needed to tell them apart."""

_LINES = (
    ("parameters", 0.45, "Parameters", {10.0**k: style.amount(10**k) for k in range(2, 11, 2)}),
    ("flops", 0.75, "FLOPs of one image", {10.0**k: style.amount(10**k) for k in range(2, 13, 2)}),
)
"""The two panels of lines: what, where it begins, its title, the marks of its axis."""

_PERCENT: dict[float, str] = {0: "0", 25: "25", 50: "50", 75: "75", 100: "100"}
_PIXELS = Scale("pixels along a side", 40, 536, {n: str(n) for n in (64, 224, 384, 512)})

_PARTS: dict[str, dict[str, Any]] = {
    "convolutions": {"color": style.BLUE, "linestyle": "-"},
    "dense": {"color": style.VERMILION, "linestyle": "--"},
}


def _bars(axis: Any, result: Shares, what: str, words: str, shift: float, colour: str) -> None:
    """One bar a layer, its amount written behind it."""
    total = result.total(what)
    shares = [100 * getattr(layer, what) / total for layer in result.measured]
    places = [number + shift for number in range(len(shares))]
    axis.barh(places, shares, height=0.38, color=colour)
    for place, share, layer in zip(places, shares, result.measured, strict=True):
        said = f"{style.amount(getattr(layer, what))} {words}"
        axis.text(share + 2, place, said, va="center", fontsize=8.5)


def describe(result: Shares) -> str:
    """The picture in one line."""
    layers = "; ".join(
        f"{layer.name} {style.amount(layer.parameters)} parameters and "
        f"{style.amount(layer.flops)} FLOPs"
        for layer in result.measured
    )
    ends = []
    for place in (0, -1):
        sums = {
            what: sum(result.along[f"{what} {where}"][place] for where in _PARTS)
            for what in ("parameters", "flops")
        }
        ends.append(
            f"{result.images[place]} pixels: {style.amount(sums['parameters'])} parameters, "
            f"{style.amount(sums['flops'])} FLOPs"
        )
    dense = f"dense {result.dense:,}" if result.dense else "no hidden dense layer"
    return (
        f"{result.image}×{result.image} {result.colours}, {result.channels} and "
        f"{2 * result.channels} channels, stride {result.stride}, {dense}: "
        f"{result.total('parameters'):,} parameters, {result.percent('parameters', False):.3g}% of "
        f"them in dense layers, and {result.total('flops'):,} FLOPs an image, "
        f"{result.percent('flops', True):.3g}% of them in convolutions (measured: counted while "
        f"the layers run, the same on every machine). By layer (measured): {layers}. "
        f"The same network at other sizes (modelled): {'; '.join(ends)}."
    )


def row(result: Shares) -> dict[str, Any]:
    """What the table of trials says of a result."""
    return {
        "parameters (measured)": result.total("parameters"),
        "parameters in dense layers, % (measured)": round(result.percent("parameters", False), 2),
        "FLOPs an image (measured)": result.total("flops"),
        "FLOPs in convolutions, % (measured)": round(result.percent("flops", True), 2),
    }


def ask(result: Shares) -> str:
    """What to predict, about the controls as they stand at first."""
    dense = f"a dense layer of {result.dense:,}, " if result.dense else ""
    return (
        f"Before you look: images of {result.image}×{result.image} in {result.colours}, a 3×3 "
        f"convolution to {result.channels} channels, pooling, a second to {2 * result.channels}, "
        f"pooling, {dense}and ten scores; strides of {result.stride}. How many percent of its "
        f"parameters are in the two convolutions?"
    )


convnet = register(
    Experiment(
        name="convnet",
        title="Where the parameters and the FLOPs of a convolutional network live",
        model=model,
        draw=draw,
        describe=describe,
        row=row,
        question=Question(
            text=ask, unit="%", truth=lambda result: result.percent("parameters", True)
        ),
    )
)
