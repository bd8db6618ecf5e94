"""Attention that never builds its table."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace
from typing import Any

import torch

from roofline.grading import (
    Call,
    Exercise,
    Item,
    at_most,
    call,
    compare,
    exercise,
    generator,
    where,
)
from roofline.hardware.count import Counter

from .shared import READY_MADE, also_wide, together, wide


class Reach(Counter):
    """Counts, and the numbers in all that kernels write that reaches over ``keys``."""

    def __init__(self, keys: int):
        super().__init__()
        self.keys, self.numbers = keys, 0

    def kernel(self, call: Any) -> None:
        for tensor in (*call.made, *call.written):
            if max(tensor.shape, default=0) >= self.keys:
                self.numbers += tensor.numel()


@exercise("transformer.blocked")
class Blocked(Exercise):
    """Never build the table."""

    points, minutes, difficulty, importance = 5, 18, 4, 5
    forbidden = READY_MADE
    queries, keys, block = 256, 2048, 64
    # For the shape of the blocks: few keys, so that what is made for each key adds up to little.
    rows, columns, blocks = 128, 256, (16, 64)

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        small = [torch.randn(s, 6, generator=random) for s in (5, 24, 24)]
        # The largest scores are neither in the first block nor in the last.
        small[1] *= torch.linspace(-1, 1, 24).abs().mul(-2).add(2.5)[:, None]
        small[1][11:13] = torch.stack([small[0].mean(0), -small[0].mean(0)]) + small[0][:2]
        shapes = (self.queries, self.keys, self.keys)
        large = [torch.randn(s, 4, generator=random) for s in shapes]
        large[1][self.keys // 2 :] *= 2
        shapes = (self.rows, self.columns, self.columns)
        long = [torch.randn(s, 4, generator=random) for s in shapes]
        half = torch.arange(24) < 12
        far = [self.far(small, to) for to in (torch.full((24,), 2200.0), 2200.0 * half)]
        return small, far, large, long

    @staticmethod
    def far(small: list[torch.Tensor], to: torch.Tensor) -> list[torch.Tensor]:
        """Scores that are larger by ``to``/√d, and for every second query smaller."""
        q, k, v = small
        sign = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
        return [*(torch.cat([x, c[:, None]], 1) for x, c in ((q, sign), (k, to), (v, v[:, 0])))]

    def probe(self, answer: Any, cases: Any) -> Any:
        small, far, large, long = cases

        def counted(q: Any, k: Any, v: Any, block: int) -> dict[str, int]:
            """What torch's operations cost."""
            with Reach(len(k)) as counter:
                answer(q, k, v, block=block)
            counts = counter.counts
            return {
                "work": counts.flops + counts.elementwise,
                "largest": counts.largest_allocation,
                "peak": counts.peak_bytes,
                "launches": counts.launches,
                "reach": counter.numbers,
            }

        def beside_torch(q: Any, k: Any, v: Any) -> int:
            """The most bytes that Python and NumPy hold: torch's own are counted apart."""
            tracing = tracemalloc.is_tracing()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            try:
                answer(q, k, v, block=2 * self.block)
                return tracemalloc.get_traced_memory()[1] - before
            finally:
                if not tracing:
                    tracemalloc.stop()

        values = {
            "one": call(answer, *small),
            "wide": call(answer, *wide(small)),
            "several": call(answer, *small, block=8),
            "uneven": call(answer, *small, block=7),
            "far": together([call(answer, *case, block=8) for case in far]),
        }
        run: Any = self.run  # any number of arguments, for mypy
        tried = [self.near("", 1, values[key], run(*small, 64)) for key in ("one", "several")]
        if any(item.lost for item in tried):  # nobody needs to know what a wrong answer costs
            return {**values, "counts": None}
        first = call(counted, *large, self.block)
        beside = call(beside_torch, *large) if first.ok else first
        shapes = together([call(counted, *long, block) for block in self.blocks])
        return {**values, "counts": [first, beside, shapes]}

    @staticmethod
    def near(
        name: str, points: float, got: Any, right: Any, wrong: Any = (), times: float = 1
    ) -> Item:
        return compare(name, points, got, right, wrong, rtol=1e-3 * times, atol=1e-4 * times)

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        small, far, _, _ = cases
        run: Any = self.run  # any number of arguments, for mypy
        hints = {
            "scale": "1/√d is missing",
            "keys": "d is the width of q, not the number of keys",
            "no sum": "divide by the sum of exponentials, in the end",
            "total": "the sum, too, must shrink when the largest score grows",
            "mixed": "the weighted values, too, must shrink when the largest score grows",
            "neither": "sum and weighted values must shrink when the largest score grows",
            "own": "each block is relative to its own largest score: bring them to a common one",
            "turned": "shrink by exp(old - new), which is below 1",
            "early": "divide once, in the end: the sum of one block isn't the whole sum",
            "values": "these are the first block's values for every block of keys",
            "mean": "a mean of the blocks' results gives every block the same weight",
            "last": "this is the last block's result alone",
            "first": "this is the first block's result alone",
            "whole": "the last keys are missing: a block may be shorter than block",
        }

        def item(name: str, points: float, key: str, data: Any, block: int, odd: str) -> Item:
            far_off = key == "far"  # float32 has 4 digits after the point there

            def made(mistake: str = "") -> Any:
                if far_off:
                    return [run(*case, block, mistake) for case in data]
                return run(*data, block, mistake)

            wrong = [(lambda m=m: made(m), hint) for m, hint in hints.items()]
            item = self.near(name, points, outputs[key], made(), wrong, 10 if far_off else 1)
            if item.lost and ("NaN" in item.message or "infinite" in item.message):
                item = replace(item, hint=odd)
            elif item.lost and outputs[key].ok and far_off and not item.hint:
                item = replace(item, hint="don't cut or round scores: they may be far from 0")
            return where(item, ("scores of ±830", "scores of ±830 in the first half, then small"))

        start = "−inf − −inf is NaN: start from a block's own maximum, or from scores that exist"
        top = (
            "exp of a score of ±830 is ∞ or 0: subtract the largest so far of each query, which "
            "starts at −inf and never falls"
        )
        items = [
            item("one block", 1, "one", small, 64, start),
            item("several blocks", 1, "several", small, 8, start),
            item("a last block that is shorter", 0.5, "uneven", small, 7, start),
            item("large scores", 1, "far", far, 8, top),
        ]
        items[0] = also_wide(items[0], outputs["wide"], run(*small, 64).double())
        names = "never builds the table", "blocks of keys"
        if outputs["counts"] is None or not all(item.earned for item in items[:2]):
            first = Item(names[0], 0.5, 0.0, "counted once one block and several are right")
        else:
            first = self.largest(names[0], 0.5, *outputs["counts"][:2])
        if first.lost:
            last = Item(names[1], 1, 0.0, "counted once the table is never built")
        else:
            last = self.blockwise(names[1], 1, outputs["counts"][2])
        return [*items, first, last]

    def largest(self, name: str, points: float, made: Call, outside: Call) -> Item:
        """Counted memory."""
        table = 4 * self.queries * self.keys
        products = 2 * 2 * self.queries * self.keys * 4
        if made.ok and made.value["work"] < products:
            message = f"{made.value['work']:,} FLOPs were counted, two products have {products:,}"
            hint = "only torch operations are counted: do the products with torch"
            return Item(name, points, 0.0, message, hint)
        item = at_most(name, points, made["largest"], table // 8, "bytes at once")
        if item.lost and made.ok:
            hint = "take blocks of keys, for all queries at once: the largest is then (t, block)"
            if made.value["largest"] >= table:
                hint = "a tensor of t × s entries was built: look at one block of keys at a time"
            return replace(item, hint=hint)
        alive = at_most(name, points, made["peak"], table // 2, "bytes alive together")
        if alive.lost and made.ok:
            hint = "the blocks are kept: take sums and maxima from each, and forget it"
            return replace(alive, hint=hint)
        beside = at_most(name, points, outside, table // 2, "bytes outside torch")
        if beside.lost and outside.ok:
            hint = "about t × s numbers were held in NumPy or lists: that is the table, too"
            return replace(beside, hint=hint)
        return beside if beside.lost else item

    def blockwise(self, name: str, points: float, made: Call) -> Item:
        """Whether it is keys that are taken ``block`` at a time, and that many."""
        if not made.ok:
            return compare(name, points, made, "")
        reach = max(each["reach"] for each in made.value)
        numbers = self.rows * self.columns
        item = at_most(name, points, reach, numbers, "numbers in tensors as long as all keys")
        if item.lost:
            hint = (
                "this takes some queries against all keys: take block keys against all queries, "
                "and put the softmax together from the blocks"
            )
            return replace(item, hint=hint)
        small, large = (each["launches"] for each in made.value)
        message = f"{small:,} operations with block={self.blocks[0]}, "
        message += f"{large:,} with block={self.blocks[1]}"
        if 2 * small < 5 * large:  # four times the blocks, and what is done once
            hint = "take block keys at a time: with four times as many there is a fourth to do"
            return Item(name, points, 0.0, message, hint)
        return Item(name, points, points, message)

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
        if mistake == "values":
            v = torch.cat([v[: len(part)] for part in k.split(block)])
        scores = q @ k.T * {"scale": 1.0, "keys": 1 / math.sqrt(len(k))}.get(mistake, scale)
        if mistake in ("", "scale", "keys", "values"):
            return (scores.softmax(1) @ v).float()
        top = torch.full((len(q), 1), -torch.inf, dtype=q.dtype)
        total, mixed = torch.zeros_like(top), torch.zeros_like(q)
        for part, values in zip(scores.split(block, 1), v.split(block), strict=True):
            higher = torch.maximum(top, part.amax(1, keepdim=True))
            p, shrink = (part - higher).exp(), (top - higher).exp()
            if mistake == "turned":
                shrink = torch.where(top.isfinite(), 1 / shrink, 0)
            if mistake == "own":
                p = (part - part.amax(1, keepdim=True)).exp()
            one = torch.ones_like(shrink)
            kept = [one if mistake in (m, "neither", "own") else shrink for m in ("total", "mixed")]
            total = total * kept[0] + p.sum(1)[:, None]
            part_sum = p.sum(1)[:, None] if mistake == "early" else one
            mixed = mixed * kept[1] + p @ values / part_sum
            top = higher
        return (mixed if mistake == "no sum" else mixed / total).float()
