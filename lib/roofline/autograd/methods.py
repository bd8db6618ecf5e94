"""Operators and methods of a Tensor: ``x + y`` is ``add(x, y)``, ``x.sum()`` is ``sum(x)``."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch

from . import activation, elementwise, loss, matrix, reduce, shape
from .tape import Tensor


def _swapped(operation: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """For an operand on the left that is no Tensor."""
    return lambda self, other: operation(other, self)


def _compared(comparison: Callable[[Any, Any], Any]) -> Callable[[Any, Any], torch.Tensor]:
    return lambda self, other: comparison(
        self.data, other.data if isinstance(other, Tensor) else other
    )


class Methods:
    """What every Tensor can do; shapes, dtypes and devices are those of its ``data``."""

    __slots__ = ()
    data: torch.Tensor

    __add__ = elementwise.add
    __sub__ = elementwise.subtract
    __mul__ = elementwise.multiply
    __truediv__ = elementwise.divide
    __pow__ = elementwise.power
    __matmul__ = matrix.matmul
    __neg__ = elementwise.negative
    __abs__ = elementwise.absolute
    __getitem__ = shape.getitem
    abs = elementwise.absolute
    exp = elementwise.exp
    log = elementwise.log
    sqrt = elementwise.sqrt
    sin = elementwise.sin
    cos = elementwise.cos
    clamp = elementwise.clamp
    tanh = activation.tanh
    sigmoid = activation.sigmoid
    relu = activation.relu
    softmax = loss.softmax
    log_softmax = loss.log_softmax
    sum = reduce.sum
    mean = reduce.mean
    var = reduce.var
    max = reduce.max
    min = reduce.min
    logsumexp = reduce.logsumexp
    cumsum = reduce.cumsum
    transpose = shape.transpose
    expand_to = shape.expand
    narrow = shape.narrow
    split = shape.split
    to = elementwise.cast

    __radd__ = _swapped(elementwise.add)
    __rsub__ = _swapped(elementwise.subtract)
    __rmul__ = _swapped(elementwise.multiply)
    __rtruediv__ = _swapped(elementwise.divide)
    __rpow__ = _swapped(elementwise.power)
    __rmatmul__ = _swapped(matrix.matmul)

    # Comparisons are plain tensors: they have no gradient.
    __gt__ = _compared(operator.gt)
    __lt__ = _compared(operator.lt)
    __ge__ = _compared(operator.ge)
    __le__ = _compared(operator.le)
    __eq__ = _compared(operator.eq)  # type: ignore[assignment]
    __ne__ = _compared(operator.ne)  # type: ignore[assignment]
    __hash__ = object.__hash__

    def reshape(self, *shape_: Any) -> Tensor:
        return shape.reshape(self, _sizes(shape_))

    view = reshape

    def permute(self, *dims: Any) -> Tensor:
        return shape.permute(self, _sizes(dims))

    def expand(self, *sizes: Any) -> Tensor:
        return shape.expand(self, _sizes(sizes))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        sizes = list(self.data.shape) or [1]
        start, end = start_dim % len(sizes), end_dim % len(sizes)
        return shape.reshape(self, sizes[:start] + [-1] + sizes[end + 1 :])

    def squeeze(self, *dim: int) -> Tensor:
        return shape.reshape(self, self.data.squeeze(*dim).shape)

    def unsqueeze(self, dim: int) -> Tensor:
        return shape.reshape(self, self.data.unsqueeze(dim).shape)

    def masked_fill(self, mask: torch.Tensor, value: float) -> Tensor:
        return elementwise.where(mask, value, self)

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix."""
        return shape.transpose(self)

    mT = T

    @property
    def shape(self) -> torch.Size:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.dim()

    @property
    def dtype(self) -> torch.dtype:
        return self.data.dtype

    @property
    def device(self) -> torch.device:
        return self.data.device

    def dim(self) -> int:
        return self.data.dim()

    def size(self, dim: int | None = None) -> Any:
        return self.data.shape if dim is None else self.data.shape[dim]

    def numel(self) -> int:
        return self.data.numel()

    def item(self) -> float:
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def argmax(self, dim: int | None = None) -> torch.Tensor:
        return self.data.argmax(dim)

    def detach(self) -> Tensor:
        """The same value, off the tape."""
        return Tensor(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __format__(self, form: str) -> str:
        return format(self.data, form) if form else repr(self)

    def __repr__(self: Any) -> str:
        text = repr(self.data).removeprefix("tensor(").removesuffix(")")
        return f"Tensor({text}{', requires_grad=True' if self.requires_grad else ''})"


def _sizes(sizes: tuple) -> Any:
    return sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes


for _name, _member in vars(Methods).items():
    if _name not in ("__module__", "__doc__", "__slots__", "__dict__", "__weakref__"):
        if _name not in vars(Tensor) or _name == "__repr__":
            setattr(Tensor, _name, _member)
