"""Arithmetic and functions of one number, element by element, with broadcasting.

Shapes broadcast as in torch: trailing dimensions are matched, and those of size 1 are stretched.
The gradient of a stretched argument is summed over the dimensions that were stretched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from .tape import Node, Pullback, Tensor, _tape, op

Result = tuple[torch.Tensor, Pullback]
Operand = Tensor | torch.Tensor | float


def sum_to(grad: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Sum ``grad`` over the dimensions along which ``shape`` was broadcast to its shape."""
    extra = grad.dim() - len(shape)
    dims = [extra + i for i, n in enumerate(shape) if n == 1 and grad.shape[extra + i] != 1]
    if dims or extra:
        grad = grad.sum([*range(extra), *dims], keepdim=True)
    return grad.reshape(shape) if extra else grad


def outside(numbers: torch.Tensor, count: int) -> int | None:
    """The first of ``numbers`` that is not one of 0 to ``count`` - 1, None if none is to blame.

    For the message when a kernel has failed: to look before would cost every call a pass.
    """
    if numbers.is_floating_point():
        return None
    wrong = numbers[(numbers < 0) | (numbers >= count)]
    return int(wrong[0]) if wrong.numel() else None


def binary(function: Callable[..., Result]) -> Callable[[Operand, Operand], Tensor]:
    """:func:`op` for two operands that broadcast: gradients are fitted to each one's shape, dtype.

    It does what op does, unrolled: with single numbers, Python's own time is what counts.
    """
    name, new = function.__name__, Tensor.__new__

    @functools.wraps(function)
    def recorded(x: Any, y: Any) -> Tensor:
        x_node = y_node = None
        if isinstance(x, Tensor):
            x_node = x.node
            x = x.data
        if isinstance(y, Tensor):
            y_node = y.node
            y = y.data
        if (x_node is None and y_node is None) or not _tape.recording:
            return Tensor(function(x, y, False, False)[0])
        z, pullback = function(x, y, x_node, y_node)
        if x_node is None or y_node is None or x.shape != y.shape or x.dtype is not y.dtype:
            pullback = fitted(pullback, fit(x, x_node, z), fit(y, y_node, z))
        depth = 0 if x_node is None else x_node.depth
        if y_node is not None and y_node.depth > depth:
            depth = y_node.depth
        out = new(Tensor)
        out.data = z
        out.node = Node(pullback, (x_node, y_node), name, depth + 1)
        return out

    return recorded


def fit(x: Any, node: Node | None, z: torch.Tensor) -> tuple[torch.Size, torch.dtype] | None:
    """Shape and dtype to bring a gradient like ``z`` to for ``x``, None for no change."""
    if node is None or (x.shape == z.shape and x.dtype is z.dtype):
        return None
    return x.shape, x.dtype


def fitted(pullback: Pullback, for_x: tuple | None, for_y: tuple | None) -> Pullback:
    """``pullback``, with its two gradients brought to the shapes and dtypes given."""
    if for_x is None and for_y is None:
        return pullback

    def then_fit(dz: torch.Tensor) -> tuple:
        dx, dy = pullback(dz)
        if for_x is not None:
            dx = sum_to(dx, for_x[0]).to(for_x[1])
        if for_y is not None:
            dy = sum_to(dy, for_y[0]).to(for_y[1])
        return dx, dy

    return then_fit


@binary
def add(x: Any, y: Any, x_needs: Any, y_needs: Any) -> Result:
    """``x + y``: both get dz."""
    return x + y, lambda dz: (dz, dz)


@binary
def subtract(x: Any, y: Any, x_needs: Any, y_needs: Any) -> Result:
    """``x - y``: dx = dz, dy = -dz."""
    return x - y, lambda dz: (dz, -dz if y_needs else None)


@binary
def multiply(x: Any, y: Any, x_needs: Any, y_needs: Any) -> Result:
    """``x * y``: dx = dz y, dy = dz x."""
    if x_needs and y_needs:
        return x * y, lambda dz: (dz * y, dz * x)
    if x_needs:
        return x * y, lambda dz: (dz * y, None)
    return x * y, lambda dz: (None, dz * x)


@binary
def divide(x: Any, y: Any, x_needs: Any, y_needs: Any) -> Result:
    """``z = x / y``: dx = dz / y, dy = -dx z."""
    z = x / y
    if not y_needs:
        return z, lambda dz: (dz / y, None)

    def pullback(dz: torch.Tensor) -> tuple:
        dx = dz / y
        return dx, -dx * z

    return z, pullback


@binary
def power(x: Any, y: Any, x_needs: Any, y_needs: Any) -> Result:
    """``z = x ** y``: dx = dz y x ** (y - 1), dy = dz z log x, 0 where z is 0."""
    z = x**y
    if not y_needs:
        return z, lambda dz: (_d_base(dz, x, y), None)
    if not x_needs:
        return z, lambda dz: (None, _d_exponent(dz, x, z))
    return z, lambda dz: (_d_base(dz, x, y), _d_exponent(dz, x, z))


def _d_base(dz: torch.Tensor, x: torch.Tensor, y: Any) -> torch.Tensor:
    if isinstance(y, torch.Tensor):
        return dz * torch.where(y == 0, 0.0, y * x ** (y - 1))
    return dz * (y * x ** (y - 1)) if y != 0 else torch.zeros_like(dz)


def _d_exponent(dz: torch.Tensor, x: Any, z: torch.Tensor) -> torch.Tensor:
    logarithm = torch.as_tensor(x, dtype=z.dtype, device=z.device).log()
    return dz * torch.where(z == 0, 0.0, z * logarithm)


@op
def negative(x: torch.Tensor) -> Result:
    """``-x``."""
    return -x, lambda dz: (-dz,)


@op
def exp(x: torch.Tensor) -> Result:
    """``e ** x``; dz/dx is z itself."""
    z = x.exp()
    return z, lambda dz: (dz * z,)


@op
def log(x: torch.Tensor) -> Result:
    """The natural logarithm."""
    return x.log(), lambda dz: (dz / x,)


@op
def sqrt(x: torch.Tensor) -> Result:
    """The square root; the gradient at 0 is infinite."""
    z = x.sqrt()
    return z, lambda dz: (dz * 0.5 / z,)


@op
def absolute(x: torch.Tensor) -> Result:
    """``|x|``; the gradient at 0 is 0."""
    return x.abs(), lambda dz: (dz * x.sign(),)


@op
def sin(x: torch.Tensor) -> Result:
    """The sine."""
    return x.sin(), lambda dz: (dz * x.cos(),)


@op
def cos(x: torch.Tensor) -> Result:
    """The cosine."""
    return x.cos(), lambda dz: (-dz * x.sin(),)


@op
def where(condition: Any, x: Any, y: Any, *, needs: Any) -> Result:
    """``x`` where ``condition`` holds, else ``y``; the condition gets no gradient."""
    z = torch.where(condition, x, y)

    def pullback(dz: torch.Tensor) -> tuple:
        dx = dz.where(condition, 0.0) if needs[1] else None
        dy = dz.where(~condition, 0.0) if needs[2] else None
        return dx, dy

    both = fitted(pullback, fit(x, needs[1], z), fit(y, needs[2], z))
    return z, lambda dz: (None, *both(dz))


@op
def clamp(x: torch.Tensor, low: float | None = None, high: float | None = None) -> Result:
    """``min(max(x, low), high)``; the gradient passes where x is within the bounds."""
    z = x.clamp(low, high)
    return z, lambda dz: (dz * (x == z),)


@op
def cast(x: torch.Tensor, to: Any) -> Result:
    """``x`` in another dtype or on another device, and its gradient back in its own."""
    back = (x.device, x.dtype)
    return x.to(to), lambda dz: (dz.to(*back),)
