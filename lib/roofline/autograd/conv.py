"""Convolution, twice: as windows and one matrix product, to be read, and over the device's own
kernels (convolution_kernels.py), to be run. ``fast`` chooses; the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from . import convolution_kernels
from .elementwise import Result
from .shape import pad, padded
from .tape import Tensor, op

Size = int | Sequence[int]


class _Default:
    """Whether a convolution that isn't told uses the device's kernels."""

    fast = True


@contextmanager
def readable_convolution() -> Iterator[None]:
    """Inside this block convolutions are unfold and a matrix product, unless told otherwise."""
    before, _Default.fast = _Default.fast, False
    try:
        yield
    finally:
        _Default.fast = before


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    fast: bool | None = None,
) -> Tensor:
    """Slide ``weight`` over pictures: y[n, o] = bias[o] + sum_c weight[o, c] * x[n, c].

    Args:
        x: (n, channels, height, width).
        weight: (outputs, channels / groups, kernel height, kernel width).
        bias: (outputs,).
        stride, dilation: an int or (vertical, horizontal).
        padding: likewise, zeros on both sides; or "same" (stride 1) or "valid".
        groups: outputs and channels fall into so many groups that don't see each other.
        fast: True for the device's kernels, False for the readable version.

    Source: Dumoulin and Visin, "A guide to convolution arithmetic", 1603.07285.
    """
    return _conv(x, weight, bias, stride, padding, dilation, groups, fast, 2)


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    fast: bool | None = None,
) -> Tensor:
    """:func:`conv2d` of one dimension: x is (n, channels, length), weight (outputs, c, kernel)."""
    return _conv(x, weight, bias, stride, padding, dilation, groups, fast, 1)


def _conv(x, weight, bias, stride, padding, dilation, groups, fast, dims):  # type: ignore
    if x.data.dim() != dims + 2 or weight.data.dim() != dims + 2:
        raise ValueError(
            f"conv{dims}d takes x and weight of {dims + 2} dimensions, not of shape "
            f"{tuple(x.data.shape)} and {tuple(weight.data.shape)}"
        )
    if x.data.shape[1] != weight.data.shape[1] * groups:
        raise ValueError(
            f"x has {x.data.shape[1]} channels, but weight {tuple(weight.data.shape)} with "
            f"groups={groups} expects {weight.data.shape[1] * groups}"
        )
    stride, dilation = spread(stride, dims), spread(dilation, dims)
    if padding == "same":
        extra = [d * (k - 1) for d, k in zip(dilation, weight.data.shape[2:], strict=True)]
        if any(s != 1 for s in stride):
            raise ValueError("padding 'same' needs stride 1")
        if any(e % 2 for e in extra):
            x = pad(x, [n for e in reversed(extra) for n in (0, e % 2)])
        padding = tuple(e // 2 for e in extra)
    padding = spread(0 if padding == "valid" else padding, dims)
    if _Default.fast if fast is None else fast:
        return convolution_kernels.convolution(x, weight, bias, stride, padding, dilation, groups)
    return convolution(x, weight, bias, stride, padding, dilation, groups)


def spread(size: Size, dims: int) -> tuple[int, ...]:
    """``size`` for each of ``dims`` dimensions."""
    return (size,) * dims if isinstance(size, int) else tuple(size)


def pad_zeros(x: torch.Tensor, padding: Sequence[int], value: float = 0.0) -> torch.Tensor:
    """x with ``padding`` entries of ``value`` at both ends of its last dimensions."""
    if not any(padding):
        return x.contiguous()
    return padded(x, [p for p in reversed(padding) for _ in range(2)], value)[0]


def windows(
    x: torch.Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> torch.Tensor:
    """Every window of x, (n, c, *size), as a view: (n, c, *output size, *kernel)."""
    dims = len(kernel)
    out = [
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip(x.shape[-dims:], kernel, stride, dilation, strict=True)
    ]
    if min(out) < 1:
        raise ValueError(
            f"a window of {list(kernel)} doesn't fit into {list(x.shape[-dims:])}, padding included"
        )
    steps = x.stride()[-dims:]
    return x.as_strided(
        (*x.shape[:-dims], *out, *kernel),
        (
            *x.stride()[:-dims],
            *[a * s for a, s in zip(steps, stride, strict=True)],
            *[a * d for a, d in zip(steps, dilation, strict=True)],
        ),
    )


def add_windows(
    d_windows: torch.Tensor,
    shape: torch.Size,
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
) -> torch.Tensor:
    """The pullback of :func:`windows` of a padded x: add each window back to where it was."""
    dims = len(stride)
    padded = [n + 2 * p for n, p in zip(shape[-dims:], padding, strict=True)]
    dx = d_windows.new_zeros((*shape[:-dims], *padded))
    out, kernel = d_windows.shape[-2 * dims : -dims], d_windows.shape[-dims:]
    for offset in torch.cartesian_prod(*[torch.arange(k) for k in kernel]).view(-1, dims).tolist():
        place: list[Any] = [
            slice(o * d, o * d + s * (n - 1) + 1, s)
            for o, d, s, n in zip(offset, dilation, stride, out, strict=True)
        ]
        dx[(..., *place)] += d_windows[(..., *offset)]
    inner: list[Any] = [slice(p, p + n) for p, n in zip(padding, shape[-dims:], strict=True)]
    return dx[(..., *inner)]


@op
def convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *,
    needs: Any,
) -> Result:
    """The readable convolution, of any number of dimensions.

    Every window of x becomes a column of a matrix (g groups, k numbers in a window, p places),
    and the convolution is one product with the weights as rows. The columns are k times as large
    as x, so the pullback makes them again instead of keeping them.
    """
    dims = len(stride)
    kernel = weight.shape[2:]
    filters = weight.reshape(groups, weight.shape[0] // groups, -1)

    def columns() -> tuple[torch.Tensor, torch.Size]:
        views = windows(pad_zeros(x, padding), kernel, stride, dilation)
        order = [0, 1, *range(2 + dims, 2 + 2 * dims), *range(2, 2 + dims)]
        out = views.shape[2 : 2 + dims]
        return views.permute(order).reshape(x.shape[0], groups, filters.shape[2], out.numel()), out

    cols, out = columns()
    y = torch.einsum("gok,ngkp->ngop", filters, cols).reshape(x.shape[0], weight.shape[0], *out)
    if bias is not None:
        y += bias.view(-1, *[1] * dims)
    del cols

    def pullback(dy: torch.Tensor) -> tuple:
        per_place = dy.reshape(dy.shape[0], groups, filters.shape[1], out.numel())
        dx = d_weight = None
        if needs[0]:
            d_cols = torch.einsum("gok,ngop->ngkp", filters, per_place)
            d_windows = d_cols.reshape(*x.shape[:2], *kernel, *out)
            order = [0, 1, *range(2 + dims, 2 + 2 * dims), *range(2, 2 + dims)]
            dx = add_windows(d_windows.permute(order), x.shape, stride, dilation, padding)
        if needs[1]:
            d_weight = torch.einsum("ngop,ngkp->gok", per_place, columns()[0])
            d_weight = d_weight.reshape(weight.shape)
        return dx, d_weight, dy.sum((0, *range(2, 2 + dims))) if needs[2] else None

    return y, pullback
