"""Convolution and pooling layers over sequences and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from roofline import autograd
from roofline.autograd import Tensor
from roofline.autograd.conv import Size, spread

from . import init
from .module import Module, Parameter


class _Conv(Module):
    dimensions: int
    convolve: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups={groups} must divide {in_channels} input and {out_channels} output "
                "channels"
            )
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"padding is a number, 'same' or 'valid', got {padding!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = spread(kernel_size, self.dimensions)
        self.stride = spread(stride, self.dimensions)
        self.padding = padding if isinstance(padding, str) else spread(padding, self.dimensions)
        self.dilation = spread(dilation, self.dimensions)
        weight = torch.empty(out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(init.torch_default_(weight))
        self.bias = (
            Parameter(init.torch_default_bias_(torch.empty(out_channels), weight)) if bias else None
        )

    def forward(self, x: Tensor) -> Tensor:
        return type(self).convolve(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * self.dimensions:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.dimensions:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text + ("" if self.bias is not None else ", bias=False")


class Conv1d(_Conv):
    """Slide filters along sequences: (n, in_channels, length) to (n, out_channels, length')."""

    dimensions = 1
    convolve = staticmethod(autograd.conv1d)


class Conv2d(_Conv):
    """Slide filters over pictures: (n, in_channels, h, w) to (n, out_channels, h', w').

    h' = ⌊(h + 2·padding − dilation·(kernel_size − 1) − 1)/stride⌋ + 1, likewise w'. Padding may be
    "same". Weight (out_channels, in_channels/groups, *kernel_size) and bias start uniform within
    ±1/√fan_in.
    """

    dimensions = 2
    convolve = staticmethod(autograd.conv2d)


class _Pool(Module):
    pool: Callable[..., Tensor]

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0):
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return type(self).pool(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """The largest number of each window: (n, c, h, w) to (n, c, h', w'). Padding never wins."""

    pool = staticmethod(autograd.max_pool2d)


class AvgPool2d(_Pool):
    """The mean of each window, zeros of the padding included: (n, c, h, w) to (n, c, h', w')."""

    pool = staticmethod(autograd.avg_pool2d)


class AdaptiveAvgPool2d(Module):
    """Means over a grid of ``output_size`` windows, whatever the picture's size.

    (n, c, h, w) to (n, c, *output_size); None keeps a side.
    """

    def __init__(self, output_size: int | Sequence[int | None] | None):
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        sides: Any = self.output_size
        if not isinstance(sides, Sequence):
            sides = (sides, sides)
        sides = [n if side is None else side for side, n in zip(sides, x.shape[-2:], strict=True)]
        return autograd.adaptive_avg_pool2d(x, sides)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
