"""Scaled dot-product attention. Source: Vaswani et al., 1706.03762, equation 1."""

from __future__ import annotations

import math

import torch

from .elementwise import Result
from .tape import op


@op
def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Result:
    """``softmax(q k^T / sqrt(d)) v``: each query takes a mean of values, by its match with keys.

    Args:
        q: (..., heads, t, d).
        k, v: (..., key heads, s, d); key heads divide heads, and consecutive query heads share one.
        mask: (..., heads or 1, t, s), True where a query may look, or numbers to add to the scores.
        causal: a query looks at no later position; the last query is beside the last key.
        scale: what q k^T is multiplied by, 1 / sqrt(d) by default.

    Returns (..., heads, t, d). A query that may look at nothing gets zeros.
    """
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    heads, t, d = q.shape[-3:]
    key_heads, s = k.shape[-3], k.shape[-2]
    grouped = (*q.shape[:-3], key_heads, heads // key_heads, t, d)
    q = q.reshape(grouped)
    k, v = k.unsqueeze(-3), v.unsqueeze(-3)
    scores = torch.matmul(q, k.transpose(-2, -1)) * scale
    if causal:
        later = torch.ones(t, s, dtype=torch.bool, device=q.device).triu(1 + s - t)
        scores = scores.masked_fill(later, -torch.inf)
    if mask is not None:
        mask = mask.expand(*mask.shape[:-3], heads, t, s) if mask.dim() > 2 else mask
        if mask.dim() > 2:
            mask = mask.unflatten(-3, (key_heads, heads // key_heads))
        scores = (
            scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        )
    p = torch.softmax(scores, -1)
    if mask is not None:
        p = p.nan_to_num(0.0)
    y = torch.matmul(p, v).flatten(-4, -3)

    def pullback(dy: torch.Tensor) -> tuple:
        dy = dy.reshape(grouped)
        dp = torch.matmul(dy, v.transpose(-2, -1))
        weighted = p * dp
        ds = (weighted - p * weighted.sum(-1, keepdim=True)) * scale
        dv = torch.matmul(p.transpose(-2, -1), dy).sum(-3)
        dk = torch.matmul(ds.transpose(-2, -1), q).sum(-3)
        return torch.matmul(ds, k).flatten(-4, -3), dk, dv

    return y, pullback
