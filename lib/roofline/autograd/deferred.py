"""Gradients that aren't computed until it is known where they go.

The gradient of a weight is as large as the weight. Computed first and stored later it costs one
more pass over memory; a :class:`Deferred` one is written, or added, straight into its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .tape import Node


class Deferred:
    """A gradient of ``shape``, with the dtype and device of ``like``.

    ``write(out, keep)`` sets ``out`` to the gradient (keep 0) or adds the gradient to it (keep 1).
    """

    __slots__ = ("shape", "like", "write")

    def __init__(
        self,
        shape: Sequence[int],
        like: torch.Tensor,
        write: Callable[[torch.Tensor, int], object],
    ):
        self.shape = shape
        self.like = like
        self.write = write

    def value(self, home: torch.Tensor | None = None) -> torch.Tensor:
        """Compute it, in ``home`` if that is given and fits."""
        like = self.like
        if home is None or home.dtype != like.dtype or home.device != like.device:
            home = like.new_empty(self.shape)
        self.write(home, 0)
        return home

    def give(self, node: Node) -> None:
        """Compute it where ``node`` collects its gradient."""
        if node.grad is None:
            node.grad = node.own = self.value(node.home)
        elif node.grad is node.own:
            self.write(node.grad, 1)
        else:
            node.grad = node.own = node.grad + self.value()


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

    def write(out: torch.Tensor, keep: int) -> None:
        if keep:
            out[index] += grad
        else:
            out.zero_()
            out[index] = grad

    return Deferred(shape, grad, write)


def product(left: torch.Tensor, right: torch.Tensor, shape: Sequence[int]) -> Deferred:
    """``left @ right`` of two matrices, seen in ``shape``."""

    def write(out: torch.Tensor, keep: int) -> None:
        if out.dim() != 2:
            out = out.view(left.shape[0], right.shape[1])
        if keep:
            out.addmm_(left, right)
        else:
            torch.mm(left, right, out=out)

    return Deferred(shape, left, write)


def row_sum(rows: torch.Tensor) -> Deferred:
    """The sum of the rows of a matrix."""

    def write(out: torch.Tensor, keep: int) -> None:
        if keep:
            out.add_(rows.sum(0))
        else:
            torch.sum(rows, 0, out=out)

    return Deferred(rows.shape[1:], rows, write)
