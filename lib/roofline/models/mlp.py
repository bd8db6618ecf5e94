"""The multilayer perceptron: linear layers with a bend between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from roofline import nn
from roofline.autograd import Tensor
from roofline.nn.basic import activation


class MLP(nn.Module):
    """``MLP([784, 256, 256, 10])``: (n, ..., d) flattened to (n, 784), then to (n, 10).

    Args:
        sizes: the widths, from input to output.
        act: what stands between linear layers: "relu", "gelu", "tanh", "silu" or a function.
    """

    def __init__(self, sizes: Sequence[int], act: str | Callable[[Tensor], Tensor] = "relu"):
        if len(sizes) < 2:
            raise ValueError(f"sizes needs an input and an output width, got {list(sizes)}")
        self.flatten = nn.Flatten()
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs)
            for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(x)
        *hidden, last = self.layers
        for layer in hidden:
            x = self.act(layer(x))
        return last(x)
