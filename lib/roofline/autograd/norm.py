"""Normalisation layers and dropout."""

from __future__ import annotations

from typing import Any

import torch

from .elementwise import Result
from .tape import op


@op
def layer_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    *,
    needs: Any,
) -> Result:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the dimensions of weight, or the last.

    x is (..., d), weight and bias (d), or more trailing dimensions. A row of equal numbers
    comes out as ``bias``. With n = (x - mean) / sqrt(var + eps) and g = dy weight:
    dx = (g - mean(g) - n mean(g n)) / sqrt(var + eps). Source: Ba et al., 1607.06450.
    """
    dims = tuple(range(-(1 if weight is None else weight.dim()), 0))
    var, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    scale = torch.rsqrt(var + eps)
    normal = (x - mean) * scale
    y = normal if weight is None else normal * weight
    if bias is not None:
        y = y + bias
    leading = tuple(range(x.dim() - len(dims)))

    def pullback(dy: torch.Tensor) -> tuple:
        dx = None
        if needs[0]:
            g = dy if weight is None else dy * weight
            along = (g * normal).mean(dims, keepdim=True)
            dx = (g - g.mean(dims, keepdim=True) - normal * along) * scale
        return (
            dx,
            _sum(dy * normal, leading) if needs[1] else None,
            _sum(dy, leading) if needs[2] else None,
        )

    return y, pullback


def _sum(x: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """The sum over ``dims``; none of them is none, where torch would take all."""
    return x.sum(dims) if dims else x


@op
def rms_norm(
    x: torch.Tensor, weight: torch.Tensor | None = None, eps: float = 1e-5, *, needs: Any
) -> Result:
    """``x / sqrt(mean(x**2) + eps) * weight`` over the last dimension; x is (..., d), weight (d).

    Source: Zhang and Sennrich, 1910.07467.
    """
    scale = torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
    normal = x * scale
    leading = tuple(range(x.dim() - 1))

    def pullback(dy: torch.Tensor) -> tuple:
        dx = None
        if needs[0]:
            g = dy if weight is None else dy * weight
            dx = (g - normal * (g * normal).mean(-1, keepdim=True)) * scale
        return dx, _sum(dy * normal, leading) if needs[1] else None

    return normal if weight is None else normal * weight, pullback


@op
def batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    needs: Any,
) -> Result:
    """Normalise each channel of x, (n, channels) or (n, channels, ...), then scale and shift it.

    In training by the batch's own mean and variance, which also move the running ones by
    ``momentum`` (in place; the running variance is the unbiased one); else by the running ones.
    Source: Ioffe and Szegedy, 1502.03167.
    """
    dims = (0, *range(2, x.dim()))
    column = (1, -1, *[1] * (x.dim() - 2))
    batch = training or running_mean is None or running_var is None
    n = x.numel() // max(x.shape[1], 1)
    if batch:
        if training and n == 1:
            raise ValueError(
                f"batch_norm needs more than one value a channel; x is {tuple(x.shape)}"
            )
        var, mean = torch.var_mean(x, dims, correction=0)
        if training and running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (n / (n - 1))).to(running_var.dtype), momentum)
    else:
        mean, var = running_mean, running_var
    scale = torch.rsqrt(var + eps).view(column)
    normal = (x - mean.view(column)) * scale
    y = normal if weight is None else normal * weight.view(column)
    if bias is not None:
        y = y + bias.view(column)

    def pullback(dy: torch.Tensor) -> tuple:
        dx = None
        if needs[0]:
            dx = dy if weight is None else dy * weight.view(column)
            if batch:
                along = (dx * normal).mean(dims, keepdim=True)
                dx = dx - dx.mean(dims, keepdim=True) - normal * along
            dx = dx * scale
        return (
            dx,
            None,
            None,
            (dy * normal).sum(dims) if needs[3] else None,
            dy.sum(dims) if needs[4] else None,
        )

    return y.to(x.dtype), pullback


@op
def dropout(
    x: torch.Tensor,
    p: float = 0.5,
    training: bool = True,
    generator: torch.Generator | None = None,
) -> Result:
    """Zero each number with probability ``p`` and scale the others by 1 / (1 - p), in training.

    Source: Srivastava et al., "Dropout", JMLR 15 (2014).
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout's p is a probability between 0 and 1, not {p}")
    if not training or p == 0:
        return x, lambda dy: (dy,)
    if p == 1:
        return torch.zeros_like(x), lambda dy: (torch.zeros_like(dy),)
    keep = torch.empty_like(x).bernoulli_(1 - p, generator=generator).div_(1 - p)
    return x * keep, lambda dy: (dy * keep,)
