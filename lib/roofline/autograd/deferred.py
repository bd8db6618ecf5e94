"""Gradients that aren't computed until it is known where they go.

Computed first and stored, or added to others, later, a gradient costs one more pass over memory;
a :class:`Deferred` one is written, or added, straight into its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .tape import Node


class Deferred:
    """A gradient of ``shape``, with the dtype and device of ``like``.

    ``write(out, base)`` sets ``out``, a contiguous tensor, to the gradient plus ``base``, which is
    None for nothing, or ``out`` itself, or another tensor of the shape.
    """

    __slots__ = ("shape", "like", "write")

    def __init__(
        self,
        shape: Sequence[int],
        like: torch.Tensor,
        write: Callable[[torch.Tensor, torch.Tensor | None], object],
    ):
        self.shape = shape
        self.like = like
        self.write = write

    def give(self, node: Node) -> None:
        """Compute it where ``node`` collects its gradient, in its ``home`` if it is the first."""
        base, like = node.grad, self.like
        out = node.home if base is None else node.own if base is node.own else None
        if out is None or not (
            out.is_contiguous() and out.dtype == like.dtype and out.device == like.device
        ):
            out = like.new_empty(self.shape)
        self.write(out, base)
        node.grad = node.own = out


class Part(Deferred):
    """The gradient of one of several results: the node of all of them collects a list."""

    __slots__ = ("grad", "place", "count")

    def __init__(self, grad: torch.Tensor, place: int, count: int):
        self.grad, self.place, self.count = grad, place, count

    def give(self, node: Any) -> None:
        if node.grad is None:
            node.grad = [None] * self.count
        node.grad[self.place] = self.grad


def window(grad: torch.Tensor, shape: Sequence[int], index: Any) -> Deferred:
    """Zeros of ``shape`` with ``grad`` at ``index``, a basic index."""

    def write(out: torch.Tensor, base: torch.Tensor | None) -> None:
        if base is None:
            out.zero_()
            out[index] = grad
        else:
            if base is not out:
                out.copy_(base)
            out[index] += grad

    return Deferred(shape, grad, write)


def product(left: torch.Tensor, right: torch.Tensor, shape: Sequence[int]) -> Deferred:
    """``left @ right`` of two matrices, seen in ``shape``."""

    def write(out: torch.Tensor, base: torch.Tensor | None) -> None:
        matrix = out if out.dim() == 2 else out.view(left.shape[0], right.shape[1])
        if base is None:
            torch.mm(left, right, out=matrix)
        else:
            torch.addmm(base.reshape(matrix.shape), left, right, out=matrix)

    return Deferred(shape, left, write)


def row_sum(rows: torch.Tensor) -> Deferred:
    """The sum of the rows of a matrix."""

    def write(out: torch.Tensor, base: torch.Tensor | None) -> None:
        if base is None:
            torch.sum(rows, 0, out=out)
        else:
            torch.add(base, rows.sum(0), out=out)

    return Deferred(rows.shape[1:], rows, write)


def filled(sums: torch.Tensor, shape: Sequence[int], like: torch.Tensor) -> Deferred:
    """``sums``, seen in ``shape``, which are complete when the gradients before it are written."""

    def write(out: torch.Tensor, base: torch.Tensor | None) -> None:
        total = sums.view(shape)
        out.copy_(total if base is None else base + total)

    return Deferred(shape, like, write)
