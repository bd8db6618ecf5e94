"""Which limit binds: an operation under the roof, and a layer's batch at the ridge."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

from .shared import column, integers, not_always, over


@exercise("machine.roof")
class Roof(Exercise):
    """Under the roof."""

    points, minutes, difficulty, importance = 3, 6, 2, 5

    def cases(self, seed: int) -> Any:
        work = torch.rand(2, generator=generator(seed), dtype=torch.float64)
        return [
            (1e9 * float(1 + work[0]), 1e6, 5e10, 1e10),
            (1e6, 1e9 * float(1 + work[1]), 2e12, 4e11),
            (5e6, 1e6, 5e10, 1e10),
        ]

    def probe(self, answer: Any, cases: Any) -> Any:
        copy = call(answer, 0, 4e6, 5e10, 1e10)
        return {"made": [call(answer, *case) for case in cases], "copy": copy}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        def seconds(flops: float, moved: float, peak: float, bandwidth: float) -> float:
            return max(flops / peak, moved / bandwidth)

        made, right = outputs["made"], over(cases, seconds)
        rate = [case[0] / s for case, s in zip(cases, right, strict=True)]
        words = 'return the word "compute" or the word "memory", in small letters'
        ridge = "on the ridge both take equally long: say compute there"
        return [
            column(
                "time",
                1,
                made,
                0,
                right,
                [
                    (
                        over(cases, lambda f, b, p, w: f / p + b / w),
                        "computing and moving overlap: the longer one counts, not the sum",
                    ),
                    (
                        over(cases, lambda f, b, p, w: min(f / p, b / w)),
                        "the longer, not the shorter",
                    ),
                    (over(cases, lambda f, b, p, w: f / p), "memory can be the limit, too"),
                    ([1e3 * s for s in right], "seconds are asked, not milliseconds"),
                ],
                cases=cases,
            ),
            column(
                "rate",
                0.5,
                made,
                1,
                rate,
                [
                    (over(cases, lambda f, b, p, w: p), "not the peak: what the limit leaves"),
                    (
                        [case[1] / s for case, s in zip(cases, right, strict=True)],
                        "FLOPs in a second are asked, not bytes",
                    ),
                    (
                        over(cases, lambda f, b, p, w: f / b),
                        "that is the intensity: the rate is FLOPs over the time",
                    ),
                    (
                        over(cases, lambda f, b, p, w: f / b * w),
                        "the roof is flat at the peak: the rate is never above it",
                    ),
                ],
                cases=cases,
            ),
            column(
                "which limit binds",
                1,
                made,
                2,
                ["compute", "memory", "compute"],
                [
                    (["memory", "compute", "memory"], "swapped: the one that takes longer binds"),
                    (["compute", "memory", "memory"], ridge),
                    (["Compute", "Memory", "Compute"], words),
                    ([True, False, True], words),
                ],
                cases=cases,
            ),
            compare(
                "a copy, without FLOPs",
                0.5,
                outputs["copy"],
                [4e-4, 0.0, "memory"],
                [([0.0, 0.0, "memory"], "its bytes must move: a copy takes time all the same")],
                rtol=1e-6,
            ),
        ]


@exercise("machine.ridge_batch")
class RidgeBatch(Exercise):
    """How large a batch."""

    points, minutes, difficulty, importance = 3, 10, 3, 4

    def cases(self, seed: int) -> Any:
        inputs, outputs, times = integers(seed, 900, 5000, 3)
        peak = float(times) * 1e10
        return {
            "wide": [
                (inputs, outputs, peak, 1e12, 4),
                (4096, 4096, 989e12, 3350e9, 2),
                (512, 512, 30e9, 1e9, 4),  # 78.4: to be rounded up
            ],
            # The last one needs a large batch: a search must go on until it is certain.
            "exact": [
                # Powers of two: exact in whatever order somebody divides.
                (512, 512, 64e9, 1e9, 4),
                (4096, 8192, 1024e9, 1e9, 4),
                (256, 64, 25.59e9, 1e9, 4),
            ],
            "narrow": (16, 16, 100e9, 1e9, 4),
        }

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            "wide": [call(answer, *case) for case in cases["wide"]],
            "exact": [call(answer, *case) for case in cases["exact"]],
            "narrow": call(answer, *cases["narrow"]),
            "also": call(answer, 32, 16, 100e9, 1e9),
            "limit": call(answer, 16, 16, 4e9, 1e9),  # 2·i·o equals ridge · size · (i + o)
        }

    @staticmethod
    def smallest(inputs: int, outputs: int, peak: float, bandwidth: float, size: int) -> int | None:
        """By trying: the first batch whose FLOPs take as long as its bytes."""
        gain = 2 * inputs * outputs / peak - size * (inputs + outputs) / bandwidth
        if gain <= 0:
            return None
        start = max(1, math.floor(size * inputs * outputs / bandwidth / gain) - 2)
        for batch in range(start, start + 6):
            moved = size * (inputs * outputs + batch * (inputs + outputs))
            if 2 * batch * inputs * outputs * bandwidth >= moved * peak:
                return batch
        return None

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        wide, exact = cases["wide"], cases["exact"]
        right = over(wide, self.smallest)

        def weight_only(i: int, o: int, peak: float, bandwidth: float, size: int) -> int:
            return math.ceil(peak / bandwidth * size / 2)

        narrow = outputs["narrow"]
        never = Item("a layer that is too narrow", 1, 1.0, "as expected")
        others = [narrow, outputs["also"], outputs["limit"]]
        bad = next((made for made in others if not made.ok or made.value is not None), None)
        if bad is not None:
            message = f"it returned {bad.value}, expected None"
            hint = "for huge batches the intensity tends to 2·i·o / (size·(i + o)): is that enough?"
            if not bad.ok:
                message = compare(never.name, 1, bad, "None").message
                hint = "the intensity may just never reach the ridge: what do you divide by then?"
            never = Item(never.name, 1, 0.0, message, hint if bad.status != "blank" else "")
        never = not_always(never, None, outputs["wide"])
        at_edge = over(exact, self.smallest)
        return [
            self.found(
                "a wide layer",
                outputs["wide"],
                right,
                [
                    (
                        over(wide, weight_only),
                        "input and result have bytes, too, more with each row",
                    ),
                    ([r - 1 if r else r for r in right], "one too small: round up, not down"),
                    (
                        over(wide, lambda i, o, p, w, s: self.smallest(i, o, p, w, 4)),
                        "numbers have size bytes",
                    ),
                    (self.exactly(wide), "a whole number of rows: round up"),
                    ([round(r) for r in self.exactly(wide)], "round up, not to the nearest"),
                ],
                wide,
            ),
            self.found(
                "to the last row",
                outputs["exact"],
                at_edge,
                [
                    (
                        [b + 1 if b in (256, 8192) else b for b in at_edge],
                        "on the ridge it counts as compute",
                    ),
                    ([b - 1 if b else b for b in at_edge], "one too small: round up, not down"),
                ],
                exact,
            ),
            never,
        ]

    @staticmethod
    def exactly(cases: list[tuple]) -> list[float]:
        """The batches at which the times are equal, not whole numbers."""
        found = []
        for i, o, peak, bandwidth, size in cases:
            ridge = peak / bandwidth * size
            found.append(ridge * i * o / (2 * i * o - ridge * (i + o)))
        return found

    @staticmethod
    def found(name: str, made: list[Call], right: list, hints: list, cases: list) -> Item:
        """Whether each batch is right; None is no batch, and no missing return."""
        item = column(name, 1, made, None, right, hints, rtol=0.0, cases=cases)
        if item.lost and "None, expected" in item.message:
            hint = "some batch is large enough: where does the search end, or the formula fail?"
            return replace(item, hint=hint)
        return item
