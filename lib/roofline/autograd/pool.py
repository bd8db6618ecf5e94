"""Pooling: one number for each window of a picture.

The largest number of a window is the largest of its rows' largest, so pooling goes along the rows
first and then along the columns: for 2 by 2 windows that is two comparisons of whole pictures with
themselves, shifted by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from .blocks import BLOCK, whole
from .conv import Size, pad_zeros, spread
from .elementwise import Result
from .tape import Tensor, op


def max_pool2d(x: Tensor, kernel: Size, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """The largest number of each window: (n, c, h, w) to (n, c, h', w').

    ``stride`` is the kernel's size by default; padding never wins. The gradient goes to the
    first of the largest numbers, row by row.
    """
    return _pool(x, *_sizes(x, kernel, stride, padding), True)


def avg_pool2d(x: Tensor, kernel: Size, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """The mean of each window, zeros of the padding included: (n, c, h, w) to (n, c, h', w')."""
    return _pool(x, *_sizes(x, kernel, stride, padding), False)


def _sizes(x: Tensor, kernel: Size, stride: Size | None, padding: Size) -> tuple:
    size, pads = spread(kernel, 2), spread(padding, 2)
    if x.data.dim() != 4:
        raise ValueError(f"pooling takes (n, c, h, w), not {tuple(x.data.shape)}")
    for n, k, p in zip(x.data.shape[-2:], size, pads, strict=True):
        if k > n + 2 * p or 2 * p > k:
            raise ValueError(
                f"a window of {size} doesn't fit {tuple(x.data.shape)} with padding {pads}: the "
                "padding may be half the window, and the picture with it at least one window"
            )
    return size, spread(kernel if stride is None else stride, 2), pads


@op
def _pool(
    x: torch.Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    largest: bool,
) -> Result:
    shape = x.shape
    x = pad_zeros(x, padding, -torch.inf if largest else 0.0)
    (n, c, h, w), (rows, columns) = x.shape, kernel
    out = [(size - k) // s + 1 for size, k, s in zip((h, w), kernel, stride, strict=True)]
    y = x.new_empty((n, c, *out))
    row_won = column_won = None  # which row of its window, which number of that row was the largest
    if largest:
        codes = [torch.uint8 if size <= 256 else torch.int32 for size in kernel]
        row_won = x.new_empty(y.shape, dtype=codes[0])
        column_won = x.new_empty((n, c, h, out[1]), dtype=codes[1])
    for part in _samples(x):
        half = _reduce(x[part], columns, stride[1], 3, column_won, part)
        y[part] = _reduce(half, rows, stride[0], 2, row_won, part)
    if not largest:
        y.div_(rows * columns)

    def pullback(dy: torch.Tensor) -> tuple:
        dx = dy.new_empty((n, c, h, w))
        for part in _samples(dx):
            d = dy[part] if largest else dy[part] / (rows * columns)
            half = dy.new_empty((*d.shape[:2], h, out[1]))
            _hand_out(d, half, rows, stride[0], 2, row_won, part)
            _hand_out(half, dx[part], columns, stride[1], 3, column_won, part)
        inner = [slice(p, p + size) for p, size in zip(padding, shape[2:], strict=True)]
        return (dx[:, :, inner[0], inner[1]],)

    return y, pullback


def _samples(x: torch.Tensor) -> Iterator[slice]:
    """Slices of the first dimension that fit a cache."""
    size = len(x) if whole(x) else max(1, BLOCK // x[0].numel())
    return (slice(start, start + size) for start in range(0, len(x), max(size, 1)))


def _shifted(x: torch.Tensor, start: int, step: int, count: int, dim: int) -> torch.Tensor:
    """``count`` entries of ``x`` along ``dim``, every ``step``-th from ``start`` on."""
    index = slice(start, start + step * (count - 1) + 1, step)
    return x[:, :, index] if dim == 2 else x[:, :, :, index]


def _reduce(
    x: torch.Tensor, size: int, step: int, dim: int, won: torch.Tensor | None, part: slice
) -> torch.Tensor:
    """The largest of each window along ``dim``, and which one it was; sums if ``won`` is None."""
    count = (x.shape[dim] - size) // step + 1
    best = _shifted(x, 0, step, count, dim)
    code = None if won is None else won[part]
    if code is not None and size != 2:
        code.zero_()
    for i in range(1, size):
        other = _shifted(x, i, step, count, dim)
        if code is None:
            best = best + other
            continue
        if size == 2:
            torch.gt(other, best, out=code.view(torch.bool))
        else:
            code.masked_fill_(other > best, i)
        best = torch.maximum(best, other)
    return best


def _hand_out(
    d: torch.Tensor,
    out: torch.Tensor,
    size: int,
    step: int,
    dim: int,
    won: torch.Tensor | None,
    part: slice,
) -> None:
    """The way back of :func:`_reduce`: each gradient to the one that won, or to all."""
    count = d.shape[dim]
    apart = step >= size
    if not (apart and step == size and count * step == out.shape[dim]):
        out.zero_()
    code = None if won is None else won[part]
    places = [_shifted(out, i, step, count, dim) for i in range(size)]
    if code is not None and size == 2 and apart:
        torch.mul(d, code.to(d.dtype), out=places[1])
        torch.sub(d, places[1], out=places[0])
        return
    for i, place in enumerate(places):
        share = d if code is None else d * (code == i).to(d.dtype)
        if apart:
            place.copy_(share)
        else:
            place.add_(share)


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
