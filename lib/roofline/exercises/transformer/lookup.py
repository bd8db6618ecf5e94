"""Attention, and attention in heads."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline.grading import Exercise, Item, call, compare, exercise, generator

from .shared import EVERY_HEAD, READY_MADE, together


@exercise("transformer.attention")
class Attention(Exercise):
    """Attention."""

    points, minutes, difficulty, importance = 4, 10, 2, 5
    forbidden = READY_MADE

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        one = [torch.randn(s, generator=random) for s in ((5, 16), (7, 16), (7, 16))]
        many = [torch.randn(2, 3, *t.shape, generator=random) for t in one]
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
        return [q, k, v, torch.arange(len(k)).expand(len(q), -1) < len(k) - 1]

    def probe(self, answer: Any, cases: Any) -> Any:
        one, many, allowed, large = cases
        causal = torch.ones(7, 7, dtype=torch.bool).tril()
        return {
            "one": call(answer, *one),
            "many": call(answer, *many),
            "mask": call(answer, *many, allowed),
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
        }
        return [
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
                    (run(*one, over=-2), "softmax over the keys, the last dimension"),
                    (one[0] @ one[1].T / 4 @ one[2], "the softmax is missing"),
                ],
            ),
            compare(
                "leading dimensions",
                0.5,
                outputs["many"],
                batch,
                [(lambda: run(*many, over=1), "softmax over the keys, the last dimension")],
            ),
            compare(
                "a mask",
                1,
                outputs["mask"],
                masked,
                [(run(*many, allowed, mistake=m), hint) for m, hint in masks.items()],
            ),
            compare(
                "a causal mask",
                0.5,
                outputs["causal"],
                run(*own, causal),
                [(run(*own, causal, mistake=m), hint) for m, hint in masks.items()],
            ),
            self.stable(outputs["large"], [run(*case) for case in large]),
        ]

    @staticmethod
    def stable(got: Any, right: list[torch.Tensor]) -> Item:
        item = compare("scores up to ±1e6, hidden ones too", 1, got, right, rtol=1e-2, atol=1e-3)
        if not item.lost or not got.ok:
            return item
        if "value 0" in item.message:
            hint = "exp of a large score is infinite: subtract the largest, or let softmax do it"
        else:
            hint = "a hidden score may be the largest of all, or a million above the others: −inf"
        return Item(item.name, 1, 0.0, item.message, hint)

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
        hidden = allowed if mistake == "turned" else ~allowed
        return scores.masked_fill(hidden, -torch.inf).softmax(over) @ v


@exercise("transformer.heads")
class Heads(Exercise):
    """Many heads."""

    points, minutes, difficulty, importance = 4, 12, 3, 5
    forbidden = EVERY_HEAD

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        x = torch.randn(3, 6, 12, generator=random)
        w_in, w_out = (torch.randn(s, 12, generator=random) / 3 for s in (36, 12))
        return x, w_in, w_out

    def probe(self, answer: Any, cases: Any) -> Any:
        x, w_in, w_out = cases
        return {
            "one": call(answer, x[:1], w_in, w_out, 1),
            "several": call(answer, x[:1], w_in, w_out, 3),
            "batch": call(answer, x, w_in, w_out, 4),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, *weights = cases
        run: Any = self.run
        hints = {
            "heads": "this is one head: cut the width into heads",
            "order": "queries, keys, values, in this order",
            "w_in": "weights are used as in a linear layer: x @ W.T",
            "w_out": "as in a linear layer: multiply by w_out.T",
            "no w_out": "w_out is missing",
            "rows": "this cuts the sequence apart, not the width: cut, then swap dimensions",
            "back": "swap the heads back beside their width before they are put side by side",
            "scale": "a head is w / heads wide: the root is of that",
            "interleaved": "first cut queries, keys and values, each of width w, then the heads",
            "mixed": "sequences of a batch don't see each other",
        }

        def item(name: str, points: float, key: str, x: torch.Tensor, heads: int) -> Item:
            wrong = [(lambda m=m: run(x, *weights, heads, m), hint) for m, hint in hints.items()]
            right = run(x, *weights, heads)
            return compare(name, points, outputs[key], right, wrong, rtol=1e-4, atol=1e-4)

        return [
            item("one head", 1, "one", x[:1], 1),
            item("several heads", 2, "several", x[:1], 3),
            item("a batch", 1, "batch", x, 4),
        ]

    @staticmethod
    def run(
        x: torch.Tensor, w_in: torch.Tensor, w_out: torch.Tensor, heads: int, mistake: str = ""
    ) -> torch.Tensor:
        if mistake == "mixed":
            x, shape = x.reshape(1, -1, x.shape[-1]), x.shape
            return Heads.run(x, w_in, w_out, heads).reshape(shape)
        n, t, w = x.shape
        heads = 1 if mistake == "heads" else heads
        both = x @ w_in.T
        if mistake == "w_in":
            both = x @ w_in.reshape(w, 3 * w)
        parts = both.chunk(3, dim=-1)
        if mistake == "interleaved":
            parts = both.view(n, t, heads, 3, w // heads).unbind(3)
        if mistake == "order":
            parts = (parts[1], parts[0], parts[2])
        if mistake == "rows":
            q, k, v = (p.reshape(n, heads, t, -1) for p in parts)
        else:
            q, k, v = (p.reshape(n, t, heads, -1).transpose(1, 2) for p in parts)
        scale = 1 / math.sqrt(w if mistake == "scale" else w // heads)
        mixed = Attention.run(q, k, v, scale=scale)
        if mistake not in ("back", "rows"):
            mixed = mixed.transpose(1, 2)
        mixed = mixed.reshape(n, t, w)
        if mistake == "no w_out":
            return mixed
        return mixed @ (w_out if mistake == "w_out" else w_out.T)
