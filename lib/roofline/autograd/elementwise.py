"""Arithmetic and functions of one number, element by element, with broadcasting.

Shapes broadcast as in torch: trailing dimensions are matched, and those of size 1 are stretched.
The gradient of a stretched argument is summed over the dimensions that were stretched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .tape import Pullback, Tensor, op

Result = tuple[torch.Tensor, Pullback]
Operand = Tensor | torch.Tensor | float


def fit(x: torch.Tensor, result: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What turns a gradient of the shape of ``result`` into one of the shape and dtype of ``x``.

    None if they agree already, which is the common case and costs nothing.
    """
    shape, dtype = x.shape, x.dtype
    if shape == result.shape and dtype == result.dtype:
        return None
    return lambda grad: sum_to(grad, shape).to(dtype)


def sum_to(grad: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Sum ``grad`` over the dimensions along which ``shape`` was broadcast to its shape."""
    extra = grad.dim() - len(shape)
    stretched = [extra + i for i, n in enumerate(shape) if n == 1 and grad.shape[extra + i] != 1]
    dims = [*range(extra), *stretched]
    if dims:
        grad = grad.sum(dims, keepdim=True)
    return grad.reshape(shape) if extra else grad


@op
def add(x: torch.Tensor, y: torch.Tensor, *, needs: list[bool]) -> Result:
    """``x + y``."""
    z = x + y
    to_x = fit(x, z) if needs[0] else None
    to_y = fit(y, z) if needs[1] else None
    return z, lambda dz: (to_x(dz) if to_x else dz, to_y(dz) if to_y else dz)


@op
def subtract(x: torch.Tensor, y: torch.Tensor, *, needs: list[bool]) -> Result:
    """``x - y``."""
    z = x - y
    to_x = fit(x, z) if needs[0] else None
    to_y = fit(y, z) if needs[1] else None

    def pullback(dz: torch.Tensor) -> tuple:
        dy = -dz if needs[1] else None
        return to_x(dz) if to_x else dz, to_y(dy) if to_y else dy

    return z, pullback


@op
def multiply(x: torch.Tensor, y: torch.Tensor, *, needs: list[bool]) -> Result:
    """``x * y``."""
    z = x * y
    return z, _product_rule(
        (lambda dz: dz * y) if needs[0] else None,
        fit(x, z) if needs[0] else None,
        (lambda dz: dz * x) if needs[1] else None,
        fit(y, z) if needs[1] else None,
    )


@op
def divide(x: torch.Tensor, y: torch.Tensor, *, needs: list[bool]) -> Result:
    """``x / y``."""
    z = x / y
    return z, _product_rule(
        (lambda dz: dz / y) if needs[0] else None,
        fit(x, z) if needs[0] else None,
        (lambda dz: -dz * z / y) if needs[1] else None,
        fit(y, z) if needs[1] else None,
    )


@op
def power(x: torch.Tensor, y: torch.Tensor, *, needs: list[bool]) -> Result:
    """``x ** y``. Where x and y are 0 the gradient of y is 0, the limit along x ** 0."""
    z = x**y

    def for_base(dz: torch.Tensor) -> torch.Tensor:
        if isinstance(y, torch.Tensor):
            return dz * torch.where(y == 0, 0.0, y * x ** (y - 1))
        return dz * (y * x ** (y - 1)) if y != 0 else torch.zeros_like(dz)

    def for_exponent(dz: torch.Tensor) -> torch.Tensor:
        return dz * torch.where(z == 0, 0.0, z * torch.as_tensor(x).log())

    return z, _product_rule(
        for_base if needs[0] else None,
        fit(x, z) if needs[0] else None,
        for_exponent if needs[1] else None,
        fit(y, z) if needs[1] else None,
    )


def _product_rule(for_x: Any, to_x: Any, for_y: Any, to_y: Any) -> Pullback:
    """The pullback that gives ``to_x(for_x(dz))`` and ``to_y(for_y(dz))``, None where for_ is."""

    def pullback(dz: torch.Tensor) -> tuple:
        dx = for_x(dz) if for_x else None
        dy = for_y(dz) if for_y else None
        return to_x(dx) if to_x else dx, to_y(dy) if to_y else dy

    return pullback


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
def where(
    condition: torch.Tensor, x: torch.Tensor, y: torch.Tensor, *, needs: list[bool]
) -> Result:
    """``x`` where ``condition`` holds, else ``y``; the condition gets no gradient."""
    z = torch.where(condition, x, y)
    to_x = fit(x, z) if needs[1] else None
    to_y = fit(y, z) if needs[2] else None

    def pullback(dz: torch.Tensor) -> tuple:
        dx = dz.where(condition, 0.0) if needs[1] else None
        dy = dz.where(~condition, 0.0) if needs[2] else None
        return None, to_x(dx) if to_x else dx, to_y(dy) if to_y else dy

    return z, pullback


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
