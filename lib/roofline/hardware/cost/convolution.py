"""A convolutional network layer by layer: where its parameters and its FLOPs live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from roofline.hardware.cost.checks import of_kind, whole
from roofline.hardware.cost.model import CNN, Conv, Dense, Layer, Pool, Residual

Shape = tuple[int, ...]  # (channels, height, width), or (width,) behind a dense layer


@dataclass(frozen=True)
class LayerCost:
    """One layer: its name, what it learns, 2 FLOPs a multiply-add for one image, what comes out."""

    name: str
    parameters: int
    flops: int
    output: Shape


def layers_of(model: CNN) -> list[LayerCost]:
    """Every layer's cost, first to last; norms counted in parameters, not in FLOPs.

    A convolution has ``k²·C/g·F`` weights and does 2·k²·C/g FLOPs for each number that comes out
    (Dumoulin and Visin, arXiv 1603.07285, for the sizes). Raises ValueError where an image has
    shrunk to nothing, or groups don't divide channels.
    """
    of_kind("model", model, CNN)
    shape: Shape = (model.channels, model.height, model.width)
    costs = []
    for number, layer in enumerate(model.layers, 1):
        for cost in _cost(layer, shape, str(number)):
            costs.append(cost)
        shape = costs[-1].output
    return costs


def conv_parameters(inputs: int, layer: Conv) -> int:
    """``k²·C/g·F`` weights, F biases, and 2F of a batch norm."""
    whole("inputs", inputs)
    of_kind("layer", layer, Conv)
    if inputs % layer.groups or layer.filters % layer.groups:
        raise ValueError(
            f"{layer.groups} groups don't divide {inputs} channels into {layer.filters} filters; "
            f"give groups that divide both"
        )
    weights = layer.kernel**2 * (inputs // layer.groups) * layer.filters
    return weights + layer.filters * (layer.bias + 2 * layer.norm)


def _cost(layer: Layer, shape: Shape, name: str) -> Iterator[LayerCost]:
    if isinstance(layer, Residual):
        yield from _residual(layer, shape, name)
        return
    if isinstance(layer, Dense):
        inputs = prod(shape)
        weights = inputs * layer.width
        learned = weights + layer.width * layer.bias
        yield LayerCost(f"dense {name}", learned, 2 * weights, (layer.width,))
        return
    if len(shape) != 3:
        raise ValueError(f"layer {name} wants an image, but a dense layer stands before it")
    channels, height, width = shape
    if isinstance(layer, Pool):
        if layer.size == 0:
            yield LayerCost(f"pool {name}", 0, 0, (channels, 1, 1))
            return
        size = [_side(side, layer.size, layer, name) for side in (height, width)]
        yield LayerCost(f"pool {name}", 0, 0, (channels, *size))
        return
    learned = conv_parameters(channels, layer)
    size = [_side(side, layer.kernel, layer, name) for side in (height, width)]
    each = 2 * layer.kernel**2 * (channels // layer.groups)
    flops = each * layer.filters * size[0] * size[1]
    yield LayerCost(f"conv {name}", learned, flops, (layer.filters, *size))


def _residual(layer: Residual, shape: Shape, name: str) -> Iterator[LayerCost]:
    ends = []
    for path, layers in (("s", layer.shortcut), ("", layer.body)):
        end = shape
        for number, part in enumerate(layers, 1):
            for cost in _cost(part, end, f"{name}.{path}{number}"):
                end = cost.output
                yield cost
        ends.append(end)
    if ends[0] != ends[1]:
        raise ValueError(
            f"layer {name} adds {ends[1]} to {ends[0]}; give a shortcut that makes them equal"
        )


def _side(side: int, kernel: int, layer: Conv | Pool, name: str) -> int:
    out = (side + 2 * layer.padding - kernel) // layer.stride + 1
    if out < 1 or side + 2 * layer.padding < kernel:
        raise ValueError(
            f"layer {name} lays {kernel}×{kernel} over {side} pixels; "
            f"give larger images, a smaller kernel, or padding"
        )
    return out


def convolutional_activations(model: CNN, batch: int = 1, element_bytes: int = 4) -> int:
    """Bytes that a CNN keeps for backward, a ReLU behind every convolution and dense layer.

    Counted as PyTorch keeps them: the image; what comes out of each ReLU, which the next layer
    reads; a norm's input; what comes out of a pool and, of its largest values, the places in 8
    bytes each. No ReLU behind the last layer and inside a sum: there it stands behind the sum.
    """
    of_kind("model", model, CNN)
    images = whole("batch", batch, most=10**9)
    size = whole("element_bytes", element_bytes, most=8)
    shape: Shape = (model.channels, model.height, model.width)
    total = prod(shape) * size
    for number, layer in enumerate(model.layers, 1):
        last = number == len(model.layers)
        kept, shape = _kept(layer, shape, size, relu=not last)
        total += kept
    return images * total


def _kept(layer: Layer, shape: Shape, size: int, relu: bool) -> tuple[int, Shape]:
    """Bytes that one layer adds to those of its input, and what comes out."""
    if isinstance(layer, Residual):
        total = 0
        for path in (layer.shortcut, layer.body):
            end = shape
            for number, part in enumerate(path, 1):
                inside = number < len(path)
                kept, end = _kept(part, end, size, relu=inside)
                total += kept
        return total + prod(end) * size * relu, end
    out = next(_cost(layer, shape, "")).output
    if isinstance(layer, Pool):
        return prod(out) * (size + (8 if layer.size else 0)), out
    norm = isinstance(layer, Conv) and layer.norm
    return prod(out) * size * (relu + norm), out
