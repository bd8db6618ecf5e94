"""Scaled dot-product attention, twice: as the formula says it, and block by block.

The formula's version passes t * s weights for each head through memory many times. In the blocked
one what is computed between two products stays in the cache; and it need not keep the weights,
since the walk back can make them again.
Sources: Vaswani et al., 1706.03762, equation 1; Dao et al., "FlashAttention", 2205.14135, for the
blocks and the recomputation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from .blocks import BLOCK, ready, wide
from .elementwise import Result
from .tape import Tensor, op


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
    recompute: bool = True,
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
        recompute: keep no weights, and make them again on the way back.

    Returns (..., heads, t, d). A query that may look at nothing gets zeros.
    """
    if min(x.data.dim() for x in (q, k, v)) < 3:
        raise ValueError(f"attention takes (..., heads, t, d), got queries {tuple(q.data.shape)}")
    heads, t, d = q.data.shape[-3:]
    key_heads, s = k.data.shape[-3:-1]
    if heads % key_heads or v.data.shape[-3:-1] != (key_heads, s) or k.data.shape[-1] != d:
        raise ValueError(
            f"attention of queries {tuple(q.data.shape)} needs keys and values with a divisor of "
            f"{heads} heads and width {d}, not {tuple(k.data.shape)} and {tuple(v.data.shape)}"
        )
    scale = 1 / math.sqrt(d) if scale is None else scale
    mask = _additive(mask, q.data)
    few = q.data.shape[:-1].numel() * s <= BLOCK
    blind = causal and t > s  # the first queries see nothing
    if few or blind or torch.compiler.is_compiling():
        return explicit_attention(q, k, v, mask, causal, scale)
    return _blocked(q, k, v, mask, causal, scale, recompute)


def _additive(mask: torch.Tensor | None, q: torch.Tensor) -> torch.Tensor | None:
    """The mask as numbers to add: 0 where a query may look, -inf where it may not."""
    if mask is None or not is_bool(mask):
        return mask
    return torch.zeros(mask.shape, dtype=q.dtype, device=q.device).masked_fill_(~mask, -torch.inf)


def is_bool(mask: torch.Tensor) -> bool:
    """Whether a mask says yes or no, and not what to add; 0 and 1 as integers could mean either."""
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise ValueError(f"a mask is bool or floating point, not {mask.dtype}: mask.bool() it")
    return mask.dtype == torch.bool


def _later(t: int, s: int, like: torch.Tensor) -> torch.Tensor:
    """(t, s): -inf where a key is later than the query, else 0."""
    return torch.full((t, s), -torch.inf, dtype=like.dtype, device=like.device).triu_(1 + s - t)


def _softmax(scores: torch.Tensor, masked: bool) -> torch.Tensor:
    """Softmax over the last dimension, in place; where a mask leaves nothing but -inf, zeros."""
    if not masked or not scores.shape[-1]:
        return torch.softmax(scores, -1, out=scores)
    blind = scores.amax(-1, keepdim=True) == -torch.inf
    return torch.softmax(scores, -1, out=scores).masked_fill_(blind, 0)


@op
def explicit_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> Result:
    """:func:`attention` as its formula says it; ``mask`` is numbers to add."""
    groups = q.shape[-3] // k.shape[-3]
    if groups > 1:
        k, v = k.repeat_interleave(groups, -3), v.repeat_interleave(groups, -3)
    # Scaled before the product, of which 16 bits could overflow.
    scores = wide(torch.matmul(q * scale, k.transpose(-2, -1)))
    if causal:
        scores += _later(scores.shape[-2], scores.shape[-1], scores)
    if mask is not None:
        scores += mask
    p = _softmax(scores, mask is not None or q.shape[-2] > k.shape[-2]).to(q.dtype)
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
    recompute: bool,
) -> Result:
    *batch, heads, t, d = q.shape
    key_heads, s = k.shape[-3:-1]
    on_cpu = q.device.type == "cpu"
    room = BLOCK if on_cpu else 2**26  # for the weights of a block
    # Queries in a block. In causal attention the first half has no use for the later keys.
    step = min(-(-t // 2) if causal and on_cpu and t >= 64 else t, max(16, room // (heads * s)))
    together = max(1, room // (heads * step * s))  # samples in a block
    # Blocks of queries with the keys that they see, the last first: it sees all.
    rows = [
        (slice(max(0, end - step), end), slice(end + s - t if causal else s))
        for end in range(t, 0, -step)
    ]
    # Samples as matrices, one for each head, in one piece of memory: products are faster so.
    parts = [_matrices(x).split(together * x.shape[-3]) for x in (q, k, v)]
    masks: Sequence = [None] * len(parts[0])
    if mask is not None:
        mask = mask[(None,) * (3 - mask.dim())]
        masks = _samples(mask.expand(*batch, *mask.shape[-3:]), together)
    none, shapes = ready(q.new_empty(())), [x.shape for x in (q, k, v)]

    def blocks() -> Iterator[tuple]:
        """Queries, keys and values of some samples, one matrix for each head, and their mask."""
        for q_i, k_i, v_i, mask_i in zip(*parts, masks, strict=True):
            keys, values = (_each(ready(x), heads // key_heads) for x in (k_i, v_i))
            yield ready(q_i), keys, values, mask_i

    def weights(
        q: torch.Tensor, k: torch.Tensor, mask: Any, row: Any, seen: Any, later: torch.Tensor
    ) -> torch.Tensor:
        left, right = q[:, row], k[:, seen].transpose(1, 2)
        x = wide(torch.baddbmm(none, left, right, beta=0, alpha=scale))
        if causal:  # the last query stands beside the last key that the block sees
            n = left.shape[1]
            x[..., -n:].add_(later if n == step else later[-n:, -n:])
        if mask is not None:
            mask = mask[:, :, row] if mask.shape[2] > 1 else mask
            x.view(-1, heads, *x.shape[1:]).add_(mask[..., seen])
        return _softmax(x, mask is not None).to(k.dtype)

    # Laid out as the linear layers before and after it take it: heads beside each other.
    y = q.new_empty((*batch, t, heads, v.shape[-1])).transpose(-3, -2)
    kept: list[torch.Tensor] = []
    later = _later(step, step, wide(q[..., :0]))
    for out, (queries, keys, values, mask_i) in zip(_samples(y, together), blocks(), strict=True):
        for row, seen in rows:
            p = weights(queries, keys, mask_i, row, seen, later)
            part = torch.bmm(p, values[:, seen])
            out[:, :, row] = part.view(-1, heads, *part.shape[1:])
            if not recompute:
                kept.append(p)
    kept.reverse()

    def pullback(dy: torch.Tensor) -> tuple:
        grads, later = _beside(shapes, y), _later(step, step, wide(y[..., :0]))
        samples = [_samples(x, together) for x in (*grads, y, dy)]
        for (dq, dk, dv, y_i, d_i), (queries, keys, values, mask_i) in zip(
            zip(*samples, strict=True), blocks(), strict=True
        ):
            # What each query's weights lose, as they add up to 1: sum_k p dp = sum_j y dy.
            shared = (ready(y_i) * ready(d_i)).sum(-1).reshape(-1, t, 1)
            d_i = _matrices(ready(d_i))
            totals: list[torch.Tensor] = []
            for row, seen in rows:
                d = d_i[:, row]
                p = kept.pop() if kept else weights(queries, keys, mask_i, row, seen, later)
                ds = torch.bmm(d, values[:, seen].transpose(1, 2)).sub_(shared[:, row]).mul_(p)
                part = torch.baddbmm(none, ds, keys[:, seen], beta=0, alpha=scale)
                dq[:, :, row] = part.view(-1, heads, *part.shape[1:])
                p, ds = p.transpose(1, 2), ds.transpose(1, 2)
                of_keys = torch.baddbmm(none, ds, queries[:, row], beta=0, alpha=scale)
                of_values = torch.bmm(p, d)
                if totals:
                    totals[0][:, seen].add_(of_keys)
                    totals[1][:, seen].add_(of_values)
                else:
                    totals = [of_keys, of_values]
            for out, total in zip((dk, dv), totals, strict=True):
                if key_heads < heads:
                    total = total.unflatten(0, (-1, heads // key_heads)).sum(1)
                out.copy_(total.view(out.shape))
        return grads

    return y, pullback


def _beside(shapes: list[torch.Size], like: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Room for the gradients; where one product made all three, its gradient lies in one piece."""
    turned = [(*shape[:-3], shape[-2], shape[-3], shape[-1]) for shape in shapes]
    if all(shape[:-2] == turned[0][:-2] and shape[-1] == turned[0][-1] for shape in turned):
        heads = [shape[-2] for shape in turned]
        whole = like.new_empty((*turned[0][:-2], sum(heads), turned[0][-1]))
        return tuple([x.transpose(-3, -2) for x in whole.split(heads, -2)])
    return tuple([like.new_empty(shape).transpose(-3, -2) for shape in turned])


def _samples(x: torch.Tensor, size: int) -> Sequence[torch.Tensor]:
    """x, (..., heads, t, d), as (n, heads, t, d) with up to ``size`` samples each."""
    return x.reshape(-1, *x.shape[-3:]).split(size)


def _matrices(x: torch.Tensor) -> torch.Tensor:
    """x, (..., heads, t, d), as (n * heads, t, d), in one piece."""
    return x.reshape(-1, *x.shape[-2:]).contiguous()


def _each(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Key heads, each as often as query heads share it."""
    return x if groups == 1 else x.repeat_interleave(groups, 0)
