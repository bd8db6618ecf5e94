"""First values of weights, in place, as published.

``fan_in`` is how many inputs one output sums over, ``fan_out`` how many outputs one input reaches:
for a weight of shape (out, in, *kernel), in·kernel and out·kernel.
"""

from __future__ import annotations

import math

import torch


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape (out, in, *kernel)."""
    if weight.dim() < 2:
        raise ValueError(f"a weight needs 2 or more dimensions, this has {weight.dim()}")
    kernel = math.prod(weight.shape[2:])
    return weight.shape[1] * kernel, weight.shape[0] * kernel


def lecun_normal_(weight: torch.Tensor) -> torch.Tensor:
    """Variance 1/fan_in: keeps the variance of a layer's output, if nothing bends it.

    LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, equation 16.
    """
    return weight.normal_(0, fans(weight)[0] ** -0.5)


def glorot_uniform_(weight: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
    """Variance 2/(fan_in + fan_out), a compromise between forward and backward.

    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, equation 16 (their "normalized initialization").
    """
    bound = gain * math.sqrt(6 / sum(fans(weight)))
    return weight.uniform_(-bound, bound)


def glorot_normal_(weight: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
    """Variance 2/(fan_in + fan_out) normal. Glorot, Bengio 2010, equation 12."""
    return weight.normal_(0, gain * math.sqrt(2 / sum(fans(weight))))


def he_normal_(weight: torch.Tensor) -> torch.Tensor:
    """Variance 2/fan_in: relu passes half of the variance on.

    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 1502.01852, equation 10.
    """
    return weight.normal_(0, math.sqrt(2 / fans(weight)[0]))


def he_uniform_(weight: torch.Tensor) -> torch.Tensor:
    """Variance 2/fan_in from a uniform distribution; He et al., 1502.01852, equation 10."""
    bound = math.sqrt(6 / fans(weight)[0])
    return weight.uniform_(-bound, bound)


def orthogonal_(weight: torch.Tensor, gain: float = 1.0) -> torch.Tensor:
    """Rows, or columns where there are fewer, of length ``gain`` at right angles.

    The weight is seen as a matrix of shape (out, in·kernel). The sign of R's diagonal makes Q
    uniform over orthogonal matrices. Saxe, McClelland, Ganguli, 1312.6120; Mezzadri,
    math-ph/0609050.
    """
    rows, columns = weight.shape[0], math.prod(weight.shape[1:])
    noise = torch.empty(rows, columns, dtype=torch.promote_types(weight.dtype, torch.float32))
    noise = noise.normal_()
    q, r = torch.linalg.qr(noise.T if rows < columns else noise)
    q = q * r.diagonal().sign()
    weight.copy_((gain * (q.T if rows < columns else q)).view_as(weight))
    return weight


def torch_default_(weight: torch.Tensor) -> torch.Tensor:
    """Uniform within ±1/√fan_in, variance 1/(3·fan_in): what torch gives linear and convolution.

    PyTorch calls it ``kaiming_uniform_(a=√5)``; it is older than He et al. and keeps a third of
    LeCun's variance.
    """
    bound = fans(weight)[0] ** -0.5
    return weight.uniform_(-bound, bound)


def torch_default_bias_(bias: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Uniform within ±1/√fan_in of the weight that the bias goes with."""
    bound = fans(weight)[0] ** -0.5
    return bias.uniform_(-bound, bound)
