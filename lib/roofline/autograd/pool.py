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
