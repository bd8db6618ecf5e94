"""Activation functions.

tanh is written through the sigmoid, ``tanh(u) = 2 sigmoid(2u) - 1``: on a CPU torch evaluates a
sigmoid over twice as fast.
"""

from __future__ import annotations

import math

import torch

from .elementwise import Result
from .tape import op


@op
def relu(x: torch.Tensor) -> Result:
    """``max(x, 0)``; the gradient at 0 is 0."""
    y = x.clamp_min(0)
    return y, lambda dy: (dy * (y > 0),)


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
def silu(x: torch.Tensor) -> Result:
    """``x * sigmoid(x)``, also called swish. Source: Elfwing et al., 1702.03118."""
    s = torch.sigmoid(x)
    return x * s, lambda dy: (dy * (s * (1 + x * (1 - s))),)


@op
def gelu(x: torch.Tensor, approximate: str = "none") -> Result:
    """``x * P(X <= x)`` for a standard normal X. Source: Hendrycks and Gimpel, 1606.08415.

    Args:
        approximate: "none" for ``x (1 + erf(x / sqrt 2)) / 2``; "tanh" for GPT-2's
            ``x (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3))) / 2 = x sigmoid(2u)``.
    """
    if approximate == "tanh":
        return _gelu_tanh(x)
    if approximate != "none":
        raise ValueError(f"gelu's approximate is 'none' or 'tanh', not {approximate!r}")
    half = (1 + torch.erf(x * math.sqrt(0.5))) * 0.5

    def pullback(dy: torch.Tensor) -> tuple:
        density = (x * x * -0.5).exp() * (1 / math.sqrt(2 * math.pi))
        return (dy * (half + x * density),)

    return x * half, pullback


def _gelu_tanh(x: torch.Tensor) -> Result:
    a, b = 2 * math.sqrt(2 / math.pi), 2 * math.sqrt(2 / math.pi) * 0.044715
    s = torch.sigmoid(x * (a + b * x * x))

    def pullback(dy: torch.Tensor) -> tuple:
        slope = a + 3 * b * x * x
        return (dy * (s + x * s * (1 - s) * slope),)

    return x * s, pullback
