"""Which limit binds: an operation under the roof, and a layer's batch at the ridge."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline.grading import Exercise, Item, call, compare, exercise, generator

from .shared import column, integers, over


@exercise("machine.roof")
class Roof(Exercise):
    """Under the roof."""

    points, minutes, difficulty, importance = 3, 6, 2, 5

    def cases(self, seed: int) -> Any:
        work = torch.rand(2, generator=generator(seed), dtype=torch.float64)
        return [
            (1e9 * float(1 + work[0]), 1e6, 5e10, 1e10),
            (1e6, 1e9 * float(1 + work[1]), 5e10, 1e10),
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
                ],
            ),
            column(
                "rate",
                0.5,
                made,
                1,
                rate,
                [(over(cases, lambda f, b, p, w: p), "not the peak: what the limit leaves")],
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
                ],
            ),
            compare(
                "a copy, without FLOPs", 0.5, outputs["copy"], [4e-4, 0.0, "memory"], rtol=1e-6
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
            "wide": [(inputs, outputs, peak, 1e12, 4), (4096, 4096, 989e12, 3350e9, 2)],
            "exact": [(512, 512, 64e9, 1e9, 4), (128, 128, 31.75e9, 1e9, 4)],
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
        at_edge = over(exact, self.smallest)
        return [
            column(
                "a wide layer",
                1,
                outputs["wide"],
                None,
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
                ],
                rtol=0.0,
            ),
            column(
                "to the last row",
                1,
                outputs["exact"],
                None,
                at_edge,
                [
                    ([257, 8129], "on the ridge it counts as compute"),
                    ([b - 1 if b else b for b in at_edge], "one too small: round up, not down"),
                ],
                rtol=0.0,
            ),
            never,
        ]
