"""Chapter 7's graders, graded."""

from __future__ import annotations

import collections
import math

import numpy as np
import torch
from roofline.grading.answers import right, wrong
from torch.nn import functional

# --- attention ----------------------------------------------------------------------------------

RESULT, LEADING, MASK, CAUSAL = "result", "leading dimensions", "a mask", "a causal mask"
LARGE_SCORES = "scores up to ±1e6, hidden ones too"
EVERY = [RESULT, LEADING, MASK, CAUSAL, LARGE_SCORES]


def _scores(q, k, allowed=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return scores if allowed is None else scores.masked_fill(~allowed, -torch.inf)


@wrong("transformer.attention", EVERY, "1/√d is missing")
def forgets_the_scale(q, k, v, allowed=None):
    return _scores(q * math.sqrt(q.shape[-1]), k, allowed).softmax(-1) @ v


@wrong("transformer.attention", EVERY, "not by d")
def divides_by_d(q, k, v, allowed=None):
    return _scores(q / math.sqrt(q.shape[-1]), k, allowed).softmax(-1) @ v


@wrong("transformer.attention", EVERY, "not its length")
def divides_by_the_length(q, k, v, allowed=None):
    return _scores(q * math.sqrt(q.shape[-1] / k.shape[-2]), k, allowed).softmax(-1) @ v


@wrong("transformer.attention", EVERY, "softmax over the keys")
def softmax_over_the_queries(q, k, v, allowed=None):
    return _scores(q, k, allowed).softmax(-2).nan_to_num() @ v


@wrong("transformer.attention", [MASK, CAUSAL, LARGE_SCORES], "must add up to 1")
def masks_the_weights(q, k, v, allowed=None):
    weights = _scores(q, k).softmax(-1)
    return (weights if allowed is None else weights * allowed) @ v


@wrong("transformer.attention", [MASK, CAUSAL, LARGE_SCORES], "exp(0) is 1")
def masks_with_a_score_of_zero(q, k, v, allowed=None):
    scores = _scores(q, k)
    return (scores if allowed is None else scores * allowed).softmax(-1) @ v


@wrong("transformer.attention", [MASK, CAUSAL, LARGE_SCORES], "turned round")
def hides_what_is_allowed(q, k, v, allowed=None):
    return _scores(q, k, None if allowed is None else ~allowed).softmax(-1) @ v


@wrong("transformer.attention", [LEADING, MASK], "raised")
def turns_all_dimensions_round(q, k, v, allowed=None):
    scores = q @ k.permute(*range(k.dim() - 1, -1, -1)) / math.sqrt(q.shape[-1])
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return scores.softmax(-1) @ v


@wrong("transformer.attention", EVERY, "scaled_dot_product_attention")
def ready_made(q, k, v, allowed=None):
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)


@wrong("transformer.attention", EVERY, "in place")
def changes_the_queries(q, k, v, allowed=None):
    q /= math.sqrt(q.shape[-1])
    scores = q @ k.mT
    if allowed is not None:
        scores[..., ~allowed] = -torch.inf
    return scores.softmax(-1) @ v


@wrong("transformer.attention", [LARGE_SCORES], "a hidden score may be the largest")
def hides_a_little_below_the_least(q, k, v, allowed=None):
    scores = _scores(q, k)
    if allowed is not None:
        scores = torch.where(allowed, scores, scores.min() - 14)
    return scores.softmax(-1) @ v


@wrong("transformer.attention", [LARGE_SCORES], "subtract its row's largest")
def exponentials_as_they_are(q, k, v, allowed=None):
    weights = _scores(q, k, allowed).exp()
    return weights / weights.sum(-1, keepdim=True) @ v


@wrong("transformer.attention", [LARGE_SCORES], "a hidden score may be the largest")
def takes_the_largest_of_all(q, k, v, allowed=None):
    weights = (_scores(q, k) - _scores(q, k).amax(-1, keepdim=True)).exp()
    if allowed is not None:
        weights = weights * allowed
    return (weights / weights.sum(-1, keepdim=True)) @ v


@wrong("transformer.attention", [LARGE_SCORES], "a million above the others")
def hides_with_ten_thousand(q, k, v, allowed=None):
    scores = _scores(q, k)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -1e4)
    return scores.softmax(-1) @ v


@wrong("transformer.attention", EVERY, "scaled_dot_product")
def ready_made_below_torch(q, k, v, allowed=None):
    whole = [t.expand(*(1,) * (4 - t.dim()), *t.shape).contiguous() for t in (q, k, v)]
    mixed = getattr(torch.ops.aten, "scaled_dot_product_attention")(*whole, allowed)  # noqa: B009
    return mixed.view(*q.shape[:-1], v.shape[-1])


@right("transformer.attention")
def scales_the_keys_first(q, k, v, allowed=None):
    scores = torch.einsum("...td,...sd->...ts", q, k * k.shape[-1] ** -0.5)
    if allowed is not None:
        low = torch.finfo(q.dtype).min
        scores = scores + torch.zeros(allowed.shape, dtype=q.dtype).masked_fill(~allowed, low)
    return scores.double().softmax(-1).to(q.dtype) @ v


@right("transformer.attention")
def with_einsum_and_a_large_number(q, k, v, allowed=None):
    scores = torch.einsum("...td,...sd->...ts", q, k) / q.shape[-1] ** 0.5
    if allowed is not None:
        scores = torch.where(allowed, scores, torch.tensor(-1e9))
    return torch.einsum("...ts,...sd->...td", torch.softmax(scores, -1), v)


@right("transformer.attention")
def renormalises(q, k, v, allowed=None):
    scores = _scores(q, k, allowed)
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    if allowed is not None:
        weights = weights * allowed
    return (weights / weights.sum(-1, keepdim=True)) @ v


@wrong("transformer.attention", [LEADING, MASK], "isn't always 16")
def a_width_of_sixteen(q, k, v, allowed=None):
    scores = q @ k.mT / 4
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return scores.softmax(-1) @ v


@wrong("transformer.attention", [RESULT], "with float64 arguments")
def only_in_single_precision(q, k, v, allowed=None):
    return _scores(q.float(), k.float(), allowed).softmax(-1) @ v.float()


@wrong("transformer.attention", [LEADING], "Use .reshape")
def views_what_was_swapped(q, k, v, allowed=None):
    flat = [x.view(-1, *x.shape[-2:]) for x in (q, k, v)]
    return (_scores(flat[0], flat[1], allowed).softmax(-1) @ flat[2]).view(q.shape)


@wrong("transformer.attention", [MASK, CAUSAL], "a row of allowed of its own")
def the_first_row_for_every_query(q, k, v, allowed=None):
    return _scores(q, k, None if allowed is None else allowed[:1]).softmax(-1) @ v


@wrong("transformer.attention", [MASK, LARGE_SCORES], "whatever allowed says")
def causal_whatever(q, k, v, allowed=None):
    seen = None if allowed is None else torch.ones_like(allowed).tril()
    return _scores(q, k, seen).softmax(-1) @ v


@wrong("transformer.attention", [LARGE_SCORES], "the logarithm of a sum")
def through_a_logarithm(q, k, v, allowed=None):
    scores = _scores(q, k, allowed)
    return (scores - scores.logsumexp(-1, keepdim=True)).exp() @ v


@wrong("transformer.attention", EVERY, "Attention.run")
def asks_the_judge(q, k, v, allowed=None):
    from roofline.exercises.transformer import lookup

    return lookup.Attention.run(q, k, v, allowed)


@right("transformer.attention")
def query_by_query(q, k, v, allowed=None):
    if q.dim() > 2:
        return torch.stack([query_by_query(*each, allowed) for each in zip(q, k, v, strict=True)])
    rows = []
    for i, query in enumerate(q):
        keys, values = (k, v) if allowed is None else (k[allowed[i]], v[allowed[i]])
        rows.append((keys @ query / len(query) ** 0.5).softmax(0) @ values)
    return torch.stack(rows)


@right("transformer.attention")
def in_numpy(q, k, v, allowed=None):
    q64, k64, v64 = (x.numpy().astype(np.float64) for x in (q, k, v))
    scores = q64 @ np.swapaxes(k64, -1, -2) / np.sqrt(q.shape[-1])
    if allowed is not None:
        scores = np.where(allowed.numpy(), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return torch.from_numpy(p / p.sum(-1, keepdims=True) @ v64).to(q.dtype)


# --- heads --------------------------------------------------------------------------------------

ONE, SEVERAL, BATCH = "one head", "several heads", "a batch"


def _parts(x, w_in):
    return (x @ w_in.T).chunk(3, dim=-1)


def _split(part, heads):
    return part.unflatten(-1, (heads, -1)).transpose(1, 2)


def _mixed(q, k, v, w_out):
    mixed = functional.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).flatten(2) @ w_out.T


@wrong("transformer.heads", [SEVERAL, BATCH], "cut the width into heads")
def one_head_whatever(x, w_in, w_out, heads):
    return _mixed(*(_split(p, 1) for p in _parts(x, w_in)), w_out)


@wrong("transformer.heads", [SEVERAL, BATCH], "cuts the sequence apart")
def cuts_the_rows(x, w_in, w_out, heads):
    n, t, w = x.shape
    q, k, v = (p.reshape(n, heads, t, w // heads) for p in _parts(x, w_in))
    return functional.scaled_dot_product_attention(q, k, v).reshape(n, t, w) @ w_out.T


@wrong("transformer.heads", [SEVERAL, BATCH], "swap the heads back")
def does_not_swap_back(x, w_in, w_out, heads):
    q, k, v = (_split(p, heads) for p in _parts(x, w_in))
    return functional.scaled_dot_product_attention(q, k, v).reshape(x.shape) @ w_out.T


@wrong("transformer.heads", [SEVERAL, BATCH], "w / heads wide")
def scales_by_the_full_width(x, w_in, w_out, heads):
    q, k, v = (_split(p, heads) for p in _parts(x, w_in))
    return _mixed(q / math.sqrt(heads), k, v, w_out)


@wrong("transformer.heads", [ONE, SEVERAL, BATCH], "in this order")
def keys_first(x, w_in, w_out, heads):
    k, q, v = (_split(p, heads) for p in _parts(x, w_in))
    return _mixed(q, k, v, w_out)


@wrong("transformer.heads", [ONE, SEVERAL, BATCH], "w_out is missing")
def forgets_the_output(x, w_in, w_out, heads):
    return _mixed(*(_split(p, heads) for p in _parts(x, w_in)), torch.eye(x.shape[-1]))


@wrong("transformer.heads", [ONE, SEVERAL, BATCH], "multiply by w_out.T")
def output_turned_round(x, w_in, w_out, heads):
    return _mixed(*(_split(p, heads) for p in _parts(x, w_in)), w_out.T)


@wrong("transformer.heads", [SEVERAL, BATCH], "first cut queries, keys and values")
def heads_first(x, w_in, w_out, heads):
    parts = (x @ w_in.T).unflatten(-1, (heads, 3, -1)).unbind(3)
    return _mixed(*(p.transpose(1, 2) for p in parts), w_out)


@wrong("transformer.heads", [BATCH], "don't see each other")
def one_long_sequence(x, w_in, w_out, heads):
    long = x.reshape(1, -1, x.shape[-1])
    return loop_over_heads(long, w_in, w_out, heads).reshape(x.shape)


@wrong("transformer.heads", [ONE, SEVERAL, BATCH], "multi_head_attention")
def every_head_ready_made(x, w_in, w_out, heads):
    bias = x.new_zeros(len(w_in))
    run, width = torch._native_multi_head_attention, x.shape[-1]
    return run(x, x, x, width, heads, w_in, bias, w_out, bias[:width])[0]


@right("transformer.heads")
def loop_over_heads(x, w_in, w_out, heads):
    q, k, v = functional.linear(x, w_in).split(x.shape[-1], -1)
    size = x.shape[-1] // heads
    out = []
    for h in range(heads):
        at = slice(h * size, (h + 1) * size)
        scores = q[..., at] @ k[..., at].transpose(1, 2) / math.sqrt(size)
        out.append(scores.softmax(-1) @ v[..., at])
    return torch.cat(out, -1) @ w_out.T


@right("transformer.heads")
def with_one_einsum_each(x, w_in, w_out, heads):
    n, t, w = x.shape
    q, k, v = torch.einsum("ntw,phdw->pnhtd", x, w_in.view(3, heads, w // heads, w))
    weights = (torch.einsum("nhtd,nhsd->nhts", q, k) * (w // heads) ** -0.5).softmax(-1)
    return torch.einsum("nhts,nhsd,ohd->nto", weights, v, w_out.view(w, heads, w // heads))


@wrong("transformer.heads", [ONE, SEVERAL, BATCH], "no mask is asked for")
def hides_the_future(x, w_in, w_out, heads):
    q, k, v = (_split(p, heads) for p in _parts(x, w_in))
    mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return mixed.transpose(1, 2).flatten(2) @ w_out.T


@wrong("transformer.heads", [SEVERAL, BATCH], "w / heads neighbours")
def every_third_of_the_width(x, w_in, w_out, heads):
    q, k, v = (p.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2) for p in _parts(x, w_in))
    mixed = functional.scaled_dot_product_attention(q, k, v)
    return mixed.permute(0, 2, 3, 1).flatten(2) @ w_out.T


@wrong("transformer.heads", [ONE], "with float64 arguments")
def into_a_new_tensor(x, w_in, w_out, heads):
    out = torch.empty(x.shape)
    out[:] = loop_over_heads(x, w_in, w_out, heads)
    return out


@right("transformer.heads")
def adds_the_heads_up(x, w_in, w_out, heads):
    width, out = x.shape[-1] // heads, torch.zeros_like(x)
    for rows in torch.arange(x.shape[-1]).split(width):
        q, k, v = (x @ w_in[rows + i * x.shape[-1]].T for i in range(3))
        out += functional.scaled_dot_product_attention(q, k, v) @ w_out[:, rows].T
    return out


# --- sinusoids ----------------------------------------------------------------------------------

SINES, COSINES, FAR = "sines", "cosines", "far positions, in float32"


def _angles(length, width, factor=1.0):
    place = torch.arange(length, dtype=torch.float64)[:, None]
    even = torch.arange(0, width, 2, dtype=torch.float64)
    return place / 10000 ** (factor * even / width)


def _in_turn(first, second):
    return torch.stack([first, second], -1).flatten(1).float()


@wrong("transformer.sinusoids", [SINES, COSINES, FAR], "not in two halves")
def in_two_halves(length, width):
    angles = _angles(length, width)
    return torch.cat([angles.sin(), angles.cos()], 1).float()


@wrong("transformer.sinusoids", [SINES, COSINES, FAR], "even column 2i")
def exponent_without_the_two(length, width):
    angles = _angles(length, width, 0.5)
    return _in_turn(angles.sin(), angles.cos())


@wrong("transformer.sinusoids", [COSINES, FAR], "share a speed")
def every_column_its_own_speed(length, width):
    column = torch.arange(width, dtype=torch.float64)
    angles = torch.arange(length)[:, None] / 10000 ** (column / width)
    return torch.where(column % 2 == 0, angles.sin(), angles.cos()).float()


@wrong("transformer.sinusoids", [SINES, COSINES, FAR], "sine comes first")
def cosine_first(length, width):
    angles = _angles(length, width)
    return _in_turn(angles.cos(), angles.sin())


@wrong("transformer.sinusoids", [SINES, COSINES, FAR], "first position is 0")
def counts_from_one(length, width):
    angles = _angles(length + 1, width)[1:]
    return _in_turn(angles.sin(), angles.cos())


@wrong("transformer.sinusoids", [FAR], "dtype float64")
def in_double_precision(length, width):
    angles = _angles(length, width)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


@right("transformer.sinusoids")
def column_by_column(length, width):
    table, place = torch.zeros(length, width), torch.arange(length).float()
    for i in range(0, width, 2):
        table[:, i] = torch.sin(place / 10000 ** (i / width))
        table[:, i + 1] = torch.cos(place / 10000 ** (i / width))
    return table


@right("transformer.sinusoids")
def through_the_exponential(length, width):
    speed = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    table = torch.empty(length, width)
    table[:, 0::2] = torch.sin(torch.arange(length)[:, None] * speed)
    table[:, 1::2] = torch.cos(torch.arange(length)[:, None] * speed)
    return table


@wrong("transformer.sinusoids", [SINES, COSINES, FAR], "division by w is missing")
def forgets_the_width(length, width):
    angles = _angles(length, width, width)
    return _in_turn(angles.sin(), angles.cos())


@wrong("transformer.sinusoids", [SINES, COSINES, FAR], "the second pair of columns")
def another_base(length, width):
    place, even = torch.arange(length)[:, None], torch.arange(0, width, 2)
    angles = place / 1000 ** (even / width)
    return _in_turn(angles.sin(), angles.cos())


@wrong("transformer.sinusoids", [FAR], "at least 32 bits")
def positions_in_16_bits(length, width):
    angles = torch.arange(length).half()[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    return _in_turn(angles.sin(), angles.cos())


@wrong("transformer.sinusoids", [SINES, COSINES, FAR], "positions.sinusoids")
def the_library_s_table(length, width):
    from roofline.nn import positions

    return positions.sinusoids(length, width).float()


@right("transformer.sinusoids")
def number_by_number(length, width):
    speeds = [10000 ** (column // 2 * 2 / width) for column in range(width)]
    table = [[p / s + c % 2 * math.pi / 2 for c, s in enumerate(speeds)] for p in range(length)]
    return torch.tensor([[math.sin(angle) for angle in row] for row in table])


# --- pairs --------------------------------------------------------------------------------------

COMMON, TIE, LIST = "the commonest pair", "a tie", "the new list"
OVERLAP = "overlapping pairs, and nothing to join"


def _neighbours(tokens):
    return collections.Counter(zip(tokens, tokens[1:], strict=False))


def _joined(tokens, pair, new):
    out = []
    for token in tokens:
        out.append(token)
        if tuple(out[-2:]) == tuple(pair):
            out[-2:] = [new]
    return out


def _smallest(counts):
    most = max(counts.values())
    return min(p for p in counts if counts[p] == most)


@wrong("transformer.pairs", [TIE, OVERLAP], "not the largest")
def largest_of_several(tokens, new):
    counts = _neighbours(tokens)
    if not counts:
        return None, tokens
    pair = max(counts, key=lambda p: (counts[p], p))
    return pair, _joined(tokens, pair, new)


@wrong("transformer.pairs", [TIE], "seen first")
def first_of_several(tokens, new):
    counts = _neighbours(tokens)
    if not counts:
        return None, tokens
    pair = counts.most_common(1)[0][0]
    return pair, _joined(tokens, pair, new)


@wrong("transformer.pairs", [LIST, OVERLAP], "skip both tokens")
def keeps_the_second_of_a_pair(tokens, new):
    counts = _neighbours(tokens)
    if not counts:
        return None, tokens
    pair = _smallest(counts)
    return pair, [
        new if tuple(tokens[i : i + 2]) == pair else token for i, token in enumerate(tokens)
    ]


@wrong("transformer.pairs", [LIST, OVERLAP], "last token was lost")
def loses_the_last_token(tokens, new):
    counts = _neighbours(tokens)
    if not counts:
        return None, tokens
    pair, joined, i = _smallest(counts), [], 0
    while i < len(tokens) - 1:
        here = (tokens[i], tokens[i + 1]) == pair
        joined.append(new if here else tokens[i])
        i += 2 if here else 1
    return pair, joined


@wrong("transformer.pairs", [LIST], "not the first alone")
def joins_once(tokens, new):
    counts = _neighbours(tokens)
    if not counts:
        return None, tokens
    pair = _smallest(counts)
    i = next(i for i in range(len(tokens)) if tuple(tokens[i : i + 2]) == pair)
    return pair, [*tokens[:i], new, *tokens[i + 2 :]]


@wrong("transformer.pairs", [OVERLAP], "count all neighbours")
def counts_without_overlap(tokens, new):
    counts, last = {}, {}
    for i, pair in enumerate(zip(tokens, tokens[1:], strict=False)):
        if last.get(pair) != i - 1:
            counts[pair] = counts.get(pair, 0) + 1
            last[pair] = i
    if not counts:
        return None, tokens
    return _smallest(counts), _joined(tokens, _smallest(counts), new)


@wrong("transformer.pairs", [OVERLAP], "raised")
def fails_without_pairs(tokens, new):
    pair = _smallest(_neighbours(tokens))
    return pair, _joined(tokens, pair, new)


@wrong("transformer.pairs", [COMMON, TIE, LIST, OVERLAP], "list(tokens)")
def joins_in_place(tokens, new):
    counts = _neighbours(tokens)
    if not counts:
        return None, tokens
    pair = _smallest(counts)
    tokens[:] = _joined(tokens, pair, new)
    return pair, tokens


@wrong("transformer.pairs", [TIE, OVERLAP], "9 is smaller than 11")
def compares_as_text(tokens, new):
    counts = _neighbours(tokens)
    if not counts:
        return None, tokens
    pair = min(counts, key=lambda p: (-counts[p], tuple(map(str, p))))
    return pair, _joined(tokens, pair, new)


@wrong("transformer.pairs", [LIST], "several digits")
def joins_in_a_text(tokens, new):
    counts = _neighbours(tokens)
    if not counts:
        return None, tokens
    pair = _smallest(counts)
    text = " ".join(map(str, tokens)).replace(" ".join(map(str, pair)), str(new))
    return pair, [int(word) for word in text.split()]


@right("transformer.pairs")
def by_sorting(tokens, new):
    pairs = sorted(zip(tokens, tokens[1:], strict=False))
    if len(tokens) < 2:
        return None, list(tokens)
    pair = max(dict.fromkeys(pairs), key=pairs.count)
    return list(pair), _joined(tokens, pair, new)


@right("transformer.pairs")
def with_numpy(tokens, new):
    if len(tokens) < 2:
        return None, tokens
    row = np.array(tokens)
    pairs, counts = np.unique(np.stack([row[:-1], row[1:]], 1), axis=0, return_counts=True)
    pair = tuple(pairs[counts.argmax()])
    return pair, np.array(_joined(tokens, pair, new))


@wrong("transformer.pairs", [COMMON, TIE, LIST, OVERLAP], "the pair comes first")
def list_first(tokens, new):
    return by_sorting(tokens, new)[::-1]


@wrong("transformer.pairs", [COMMON, TIE], "without its count")
def pair_with_its_count(tokens, new):
    pair, made = by_sorting(tokens, new)
    return pair if pair is None else (pair, _neighbours(tokens)[tuple(pair)]), made


@wrong("transformer.pairs", [COMMON, LIST, OVERLAP], "a pair has an order")
def pairs_without_order(tokens, new):
    counts = collections.Counter(tuple(sorted(p)) for p in zip(tokens, tokens[1:], strict=False))
    if not counts:
        return None, tokens
    return _smallest(counts), _joined(tokens, _smallest(counts), new)


@wrong("transformer.pairs", [OVERLAP], "aaa becomes new, a")
def swallows_the_third(tokens, new):
    counts, out = _neighbours(tokens), tokens[:1]
    if not counts:
        return None, tokens
    for pair in zip(tokens, tokens[1:], strict=False):
        if pair == _smallest(counts):
            out[-1] = new
        else:
            out.append(pair[1])
    return _smallest(counts), out


@wrong("transformer.pairs", [OVERLAP], "(None, tokens)")
def nothing_for_nothing(tokens, new):
    return by_sorting(tokens, new) if len(tokens) > 1 else None


@wrong("transformer.pairs", [OVERLAP], "two are a pair")
def needs_three_tokens(tokens, new):
    return by_sorting(tokens, new) if len(tokens) > 2 else (None, tokens)


@wrong("transformer.pairs", [LIST, OVERLAP], "don't go on")
def round_after_round(tokens, new):
    pair, out = as_characters(tokens, new)
    while max(_neighbours(out).values(), default=0) > 1:
        out = as_characters(out, new)[1]
    return pair, out


@wrong("transformer.pairs", [COMMON, TIE, LIST, OVERLAP], "bpe.join")
def joins_with_the_library(tokens, new):
    from roofline.data import bpe

    pair = by_sorting(tokens, new)[0]
    return pair, tokens if pair is None else bpe.join(tokens, tuple(pair), new)


@right("transformer.pairs")
def as_characters(tokens, new):
    if len(tokens) < 2:
        return None, tokens
    pair = _smallest(_neighbours(tokens))
    text = "".join(map(chr, tokens)).replace("".join(map(chr, pair)), chr(new))
    return pair, list(map(ord, text))


@right("transformer.pairs")
def with_torch(tokens, new):
    if len(tokens) < 2:
        return None, tokens
    row = torch.tensor(tokens)
    pairs, counts = torch.stack([row[:-1], row[1:]], 1).unique(dim=0, return_counts=True)
    pair = pairs[counts.argmax()]
    return pair, torch.tensor(_joined(tokens, pair.tolist(), new))


# --- filtered -----------------------------------------------------------------------------------

HEAT, TOP_K, TOP_P, ALL = "temperature", "top_k", "top_p", "together, in order"
WHOLE = "nothing to drop"


def _choose(logits, temperature, top_k, top_p, before=None, share_of=None, end=True):
    """The chapter's answer, with doors to go wrong through."""
    scores, order = (logits / temperature).sort(descending=True)
    keep = torch.ones(len(scores), dtype=torch.bool)
    if top_k is not None:
        keep[top_k:] = False
    p = scores.softmax(0) * keep / (scores.softmax(0) * keep).sum()
    if top_p is not None:
        share = p if share_of is None else share_of(scores, p)
        keep &= (before or (lambda s: s.cumsum(0) - s < top_p))(share)
    p = p * keep
    return torch.zeros_like(p).scatter(0, order, p / p.sum() if end else p)


@wrong("transformer.filtered", [HEAT, ALL], "don't multiply")
def multiplies(logits, temperature=1.0, top_k=None, top_p=None):
    return _choose(logits, 1 / temperature, top_k, top_p)


@wrong("transformer.filtered", [TOP_P, ALL], "belongs to the set")
def one_token_too_few(logits, temperature=1.0, top_k=None, top_p=None):
    def before(share):
        keep = share.cumsum(0) - 1e-6 < top_p
        keep[0] = True
        return keep

    return _choose(logits, temperature, top_k, top_p, before)


@wrong("transformer.filtered", [TOP_K, TOP_P, ALL], "must add up to 1")
def does_not_renormalise(logits, temperature=1.0, top_k=None, top_p=None):
    scores, order = (logits / temperature).sort(descending=True)
    p = scores.softmax(0)
    if top_k is not None:
        p = p * (torch.arange(len(p)) < top_k)
    if top_p is not None:
        share = p / p.sum()
        p = p * (share.cumsum(0) - share < top_p)
    return torch.zeros_like(p).scatter(0, order, p)


@wrong("transformer.filtered", [HEAT, TOP_K, TOP_P, WHOLE, ALL], "undo the sorting")
def stays_sorted(logits, temperature=1.0, top_k=None, top_p=None):
    return _choose(logits.sort(descending=True).values, temperature, top_k, top_p)


@wrong("transformer.filtered", [ALL], "what it left")
def top_p_of_all(logits, temperature=1.0, top_k=None, top_p=None):
    return _choose(logits, temperature, top_k, top_p, share_of=lambda s, p: s.softmax(0))


@wrong("transformer.filtered", [ALL], "temperature comes first")
def temperature_last(logits, temperature=1.0, top_k=None, top_p=None):
    kept = with_a_loop(logits, 1.0, top_k, top_p) > 0
    return (logits / temperature).masked_fill(~kept, -torch.inf).softmax(0)


@wrong("transformer.filtered", [TOP_K, TOP_P, ALL], "exp(0)")
def zeroes_the_logits(logits, temperature=1.0, top_k=None, top_p=None):
    kept = with_a_loop(logits, temperature, top_k, top_p) > 0
    return (logits / temperature * kept).softmax(0)


@wrong("transformer.filtered", [HEAT, TOP_K, TOP_P, WHOLE, ALL], "in place")
def tempers_in_place(logits, temperature=1.0, top_k=None, top_p=None):
    logits /= temperature
    logits -= logits.max()
    return with_a_loop(logits, 1.0, top_k, top_p)


@wrong("transformer.filtered", [WHOLE], "drops nothing")
def needs_as_many_tokens(logits, temperature=1.0, top_k=None, top_p=None):
    if top_k is not None:
        logits.topk(top_k)
    return with_a_loop(logits, temperature, top_k, top_p)


@wrong("transformer.filtered", [WHOLE], "drops nothing")
def needs_something_beyond_p(logits, temperature=1.0, top_k=None, top_p=None):
    if top_p is not None:
        share = with_a_loop(logits, temperature, top_k).sort(descending=True).values
        _ = (share.cumsum(0) - 1e-6 > top_p).nonzero()[0]
    return with_a_loop(logits, temperature, top_k, top_p)


@right("transformer.filtered")
def with_a_loop(logits, temperature=1.0, top_k=None, top_p=None):
    p = (logits / temperature).softmax(0)
    ranked = p.argsort(descending=True).tolist()[: top_k or len(p)]
    if top_p is not None:
        whole, so_far = sum(p[i].item() for i in ranked), 0.0
        for taken, i in enumerate(ranked, 1):
            so_far += p[i].item() / whole
            if so_far >= top_p:
                ranked = ranked[:taken]
                break
    out = torch.zeros_like(p)
    out[ranked] = p[ranked]
    return out / out.sum()


@right("transformer.filtered")
def with_thresholds(logits, temperature=1.0, top_k=None, top_p=None):
    scores = logits / temperature
    if top_k is not None:
        scores = torch.where(
            scores < scores.topk(min(top_k, len(scores))).values[-1], -torch.inf, scores
        )
    if top_p is not None:
        p = scores.softmax(0)
        above = (p[None] * (p[None] > p[:, None])).sum(1)  # what likelier tokens add up to
        scores = torch.where(above < top_p, scores, -torch.inf)
    return scores.softmax(0)


@wrong("transformer.filtered", [TOP_P, ALL], "descending order")
def least_likely_first(logits, temperature=1.0, top_k=None, top_p=None):
    p = with_a_loop(logits, temperature, top_k)
    if top_p is not None:
        low, order = p.sort()
        p = p * torch.empty_like(p).scatter(0, order, (low.cumsum(0) - low < top_p).to(p.dtype))
    return p / p.sum()


@wrong("transformer.filtered", [HEAT, TOP_K, TOP_P, WHOLE, ALL], "sorts once more")
def sorts_a_second_time(logits, temperature=1.0, top_k=None, top_p=None):
    sorted_logits, order = logits.sort(descending=True)
    return with_a_loop(sorted_logits, temperature, top_k, top_p)[order]


@wrong("transformer.filtered", [HEAT, TOP_K, TOP_P, WHOLE, ALL], "nothing is drawn yet")
def draws_a_token(logits, temperature=1.0, top_k=None, top_p=None):
    return with_a_loop(logits, temperature, top_k, top_p).multinomial(1)


@wrong("transformer.filtered", [ALL], "what top_k left")
def one_or_the_other(logits, temperature=1.0, top_k=None, top_p=None):
    return with_a_loop(logits, temperature, top_k, None if top_k else top_p)


@wrong("transformer.filtered", [ALL], "with float64 arguments")
def through_float32(logits, temperature=1.0, top_k=None, top_p=None):
    return with_a_loop(logits.float(), temperature, top_k, top_p)


@right("transformer.filtered")
def through_numpy(logits, temperature=1.0, top_k=None, top_p=None):
    p = np.exp((logits.numpy() - float(logits.max())) / temperature)
    order = np.argsort(-p)
    p[order[top_k or len(p) :]] = 0
    p /= p.sum()
    if top_p is not None:
        p[order[np.searchsorted(p[order].cumsum(), top_p) + 1 :]] = 0
    return torch.from_numpy(p / p.sum())


@right("transformer.filtered")
def drops_from_below(logits, temperature=1.0, top_k=None, top_p=None):
    scores = logits / temperature
    if top_k is not None:
        least = scores.topk(min(top_k, len(scores))).values[-1]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if top_p is not None and top_p < 1:
        low, order = scores.sort()
        drop = low.softmax(0).cumsum(0) <= 1 - top_p
        drop[-1] = False
        scores = scores.masked_fill(torch.zeros_like(drop).scatter(0, order, drop), -torch.inf)
    return scores.softmax(0)


# --- account ------------------------------------------------------------------------------------

PARAMETERS, FORWARD, CACHE = "parameters", "forward", "cache"


def _account(layers, width, vocabulary, length, **changes):
    block = 12 * width**2 + 13 * width
    products = 24 * length * width**2 + 4 * length**2 * width
    return {
        "parameters": layers * block + (vocabulary + length) * width + 2 * width,
        "forward": layers * products + 2 * length * vocabulary * width,
        "cache": 4 * layers * width * length,
    } | changes


@wrong("transformer.account", [PARAMETERS], "biases of the four")
def no_biases(layers, width, vocabulary, length):
    made = _account(layers, width, vocabulary, length)
    return made | {"parameters": made["parameters"] - 9 * layers * width}


@wrong("transformer.account", [PARAMETERS], "tied")
def an_output_layer_of_its_own(layers, width, vocabulary, length):
    made = _account(layers, width, vocabulary, length)
    return made | {"parameters": made["parameters"] + vocabulary * width}


@wrong("transformer.account", [PARAMETERS], "one more norm")
def forgets_the_last_norm(layers, width, vocabulary, length):
    made = _account(layers, width, vocabulary, length)
    return made | {"parameters": made["parameters"] - 2 * width}


@wrong("transformer.account", [FORWARD], "2 FLOPs")
def counts_multiply_adds(layers, width, vocabulary, length):
    made = _account(layers, width, vocabulary, length)
    return made | {"forward": made["forward"] // 2}


@wrong("transformer.account", [FORWARD], "QKᵀ and weights times V")
def forgets_the_squares(layers, width, vocabulary, length):
    made = _account(layers, width, vocabulary, length)
    return made | {"forward": made["forward"] - 4 * layers * length**2 * width}


@wrong("transformer.account", [FORWARD], "output layer is missing")
def forgets_the_output_layer(layers, width, vocabulary, length):
    made = _account(layers, width, vocabulary, length)
    return made | {"forward": made["forward"] - 2 * length * vocabulary * width}


@wrong("transformer.account", [CACHE], "2 bytes a number")
def cache_in_numbers(layers, width, vocabulary, length):
    return _account(layers, width, vocabulary, length, cache=2 * layers * width * length)


@wrong("transformer.account", [CACHE], "every layer")
def cache_of_one_layer(layers, width, vocabulary, length):
    return _account(layers, width, vocabulary, length, cache=4 * width * length)


@right("transformer.account")
def layer_by_layer(layers, width, vocabulary, length):
    parameters = vocabulary * width + length * width
    forward = cache = 0
    for _ in range(layers):
        parameters += 2 * width
        for rows, columns in ((3 * width, width), (width, width)):
            parameters += rows * columns + rows
            forward += 2 * length * rows * columns
        forward += 2 * 2 * length * length * width
        parameters += 2 * width
        for rows, columns in ((4 * width, width), (width, 4 * width)):
            parameters += rows * columns + rows
            forward += 2 * length * rows * columns
        cache += 2 * (length * width) * 2
    forward += 2 * length * width * vocabulary
    return {"parameters": parameters + 2 * width, "forward": forward, "cache": cache}


@right("transformer.account")
def in_other_numbers(layers, width, vocabulary, length):
    made = _account(*(np.int64(n) for n in (layers, width, vocabulary, length)))
    return {**made, "cache": torch.tensor(int(made["cache"])), "forward": float(made["forward"])}


@wrong("transformer.account", [FORWARD], "2 × parameters × tokens leaves out QKᵀ")
def two_for_each_parameter_and_token(layers, width, vocabulary, length):
    made = _account(layers, width, vocabulary, length)
    return made | {"forward": 2 * made["parameters"] * length}


@wrong("transformer.account", [FORWARD], "a step of training")
def six_for_each_parameter_and_token(layers, width, vocabulary, length):
    made = _account(layers, width, vocabulary, length)
    return made | {"forward": 6 * made["parameters"] * length}


@wrong("transformer.account", [FORWARD], "3 × layers × length² × width too little")
def a_quarter_of_the_squares(layers, width, vocabulary, length):
    made = _account(layers, width, vocabulary, length)
    return made | {"forward": made["forward"] - 3 * layers * length**2 * width}


@wrong("transformer.account", [PARAMETERS], "so is a row for each place")
def weights_and_words(layers, width, vocabulary, length):
    number = 12 * layers * width**2 + vocabulary * width
    return _account(layers, width, vocabulary, length, parameters=number)


@wrong("transformer.account", [PARAMETERS, FORWARD, CACHE], "right for GPT-2 small alone")
def of_one_model(layers, width, vocabulary, length):
    return _account(12, 768, 50_257, 1_024)


@wrong("transformer.account", [PARAMETERS, FORWARD, CACHE], "return a dict")
def three_numbers(layers, width, vocabulary, length):
    return tuple(_account(layers, width, vocabulary, length).values())


@wrong("transformer.account", [CACHE], "not bits")
def cache_in_bits(layers, width, vocabulary, length):
    return _account(layers, width, vocabulary, length, cache=32 * layers * width * length)


@wrong("transformer.account", [PARAMETERS, FORWARD, CACHE], "parameters_by_part")
def from_the_library(layers, width, vocabulary, length):
    from roofline.hardware.cost import model, parameters

    number = parameters.parameters(model.Transformer(layers, width, 1, vocabulary, length))
    return _account(layers, width, vocabulary, length, parameters=number)


@right("transformer.account")
def in_heads_of_64(layers, width, vocabulary, length):
    heads, size = width // 64, 64
    square = layers * heads * 2 * (2 * length * size * length)
    linear = layers * sum(2 * length * width * n * width for n in (3, 1, 4, 4))
    forward = square + linear + 2 * length * width * vocabulary
    made = _account(layers, width, vocabulary, length, forward=forward)
    return collections.OrderedDict(made)


# --- blocked ------------------------------------------------------------------------------------

ONE_BLOCK, MORE, SHORT = "one block", "several blocks", "a last block that is shorter"
LARGE, TABLE, KEYS = "large scores", "never builds the table", "blocks of keys"
COUNTED = [TABLE, KEYS]
EACH = [ONE_BLOCK, MORE, SHORT, LARGE, *COUNTED]


def _walk(q, k, v, block, scale=None, shrink_total=True, shrink_mixed=True, turned=False):
    top = torch.full((len(q), 1), -torch.inf)
    total, mixed = torch.zeros(len(q), 1), torch.zeros(len(q), v.shape[1])
    for start in range(0, len(k), block):
        scores = q @ k[start : start + block].T * (scale or q.shape[1] ** -0.5)
        higher = torch.maximum(top, scores.amax(1, keepdim=True))
        shrink, p = (top - higher).exp(), (scores - higher).exp()
        if turned:
            shrink = torch.where(shrink > 0, 1 / shrink, 0)
        total = (shrink if shrink_total else 1) * total + p.sum(1, keepdim=True)
        mixed = (shrink if shrink_mixed else 1) * mixed + p @ v[start : start + block]
        top = higher
    return mixed, total


@wrong("transformer.blocked", COUNTED, "t × s entries")
def builds_the_table(q, k, v, block=64):
    return (q @ k.T / math.sqrt(q.shape[1])).softmax(1) @ v


@wrong("transformer.blocked", COUNTED, "for all queries at once")
def blocks_of_queries(q, k, v, block=64):
    return torch.cat([builds_the_table(rows, k, v) for rows in q.split(block)])


@wrong("transformer.blocked", COUNTED, "only torch operations are counted")
def builds_it_in_numpy(q, k, v, block=64):
    scores = q.numpy() @ k.numpy().T / math.sqrt(q.shape[1])
    p = np.exp(scores - scores.max(1, keepdims=True))
    return torch.from_numpy((p / p.sum(1, keepdims=True)) @ v.numpy())


@wrong("transformer.blocked", COUNTED, "the blocks are kept")
def keeps_a_list_of_blocks(q, k, v, block=64):
    pieces = [q @ keys.T / math.sqrt(q.shape[1]) for keys in k.split(block)]
    top = torch.stack([piece.amax(1) for piece in pieces]).amax(0)[:, None]
    pieces = [(piece - top).exp() for piece in pieces]
    total = sum(piece.sum(1, keepdim=True) for piece in pieces)
    return sum(p @ values for p, values in zip(pieces, v.split(block), strict=True)) / total


@wrong("transformer.blocked", COUNTED, "the blocks are kept")
def keeps_them_in_half_the_bits(q, k, v, block=64):
    kept = [(q @ keys.T / math.sqrt(q.shape[1])).bfloat16() for keys in k.split(block)]
    mixed, total = _walk(q, k, v, block)
    return mixed / total + 0 * len(kept)


@wrong("transformer.blocked", COUNTED, "in NumPy or lists")
def keeps_them_in_numpy(q, k, v, block=64):
    kept = [np.copy((q @ keys.T / math.sqrt(q.shape[1])).numpy()) for keys in k.split(block)]
    mixed, total = _walk(q, k, v, block)
    return mixed / total + 0 * len(kept)


@wrong("transformer.blocked", EACH, "scaled_dot_product")
def ready_made_below(q, k, v, block=64):
    run = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return run(q[None, None], k[None, None], v[None, None])[0][0, 0]


@wrong("transformer.blocked", [MORE, SHORT, LARGE, *COUNTED], "the sum, too")
def sum_does_not_shrink(q, k, v, block=64):
    mixed, total = _walk(q, k, v, block, shrink_total=False)
    return mixed / total


@wrong("transformer.blocked", [MORE, SHORT, LARGE, *COUNTED], "weighted values, too")
def values_do_not_shrink(q, k, v, block=64):
    mixed, total = _walk(q, k, v, block, shrink_mixed=False)
    return mixed / total


@wrong("transformer.blocked", [MORE, SHORT, LARGE, *COUNTED], "sum and weighted values")
def nothing_shrinks(q, k, v, block=64):
    mixed, total = _walk(q, k, v, block, shrink_mixed=False, shrink_total=False)
    return mixed / total


@wrong("transformer.blocked", EACH, "1/√d is missing")
def scores_without_the_root(q, k, v, block=64):
    mixed, total = _walk(q, k, v, block, scale=1.0)
    return mixed / total


@wrong("transformer.blocked", EACH, "sum of exponentials")
def never_divides(q, k, v, block=64):
    return _walk(q, k, v, block)[0]


@wrong("transformer.blocked", [LARGE], "±830")
def no_running_maximum(q, k, v, block=64):
    total, mixed = 0.0, 0.0
    for keys, values in zip(k.double().split(block), v.double().split(block), strict=True):
        p = (q.double() @ keys.T / math.sqrt(q.shape[1])).exp()
        total, mixed = total + p.sum(1, keepdim=True), mixed + p @ values
    return (mixed / total).to(q.dtype)


@wrong("transformer.blocked", [MORE, SHORT, LARGE, *COUNTED], "the same weight")
def averages_the_blocks(q, k, v, block=64):
    parts = zip(k.split(block), v.split(block), strict=True)
    return torch.stack([builds_the_table(q, *pair) for pair in parts]).mean(0)


@wrong("transformer.blocked", [SHORT], "last keys are missing")
def drops_the_last_keys(q, k, v, block=64):
    n = max(len(k) // block, 1) * block
    mixed, total = _walk(q, k[:n], v[:n], block)
    return mixed / total


@right("transformer.blocked")
def with_logsumexp(q, k, v, block=64):
    logs, mixed = None, None
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        scores = torch.einsum("td,sd->ts", q, keys) / math.sqrt(q.shape[1])
        new, part = scores.logsumexp(1, keepdim=True), scores.softmax(1) @ values
        if logs is None:
            logs, mixed = new, part
        else:
            both = torch.logaddexp(logs, new)
            mixed = mixed * (logs - both).exp() + part * (new - both).exp()
            logs = both
    return mixed


@right("transformer.blocked")
def in_two_passes(q, k, v, block=64):
    scale, pieces = q.shape[1] ** -0.5, list(zip(k.split(block), v.split(block), strict=True))
    top = torch.stack([(q @ keys.T).amax(1) for keys, _ in pieces]).amax(0)[:, None] * scale
    weights = [((q @ keys.T * scale - top).exp().sum(1, keepdim=True)) for keys, _ in pieces]
    mixed = sum((q @ keys.T * scale - top).exp() @ values for keys, values in pieces)
    return mixed / sum(weights)


@wrong("transformer.blocked", COUNTED, "only torch operations are counted")
def blocks_in_numpy(q, k, v, block=64):
    dtype, (q, k, v) = q.dtype, (x.numpy().astype(np.float64) for x in (q, k, v))
    top, total, mixed = np.full((len(q), 1), -np.inf), 0.0, 0.0
    for start in range(0, len(k), block):
        scores = q @ k[start : start + block].T / math.sqrt(q.shape[1])
        higher = np.maximum(top, scores.max(1, keepdims=True))
        p, shrink = np.exp(scores - higher), np.exp(top - higher)
        total, mixed = (
            shrink * total + p.sum(1, keepdims=True),
            shrink * mixed + p @ v[start:][:block],
        )
        top = higher
    return torch.from_numpy(mixed / total).to(dtype)


@wrong("transformer.blocked", [KEYS], "some queries against all keys")
def blocks_of_sixteen_queries(q, k, v, block=64):
    return torch.cat([builds_the_table(rows, k, v) for rows in q.split(16)])


@wrong("transformer.blocked", [KEYS], "with four times as many")
def blocks_of_64_whatever_block(q, k, v, block=64):
    mixed, total = _walk(q, k, v, 64)
    return mixed / total


@wrong("transformer.blocked", [LARGE], "never falls")
def newest_maximum_instead_of_largest(q, k, v, block=64):
    top, total, mixed = torch.full((len(q), 1), -torch.inf), 0.0, 0.0
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        scores = q @ keys.T / math.sqrt(q.shape[1])
        newest = scores.amax(1, keepdim=True)
        shrink, p = (top - newest).exp(), (scores - newest).exp()
        total, mixed = shrink * total + p.sum(1, keepdim=True), shrink * mixed + p @ values
        top = newest
    return mixed / total


@wrong("transformer.blocked", [LARGE], "of each query")
def one_maximum_for_all_queries(q, k, v, block=64):
    top = max(float((q @ keys.T).max()) for keys in k.split(block)) / math.sqrt(q.shape[1])
    total, mixed = 0.0, 0.0
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        p = (q @ keys.T / math.sqrt(q.shape[1]) - top).exp()
        total, mixed = total + p.sum(1, keepdim=True), mixed + p @ values
    return mixed / total


@wrong("transformer.blocked", [MORE, SHORT, LARGE, *COUNTED], "its own largest score")
def maxima_of_their_own(q, k, v, block=64):
    total, mixed = 0.0, 0.0
    for keys, values in zip(k.split(block), v.split(block), strict=True):
        scores = q @ keys.T / math.sqrt(q.shape[1])
        p = (scores - scores.amax(1, keepdim=True)).exp()
        total, mixed = total + p.sum(1, keepdim=True), mixed + p @ values
    return mixed / total


@wrong("transformer.blocked", [ONE_BLOCK], "with float64 arguments")
def in_single_precision(q, k, v, block=64):
    mixed, total = _walk(q.float(), k.float(), v.float(), block)
    return mixed / total


@right("transformer.blocked")
def in_blocks_of_both(q, k, v, block=64):
    parts = (_walk(rows, k, v, block) for rows in q.split(2 * block))
    return torch.cat([mixed / total for mixed, total in parts])


@right("transformer.blocked")
def without_matrix_products(q, k, v, block=64):
    top, total, mixed = -torch.inf, 0.0, 0.0
    for start in range(0, len(k), block):
        here = slice(start, start + block)
        scores = (q[:, None] * k[here]).sum(-1) / q.shape[1] ** 0.5
        higher = scores.amax(1).clamp_min(top) if start == 0 else scores.amax(1).maximum(top)
        p, shrink = (scores - higher[:, None]).exp(), (top - higher).exp()
        total = shrink * total + p.sum(1)
        mixed = shrink[:, None] * mixed + (p[:, :, None] * v[here]).sum(1)
        top = higher
    return mixed / total[:, None]


class Halves:
    """Two halves of the keys, each by itself, until a half is a block; a column of ones sums."""

    def __call__(self, q, k, v, block=64):
        ones = torch.cat([v, torch.ones_like(v[:, :1])], 1).double()
        mixed = self.part(q.double() / math.sqrt(q.shape[1]), k.double(), ones, block)[1]
        return (mixed[:, :-1] / mixed[:, -1:]).to(q.dtype)

    def part(self, q, k, v, block):
        if len(k) <= block:
            scores = q @ k.T
            top = scores.amax(1, keepdim=True)
            return top, (scores - top).exp() @ v
        half = -(-len(k) // (2 * block)) * block
        one, other = (
            self.part(q, k[:half], v[:half], block),
            self.part(q, k[half:], v[half:], block),
        )
        top = torch.maximum(one[0], other[0])
        return top, sum((part[0] - top).exp() * part[1] for part in (one, other))


right("transformer.blocked")(Halves())


@right("transformer.blocked")
def in_place_with_padding(q, k, v, block=64):
    missing = -len(k) % block
    k, v = (functional.pad(x, (0, 0, 0, missing)) for x in (k, v))
    seen = torch.arange(len(k)) < len(k) - missing
    top, total, mixed = q.new_full((len(q), 1), -1e30), q.new_zeros(len(q), 1), torch.zeros_like(q)
    keys, scores = k.T.contiguous() / math.sqrt(q.shape[1]), q.new_empty(len(q), block)
    for start in range(0, len(k), block):
        torch.mm(q, keys[:, start : start + block].contiguous(), out=scores)
        scores.masked_fill_(~seen[start : start + block], -torch.inf)
        higher = torch.maximum(top, scores.amax(1, keepdim=True))
        shrink = (top - higher).exp_()
        scores.sub_(higher).exp_()
        total.mul_(shrink).add_(scores.sum(1, keepdim=True))
        mixed.mul_(shrink).addmm_(scores, v[start : start + block])
        top = higher
    return mixed.div_(total)
