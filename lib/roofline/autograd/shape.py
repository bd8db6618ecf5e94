"""Operations that move numbers without changing them; their pullbacks move gradients back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .deferred import window
from .elementwise import Result, sum_to
from .tape import Tensor, op


@op
def reshape(x: torch.Tensor, shape: Sequence[int]) -> Result:
    """``x`` in another shape with as many elements; a view where that is possible."""
    before = x.shape
    return x.reshape(shape), lambda dy: (dy.reshape(before),)


@op
def transpose(x: torch.Tensor, first: int = -2, second: int = -1) -> Result:
    """``x`` with two dimensions exchanged, the last two by default; a view."""
    return x.transpose(first, second), lambda dy: (dy.transpose(first, second),)


@op
def permute(x: torch.Tensor, dims: list[int] | tuple[int, ...]) -> Result:
    """``x`` with its dimensions in the order ``dims``; a view."""
    back = [0] * len(dims)
    for place, dim in enumerate(dims):
        back[dim] = place
    return x.permute(dims), lambda dy: (dy.permute(back),)


@op
def expand(x: torch.Tensor, shape: Sequence[int]) -> Result:
    """``x`` broadcast to ``shape`` (-1 keeps a dimension); a view. Gradients are summed back."""
    before = x.shape
    return x.expand(shape), lambda dy: (sum_to(dy, before),)


@op
def getitem(x: torch.Tensor, index: Any) -> Result:
    """``x[index]`` for anything that torch takes as an index.

    An element that an index of positions picks twice adds up two gradients.
    """
    shape = x.shape
    parts = index if isinstance(index, tuple) else (index,)
    if all(i is None or i is Ellipsis or isinstance(i, int | slice) for i in parts):
        return x[index], lambda dy: (window(dy, shape, index),)

    index = tuple([i.data if isinstance(i, Tensor) else i for i in parts])

    def pullback(dy: torch.Tensor) -> tuple:
        dx = dy.new_zeros(shape)
        # Number the elements, pick as before, and add by number.
        places = torch.arange(dx.numel(), device=dx.device).view(shape)[index]
        dx.view(-1).index_add_(0, places.reshape(-1), dy.reshape(-1))
        return (dx,)

    return x[index], pullback


@op
def _cat(*xs: torch.Tensor, dim: int) -> Result:
    sizes = [x.shape[dim] for x in xs]
    return torch.cat(xs, dim), lambda dy: dy.split(sizes, dim)


@op
def _stack(*xs: torch.Tensor, dim: int) -> Result:
    return torch.stack(xs, dim), lambda dy: dy.unbind(dim)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join along a dimension; shapes agree in all others."""
    return _cat(*tensors, dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new dimension ``dim``."""
    return _stack(*tensors, dim=dim)


@op
def split(x: torch.Tensor, size: int | Sequence[int], dim: int = 0) -> tuple:
    """Cut along ``dim`` into pieces of ``size`` (the last may be smaller) or of the sizes given."""
    pieces = x.split(size, dim)
    shapes = [piece.shape for piece in pieces]

    def pullback(grads: list) -> tuple:
        like = next(grad for grad in grads if grad is not None)
        whole = [
            like.new_zeros(shape) if grad is None else grad
            for grad, shape in zip(grads, shapes, strict=True)
        ]
        return (_side_by_side(whole, dim),)

    return pieces, pullback


def _side_by_side(pieces: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """The pieces joined along ``dim``: without a copy where they lie in memory like that."""
    first = pieces[0]
    if not torch.compiler.is_compiling() and first.dim():
        place, step = first.storage_offset(), first.stride(dim)
        memory = first.untyped_storage().data_ptr()
        for piece in pieces:
            if (piece.stride(), piece.storage_offset()) != (first.stride(), place) or (
                piece.untyped_storage().data_ptr() != memory
            ):
                break
            place += piece.shape[dim] * step
        else:
            shape = list(first.shape)
            shape[dim] = sum([piece.shape[dim] for piece in pieces])
            return first.as_strided(shape, first.stride(), first.storage_offset())
    return torch.cat(list(pieces), dim)


@op
def narrow(x: torch.Tensor, dim: int, start: int, length: int) -> Result:
    """``length`` entries of ``x`` along ``dim`` from ``start`` on; a view."""
    shape, index = x.shape, (slice(None),) * (dim % x.dim()) + (slice(start, start + length),)
    return x[index], lambda dy: (window(dy, shape, index),)


def padded(
    x: torch.Tensor, widths: Sequence[int], value: float = 0.0
) -> tuple[torch.Tensor, tuple[slice, ...]]:
    """x with a border of ``value``, and where in it x lies; see :func:`pad`."""
    shape, inner = list(x.shape), [slice(None)] * x.dim()
    for i in range(len(widths) // 2):
        before, after = widths[2 * i : 2 * i + 2]
        inner[-1 - i] = slice(before, before + shape[-1 - i])
        shape[-1 - i] += before + after
    y = x.new_full(shape, value)
    y[tuple(inner)] = x
    return y, tuple(inner)


@op
def pad(x: torch.Tensor, widths: Sequence[int], value: float = 0.0) -> Result:
    """``x`` with a border of ``value``, (before, after) for the last dimension first.

    The order is that of torch.nn.functional.pad; widths are not negative.
    """
    y, inner = padded(x, widths, value)
    return y, lambda dy: (dy[inner],)
