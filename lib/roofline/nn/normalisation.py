"""Layers that bring values to mean 0 and variance 1, over features or over the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from roofline import autograd
from roofline.autograd import Tensor

from .module import Module, Parameter


class LayerNorm(Module):
    """Normalise over the last dimensions, (..., *normalized_shape), then scale and shift.

    Where the variance is 0 the result is the bias: ``eps`` keeps 0/0 away. Ba et al., 1607.06450.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ):
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape, self.eps = tuple(shape), eps
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(torch.ones(self.normalized_shape)) if elementwise_affine else None
        self.bias = (
            Parameter(torch.zeros(self.normalized_shape)) if elementwise_affine and bias else None
        )

    def forward(self, x: Tensor) -> Tensor:
        _check_features(self, x, self.normalized_shape)
        if self.weight is not None or len(self.normalized_shape) == 1:
            return autograd.layer_norm(x, self.weight, self.bias, self.eps)
        size = math.prod(self.normalized_shape)
        rows = autograd.reshape(x, (*x.shape[: -len(self.normalized_shape)], size))
        return autograd.reshape(autograd.layer_norm(rows, None, None, self.eps), x.shape)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class RMSNorm(Module):
    """Divide by the root mean square over the last dimension and scale: no mean, no bias.

    ``eps`` None is the resolution of x's dtype, or of float32 for 16 bits, as in torch.
    Zhang, Sennrich, 1910.07467.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
    ):
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        if len(shape) != 1:
            raise ValueError(f"RMSNorm normalises one dimension, got {tuple(shape)}")
        self.normalized_shape, self.eps = tuple(shape), eps
        self.elementwise_affine = elementwise_affine
        self.weight = Parameter(torch.ones(self.normalized_shape)) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        _check_features(self, x, self.normalized_shape)
        resolution = torch.finfo(torch.promote_types(x.dtype, torch.float32)).eps
        eps = resolution if self.eps is None else self.eps
        return autograd.rms_norm(x, self.weight, eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class _BatchNorm(Module):
    """Normalise each channel, over the batch in training and by running means in evaluation.

    ``momentum`` is the weight of the newest batch in the running means, None for their plain
    average. Ioffe, Szegedy, 1502.03167.
    """

    dimensions: tuple[int, ...]  # how many dimensions an input may have
    num_batches_tracked: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(torch.ones(num_features)) if affine else None
        self.bias = Parameter(torch.zeros(num_features)) if affine else None
        if track_running_stats:
            self.register_buffer("running_mean", torch.zeros(num_features))
            self.register_buffer("running_var", torch.ones(num_features))
            self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if len(x.shape) not in self.dimensions or x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__} takes {' or '.join(map(str, self.dimensions))} dimensions "
                f"with {self.num_features} channels in the second, got shape {tuple(x.shape)}"
            )
        mean = variance = None
        momentum = 0.0
        if self.track_running_stats:
            mean, variance = self.running_mean, self.running_var
            if self.training:
                self.num_batches_tracked += 1
                momentum = (
                    1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
                )
        return autograd.batch_norm(
            x, mean, variance, self.weight, self.bias, self.training, momentum, self.eps
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (n, channels) or (n, channels, length)."""

    dimensions = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (n, channels, height, width)."""

    dimensions = (4,)


def _check_features(module: Module, x: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(x.shape[-len(expected) :]) != expected:
        raise ValueError(
            f"{type(module).__name__} normalises the last dimensions {expected}, got shape "
            f"{tuple(x.shape)}"
        )
