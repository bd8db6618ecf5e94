"""Linear layers, embeddings, activations, dropout: one operation each."""

from __future__ import annotations

import functools
from typing import Any

import torch

from roofline import autograd
from roofline.autograd import Tensor

from . import init
from .module import Module, Parameter


class Linear(Module):
    """``x W^T + b``: (..., in_features) to (..., out_features).

    Weight (out_features, in_features) and bias (out_features,) start uniform within
    ±1/√in_features.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(init.torch_default_(torch.empty(out_features, in_features)))
        self.bias = None
        if bias:
            self.bias = Parameter(
                init.torch_default_bias_(torch.empty(out_features), self.weight.data)
            )

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError(
                f"Linear takes {self.in_features} features in the last dimension, got shape "
                f"{tuple(x.shape)}: check the layer before it, or flatten first"
            )
        return autograd.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Embedding(Module):
    """Rows of a table by number: indices of any shape (...) to (..., embedding_dim).

    The table ``weight``, (num_embeddings, embedding_dim), starts standard normal. The row
    ``padding_idx`` starts at 0 and never learns.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None):
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx {padding_idx} is not one of {num_embeddings} rows")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = Parameter(torch.empty(num_embeddings, embedding_dim).normal_())
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, indices: Tensor | torch.Tensor) -> Tensor:
        return autograd.embedding(self.weight, indices, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Flatten(Module):
    """Dimensions ``start_dim`` to ``end_dim`` as one: by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        first, last = self.start_dim % len(x.shape), self.end_dim % len(x.shape)
        size = x.shape[first : last + 1].numel()
        return autograd.reshape(x, (*x.shape[:first], size, *x.shape[last + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Dropout(Module):
    """In training, zero each number with probability p and scale the rest by 1/(1 − p)."""

    def __init__(self, p: float = 0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability between 0 and 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return autograd.dropout(x, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return autograd.relu(x)


class GELU(Module):
    """x·P(X ≤ x) for a standard normal X; ``approximate="tanh"`` is GPT-2's form."""

    def __init__(self, approximate: str = "none"):
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate is 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return autograd.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x·σ(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return autograd.silu(x)


class Sigmoid(Module):
    """σ(x) = 1/(1 + e^−x)."""

    def forward(self, x: Tensor) -> Tensor:
        return autograd.sigmoid(x)


class Tanh(Module):
    """tanh(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return autograd.tanh(x)


class Softmax(Module):
    """e^x over its sum along ``dim``. A row of nothing but −∞ comes out as NaN."""

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return autograd.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def activation(kind: Any) -> Any:
    """The function that ``kind`` names ("relu", "gelu", ...), or ``kind`` if it is one."""
    if callable(kind):
        return kind
    known = {
        "relu": autograd.relu,
        "gelu": autograd.gelu,
        "gelu_tanh": functools.partial(autograd.gelu, approximate="tanh"),
        "silu": autograd.silu,
        "tanh": autograd.tanh,
    }
    if kind not in known:
        raise ValueError(f"activation is one of {', '.join(known)} or a function, got {kind!r}")
    return known[kind]
