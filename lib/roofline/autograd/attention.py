"""Scaled dot-product attention, twice: as the formula says it, and block by block.

The formula's version keeps every weight, t * s numbers for each head. The blocked one keeps one
number for each query, from which the walk back makes the weights again; what it computes between
two products stays in the cache. Sources: Vaswani et al., 1706.03762, equation 1; Dao et al.,
"FlashAttention", 2205.14135, for the blocks and the recomputation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch

from .blocks import BLOCK, wide
from .elementwise import Result
from .tape import Tensor, op


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    recompute: bool | None = None,
) -> Tensor:
    """``softmax(q k^T / sqrt(d)) v``: each query takes a mean of values, by its match with keys.

    Args:
        q: (..., heads, t, d).
        k, v: (..., key heads, s, d); key heads divide heads, and consecutive query heads share one
            (Ainslie et al., 2305.13245).
        mask: (..., heads or 1, t or 1, s), True where a query may look, or numbers to add to the
            scores.
        causal: a query looks at no later position; the last query stands beside the last key.
        scale: what q k^T is multiplied by, 1 / sqrt(d) by default.
        recompute: block by block, keeping no weights; by default where the weights are many.

    Returns (..., heads, t, d). A query that may look at nothing gets zeros.
    """
    heads, t, d = q.data.shape[-3:]
    key_heads, s = k.data.shape[-3:-1]
    if heads % key_heads or v.data.shape[-3:-1] != (key_heads, s) or k.data.shape[-1] != d:
        raise ValueError(
            f"attention of queries {tuple(q.data.shape)} needs keys and values with a divisor of "
            f"{heads} heads and width {d}, not {tuple(k.data.shape)} and {tuple(v.data.shape)}"
        )
    scale = 1 / math.sqrt(d) if scale is None else scale
    if recompute is None:
        many = q.data.shape[:-1].numel() * s > 4 * BLOCK
        recompute = many and not torch.compiler.is_compiling()
    return (_blocked if recompute else _explicit)(q, k, v, _additive(mask, q.data), causal, scale)


def _additive(mask: torch.Tensor | None, q: torch.Tensor) -> torch.Tensor | None:
    """The mask as numbers to add: 0 where a query may look, -inf where it may not."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, -torch.inf)


def _later(t: int, s: int, like: torch.Tensor) -> torch.Tensor:
    """(t, s): -inf where a key is later than the query, else 0."""
    return torch.full((t, s), -torch.inf, dtype=like.dtype, device=like.device).triu_(1 + s - t)


def _softmax(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax of the last dimension, in place, and its log of the sum; zeros if all are -inf."""
    if scores.shape[-1] == 0:
        return scores, scores.sum(-1, keepdim=True)
    top = scores.amax(-1, keepdim=True).clamp_min_(torch.finfo(scores.dtype).min)
    sums = scores.sub_(top).exp_().sum(-1, keepdim=True)
    sums.clamp_min_(torch.finfo(scores.dtype).tiny)
    return scores.div_(sums), top.add_(sums.log())


@op
def _explicit(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> Result:
    groups = q.shape[-3] // k.shape[-3]
    if groups > 1:
        k, v = k.repeat_interleave(groups, -3), v.repeat_interleave(groups, -3)
    scores = wide(torch.matmul(q, k.transpose(-2, -1)) * scale)
    if causal:
        scores += _later(*scores.shape[-2:], scores)
    if mask is not None:
        scores += mask
    p = _softmax(scores)[0].to(q.dtype)
    del scores

    def pullback(dy: torch.Tensor) -> tuple:
        dp = torch.matmul(dy, v.transpose(-2, -1))
        weighted = p * dp
        ds = torch.addcmul(weighted, p, weighted.sum(-1, keepdim=True), value=-1) * scale
        dq = torch.matmul(ds, k)
        dk = torch.matmul(ds.transpose(-2, -1), q)
        dv = torch.matmul(p.transpose(-2, -1), dy)
        if groups > 1:
            dk, dv = (x.unflatten(-3, (-1, groups)).sum(-3) for x in (dk, dv))
        return dq, dk, dv

    return torch.matmul(p, v), pullback


@op
def _blocked(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> Result:
    (t, s), groups = (q.shape[-2], k.shape[-2]), q.shape[-3] // k.shape[-3]
    y = _heads_inside(q, v.shape[-1])
    logs = y.new_empty((*q.shape[:-1], 1), dtype=wide(y[:0]).dtype)
    later = _later(t, s, logs) if causal else None
    if mask is not None:
        mask = mask.expand(*q.shape[:-3], *mask[(None,) * (3 - mask.dim())].shape[-3:])

    def blocks() -> Iterator[tuple]:
        """Each sample (on an accelerator all at once), block by block of queries."""
        if q.device.type == "cpu":
            samples: list = list(itertools.product(*[range(n) for n in q.shape[:-3]]))
            step = max(16, BLOCK // 2 // (q.shape[-3] * s))
        else:
            samples, step = [...], max(16, 2**24 // (q.shape[:-2].numel() * s))
        for sample in samples:
            keys, values = (x[sample].repeat_interleave(groups, -3) for x in (k, v))
            for start in range(0, t, step):
                row = slice(start, min(start + step, t))
                seen = slice(0, max(1, row.stop + s - t) if causal else s)
                yield sample, row, seen, keys[..., seen, :], values[..., seen, :]

    def scores(sample: Any, row: slice, seen: slice, keys: torch.Tensor) -> tuple:
        queries = q[sample][..., row, :] * scale
        scores = wide(torch.matmul(queries, keys.transpose(-2, -1)))
        if later is not None:
            scores += later[row, seen]
        if mask is not None:
            part = mask[sample][..., seen]
            scores += part if part.shape[-2] == 1 else part[..., row, :]
        return queries, scores

    for sample, row, seen, keys, values in blocks():
        p, log = _softmax(scores(sample, row, seen, keys)[1])
        y[sample][..., row, :] = torch.matmul(p.to(v.dtype), values)
        logs[sample][..., row, :] = log

    def pullback(dy: torch.Tensor) -> tuple:
        dq, dk, dv = _heads_inside(q), _heads_inside(k).zero_(), _heads_inside(v).zero_()
        for sample, row, seen, keys, values in blocks():
            queries, p = scores(sample, row, seen, keys)
            p.sub_(logs[sample][..., row, :]).exp_()
            d = dy[sample][..., row, :]
            ds = wide(torch.matmul(d, values.transpose(-2, -1)))
            ds.sub_(wide(d * y[sample][..., row, :]).sum(-1, keepdim=True)).mul_(p)
            p, ds = p.to(q.dtype), ds.to(q.dtype)
            torch.mul(torch.matmul(ds, keys), scale, out=dq[sample][..., row, :])
            for grad, weights, other in ((dk, ds, queries), (dv, p, d)):
                part = torch.matmul(weights.transpose(-2, -1), other)
                if groups > 1:
                    part = part.unflatten(-3, (-1, groups)).sum(-3)
                grad[sample][..., seen, :] += part
        return dq, dk, dv

    return y, pullback


def _heads_inside(x: torch.Tensor, width: int | None = None) -> torch.Tensor:
    """Room like x, (..., heads, t, d), laid out as (..., t, heads, d): as linear layers take it."""
    *batch, heads, t, d = x.shape
    return x.new_empty((*batch, t, heads, width or d)).transpose(-3, -2)
