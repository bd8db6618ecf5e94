"""Multi-head attention. Vaswani et al., "Attention Is All You Need", 1706.03762, section 3.2."""

from __future__ import annotations

from collections.abc import Callable

import torch

from roofline import autograd
from roofline.autograd import Tensor
from roofline.autograd.attention import is_bool

from . import init
from .basic import Linear
from .module import Module, Parameter


class MultiheadAttention(Module):
    """Every query position takes a mean of the values, weighted by how its query meets each key.

    Args:
        embed_dim: width of queries, keys, values and outputs, divided among ``num_heads``.
        dropout: probability of dropping an attention weight in training.
        batch_first: (n, t, embed_dim) instead of (t, n, embed_dim).
        kv_heads: fewer heads for keys and values, each shared by num_heads/kv_heads query heads.
            Ainslie et al., 2305.13245.
        rotate: applied to queries and keys, (n, heads, t, width): ``RotaryPositions``.

    Set ``recompute`` to False to keep the attention weights for the walk back instead of making
    them again: faster, for more memory.

    ``in_proj_weight`` holds the rows for queries, keys and values, in this order.
    """

    recompute: bool = True

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        batch_first: bool = False,
        kv_heads: int | None = None,
        rotate: Callable[[Tensor], Tensor] | None = None,
    ):
        kv_heads = num_heads if kv_heads is None else kv_heads
        if embed_dim % num_heads or num_heads % kv_heads:
            raise ValueError(
                f"num_heads must divide embed_dim and kv_heads must divide num_heads, got "
                f"embed_dim={embed_dim}, num_heads={num_heads}, kv_heads={kv_heads}"
            )
        self.embed_dim, self.num_heads, self.kv_heads = embed_dim, num_heads, kv_heads
        self.head_dim = embed_dim // num_heads
        self.dropout, self.batch_first = dropout, batch_first
        kv_dim = kv_heads * self.head_dim
        self.sizes = [embed_dim, kv_dim, kv_dim]
        out_proj = Linear(embed_dim, embed_dim, bias)
        weight = torch.empty(sum(self.sizes), embed_dim)
        self.in_proj_weight = Parameter(init.glorot_uniform_(weight))
        self.in_proj_bias = Parameter(torch.zeros(sum(self.sizes))) if bias else None
        self.out_proj = out_proj
        if out_proj.bias is not None:
            out_proj.bias.data.zero_()
        self.rotate = rotate

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The output and, if ``need_weights``, the attention weights.

        Args:
            query: (n, t, embed_dim); key, value: (n, s, embed_dim). First two swapped unless
                ``batch_first``.
            key_padding_mask: (n, s), True where a key is padding.
            need_weights: give the weights back too, which costs their memory.
            attn_mask: (t, s) or (n·num_heads, t, s), True where a query may not look, or numbers
                to add to the scores.
            average_attn_weights: weights (n, t, s), the mean over heads, or (n, heads, t, s).
            is_causal: no query looks at a later key; needs no ``attn_mask``.

        A query that may look at nothing gets weights of 0 and so the output ``out_proj.bias``.
        """
        for x in (query, key, value):
            if len(x.shape) != 3 or x.shape[2] != self.embed_dim:
                expected = f"3 dimensions, {self.embed_dim} in the last"
                raise ValueError(f"MultiheadAttention takes {expected}, got {tuple(x.shape)}")
        same = query is key and key is value
        if not self.batch_first:
            query, key, value = (autograd.transpose(x, 0, 1) for x in (query, key, value))
        q, k, v = self._project(query, key, value, same)
        mask = self._mask(key_padding_mask, attn_mask)
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(q.dtype)
        p = None
        if need_weights or (self.dropout and self.training):
            dropout = self.dropout if self.training else 0.0
            y, p = weighted_mean(q, k, v, mask, is_causal, dropout)
        else:
            y = autograd.attention(q, k, v, mask, is_causal, recompute=self.recompute)
        n, t = query.shape[:2]
        y = self.out_proj(y.transpose(1, 2).reshape(n, t, self.embed_dim))
        if not self.batch_first:
            y = y.transpose(0, 1)
        if not need_weights or p is None:
            return y, None
        return y, p.mean(1) if average_attn_weights else p

    def _project(self, query: Tensor, key: Tensor, value: Tensor, same: bool) -> list[Tensor]:
        """Queries, keys and values by head, (n, heads, t, head_dim): one product if all are one."""
        heads = [self.num_heads, self.kv_heads, self.kv_heads]
        if same:
            parts = autograd.linear(query, self.in_proj_weight, self.in_proj_bias)
            q, k, v = self._by_head(parts).split(heads, 1)
        else:
            weights = self.in_proj_weight.split(self.sizes)
            biases = self.in_proj_bias.split(self.sizes) if self.in_proj_bias else [None] * 3
            q, k, v = (
                self._by_head(autograd.linear(x, weight, bias))
                for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
            )
        if self.rotate is not None:
            q, k = self.rotate(q), self.rotate(k)
        return [q, k, v]

    def _by_head(self, x: Tensor) -> Tensor:
        """(n, t, heads·head_dim) to (n, heads, t, head_dim)."""
        return x.reshape(*x.shape[:2], x.shape[2] // self.head_dim, self.head_dim).transpose(1, 2)

    def _mask(self, padding: torch.Tensor | None, mask: torch.Tensor | None) -> torch.Tensor | None:
        """Both masks in one, of shape (n or 1, heads or 1, t or 1, s).

        It says where a query *may* look, or what to add to the scores.
        """
        if mask is not None:
            mask = mask[None, None] if mask.dim() == 2 else mask.unflatten(0, (-1, self.num_heads))
            mask = ~mask if is_bool(mask) else mask
        if padding is None:
            return mask
        real = ~padding.bool()[:, None, None]
        if mask is None or mask.dtype == torch.bool:
            return real if mask is None else real & mask
        return torch.where(real, mask, -torch.inf)


def weighted_mean(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Attention step by step, where the weights are wanted: the output and softmax(q kᵀ/√d).

    Arguments and result are those of ``autograd.attention``; weights are (n, heads, t, s).
    """
    (n, heads, t, d), s, kv_heads = q.shape, k.shape[-2], k.shape[1]
    if kv_heads != heads:
        shared = (n, kv_heads, heads // kv_heads, s, d)
        k, v = (x.unsqueeze(2).expand(shared).reshape(n, heads, s, d) for x in (k, v))
    scores = (q * d**-0.5) @ k.transpose()
    allowed = torch.ones(t, s, dtype=torch.bool, device=q.device)
    if causal:
        allowed = allowed.tril(s - t)
    if mask is not None and mask.dtype == torch.bool:
        allowed = allowed & mask
    elif mask is not None:
        allowed = allowed & (mask > -torch.inf)
        scores = scores + mask
    # The lowest number instead of -inf, and zeros afterwards: a row that may look at nothing
    # gets weights of 0 and a gradient of 0, where -inf gives NaN.
    lowest = torch.finfo(scores.dtype).min
    p = autograd.where(allowed, scores, lowest).softmax(-1)
    p = autograd.where(allowed, p, 0.0)
    return autograd.dropout(p, dropout) @ v, p
