"""Activation functions.

GELU and SiLU compute their slope together with their value, while the numbers are in the cache, and
keep the slope for the walk back instead of their input: as many bytes, and one product to go back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from .blocks import BLOCK, in_blocks, whole, wide
from .elementwise import Result
from .tape import op


@op
def relu(x: torch.Tensor) -> Result:
    """``max(x, 0)``; the gradient at 0 is 0."""
    y = torch.relu(x)

    def pullback(dy: torch.Tensor) -> tuple:
        # A mask of 1.0 and 0.0 to multiply by: on a processor several times faster than a bool one.
        dx = torch.empty_like(y)
        if y.is_contiguous() and dy.is_contiguous():
            in_blocks(lambda y, dy, dx: torch.gt(y, 0, out=dx).mul_(dy), y, dy, dx)
        else:
            torch.gt(y, 0, out=dx).mul_(dy)
        return (dx,)

    return y, pullback


@op
def leaky_relu(x: torch.Tensor, slope: float = 0.01) -> Result:
    """``x`` where it is positive, else ``slope * x``."""
    positive = x > 0
    return torch.where(positive, x, slope * x), lambda dy: (torch.where(positive, dy, slope * dy),)


@op
def sigmoid(x: torch.Tensor) -> Result:
    """``1 / (1 + exp(-x))``; dy/dx = y (1 - y)."""
    y = torch.sigmoid(x)
    return y, lambda dy: (dy * y * (1 - y),)


@op
def tanh(x: torch.Tensor) -> Result:
    """The hyperbolic tangent; dy/dx = 1 - y**2."""
    y = torch.tanh(x)
    return y, lambda dy: (dy * (1 - y * y),)


@op
def softplus(x: torch.Tensor) -> Result:
    """``log(1 + exp(x))`` without overflow; its gradient is the sigmoid."""
    return torch.logaddexp(x, x.new_zeros(())), lambda dy: (dy * torch.sigmoid(x),)


@op
def silu(x: torch.Tensor, *, needs: Any) -> Result:
    """``x * sigmoid(x)``, also called swish. Source: Elfwing et al., 1702.03118."""
    return _with_slope(x, _silu, needs[0])


@op
def gelu(x: torch.Tensor, approximate: str = "none", *, needs: Any) -> Result:
    """``x * P(X <= x)`` for a standard normal X. Source: Hendrycks and Gimpel, 1606.08415.

    Args:
        approximate: "none" for ``x (1 + erf(x / sqrt 2)) / 2``; "tanh" for GPT-2's
            ``x (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3))) / 2``.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu's approximate is 'none' or 'tanh', not {approximate!r}")
    return _with_slope(x, _gelu if approximate == "none" else _gelu_tanh, needs[0])


def _with_slope(x: torch.Tensor, function: Callable, needed: Any) -> Result:
    """The value and the slope that ``function`` computes, with two blocks of scratch space."""
    dtype, x = x.dtype, wide(x).contiguous()
    y = torch.empty_like(x)
    slope = torch.empty_like(x) if needed else y.new_empty(0)
    space = x.new_empty((2, *(x.shape if whole(x) else [BLOCK]))).unbind(0)

    def step(x: torch.Tensor, y: torch.Tensor, *slope: torch.Tensor) -> None:
        scratch = space if x.shape == space[0].shape else [s[: len(x)] for s in space]
        function(x, y, *slope, *scratch)

    in_blocks(step, x, y, *[slope] * bool(needed))
    slope = slope.to(dtype)
    return y.to(dtype), lambda dy: (slope.mul_(dy),)  # in place: nobody else sees the slope


def _silu(x: torch.Tensor, y: torch.Tensor, *rest: torch.Tensor) -> None:
    *slope, s, _ = rest
    torch.sigmoid(x, out=s)
    torch.mul(x, s, out=y)
    for d in slope:
        torch.addcmul(y, y, s, value=-1, out=d).add_(s)  # s + y (1 - s)


def _gelu(x: torch.Tensor, y: torch.Tensor, *rest: torch.Tensor) -> None:
    *slope, p, density = rest
    torch.mul(x, math.sqrt(0.5), out=p).erf_().add_(1).mul_(0.5)
    torch.mul(x, p, out=y)
    for d in slope:  # p + x density(x); powers of 2, as exp is slow where it underflows
        torch.mul(x, x, out=density).mul_(-0.5 * math.log2(math.e)).exp2_()
        torch.addcmul(p, x, density, value=1 / math.sqrt(2 * math.pi), out=d)


def _gelu_tanh(x: torch.Tensor, y: torch.Tensor, *rest: torch.Tensor) -> None:
    # (1 + tanh u) / 2 = sigmoid(2u), and 2u = x (a + b x^2).
    *slope, s, t = rest
    a, b = x.new_full((), 2 * math.sqrt(2 / math.pi)), 2 * math.sqrt(2 / math.pi) * 0.044715
    torch.mul(torch.addcmul(a, x, x, value=b, out=t), x, out=s).sigmoid_()
    torch.mul(x, s, out=y)
    for d in slope:  # s + y (1 - s) (a + 3 b x^2)
        torch.addcmul(y, y, s, value=-1, out=d)
        torch.addcmul(s, d, torch.add(-2 * a, t, alpha=3, out=t), out=d)
