"""Where in the sequence: attention alone doesn't know."""

from __future__ import annotations

import torch

from roofline import autograd
from roofline.autograd import Tensor

from .module import Module, Parameter


def sinusoids(length: int, width: int) -> torch.Tensor:
    """The table of Vaswani et al., 1706.03762, section 3.5, of shape (length, width).

    Column 2i is sin(position / 10000^(2i/width)), column 2i + 1 the cosine.
    """
    if width % 2:
        raise ValueError(f"sinusoidal positions need an even width, got {width}")
    angles = _angles(length, width, 10_000.0)
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(length, width)


def _angles(length: int, width: int, base: float) -> torch.Tensor:
    """position · base^(−2i/width), of shape (length, width/2)."""
    rates = base ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.arange(length, dtype=torch.float64)[:, None] * rates


class SinusoidalPositions(Module):
    """Add a fixed wave of another length to each feature: (n, t, width) to the same."""

    table: torch.Tensor

    def __init__(self, max_length: int, width: int):
        self.max_length = max_length
        table = sinusoids(max_length, width).to(torch.get_default_dtype())
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        _check_length(x.shape[-2], self.max_length)
        return autograd.add(x, self.table[: x.shape[-2]].to(x.dtype))

    def extra_repr(self) -> str:
        return f"{self.max_length}, {self.table.shape[1]}"


class LearnedPositions(Module):
    """Add a learned vector for each position: (n, t, width) to the same.

    Starts normal with standard deviation 0.02, as GPT-2 and BERT do.
    """

    def __init__(self, max_length: int, width: int):
        self.max_length = max_length
        self.weight = Parameter(torch.empty(max_length, width).normal_(0, 0.02))

    def forward(self, x: Tensor) -> Tensor:
        _check_length(x.shape[-2], self.max_length)
        return autograd.add(x, autograd.narrow(self.weight, 0, 0, x.shape[-2]))

    def extra_repr(self) -> str:
        return f"{self.max_length}, {self.weight.shape[1]}"


class RotaryPositions(Module):
    """Turn each pair of features of a query or key by an angle that grows with its position.

    (..., t, width) to the same. Features 2i and 2i + 1 turn by position · base^(−2i/width), so the
    product of a query and a key depends on their distance only. Su et al., 2104.09864,
    equation 34, whose pairs are neighbours; some published weights pair i with i + width/2.
    """

    cosine: torch.Tensor
    sine: torch.Tensor

    def __init__(self, max_length: int, width: int, base: float = 10_000.0):
        if width % 2:
            raise ValueError(f"rotary positions need an even width, got {width}")
        self.max_length, self.width, self.base = max_length, width, base
        angles = _angles(max_length, width, base)
        dtype = torch.get_default_dtype()
        self.register_buffer("cosine", angles.cos().to(dtype), persistent=False)
        self.register_buffer("sine", angles.sin().to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        t = x.shape[-2]
        _check_length(t, self.max_length)
        cosine, sine = self.cosine[:t].to(x.dtype), self.sine[:t].to(x.dtype)
        first, second = x[..., 0::2], x[..., 1::2]
        turned = [first * cosine - second * sine, first * sine + second * cosine]
        return autograd.stack(turned, -1).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{self.max_length}, {self.width}, base={self.base}"


def _check_length(length: int, most: int) -> None:
    if length > most:
        raise ValueError(
            f"the layer knows {most} positions, got a sequence of {length}: shorten it, or build "
            "the layer with a greater max_length"
        )
