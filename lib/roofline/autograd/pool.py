"""Pooling: one number for each window of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .conv import Size, add_windows, pad_zeros, spread, windows
from .elementwise import Result
from .tape import Tensor, op


def max_pool2d(x: Tensor, kernel: Size, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """The largest number of each window: (n, c, h, w) to (n, c, h', w').

    ``stride`` is the kernel's size by default; padding never wins. The gradient goes to the
    first of the largest numbers, row by row.
    """
    size = spread(kernel, 2)
    return _max_pool(x, size, spread(stride or kernel, 2), spread(padding, 2))


def avg_pool2d(x: Tensor, kernel: Size, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """The mean of each window, zeros of the padding included: (n, c, h, w) to (n, c, h', w')."""
    size = spread(kernel, 2)
    return _avg_pool(x, size, spread(stride or kernel, 2), spread(padding, 2))


@op
def _max_pool(
    x: torch.Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Result:
    shape = x.shape
    views = windows(pad_zeros(x, padding, -torch.inf), kernel, stride, [1, 1])
    y, place = views.flatten(-2).max(-1)

    def pullback(dy: torch.Tensor) -> tuple:
        d_windows = dy.new_zeros((*dy.shape, kernel[0] * kernel[1]))
        d_windows.scatter_(-1, place.unsqueeze(-1), dy.unsqueeze(-1))
        d_windows = d_windows.view(*dy.shape, *kernel)
        return (add_windows(d_windows, shape, stride, [1, 1], padding),)

    return y, pullback


@op
def _avg_pool(
    x: torch.Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Result:
    shape = x.shape
    y = windows(pad_zeros(x, padding), kernel, stride, [1, 1]).mean((-2, -1))

    def pullback(dy: torch.Tensor) -> tuple:
        share = (dy / (kernel[0] * kernel[1]))[..., None, None].expand(*dy.shape, *kernel)
        return (add_windows(share, shape, stride, [1, 1], padding),)

    return y, pullback


def adaptive_avg_pool2d(x: Tensor, size: Size) -> Tensor:
    """The means over a grid of ``size`` windows: (n, c, h, w) to (n, c, *size).

    Window i of k over n pixels goes from floor(i n / k) to ceil((i + 1) n / k), as in torch.
    """
    return _adaptive_avg_pool(x, spread(size, 2))


@op
def _adaptive_avg_pool(x: torch.Tensor, size: Sequence[int]) -> Result:
    vertical, horizontal = [_shares(n, k, x) for n, k in zip(x.shape[-2:], size, strict=True)]
    y = vertical @ x @ horizontal.t()
    return y, lambda dy: (vertical.t() @ dy @ horizontal,)


def _shares(n: int, k: int, like: torch.Tensor) -> torch.Tensor:
    """A (k, n) matrix of means: what each of n pixels adds to each of k windows."""
    shares = like.new_zeros((k, n))
    for i in range(k):
        start, end = i * n // k, -(-(i + 1) * n // k)
        shares[i, start:end] = 1 / (end - start)
    return shares
