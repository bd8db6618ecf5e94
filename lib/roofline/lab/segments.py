"""A chain of equal layers in k checkpointed segments: its bytes, its work, its code.

As the experiment ``checkpointing`` measures it: of each segment only the input is kept, and on the
way back the segment is run again (Chen et al., arXiv 1604.06174, section 4.1).
"""

from __future__ import annotations

import functools

import torch

from roofline import autograd
from roofline.autograd import Tensor, checkpoint, kept
from roofline.lab.experiments.remembered import BESIDE_OUTPUT, FLOAT

Layer = tuple[Tensor, Tensor]


def sizes(depth: int, segments: int) -> list[int]:
    """Layers in each segment, as equal as can be, the larger ones first."""
    few, larger = divmod(depth, segments)
    return [few + 1] * larger + [few] * (segments - larger)


def modelled_bytes(depth: int, width: int, batch: int, activation: str, segments: int) -> int:
    """Inputs of all segments, and what the layers of the largest one keep; 0 segments: of all.

    A layer keeps its input, 4 bytes a number, and what its activation keeps beside its output. An
    activation that keeps nothing beside it keeps the output itself, which is the next one's input.
    """
    layers = depth if segments == 0 else sizes(depth, segments)[0]
    beside = BESIDE_OUTPUT[activation]
    between = layers if beside == 0 else layers - 1
    return batch * width * (FLOAT * (max(segments, 1) + between) + beside * layers)


def modelled_slowdown(depth: int) -> float:
    """FLOPs with checkpointing over FLOPs without: about 4/3.

    Each layer's product once forward and twice backward, less the first layer's gradient with
    respect to the data; checkpointing goes forward once more.
    """
    return (4 * depth - 1) / (3 * depth - 1)


def chain(width: int, depth: int, device: str | torch.device) -> list[Layer]:
    """The weights and biases of equal layers, random where there are numbers."""
    layers = []
    for _ in range(depth):
        weight = torch.empty(width, width, device=device).normal_(0, width**-0.5)
        bias = torch.zeros(width, device=device)
        layers.append((Tensor(weight, True), Tensor(bias, True)))
    return layers


def forward(x: Tensor, layers: list[Layer], activation: str, segments: int) -> Tensor:
    """(batch, width) to (batch, width), in as many checkpointed segments; in none if 0."""
    activate = getattr(autograd, activation)

    def run(x: Tensor, start: int, end: int) -> Tensor:
        for weight, bias in layers[start:end]:
            x = activate(autograd.linear(x, weight, bias))
        return x

    if segments == 0:
        return run(x, 0, len(layers))
    start = 0
    for size in sizes(len(layers), segments):
        x = checkpoint(functools.partial(run, start=start, end=start + size), x)
        start += size
    return x


@functools.lru_cache(maxsize=1024)
def measured_bytes(
    depth: int, width: int, batch: int, activation: str, segments: int, device: str = "meta"
) -> int:
    """What the tape keeps, and while it is walked the inside of the largest segment besides.

    A checkpoint also keeps the state of the random numbers, 5,056 bytes on a processor. All layers
    are one and the same here: what they keep doesn't depend on that.
    """
    layers = chain(width, 1, device) * depth
    weights = layers[0]
    x = Tensor(torch.empty(batch, width, device=device).fill_(0))
    total = kept(forward(x, layers, activation, segments), besides=weights).total
    if segments:
        largest = layers[: sizes(depth, segments)[0]]
        inside = forward(x, largest, activation, 0)
        total += kept(inside, besides=[x, *weights]).total
    return total
