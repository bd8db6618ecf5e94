"""Attention that never builds its table."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, at_most, call, compare, exercise, generator

from .shared import READY_MADE, together


@exercise("transformer.blocked")
class Blocked(Exercise):
    """Never build the table."""

    points, minutes, difficulty, importance = 5, 18, 4, 5
    forbidden = READY_MADE
    queries, keys, block = 256, 2048, 64

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        small = [torch.randn(s, 6, generator=random) for s in (5, 24, 24)]
        # The largest scores are neither in the first block nor in the last.
        small[1] *= torch.linspace(-1, 1, 24).abs().mul(-2).add(2.5)[:, None]
        small[1][11:13] = torch.stack([small[0].mean(0), -small[0].mean(0)]) + small[0][:2]
        shapes = (self.queries, self.keys, self.keys)
        large = [torch.randn(s, 4, generator=random) for s in shapes]
        large[1][self.keys // 2 :] *= 2
        q, k, v = small
        return small, [self.far(q, k, v, to) for to in (350.0, -350.0)], large

    @staticmethod
    def far(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, to: float) -> list[torch.Tensor]:
        """The same result, from scores that are all larger by ``to``/√d."""
        wide = [torch.cat([x, torch.full((len(x), 1), c)], 1) for x, c in ((q, 1.0), (k, to))]
        return [*wide, torch.cat([v, v[:, :1]], 1)]

    def probe(self, answer: Any, cases: Any) -> Any:
        small, far, large = cases
        values = {
            "one": together([call(answer, *small)]),
            "several": together([call(answer, *small, block=8)]),
            "uneven": together([call(answer, *small, block=7)]),
            "far": together([call(answer, *case, block=8) for case in far]),
        }
        counted = call(answer, *large, block=self.block, count=True)

        def beside_torch(q: Any, k: Any, v: Any) -> int:
            """The most bytes that Python and NumPy hold: torch's own are counted apart."""
            tracing = tracemalloc.is_tracing()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            try:
                answer(q, k, v, block=self.block)
                return tracemalloc.get_traced_memory()[1] - before
            finally:
                if not tracing:
                    tracemalloc.stop()

        return {
            **values,
            "large": counted,
            "beside": call(beside_torch, *large) if counted.ok else counted,
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        small, far, _ = cases
        run: Any = self.run  # any number of arguments, for mypy
        hints = {
            "scale": "1/√d is missing",
            "no sum": "divide by the sum of exponentials, in the end",
            "total": "the sum, too, must shrink when the largest score grows",
            "mixed": "the weighted values, too, must shrink when the largest score grows",
            "neither": "sum and weighted values must shrink when the largest score grows",
            "turned": "shrink by exp(old - new), which is below 1",
            "mean": "a mean of the blocks' results gives every block the same weight",
            "last": "this is the last block's result alone",
            "first": "this is the first block's result alone",
            "whole": "the last keys are missing: a block may be shorter than block",
        }

        def item(name: str, points: float, key: str, data: list, block: int, odd: str) -> Item:
            wrong = [
                (lambda m=m: [run(*case, block, m) for case in data], hint)
                for m, hint in hints.items()
            ]
            right = [run(*case, block) for case in data]
            made = compare(name, points, outputs[key], right, wrong, rtol=1e-3, atol=1e-4)
            if made.lost and ("NaN" in made.message or "infinite" in made.message):
                return Item(name, points, 0.0, made.message, odd)
            return made

        start = "−inf − −inf is NaN: start from a block's own maximum, or from scores that exist"
        top = "exp of a score of ±150 is ∞ or 0: subtract the largest so far, which starts at −inf"
        items = [
            item("one block", 1, "one", [small], 64, start),
            item("several blocks", 1, "several", [small], 8, start),
            item("a last block that is shorter", 0.5, "uneven", [small], 7, start),
            item("large scores", 1, "far", far, 8, top),
        ]
        return [*items, self.largest(outputs, items)]

    def largest(self, outputs: Any, before: list[Item]) -> Item:
        name, points = "never builds the table", 1.5
        if any(item.lost for item in before[:2]):
            return Item(name, points, 0.0, "counted once one block and several are right")
        table = 4 * self.queries * self.keys
        made: Call = outputs["large"]
        products = 2 * 2 * self.queries * self.keys * 4
        if made.ok and made.counts["flops"] < products:
            message = f"{made.counts['flops']:,} FLOPs were counted, two products have {products:,}"
            hint = "only torch operations are counted: do the products with torch"
            return Item(name, points, 0.0, message, hint)
        item = at_most(name, points, made, table // 8, "bytes at once", "largest_allocation")
        if item.lost and made.ok:
            if made.counts["largest_allocation"] >= table:
                hint = "a tensor of t × s entries was built: look at one block of keys at a time"
            else:
                hint = (
                    "take blocks of keys, for all queries at once: the largest is then (t, block)"
                )
            return Item(name, points, 0.0, item.message, hint)
        alive = at_most(name, points, made, table // 2, "bytes alive together", "peak_bytes")
        if alive.lost and made.ok:
            hint = "the blocks are kept: take sums and maxima from each, and forget it"
            return Item(name, points, 0.0, alive.message, hint)
        item_beside = at_most(name, points, outputs["beside"], table // 2, "bytes outside torch")
        if item_beside.lost and outputs["beside"].ok:
            hint = "about t × s numbers were held in NumPy or lists: that is the table, too"
            return Item(name, points, 0.0, item_beside.message, hint)
        return item_beside if item_beside.lost else item

    @staticmethod
    def run(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, block: int, mistake: str = ""
    ) -> torch.Tensor:
        """In one go, in double precision; or with a mistake, block by block."""
        q, k, v = (x.double() for x in (q, k, v))
        scale = 1 / math.sqrt(q.shape[1])
        if mistake == "whole":
            n = len(k) // block * block
            return Blocked.run(q, k[:n], v[:n], block).float()
        if mistake in ("mean", "first", "last"):
            parts = [
                Blocked.run(q, *pair, block)
                for pair in zip(k.split(block), v.split(block), strict=True)
            ]
            chosen = {"first": parts[:1], "last": parts[-1:]}.get(mistake, parts)
            return torch.stack(chosen).mean(0).float()
        scores = q @ k.T * (1.0 if mistake == "scale" else scale)
        if mistake in ("", "scale"):
            return (scores.softmax(1) @ v).float()
        top = torch.full((len(q), 1), -torch.inf, dtype=q.dtype)
        total, mixed = torch.zeros_like(top), torch.zeros_like(q)
        for part, values in zip(scores.split(block, 1), v.split(block), strict=True):
            higher = torch.maximum(top, part.amax(1, keepdim=True))
            p, shrink = (part - higher).exp(), (top - higher).exp()
            if mistake == "turned":
                shrink = torch.where(top.isfinite(), 1 / shrink, 0)
            one = torch.ones_like(shrink)
            total = total * (one if mistake in ("total", "neither") else shrink) + p.sum(1)[:, None]
            mixed = mixed * (one if mistake in ("mixed", "neither") else shrink) + p @ values
            top = higher
        return (mixed if mistake == "no sum" else mixed / total).float()
