"""Operations and layers of the course, each at a width and a batch, to be counted and timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from roofline import autograd, nn, optim
from roofline.autograd import Tensor, no_grad
from roofline.hardware.count import count
from roofline.lab import style

Run = Callable[[], Any]
Build = Callable[[int, int, torch.device], Run]

TOKENS, HEADS, STEPS, CHANNELS = 64, 4, 8, 16


@dataclass(frozen=True)
class Operation:
    """What it works on, and how to make a call of it.

    ``noun``: what the batch counts, if anything; ``on``: the rest, with ``{width}``, ``{side}``.
    """

    noun: str
    on: str
    build: Build


def _random(*shape: int, device: torch.device) -> torch.Tensor:
    return torch.empty(shape, device=device).normal_()


def _indices(batch: int, rows: int, device: torch.device) -> torch.Tensor:
    return torch.zeros(batch, dtype=torch.int64, device=device).add_(rows // 2)


def _forward(call: Callable[[Tensor], Any]) -> Build:
    """A way forward over (batch, width) numbers, nothing remembered."""

    def build(batch: int, width: int, device: torch.device) -> Run:
        x = Tensor(_random(batch, width, device=device))

        def run() -> None:
            with no_grad():
                call(x)

        return run

    return build


def _linear(batch: int, width: int, device: torch.device) -> Run:
    weight = Tensor(_random(width, width, device=device))
    return _forward(lambda x: autograd.linear(x, weight))(batch, width, device)


def _linear_and_back(batch: int, width: int, device: torch.device) -> Run:
    weight = Tensor(_random(width, width, device=device), requires_grad=True)
    x = Tensor(_random(batch, width, device=device), requires_grad=True)
    dy = _random(batch, width, device=device)

    def run() -> None:
        autograd.linear(x, weight).backward(dy)
        x.grad = weight.grad = None

    return run


def _cross_entropy(batch: int, width: int, device: torch.device) -> Run:
    target = _indices(batch, width, device)
    return _forward(lambda x: autograd.cross_entropy(x, target))(batch, width, device)


def _convolution(batch: int, width: int, device: torch.device) -> Run:
    weight = Tensor(_random(CHANNELS, CHANNELS, 3, 3, device=device))
    images = _images(batch, width, device)
    return _forward(lambda _: autograd.conv2d(images, weight, padding=1))(1, 1, device)


def _pooling(batch: int, width: int, device: torch.device) -> Run:
    images = _images(batch, width, device)
    return _forward(lambda _: autograd.max_pool2d(images, 2))(1, 1, device)


def _images(batch: int, width: int, device: torch.device) -> Tensor:
    side = max(2, width // 16)
    return Tensor(_random(batch, CHANNELS, side, side, device=device))


def _attention(batch: int, width: int, device: torch.device) -> Run:
    shape = (batch, HEADS, TOKENS, width // HEADS)
    q, k, v = (Tensor(_random(*shape, device=device)) for _ in range(3))
    return _forward(lambda _: autograd.attention(q, k, v))(1, 1, device)


def _lstm(batch: int, width: int, device: torch.device) -> Run:
    x = Tensor(_random(STEPS, batch, width, device=device))
    with torch.device(device):
        layer = nn.LSTM(width, width)
    return _forward(lambda _: layer(x))(1, 1, device)


def _adam(batch: int, width: int, device: torch.device) -> Run:
    weight = nn.Parameter(_random(width, width, device=device))
    update = optim.AdamW([weight], lr=1e-4)
    gradient = _random(width, width, device=device)

    def run() -> None:
        weight.grad = gradient
        update.step()

    return run


_ROWS = "of {width}"
_IMAGES = f"of {{side}} by {{side}} in {CHANNELS} channels"
OPERATIONS: dict[str, Operation] = {
    "linear": Operation("row", _ROWS + ", a matrix of {width} by {width}", _linear),
    "linear and back": Operation("row", _ROWS + ", forward and backward", _linear_and_back),
    "add": Operation("row", _ROWS, _forward(lambda x: x + x)),
    "relu": Operation("row", _ROWS, _forward(autograd.relu)),
    "gelu": Operation("row", _ROWS, _forward(autograd.gelu)),
    "softmax": Operation("row", _ROWS, _forward(lambda x: autograd.softmax(x, -1))),
    "layer norm": Operation("row", _ROWS, _forward(autograd.layer_norm)),
    "cross-entropy": Operation("row", _ROWS, _cross_entropy),
    "convolution": Operation("image", _IMAGES + ", 3×3", _convolution),
    "max pooling": Operation("image", _IMAGES, _pooling),
    "attention": Operation(
        "sequence", f"of {TOKENS} tokens of {{width}}, {HEADS} heads", _attention
    ),
    "LSTM": Operation("sequence", f"of {STEPS} steps of {{width}}", _lstm),
    "AdamW": Operation("", "{width} by {width} weights", _adam),
}


def words(name: str, width: int, batch: int) -> str:
    """What the operation works on."""
    operation = OPERATIONS[name]
    on = operation.on.format(width=width, side=max(2, width // 16))
    return f"{style.several(batch, operation.noun)} {on}" if operation.noun else on


@dataclass(frozen=True)
class Asked:
    """What one call asks of a machine: operations on numbers, bytes to and from memory, kernels."""

    work: int
    moved: int
    kernels: int

    @property
    def intensity(self) -> float:
        """FLOPs a byte."""
        return self.work / self.moved


@lru_cache(maxsize=4096)
def asked(name: str, width: int, batch: int, device: str = "meta") -> Asked:
    """Counted: FLOPs of products, one operation for each element of every other kernel, and the
    bytes that every kernel reads and writes, as if no cache kept anything between two kernels.

    On torch's meta device, where nothing is computed: a processor may take another way for a layer
    of several kernels, with as many FLOPs and somewhat more bytes.
    """
    run = OPERATIONS[name].build(batch, width, torch.device(device))
    if name == "AdamW":
        run()  # the first step makes the moments
    counts = count(run)
    return Asked(counts.flops + counts.elementwise, counts.bytes_moved, counts.launches)
