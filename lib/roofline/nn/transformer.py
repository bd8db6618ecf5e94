"""Transformer blocks. Vaswani et al., 1706.03762, section 3.1.

``norm_first`` puts the normalisation inside the residual branch instead of after the sum, which
trains without warm-up: Xiong et al., 2002.04745.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from roofline.autograd import Tensor

from .attention import MultiheadAttention
from .basic import Dropout, Linear, activation
from .containers import ModuleList
from .module import Module
from .normalisation import LayerNorm

Mask = torch.Tensor | None
Function = Callable[[Tensor], Tensor]


class _Block(Module):
    """What both blocks share: a network of two layers, and branches with a normalisation."""

    linear1: Linear
    dropout: Dropout
    linear2: Linear
    activation: Function
    norm_first: bool

    def make_feed_forward(
        self, d_model: int, hidden: int, dropout: float, kind: str | Function, bias: bool
    ) -> None:
        self.linear1 = Linear(d_model, hidden, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(hidden, d_model, bias)
        self.activation = activation(kind)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def residual(self, x: Tensor, norm: Module, branch: Function) -> Tensor:
        return x + branch(norm(x)) if self.norm_first else norm(x + branch(x))


class TransformerEncoderLayer(_Block):
    """Self-attention, then a network of two layers, each with a residual and a normalisation."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Function = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
    ):
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self.make_feed_forward(d_model, dim_feedforward, dropout, activation, bias)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)

    def forward(
        self,
        src: Tensor,
        src_mask: Mask = None,
        src_key_padding_mask: Mask = None,
        is_causal: bool = False,
    ) -> Tensor:
        """``src`` and the result: (n, t, d_model) if ``batch_first``, else (t, n, d_model).

        Masks are those of :class:`MultiheadAttention`.
        """

        def attend(x: Tensor) -> Tensor:
            y, _ = self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal
            )
            return self.dropout1(y)

        x = self.residual(src, self.norm1, attend)
        return self.residual(x, self.norm2, lambda x: self.dropout2(self.feed_forward(x)))


class TransformerDecoderLayer(_Block):
    """An encoder layer with attention to another sequence, ``memory``, between its two halves."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Function = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
    ):
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self.multihead_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first
        )
        self.make_feed_forward(d_model, dim_feedforward, dropout, activation, bias)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Mask = None,
        memory_mask: Mask = None,
        tgt_key_padding_mask: Mask = None,
        memory_key_padding_mask: Mask = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """``tgt`` and the result: (n, t, d_model), ``memory``: (n, s, d_model), if batch_first."""

        def attend(x: Tensor) -> Tensor:
            y, _ = self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )
            return self.dropout1(y)

        def look_up(x: Tensor) -> Tensor:
            padding, causal = memory_key_padding_mask, memory_is_causal
            y, _ = self.multihead_attn(
                x, memory, memory, padding, False, memory_mask, is_causal=causal
            )
            return self.dropout2(y)

        x = self.residual(tgt, self.norm1, attend)
        x = self.residual(x, self.norm2, look_up)
        return self.residual(x, self.norm3, lambda x: self.dropout3(self.feed_forward(x)))


class TransformerEncoder(Module):
    """``num_layers`` copies of ``encoder_layer``, which start equal, and a last ``norm``."""

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None):
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Mask = None,
        src_key_padding_mask: Mask = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Run the layers with one set of masks; see :class:`TransformerEncoderLayer`."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """``num_layers`` copies of ``decoder_layer``, which start equal, and a last ``norm``."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None):
        self.layers = ModuleList(copy.deepcopy(decoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, tgt: Tensor, memory: Tensor, *masks: Any, **options: Any) -> Tensor:
        """Run the layers with one set of masks; see :class:`TransformerDecoderLayer`."""
        for layer in self.layers:
            tgt = layer(tgt, memory, *masks, **options)
        return tgt if self.norm is None else self.norm(tgt)
