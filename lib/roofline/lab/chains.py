"""Three ways to let every token of a sequence depend on the others: FLOPs, chains of kernels, code.

A recurrent network, attention, and a stack of dilated convolutions, as the experiment ``sequence``
compares them; each from (tokens, width) to as much.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch

from roofline import autograd
from roofline.autograd import Tensor, backward, no_grad
from roofline.autograd.attention import explicit_attention
from roofline.hardware.depth import critical_path
from roofline.lab.here import Here

KINDS = ("recurrent", "attention", "convolution")
FORWARD, TRAINING = "forward", "forward and back"


def layers_of(length: int, kernel: int) -> int:
    """Dilated convolutions until the last one reaches ``length`` tokens: kernel^layers ≥ length."""
    layers = 1
    while kernel**layers < length:
        layers += 1
    return layers


def forward_flops(kind: str, length: int, width: int, kernel: int) -> int:
    """Of one sequence, 2 for a multiply-add.

    Recurrent ``4w²`` a token; attention ``8w² + 4wT``; convolutions ``2kw²`` a layer and token.
    """
    if kind == "recurrent":
        return 4 * length * width**2
    if kind == "attention":
        return 8 * length * width**2 + 4 * length**2 * width
    return 2 * kernel * width**2 * length * layers_of(length, kernel)


def equal_width(kind: str, length: int, width: int, kernel: int) -> int:
    """The width at which ``kind`` costs what attention of ``width`` does, to the nearest number."""
    if kind == "attention":
        return width
    wanted = forward_flops("attention", length, width, kernel)
    return max(1, round(math.sqrt(wanted / forward_flops(kind, length, 1, kernel))))


def modelled_depth(kind: str, length: int, kernel: int, walk: str) -> int:
    """Kernels in the longest chain: so many at first, and so many more for each step.

    The steps of the recurrent network are tokens: 2 kernels each at least, a product and a tanh.
    Those of the convolutions are layers: 2 each at least, a convolution and a relu. Attention has
    none: four products, a scale and a softmax. How many kernels a step takes in this library, and
    on the way back, is the difference between the two shortest sequences; the rest follows.
    """
    first, each = growth(kind, kernel, walk)
    steps = {"recurrent": length, "attention": 0, "convolution": layers_of(length, kernel)}
    return first + each * steps[kind]


@functools.lru_cache(maxsize=64)
def growth(kind: str, kernel: int, walk: str) -> tuple[int, int]:
    """Kernels of a chain without any step, and with each step: from sequences of two lengths."""
    if kind == "attention":
        return counted_depth(kind, 2, kernel, walk), 0
    lengths = (2, 3) if kind == "recurrent" else (kernel, kernel**2)  # 1 layer, and 2
    short, long = (counted_depth(kind, n, kernel, walk) for n in lengths)
    each = long - short
    return short - each * (2 if kind == "recurrent" else 1), each


def floor_seconds(flops: float, depth: int, here: Here) -> float:
    """What no schedule gets below: all work at the fastest rate, or one launch after the other."""
    return max(flops / here.peak, depth * here.overhead)


def computation(
    kind: str, length: int, width: int, kernel: int, walk: str, device: str | torch.device
) -> Callable[[], Any]:
    """What is counted and timed, on random numbers that are made at the first call."""
    made: list[tuple[Tensor, list[Tensor]]] = []

    def numbers(*shape: int, inputs: int, learned: bool = True) -> Tensor:
        return Tensor(torch.randn(*shape, device=device) * inputs**-0.5, learned)

    def make() -> tuple[Tensor, list[Tensor]]:
        w = width
        if kind == "recurrent":
            x = numbers(length, 1, w, inputs=1, learned=False)
            return x, [numbers(w, w, inputs=2 * w), numbers(w, w, inputs=2 * w)]
        if kind == "attention":
            x = numbers(1, length, w, inputs=1, learned=False)
            return x, [numbers(3 * w, w, inputs=w), numbers(w, w, inputs=w)]
        x = numbers(1, w, length, inputs=1, learned=False)
        layers = layers_of(length, kernel)
        return x, [numbers(w, w, kernel, inputs=kernel * w) for _ in range(layers)]

    def run() -> Tensor:
        x, weights = made[0]
        if kind == "recurrent":
            first = Tensor(torch.zeros(1, width, device=device))
            return autograd.rnn(x, first, *weights)[0]
        if kind == "attention":
            y = autograd.linear(x, weights[0])
            parts = [y[..., k * width : (k + 1) * width].unsqueeze(1) for k in range(3)]
            seen = explicit_attention(*parts, None, False, width**-0.5)
            return autograd.linear(seen[:, 0], weights[1])
        for layer, weight in enumerate(weights):
            reach = kernel**layer
            x = autograd.conv1d(x, weight, padding=reach * (kernel // 2), dilation=reach)
            x = autograd.relu(x)
        return x

    def once() -> None:
        if not made:
            made.append(make())
        if walk == FORWARD:
            with no_grad():
                run()
            return
        for weight in made[0][1]:
            weight.grad = None
        backward(run().sum())

    return once


@functools.lru_cache(maxsize=1024)
def counted_depth(kind: str, length: int, kernel: int, walk: str) -> int:
    """Kernels in the longest chain, counted while they run. It doesn't depend on the width."""
    once = computation(kind, length, 2, kernel, walk, "cpu")
    once()
    return critical_path(once).depth
