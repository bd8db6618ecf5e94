"""Normalisation layers and dropout."""

from __future__ import annotations

from typing import Any

import torch

from .blocks import block_rows, ready, row_blocks, wide
from .deferred import Deferred, filled
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

    x is (..., d), weight and bias (d), or more trailing dimensions. A row of equal numbers comes
    out as ``bias``, up to the rounding of their mean. With n = (x - mean) / sqrt(var + eps) and
    g = dy weight: dx = (g - mean(g) - n mean(g n)) / sqrt(var + eps). Source: 1607.06450.
    """
    x_shape, shape = x.shape, x.shape[-1:] if weight is None else weight.shape
    width = shape.numel()
    rows = x.reshape(-1, width)
    scale, shift = (None if each is None else ready(each) for each in (weight, bias))
    y, mean, inverse = torch.native_layer_norm(ready(x), shape, scale, shift, eps)
    means, scales = wide(mean).reshape(-1, 1), wide(inverse).reshape(-1, 1)

    def pullback(dy: torch.Tensor) -> tuple:
        d_rows = dy.reshape(-1, width)
        w = means.new_ones(width) if weight is None else wide(weight).reshape(-1)
        share, d_weight, d_bias = w / -width, torch.zeros_like(w), torch.zeros_like(w)

        def write(out: torch.Tensor, base: torch.Tensor | None) -> None:
            """dx, and while its rows are in the cache the sums for the other two gradients."""
            outs = out.view(-1, width)
            bases = outs if base is None else base.reshape(-1, width)
            space = means.new_empty((2, *rows[: block_rows(rows, 2)].shape))
            for values, dy, out, so_far, mean, scale in row_blocks(
                rows, d_rows, outs, bases, means, scales, parts=2
            ):
                centred, product = space[:, : len(values)]
                dy = wide(dy)
                torch.sub(values, mean, out=centred)
                torch.mul(dy, centred, out=product)
                if needs[1]:
                    d_weight.addmv_(product.t(), scale[:, 0])
                if needs[2]:
                    d_bias.add_(dy.sum(0))
                along = torch.mv(product, share).unsqueeze_(1).mul_(scale).mul_(scale)
                centred.mul_(along).add_(torch.mv(dy, share).unsqueeze_(1)).addcmul_(dy, w)
                if base is None:
                    torch.mul(centred, scale, out=out)
                else:
                    torch.addcmul(so_far, centred, scale, out=out)

        if not needs[0]:
            write(torch.empty_like(rows), None)
        sums = [
            filled(total, shape, rows) if needed else None
            for total, needed in ((d_weight, needs[1]), (d_bias, needs[2]))
        ]
        return Deferred(x_shape, rows, write), *sums

    return y.to(x.dtype), pullback


@op
def rms_norm(
    x: torch.Tensor, weight: torch.Tensor | None = None, eps: float = 1e-5, *, needs: Any
) -> Result:
    """``x / sqrt(mean(x**2) + eps) * weight`` over the last dimension; x is (..., d), weight (d).

    With n = x / sqrt(mean(x**2) + eps) and g = dy weight: dx = (g - n mean(g n)) times the scale.
    Source: Zhang and Sennrich, 1910.07467.
    """
    rows = x.reshape(-1, x.shape[-1])
    norms = torch.linalg.vector_norm(wide(rows), dim=1, keepdim=True)
    scales = torch.rsqrt(norms.square().div_(rows.shape[1]).add_(eps))
    y = wide(rows) * scales
    if weight is not None:
        y.mul_(weight)

    def pullback(dy: torch.Tensor) -> tuple:
        d_rows, dx = dy.reshape(rows.shape), torch.empty_like(rows)
        d_weight = scales.new_zeros(rows.shape[1])
        w = torch.ones_like(d_weight) if weight is None else wide(weight)
        for values, dy, out, scale in row_blocks(rows, d_rows, dx, scales):
            dy, values = wide(dy), wide(values)
            product = dy * values
            d_weight += scale[:, 0] @ product
            along = (product @ w).div_(-rows.shape[1]).unsqueeze_(1).mul_(scale * scale)
            torch.mul((values * along).addcmul_(dy, w), scale, out=out)
        return dx.view(x.shape), d_weight.to(x.dtype) if needs[1] else None

    return y.to(x.dtype).view(x.shape), pullback


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
    if batch or running_mean is None or running_var is None:
        if training and n == 1:
            raise ValueError(
                f"batch_norm needs more than one value a channel; x is {tuple(x.shape)}"
            )
        mean = wide(x).mean(dims)
        var = (x - mean.view(column)).square_().mean(dims)
        if training and n and running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (n / (n - 1))).to(running_var.dtype), momentum)
    else:
        mean, var = running_mean, running_var
    scale = torch.rsqrt(var + eps).view(column)
    normal = ((x - mean.view(column)) * scale).to(x.dtype)
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
            dx = (dx * scale).to(x.dtype)
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
    return x * keep, lambda dy: (keep.mul_(dy),)  # in place: nobody else sees the mask
