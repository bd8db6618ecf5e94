"""Compute in 16 bits, remember in 32.

The weights stay float32. For each forward and backward pass the layers get 16-bit copies; the
copies' gradients are added up in float32. float16 has no number below 6e-8, so its loss is scaled
up before the walk back and the gradients are scaled down after it.
Micikevicius et al. 2017, "Mixed Precision Training", 1710.03740, 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from roofline.autograd import Tensor
from roofline.nn import Module, Parameter

TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def type_of(precision: str) -> torch.dtype | None:
    """The dtype to compute in; None leaves everything as it is."""
    if precision not in TYPES:
        raise ValueError(f"precision is {precision!r}, expected {', '.join(TYPES)}")
    return TYPES[precision]


@contextmanager
def low_precision(model: Module, dtype: torch.dtype | None) -> Iterator[None]:
    """Inside this block the parameters of ``model`` are copies in ``dtype``.

    At its end their gradients are added to those of the parameters themselves. Run the forward and
    the backward pass inside, and nothing else.
    """
    if dtype is None:
        yield
        return
    places = [
        (vars(module), name, value)
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, Parameter) and value.data.is_floating_point()
    ]
    copies: dict[int, Parameter] = {}
    for attributes, name, parameter in places:
        if id(parameter) not in copies:  # a shared parameter stays shared
            copy = Parameter(parameter.data.to(dtype))
            copies[id(parameter)] = copy.requires_grad_(parameter.requires_grad)
        attributes[name] = copies[id(parameter)]
    try:
        yield
    finally:
        for attributes, name, parameter in places:
            attributes[name] = parameter
    for parameter in {id(p): p for _, _, p in places}.values():
        grad = copies[id(parameter)].grad
        if grad is not None:
            wide = grad.to(parameter.data.dtype)
            parameter.grad = wide if parameter.grad is None else parameter.grad + wide


def cast_inputs(inputs: tuple, dtype: torch.dtype | None) -> tuple:
    """``inputs`` with those that are floating-point tensors in ``dtype``."""
    if dtype is None:
        return inputs
    return tuple(_cast(value, dtype) for value in inputs)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    floats = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(dtype) if floats else value


@dataclass
class LossScale:
    """The factor of the loss: doubled after ``interval`` good updates, halved after a bad one.

    A bad update, one with an infinite gradient, is left out. 1710.03740, 3.2, with torch's numbers.
    """

    scale: float = 65536.0
    interval: int = 2000
    good: int = 0

    def unscale(self, parameters: list[Tensor]) -> bool:
        """Divide every gradient by the scale. False, and a smaller scale, if one isn't finite."""
        given = [(p, p.grad) for p in parameters if p.grad is not None]
        norms = torch._foreach_norm([grad for _, grad in given]) if given else ()
        if norms and not bool(torch.stack(norms).isfinite().all()):
            self.scale, self.good = self.scale / 2, 0
            return False
        for parameter, grad in given:
            parameter.grad = grad * (1 / self.scale)
        self.good += 1
        if self.good == self.interval:
            self.scale, self.good = self.scale * 2, 0
        return True
