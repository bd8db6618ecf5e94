"""Operations that make one number of many: sums, means, extremes."""

from __future__ import annotations

import torch

from .elementwise import Result
from .tape import op

Dims = int | list[int] | tuple[int, ...] | None


def restore(grad: torch.Tensor, shape: torch.Size, dim: Dims, keepdim: bool) -> torch.Tensor:
    """Stretch ``grad``, left when ``dim`` of ``shape`` were reduced away, to ``shape`` again."""
    if dim is not None and not keepdim:
        dims = [dim] if isinstance(dim, int) else dim
        for d in sorted([d % len(shape) for d in dims] if shape else []):
            grad = grad.unsqueeze(d)
    return grad.expand(shape)


@op
def sum(x: torch.Tensor, dim: Dims = None, keepdim: bool = False) -> Result:
    """The sum over the dimensions ``dim``, over all by default."""
    shape = x.shape
    return x.sum(dim, keepdim=keepdim), lambda dy: (restore(dy, shape, dim, keepdim),)


@op
def mean(x: torch.Tensor, dim: Dims = None, keepdim: bool = False) -> Result:
    """The mean over the dimensions ``dim``, over all by default; NaN of no numbers."""
    shape = x.shape
    y = x.mean(dim, keepdim=keepdim)
    share = y.numel() / (x.numel() or 1)
    return y, lambda dy: (restore(dy * share, shape, dim, keepdim),)


@op
def var(x: torch.Tensor, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> Result:
    """The variance over ``dim``: squared distances from the mean over ``n - correction``."""
    dims = list(range(x.dim())) if dim is None else dim
    centred = x - x.mean(dims, keepdim=True)
    y = x.var(dims, correction=correction, keepdim=keepdim)
    n = x.numel() // (y.numel() or 1)
    shape = x.shape
    half = (n - correction) / 2  # to divide by: NaN, not an error, where it is 0
    return y, lambda dy: (restore(dy, shape, dims, keepdim) * centred / half,)


def _extreme(x: torch.Tensor, y: torch.Tensor, dim: Dims, keepdim: bool) -> Result:
    shape = x.shape

    def pullback(dy: torch.Tensor) -> tuple:
        mask = (x == restore(y, shape, dim, keepdim)).to(dy.dtype)
        ties = mask.sum(dim, keepdim=True)
        return (mask / ties * restore(dy, shape, dim, keepdim),)

    return y, pullback


@op
def max(x: torch.Tensor, dim: Dims = None, keepdim: bool = False) -> Result:
    """The largest number along ``dim``, of all by default; ties share the gradient equally."""
    return _extreme(x, x.amax(() if dim is None else dim, keepdim=keepdim), dim, keepdim)


@op
def min(x: torch.Tensor, dim: Dims = None, keepdim: bool = False) -> Result:
    """The smallest number along ``dim``, of all by default; ties share the gradient equally."""
    return _extreme(x, x.amin(() if dim is None else dim, keepdim=keepdim), dim, keepdim)


@op
def logsumexp(x: torch.Tensor, dim: Dims = -1, keepdim: bool = False) -> Result:
    """``log(sum(exp(x)))`` along ``dim`` without overflow; its gradient is the softmax."""
    dims = list(range(x.dim())) if dim is None else dim
    y = torch.logsumexp(x, dims, keepdim=keepdim)
    how = (x.shape, dims, keepdim)
    return y, lambda dy: (restore(dy, *how) * (x - restore(y, *how)).exp(),)


@op
def cumsum(x: torch.Tensor, dim: int = -1) -> Result:
    """Running sums along ``dim``."""
    return x.cumsum(dim), lambda dy: (dy.flip(dim).cumsum(dim).flip(dim),)
