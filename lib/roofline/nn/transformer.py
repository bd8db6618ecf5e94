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

from . import basic
from .attention import MultiheadAttention
from .basic import Dropout, Linear
from .containers import ModuleList
from .module import Module
from .normalisation import LayerNorm

Mask = torch.Tensor | None
Function = Callable[[Tensor], Tensor]


class _Block(Module):
    """What both blocks share: attentions, then a network of two layers.

    Each stands in a branch beside a residual, with a dropout behind it and a normalisation.
    """

    attentions: tuple[str, ...]
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

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
        for name in self.attentions:
            attention = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias)
        self.activation = basic.activation(activation)
        self.norm_first = norm_first
        branches = range(1, len(self.attentions) + 2)
        for number in branches:
            setattr(self, f"norm{number}", LayerNorm(d_model, layer_norm_eps, bias=bias))
        for number in branches:
            setattr(self, f"dropout{number}", Dropout(dropout))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def residual(self, number: int, x: Tensor, branch: Function) -> Tensor:
        norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            return x + dropout(branch(norm(x)))
        return norm(x + dropout(branch(x)))


class TransformerEncoderLayer(_Block):
    """Self-attention, then a network of two layers, each with a residual and a normalisation."""

    attentions = ("self_attn",)

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
            padding, causal = src_key_padding_mask, is_causal
            return self.self_attn(x, x, x, padding, False, src_mask, is_causal=causal)[0]

        x = self.residual(1, src, attend)
        return self.residual(2, x, self.feed_forward)


class TransformerDecoderLayer(_Block):
    """An encoder layer with attention to another sequence, ``memory``, between its two halves."""

    attentions = ("self_attn", "multihead_attn")

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
            padding, causal = tgt_key_padding_mask, tgt_is_causal
            return self.self_attn(x, x, x, padding, False, tgt_mask, is_causal=causal)[0]

        def look_up(x: Tensor) -> Tensor:
            padding, causal = memory_key_padding_mask, memory_is_causal
            return self.multihead_attn(
                x, memory, memory, padding, False, memory_mask, is_causal=causal
            )[0]

        x = self.residual(1, tgt, attend)
        x = self.residual(2, x, look_up)
        return self.residual(3, x, self.feed_forward)


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
