"""Bytes that a layer's kernels pass through memory between its products, forward and back.

Each kernel reads what it needs and writes what it makes; norms, softmax and dropout with its sum
are one kernel each, as Megatron-LM runs them. Attention that is fused as a whole (Dao et al., arXiv
2205.14135) spares the squares.
"""

from __future__ import annotations

from dataclasses import dataclass

from roofline.hardware.cost.checks import of_kind, one_of, whole
from roofline.hardware.cost.flops import RECOMPUTE
from roofline.hardware.cost.model import Transformer


@dataclass(frozen=True)
class Traffic:
    """Bytes of one layer: outside of what tensor parallel devices share, inside, and of squares."""

    outside: float
    inside: float
    squares: float


def forward_traffic(
    model: Transformer, batch: int = 1, dropout: bool = True, mask: int = 1, element: int = 2
) -> Traffic:
    """A norm reads and writes h; the sum with the residual reads two and writes one, and a mask.

    An activation reads and writes the MLP's width, a gated one five of them (gate, its activation,
    twice; the product). A softmax reads and writes the square, and so does its dropout.
    """
    tokens = _tokens(model, batch)
    h, f = model.hidden, model.active_widths / model.layers
    _bytes(mask, element)
    masked = mask if dropout else 0
    outside = model.norms * (2 * element + 3 * element + masked) * h
    inside = (5 if model.gated else 2) * element * f
    squares = (2 * element + (2 * element + masked if dropout else 0)) * model.heads
    return Traffic(tokens * outside, tokens * inside, tokens * model.sequence * squares)


def backward_traffic(
    model: Transformer, batch: int = 1, dropout: bool = True, mask: int = 1, element: int = 2
) -> Traffic:
    """A norm reads its input and its gradient and writes another; so does an activation, a gated
    one eight widths; dropout reads the gradient and the mask; two gradients meet at each sum; a
    softmax reads itself and its gradient."""
    tokens = _tokens(model, batch)
    h, f = model.hidden, model.active_widths / model.layers
    _bytes(mask, element)
    masked = 2 * element + mask if dropout else 0
    outside = model.norms * (3 * element + masked + 3 * element) * h
    inside = (8 if model.gated else 3) * element * f
    squares = (masked + 3 * element) * model.heads
    return Traffic(tokens * outside, tokens * inside, tokens * model.sequence * squares)


def layer_traffic(
    model: Transformer,
    batch: int = 1,
    tensor: int = 1,
    sequence_parallel: bool = False,
    recompute: str = "none",
    dropout: bool = True,
) -> float:
    """Bytes of one layer on each device, forward and back, and what is computed again.

    ``recompute`` selective repeats the squares of the forward pass, full all of it.
    """
    one_of("recompute", recompute, RECOMPUTE)
    t = whole("tensor", tensor, most=10**6)
    ahead = forward_traffic(model, batch, dropout)
    back = backward_traffic(model, batch, dropout)
    all_of_it = 2 if recompute == "full" else 1
    squares = (1 if recompute == "none" else 2) * ahead.squares + back.squares
    outside = all_of_it * ahead.outside + back.outside
    inside = all_of_it * ahead.inside + back.inside + squares
    return outside / (t if sequence_parallel else 1) + inside / t


def _bytes(mask: int, element: int) -> None:
    whole("bytes of a mask", mask, most=8)
    whole("bytes of an element", element, most=8)


def _tokens(model: Transformer, batch: int) -> float:
    of_kind("model", model, Transformer)
    return float(whole("batch", batch, most=10**9) * model.sequence)
