"""Plain descent: its rate, its momentum, its length."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline.grading import (
    Call,
    Exercise,
    Item,
    call,
    compare,
    exercise,
    generator,
)


@exercise("optimizers.rates")
class Rates(Exercise):
    """The best rate of a bowl."""

    points, minutes, difficulty, importance = 3, 8, 1, 3

    def cases(self, seed: int) -> Any:
        drawn = 0.1 + 20 * torch.rand(5, generator=generator(seed), dtype=torch.float64)
        return [[1.0, 25.0], drawn.tolist(), [4.0, 4.0]]

    def probe(self, answer: Any, cases: Any) -> Any:
        return [call(answer, case) for case in cases]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        bounds = [(min(case), max(case)) for case in cases]
        right = {
            "limit": [2 / high for _, high in bounds],
            "best": [2 / (low + high) for low, high in bounds],
            "factor": [(high - low) / (high + low) for low, high in bounds],
        }
        one = "1/λ reaches the bottom in one step: a factor of -1 is still no growth"
        mistakes = {
            "limit": [
                ([1 / high for _, high in bounds], one),
                ([2 / low for low, _ in bounds], "the steepest direction is the first to grow"),
            ],
            "best": [
                ([1 / high for _, high in bounds], "that serves the steep direction alone"),
                ([2 / high for _, high in bounds], "that is the limit: the steep one stands still"),
                ([1 / (low + high) for low, high in bounds], "make the two factors equal in size"),
            ],
            "factor": [
                ([1 - low / high for low, high in bounds], "that is the factor at the rate 1/λ"),
                ([high / low for low, high in bounds], "that is κ: the factor follows from it"),
            ],
        }
        return [
            compare(name, 1, _parts(outputs, i), right[name], mistakes[name], rtol=1e-6, atol=1e-9)
            for i, name in enumerate(right)
        ]


def _parts(outputs: list[Call], index: int) -> Any:
    """Part ``index`` of what every call returned, or the first call that has none."""
    got = [made[index] for made in outputs]
    return next((part for part in got if not part.ok), None) or [part.value for part in got]


@exercise("optimizers.momentum")
class Momentum(Exercise):
    """Momentum."""

    points, minutes, difficulty, importance = 3, 6, 1, 5
    forbidden = ("torch.optim.SGD", "roofline.optim.SGD")
    rate, beta = 0.05, 0.8

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        return [torch.randn(4, 3, generator=random) for _ in range(4)]

    def probe(self, answer: Any, cases: Any) -> Any:
        theta, first, second, velocity = cases
        one = call(answer, theta, first, velocity, self.rate, self.beta)
        two = call(answer, one[0], second, one[1], self.rate, self.beta)
        return {
            "one": one,
            "two": two,
            "nesterov": call(answer, theta, first, velocity, self.rate, self.beta, nesterov=True),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        theta, first, second, start = cases
        rate, beta = self.rate, self.beta
        v1 = beta * start + first
        v2 = beta * v1 + second
        once = theta - rate * v1
        average = beta * start + (1 - beta) * first
        inside = beta * start + rate * first
        return [
            compare(
                "one step",
                1,
                outputs["one"],
                [once, v1],
                [
                    ([theta + rate * v1, v1], "this climbs: subtract the step"),
                    (
                        [theta - rate * average, average],
                        "the gradient comes in whole: v is a sum, not a mean",
                    ),
                    ([theta - inside, inside], "the rate stands outside the velocity"),
                    (
                        [theta - rate * start, v1],
                        "step with the new velocity, not with the old one",
                    ),
                    ([theta - rate * first, v1], "the velocity isn't used in the step"),
                    ([v1, once], "return theta first, then the velocity"),
                ],
            ),
            compare("two steps", 1, outputs["two"], [once - rate * v2, v2]),
            compare(
                "nesterov",
                1,
                outputs["nesterov"],
                [theta - rate * (first + beta * v1), v1],
                [
                    ([once, v1], "nesterov has no effect"),
                    ([theta - rate * (first + beta * start), v1], "use the new velocity there"),
                    ([theta - rate * (first + v1), v1], "the velocity counts β times there"),
                ],
            ),
        ]


@exercise("optimizers.clip")
class Clip(Exercise):
    """Clipping."""

    points, minutes, difficulty, importance = 3, 6, 2, 4
    forbidden = (
        "torch.nn.utils.clip_grad_norm_",
        "roofline.optim.clip_grad_norm_",
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        return [torch.randn(s, generator=random) for s in ((3, 4), (5,), (2, 2))]

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            "long": call(answer, cases, 1.0),
            "short": call(answer, cases, 100.0),
            "zero": call(answer, [torch.zeros(3), torch.zeros(2)], 1.0),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in cases))
        scaled = [g / norm for g in cases]
        zero = outputs["zero"]
        still = compare("gradients of zero", 0.5, zero[0], [torch.zeros(3), torch.zeros(2)])
        if still.lost and "NaN" in still.message:
            hint = "a norm of 0: don't divide by it"
            still = Item("gradients of zero", 0.5, 0.0, still.message, hint)
        squares = sum(float(g.norm()) for g in cases)
        return [
            compare(
                "long gradients",
                1,
                outputs["long"][0],
                scaled,
                [
                    (
                        [g / max(1.0, float(g.norm())) for g in cases],
                        "one factor for all: a joint norm",
                    ),
                    (
                        [g.clamp(-1, 1) for g in cases],
                        "that cuts each entry: the direction changes",
                    ),
                    (list(cases), "they aren't clipped"),
                    ([g / norm**2 for g in cases], "the root is missing"),
                    ([g / squares for g in cases], "a joint norm isn't the sum of the norms"),
                ],
                rtol=1e-4,
            ),
            compare(
                "short gradients stay",
                1,
                outputs["short"][0],
                list(cases),
                [([100 * g / norm for g in cases], "the factor is never above 1")],
                rtol=1e-4,
            ),
            compare(
                "the norm that was found",
                0.5,
                outputs["long"][1],
                norm,
                [(1.0, "the norm before clipping is asked"), (norm**2, "the root is missing")],
                rtol=1e-5,
            ),
            still,
        ]
