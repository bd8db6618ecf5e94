"""Recurrent layers over batches of sequences: RNN, LSTM and GRU.

Layer k has torch's weights: ``weight_ih_lk`` (gates·hidden, inputs), ``weight_hh_lk``
(gates·hidden, hidden) and biases ``bias_ih_lk``, ``bias_hh_lk``, with ``_reverse`` behind for the
other direction. All start uniform within ±1/√hidden.
"""

from __future__ import annotations

from typing import Any

import torch

from roofline import autograd
from roofline.autograd import Tensor

from .module import Module, Parameter

State = Tensor | torch.Tensor


class _Recurrent(Module):
    gates: int
    states: int = 1  # h, and for the LSTM c

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ):
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional = bidirectional
        width = self.gates * hidden_size
        self.names: list[list[str]] = []  # of the weights of each direction of each layer
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * (1 + bidirectional)
            for suffix in ["", "_reverse"][: 1 + bidirectional]:
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (width, inputs),
                    "weight_hh": (width, hidden_size),
                }
                if bias:
                    shapes |= {"bias_ih": (width,), "bias_hh": (width,)}
                self.names.append([f"{name}_l{layer}{suffix}" for name in shapes])
                for name, shape in zip(self.names[-1], shapes.values(), strict=True):
                    setattr(self, name, Parameter(torch.empty(shape)))
        for parameter in self.parameters():
            parameter.data.uniform_(-(hidden_size**-0.5), hidden_size**-0.5)

    def run(self, *args: Any, **options: Any) -> list[Tensor]:
        """One layer in one direction: the operation's outputs and last states."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, state: Any = None, lengths: torch.Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Outputs of the last layer at every step, and the last states of every layer.

        Args:
            x: (t, n, input_size), or (n, t, input_size) if ``batch_first``.
            state: where to begin, 0 by default: (layers·directions, n, hidden_size), and for the
                LSTM two of them, (h, c).
            lengths: (n,), how many steps of each sequence are real. Beyond them the outputs are 0,
                and the last state is the one after the last real step.
        """
        if len(x.shape) != 3 or x.shape[2] != self.input_size:
            raise ValueError(
                f"{type(self).__name__} takes (t, n, {self.input_size}), or (n, t, "
                f"{self.input_size}) with batch_first, got shape {tuple(x.shape)}"
            )
        if self.batch_first:
            x = autograd.transpose(x, 0, 1)
        steps, n = x.shape[:2]
        if lengths is not None:
            lengths = torch.as_tensor(lengths)
            _check_lengths(lengths, steps, n)
        given = [] if state is None else [state] if self.states == 1 else list(state)
        expected = (len(self.names), n, self.hidden_size)
        if given and [tuple(s.shape) for s in given] != [expected] * self.states:
            raise ValueError(f"the state is {self.states} of shape {expected}, got other shapes")
        zeros = torch.zeros(n, self.hidden_size, dtype=x.dtype, device=x.device)
        directions = 1 + self.bidirectional
        last: list[list[Tensor]] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                place = layer * directions + direction
                begin = [s[place] for s in given] or [zeros] * self.states
                weights = [getattr(self, name) for name in self.names[place]]
                weights += [None] * (4 - len(weights))
                y, *ends = self.run(x, *begin, *weights, lengths=lengths, reverse=direction == 1)
                outputs.append(y)
                last.append(ends)
            x = outputs[0] if directions == 1 else autograd.cat(outputs, -1)
            if self.training and self.dropout and layer < self.num_layers - 1:
                x = autograd.dropout(x, self.dropout)
        if self.batch_first:
            x = x.transpose(0, 1)
        ends = [autograd.stack(end) for end in zip(*last, strict=True)]
        return x, ends[0] if self.states == 1 else tuple(ends)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
                    "bidirectional": False}  # fmt: skip
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(_Recurrent):
    """h' = tanh(W x + U h + b), or relu of it. Elman, "Finding structure in time", 1990."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ):
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        )
        self.nonlinearity = nonlinearity

    def run(self, *args: Any, **options: Any) -> list[Tensor]:
        return autograd.rnn(*args, nonlinearity=self.nonlinearity, **options)


class LSTM(_Recurrent):
    """Long short-term memory: a cell c that is kept, forgotten and read through gates.

    c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c'), with i, f, g, o each of W x + U h + b.
    Hochreiter, Schmidhuber, 1997; the forget gate is Gers et al., 2000.
    """

    gates, states = 4, 2

    def run(self, *args: Any, **options: Any) -> list[Tensor]:
        return autograd.lstm(*args, **options)


class GRU(_Recurrent):
    """Gated recurrent units: h' = (1 − z) tanh(W x + r (U h + b)) + z h. Cho et al., 1406.1078.

    The reset gate r acts on the product, as in torch.
    """

    gates = 3

    def run(self, *args: Any, **options: Any) -> list[Tensor]:
        return autograd.gru(*args, **options)


def _check_lengths(lengths: torch.Tensor, steps: int, n: int) -> None:
    if lengths.shape != (n,):
        raise ValueError(f"lengths has shape {tuple(lengths.shape)}, expected ({n},)")
    if lengths.device.type == "cpu" and not bool(((lengths > 0) & (lengths <= steps)).all()):
        raise ValueError(f"lengths must be between 1 and {steps}, got {lengths.tolist()}")
