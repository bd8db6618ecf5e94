"""Attention, and attention in heads."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline.grading import Exercise, Item, call, compare, exercise, generator, where

from .shared import EVERY_HEAD, READY_MADE, also_wide, together, wide


@exercise("transformer.attention")
class Attention(Exercise):
    """Attention."""

    points, minutes, difficulty, importance = 4, 10, 2, 5
    forbidden = READY_MADE

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        one = [torch.randn(s, generator=random) for s in ((5, 16), (7, 16), (7, 16))]
        # Another width, and laid out as heads come: cut from a width, and swapped.
        many = [torch.randn(2, s, 3, 9, generator=random).transpose(1, 2) for s in (5, 7, 7)]
        allowed = torch.rand(5, 7, generator=random) < 0.5
        allowed[:, 2] = True  # every query sees a key
        allowed[1] = torch.arange(7) < 3  # and one surely misses some
        # Whole numbers: sums near a million are exact then, in whatever order they are added.
        whole = [one[0].round(), one[1].round(), one[2]]
        steep = [20 * whole[0], 20 * whole[1], one[2]]
        return one, many, allowed, [steep, *(self.hidden(whole, c) for c in (4e6, -4e6))]

    @staticmethod
    def hidden(whole: list[torch.Tensor], extreme: float) -> list[torch.Tensor]:
        """Of the last key's scores and all others the larger ones by 1e6; the last is hidden."""
        q, k, v = (t.clone() for t in whole)
        q[:, 0], k[:, 0] = 1.0, min(extreme, 0.0)
        k[-1, 0] = max(extreme, 0.0)
        v[-1] = 1e6  # a hidden key with any weight left shows
        return [q, k, v, torch.arange(len(k)).expand(len(q), -1) < len(k) - 1]

    def probe(self, answer: Any, cases: Any) -> Any:
        one, many, allowed, large = cases
        causal = torch.ones(7, 7, dtype=torch.bool).tril()
        return {
            "one": call(answer, *one),
            "wide": call(answer, *wide(one)),
            "many": call(answer, *many),
            "mask": call(answer, *[t.contiguous() for t in many], allowed),
            "causal": call(answer, one[1], one[1], one[2], causal),
            "large": together([call(answer, *case) for case in large]),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        one, many, allowed, large = cases
        run: Any = self.run  # any number of arguments, for mypy
        right, batch, masked = run(*one), run(*many), run(*many, allowed)
        causal = torch.ones(7, 7, dtype=torch.bool).tril()
        own = (one[1], one[1], one[2])
        masks = {
            "after": "the weights of a row must add up to 1: mask the scores, before the softmax",
            "zero": "a score of 0 is no mask: exp(0) is 1. Which score has the weight 0?",
            "turned": "turned round: a query may look where allowed is True",
            "ignored": "allowed has no effect",
            "first row": "every query has a row of allowed of its own",
            "columns": "rows of allowed are queries, columns are keys: don't transpose it",
        }
        over_keys = "softmax over the keys, the last dimension"
        items = [
            compare(
                "result",
                1,
                outputs["one"],
                right,
                [
                    (run(*one, scale=1.0), "1/√d is missing"),
                    (run(*one, scale=1 / 16), "divide by the root of d, not by d"),
                    (run(*one, scale=4.0), "divide by the root of d, don't multiply"),
                    (run(*one, scale=1 / math.sqrt(7)), "d is the width of q, not its length"),
                    (run(*one, over=-2), over_keys),
                    (run(*one) / 4, "divide the scores by √d, before the softmax"),
                    (run(*one, scale=1.0) / 4, "divide the scores by √d, before the softmax"),
                    ((one[0] @ one[1].T / 4).softmax(-1), "these are the weights: multiply by v"),
                    ((one[0] @ one[1].T / 4).sigmoid() @ one[2], "the softmax is missing"),
                    (one[0] @ one[1].T / 4 @ one[2], "the softmax is missing"),
                ],
            ),
            compare(
                "leading dimensions",
                0.5,
                outputs["many"],
                batch,
                [
                    (lambda: run(*many, over=1), over_keys),
                    (run(*many, scale=1 / 4), "d is the width of this q: it isn't always 16"),
                    (run(*many, scale=1 / math.sqrt(7)), "d is the last dimension of q"),
                ],
            ),
            compare(
                "a mask",
                1,
                outputs["mask"],
                masked,
                [
                    *((lambda m=m: run(*many, allowed, mistake=m), h) for m, h in masks.items()),
                    (run(*many, causal[:5]), "it is causal whatever allowed says"),
                    (run(*many, allowed, scale=1 / 4), "d is the width of q: it isn't always 16"),
                ],
            ),
            compare(
                "a causal mask",
                0.5,
                outputs["causal"],
                run(*own, causal),
                [(run(*own, causal, mistake=m), hint) for m, hint in masks.items()],
            ),
        ]
        items[0] = also_wide(items[0], outputs["wide"], run(*wide(one)))
        return [*items, self.stable(outputs["large"], large, any(i.lost for i in items))]

    def stable(self, got: Any, large: list, before: bool) -> Item:
        """Large scores; their own hints are for those to whom nothing else happened."""
        run: Any = self.run
        right = [run(*case) for case in large]
        rounded = [run(*case, mistake="logs") for case in large]
        hint = "the logarithm of a sum near a million is rounded: divide by the sum of exponentials"
        name = "scores up to ±1e6, hidden ones too"
        item = compare(name, 1, got, right, [(rounded, hint)], rtol=1e-2, atol=1e-3)
        if item.lost and got.ok and not item.hint.startswith("the logarithm"):
            hint = "a hidden score may be the largest of all, or a million above the others: −inf"
            if "value 0" in item.message:
                hint = "scores may be far from 0: don't cut or round them"
                if "NaN" in item.message or "infinite" in item.message:
                    hint = "exp of a large score is infinite: subtract its row's largest before"
            item = Item(name, 1, 0.0, item.message, "" if before else hint)
        return where(
            item, ("large scores", "a score of 1e6 hidden", "scores of −1e6, one of 0 hidden")
        )

    @staticmethod
    def run(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        allowed: torch.Tensor | None = None,
        scale: float | None = None,
        over: int = -1,
        mistake: str = "",
    ) -> torch.Tensor:
        scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
        if allowed is None or mistake == "ignored":
            return scores.softmax(over) @ v
        if mistake == "after":
            return scores.softmax(over) * allowed @ v
        if mistake == "zero":
            return (scores * allowed).softmax(over) @ v
        if mistake == "first row":
            allowed = allowed[0]
        hidden = allowed if mistake == "turned" else ~allowed
        if mistake == "columns":
            hidden = hidden.mT
        if mistake == "logs":
            scores = scores.masked_fill(hidden, -torch.inf)
            return (scores - scores.logsumexp(-1, keepdim=True)).exp() @ v
        return scores.masked_fill(hidden, -torch.inf).softmax(over) @ v


@exercise("transformer.heads")
class Heads(Exercise):
    """Many heads."""

    points, minutes, difficulty, importance = 4, 12, 2, 5
    forbidden = EVERY_HEAD
    orders = ("kqv", "qvk", "kvq", "vqk", "vkq")

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        x = torch.randn(3, 6, 12, generator=random)
        w_in, w_out = (torch.randn(s, 12, generator=random) / 3 for s in (36, 12))
        return x, w_in, w_out

    def probe(self, answer: Any, cases: Any) -> Any:
        x, w_in, w_out = cases
        return {
            "one": call(answer, x[:1], w_in, w_out, 1),
            "wide": call(answer, *wide([x[:1], w_in, w_out]), 1),
            "several": call(answer, x[:1, :5], w_in, w_out, 3),
            "batch": call(answer, x, w_in, w_out, 4),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, *weights = cases
        run: Any = self.run
        hints = {
            "heads": "this is one head: cut the width into heads",
            **dict.fromkeys(self.orders, "queries, keys, values, in this order"),
            "w_in": "weights are used as in a linear layer: x @ W.T",
            "w_out": "as in a linear layer: multiply by w_out.T",
            "no w_out": "w_out is missing",
            "rows": "this cuts the sequence apart, not the width: cut, then swap dimensions",
            "back": "swap the heads back beside their width before they are put side by side",
            "scale": "a head is w / heads wide: the root is of that",
            "no scale": "1/√(w / heads) is missing",
            "queries": "softmax over the keys, the last dimension",
            "causal": "no mask is asked for: every position sees every other",
            "residual": "return the mixture alone: x is added outside",
            "places": "heads, not positions, look apart: swap the two before attention",
            "strided": "a head is w / heads neighbours: cut into (heads, w / heads), in this order",
            "sideways": "put back (n, t, heads, w / heads), then join the last two",
            "interleaved": "first cut queries, keys and values, each of width w, then the heads",
            "thirds": "the first w rows of w_in make queries, the next w keys, the last w values",
            "alone": "every sequence has a result of its own",
            "mixed": "sequences of a batch don't see each other",
        }

        def item(name: str, points: float, key: str, x: torch.Tensor, heads: int) -> Item:
            wrong = [(lambda m=m: run(x, *weights, heads, m), hint) for m, hint in hints.items()]
            right = run(x, *weights, heads)
            return compare(name, points, outputs[key], right, wrong, rtol=1e-4, atol=1e-4)

        one = item("one head", 1, "one", x[:1], 1)
        return [
            also_wide(one, outputs["wide"], run(*wide([x[:1], *weights]), 1)),
            item("several heads", 2, "several", x[:1, :5], 3),
            item("a batch", 1, "batch", x, 4),
        ]

    @staticmethod
    def run(
        x: torch.Tensor, w_in: torch.Tensor, w_out: torch.Tensor, heads: int, mistake: str = ""
    ) -> torch.Tensor:
        if mistake == "mixed":
            x, shape = x.reshape(1, -1, x.shape[-1]), x.shape
            return Heads.run(x, w_in, w_out, heads).reshape(shape)
        if mistake == "alone":
            return Heads.run(x[:1], w_in, w_out, heads).expand_as(x)
        n, t, w = x.shape
        heads = 1 if mistake == "heads" else heads
        if mistake == "thirds":
            w_in = torch.cat([w_in[i::3] for i in range(3)])
        both = x @ w_in.T
        if mistake == "w_in":
            both = x @ w_in.reshape(w, 3 * w)
        parts = both.chunk(3, dim=-1)
        if mistake == "interleaved":
            parts = both.view(n, t, heads, 3, w // heads).unbind(3)
        if mistake in Heads.orders:
            parts = tuple(parts["qkv".index(letter)] for letter in mistake)
        cut = (n, t, w // heads, heads) if mistake == "strided" else (n, t, heads, w // heads)
        if mistake == "rows":
            q, k, v = (p.reshape(n, heads, t, -1) for p in parts)
        elif mistake == "places":
            q, k, v = (p.reshape(cut) for p in parts)
        elif mistake == "strided":
            q, k, v = (p.reshape(cut).permute(0, 3, 1, 2) for p in parts)
        else:
            q, k, v = (p.reshape(cut).transpose(1, 2) for p in parts)
        scale = 1 / math.sqrt(w if mistake == "scale" else w // heads)
        scale = 1.0 if mistake == "no scale" else scale
        seen = torch.ones(t, t, dtype=torch.bool).tril() if mistake == "causal" else None
        mixed = Attention.run(q, k, v, seen, scale, -2 if mistake == "queries" else -1)
        if mistake in ("strided", "sideways"):
            mixed = mixed.permute(0, 2, 3, 1)
        elif mistake not in ("back", "rows", "places"):
            mixed = mixed.transpose(1, 2)
        mixed = mixed.reshape(n, t, w)
        if mistake == "no w_out":
            return mixed
        if mistake == "residual":
            return x + mixed @ w_out.T
        return mixed @ (w_out if mistake == "w_out" else w_out.T)
