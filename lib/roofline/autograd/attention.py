"""Scaled dot-product attention, twice: as the formula says it, and block by block.

The formula's version keeps every weight, t * s numbers for each head. The blocked one keeps one
number for each query, from which the walk back makes the weights again; what it computes between
two products stays in the cache. Sources: Vaswani et al., 1706.03762, equation 1; Dao et al.,
"FlashAttention", 2205.14135, for the blocks and the recomputation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from .blocks import BLOCK, wide
from .elementwise import Result
from .tape import Tensor, op

LOG2E = math.log2(math.e)


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


def _powers(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """2 ** (scores - top) in place, over the last dimension, their sums, and the tops.

    Powers of 2 because a processor's exp can take fifty times as long where it underflows. A row
    of nothing but -inf gets zeros and a sum that is not 0.
    """
    limits = torch.finfo(scores.dtype)
    if scores.shape[-1] == 0:
        return scores, scores.sum(-1, keepdim=True), scores.sum(-1, keepdim=True)
    top = scores.amax(-1, keepdim=True).clamp_min_(limits.min)
    scores.sub_(top).exp2_()
    return scores, scores.sum(-1, keepdim=True).clamp_min_(limits.tiny), top


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
    scores = wide(torch.matmul(q, k.transpose(-2, -1)))
    scores *= scale * LOG2E
    if causal:
        scores += _later(*scores.shape[-2:], scores)
    if mask is not None:
        scores += mask * LOG2E
    powers, sums, _ = _powers(scores)
    p = powers.div_(sums).to(q.dtype)
    del scores, powers

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
    (heads, t), s, groups = q.shape[-3:-1], k.shape[-2], q.shape[-3] // k.shape[-3]
    on_cpu = q.device.type == "cpu"
    step = max(16, BLOCK // (heads * s) if on_cpu else 2**24 // (q.shape[:-2].numel() * s))
    # Blocks of queries with the keys that they see, the last first: it sees all. None is all.
    rows: list = [(None, None)]
    if step < t:
        ends = range(t, 0, -step)
        rows = [(slice(max(0, end - step), end), slice(max(1, end + s - t))) for end in ends]
    later = _later(t, s, wide(q[..., :0])) if causal else None
    masks: list = [None] * q.shape[:-3].numel()
    if mask is not None:
        mask = mask[(None,) * (3 - mask.dim())] * LOG2E
        width = mask.shape[-3] if on_cpu else heads
        masks = _samples(mask.expand(*q.shape[:-3], width, *mask.shape[-2:]))
    load = wide if on_cpu else (lambda x: x)  # processors are slow with 16 bits
    none = load(q.new_empty(()))

    def scores(q: torch.Tensor, k: torch.Tensor, mask: Any, row: Any, seen: Any) -> torch.Tensor:
        left, right = _cut(q, row), _cut(k, seen).transpose(1, 2)
        x = wide(torch.baddbmm(none, left, right, beta=0, alpha=scale * LOG2E))
        if later is not None:
            x += later if row is None else later[row, seen]
        if mask is not None:
            mask = _cut(mask, row) if mask.shape[1] > 1 else mask
            x += mask if seen is None else mask[..., seen]
        return x

    y, logs = _room(q, v.shape[-1]), []
    for q_i, k_i, v_i, y_i, mask_i in zip(*map(_samples, (q, k, v, y)), masks, strict=True):
        q_i, keys, values = load(q_i), _each(load(k_i), groups), _each(load(v_i), groups)
        for row, seen in rows:
            seen = seen if causal else None
            powers, sums, top = _powers(scores(q_i, keys, mask_i, row, seen))
            part = torch.bmm(powers.to(values.dtype), _cut(values, seen))
            torch.div(part, sums, out=_cut(y_i, row))
            logs.append(top.add_(sums.log2_()))

    def pullback(dy: torch.Tensor) -> tuple:
        dq, dk, dv = _room(q), _room(k), _room(v)
        sums = iter(logs)
        parts = zip(*map(_samples, (q, k, v, y, dy, dq, dk, dv)), masks, strict=True)
        for q_i, k_i, v_i, y_i, d_i, dq_i, dk_i, dv_i, mask_i in parts:
            q_i, keys, values = load(q_i), _each(load(k_i), groups), _each(load(v_i), groups)
            d_i, y_i = load(d_i), load(y_i)
            d_keys = d_values = None
            for row, seen in rows:
                seen = seen if causal else None
                d = _cut(d_i, row)
                p = scores(q_i, keys, mask_i, row, seen).sub_(next(sums)).exp2_()
                ds = wide(torch.bmm(d, _cut(values, seen).transpose(1, 2)))
                ds.sub_(wide(d * _cut(y_i, row)).sum(-1, keepdim=True)).mul_(p)
                p, ds = p.to(d.dtype), ds.to(d.dtype)
                dq_part = torch.baddbmm(none, ds, _cut(keys, seen), beta=0, alpha=scale)
                _cut(dq_i, row).copy_(dq_part)
                dk_part = torch.baddbmm(
                    none, ds.transpose(1, 2), _cut(q_i, row), beta=0, alpha=scale
                )
                dv_part = torch.bmm(p.transpose(1, 2), d)
                if d_keys is None or d_values is None:
                    d_keys, d_values = dk_part, dv_part
                else:
                    _cut(d_keys, seen).add_(dk_part)
                    _cut(d_values, seen).add_(dv_part)
            dk_i.copy_(_together(d_keys, groups))
            dv_i.copy_(_together(d_values, groups))
        return dq, dk, dv

    return y, pullback


def _samples(x: torch.Tensor) -> Sequence[torch.Tensor]:
    """x, (..., heads, t, d), as (heads, t, d) for each sample; all in one on an accelerator."""
    if x.device.type == "cpu":
        return x.reshape(-1, *x.shape[-3:]).unbind(0)
    return [x.reshape(-1, *x.shape[-2:])]


def _room(x: torch.Tensor, width: int | None = None) -> torch.Tensor:
    """Room like x, (..., heads, t, d), on a processor laid out as linear layers take it."""
    *batch, heads, t, d = x.shape
    if x.device.type == "cpu":
        return x.new_empty((*batch, t, heads, width or d)).transpose(-3, -2)
    return x.new_empty((*batch, heads, t, width or d))


def _cut(x: torch.Tensor, part: slice | None) -> torch.Tensor:
    return x if part is None else x[:, part]


def _each(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Key heads, each as often as query heads share it."""
    return x if groups == 1 else x.repeat_interleave(groups, 0)


def _together(x: torch.Tensor, groups: int) -> torch.Tensor:
    return x if groups == 1 else x.unflatten(0, (-1, groups)).sum(1)
