"""Turning bytes into FLOPs."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Exercise, Item, at_most, call, compare, exercise, generator, require


@exercise("machine.distances")
class Distances(Exercise):
    """Turn bytes into FLOPs."""

    points, minutes, difficulty, importance = 4, 12, 4, 4
    launches = 16
    forbidden = ("torch.cdist", "torch.nn.functional.pairwise_distance")

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        x, y = torch.randn(9, 5, generator=random), torch.randn(7, 5, generator=random)
        large = [
            torch.randn(n, 32, generator=random) for n in (400, 40)
        ]  # x's own products are larger than the result
        far = 10 * torch.randn(40, 16, generator=random)
        near = torch.randn(6, 5, generator=random, dtype=torch.float64)
        beside = near + 0.05 * torch.randn(6, 5, generator=random, dtype=torch.float64)
        return x, y, large, far, (near, torch.cat([beside, near[:2]]))

    def probe(self, answer: Any, cases: Any) -> Any:
        x, y, large, far, near = cases
        return {
            "values": call(answer, x, y),
            "large": call(answer, *large, count=True),
            "self": call(answer, far, far),
            "near": call(answer, *near),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, y, (wide, long), far, near = cases
        right = ((x[:, None] - y[None]) ** 2).sum(-1)
        cross = x @ y.T
        squares = (x * x).sum(1)[:, None] + (y * y).sum(1)
        values = compare(
            "values",
            2,
            outputs["values"],
            right,
            [
                (right.sqrt(), "squared distances are asked: no root"),
                (squares - cross, "the product counts twice"),
                (squares + 2 * cross, "the sign of the product"),
                (right.T, "transposed: rows belong to x"),
                (right / x.shape[1], "the sum over the d numbers, not their mean"),
            ],
            rtol=1e-4,
            atol=1e-4,
        )
        own = outputs["self"]
        if not own.ok:
            negative = compare("never negative", 1, own, far)
        else:
            holds = isinstance(own.value, torch.Tensor) and bool((own.value >= 0).all())
            hint = "rounding leaves −1e-5 where 0 belongs: cut it off"
            negative = require(
                "never negative", 1, holds and not values.lost, "some are below 0", hint
            )
            if values.lost:
                negative = Item("never negative", 1, 0.0, "looked at once the values are right")
        name = "one matrix product, nothing larger"
        if values.lost:
            return [values, negative, Item(name, 1, 0.0, "counted once the values are right")]
        close = compare(
            name,
            1,
            outputs["near"],
            ((near[0][:, None] - near[1]) ** 2).sum(-1),
            rtol=1e-2,
            atol=1e-5,
        )
        if close.lost:
            message = f"of points that are close, in float64: {close.message}"
            hint = close.hint or "small distances count, too: only what is below 0 is cut off"
            return [values, negative, Item(name, 1, 0.0, message, hint)]
        made, result = outputs["large"], 4 * len(wide) * len(long)
        # Twice the bytes: float64 inside is allowed.
        largest = at_most(name, 1, made, 2 * result, "bytes at once", "largest_allocation")
        if largest.lost and made.ok:
            hint = "all differences were built: n × m × d numbers"
            if made.counts["largest_allocation"] < 4 * wide.shape[1] * len(wide) * len(long):
                hint = (
                    "the products of x with itself are n × n numbers: only their diagonal is needed"
                )
            return [values, negative, Item(name, 1, 0.0, largest.message, hint)]
        if made.ok and made.counts["flops"] < 2 * wide.shape[1] * len(wide) * len(long):
            hint = "only torch operations are counted: all pairs at once are one matrix product"
            return [values, negative, Item(name, 1, 0.0, "no product of x and y was seen", hint)]
        if not largest.lost:
            largest = at_most(name, 1, made, self.launches, "launches", "launches")
            if largest.lost:
                hint = "a loop reads y again each time: all pairs at once are one matrix product"
                largest = Item(name, 1, 0.0, largest.message, hint)
        return [values, negative, largest]
