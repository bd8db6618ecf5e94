"""Plain descent: its rate, its momentum, its length."""

from __future__ import annotations

import math
from dataclasses import replace
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
    unchanged,
)

from ..backprop.shared import SINGLE, both, led_on


@exercise("optimizers.rates")
class Rates(Exercise):
    """The best rate of a bowl."""

    points, minutes, difficulty, importance = 3, 8, 1, 3

    def cases(self, seed: int) -> Any:
        drawn = 0.1 + 20 * torch.rand(5, generator=generator(seed), dtype=torch.float64)
        low, second, third, fourth, high = sorted(drawn.tolist())
        # Neither extreme stands first or last.
        return [[1.0, 25.0], [third, high, low, second, fourth], [4.0, 4.0]]

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
        ends = "the curvatures come in any order and number: the smallest and the largest count"
        firsts = [(case[0], case[-1]) for case in cases], [(case[0], case[1]) for case in cases]
        mistakes = {
            "limit": [
                ([1 / high for _, high in bounds], one),
                ([2 / low for low, _ in bounds], "the steepest direction is the first to grow"),
                *(([2 / b for _, b in pairs], ends) for pairs in firsts),
            ],
            "best": [
                ([1 / high for _, high in bounds], "that serves the steep direction alone"),
                ([2 / high for _, high in bounds], "that is the limit: the steep one stands still"),
                ([1 / (low + high) for low, high in bounds], "make the two factors equal in size"),
                ([len(c) / sum(c) for c in cases], "only the largest and the smallest matter"),
                (
                    [(1 / low + 1 / high) / 2 for low, high in bounds],
                    "not the mean of two rates: the rate at which two factors are equal in size",
                ),
                *(([2 / (a + b) for a, b in pairs], ends) for pairs in firsts),
            ],
            "factor": [
                ([1 - low / high for low, high in bounds], "that is the factor at the rate 1/λ"),
                ([high / low for low, high in bounds], "that is κ: the factor follows from it"),
                ([low / high for low, high in bounds], "that is 1/κ: the factor follows from it"),
                (
                    [(low - high) / (high + low) for low, high in bounds],
                    "a size is asked: the steep coordinate changes sign, and shrinks as much",
                ),
                (
                    [
                        (math.sqrt(high) - math.sqrt(low)) / (math.sqrt(high) + math.sqrt(low))
                        for low, high in bounds
                    ],
                    "roots of κ belong to momentum: here κ itself counts",
                ),
                *(([(b - a) / (b + a) for a, b in pairs], ends) for pairs in firsts),
            ],
        }
        three = "return three floats, as a tuple: (limit, best, factor)"
        return [
            both(_column(name, outputs, i, right[name], mistakes[name]), three)
            for i, name in enumerate(right)
        ]


def _column(name: str, outputs: list[Call], index: int, right: list[float], hints: list) -> Item:
    """Whether part ``index`` of what every call returned is right."""
    got = [made[index] for made in outputs]
    failed = next((part for part in got if not part.ok), None)
    values = failed or [part.value for part in got]
    item = compare(name, 1, values, right, hints, rtol=1e-6, atol=1e-9)
    return item if item.lost else unchanged(name, 1, *got)


@exercise("optimizers.momentum")
class Momentum(Exercise):
    """Momentum."""

    points, minutes, difficulty, importance = 3, 6, 1, 5
    forbidden = (
        "torch.optim.SGD",
        "torch.optim.sgd.sgd",
        "aten::_fused_sgd_",
        "roofline.optim.SGD",
    )
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
            "nesterov": call(
                answer, *(t.double() for t in (theta, first, velocity)), 0.2, nesterov=True
            ),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        theta, first, second, start = cases
        rate, beta = self.rate, self.beta
        v1 = beta * start + first
        v2 = beta * v1 + second
        once = theta - rate * v1
        average = beta * start + (1 - beta) * first
        inside = beta * start + rate * first
        two = "return two things: the new theta and the new velocity"
        one = [
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
                    ([once, start], "return the new velocity: the next step starts from it"),
                    (
                        [theta + beta * start - rate * first, beta * start - rate * first],
                        "here v adds up gradients, and rate and minus stand outside it",
                    ),
                    (
                        [theta - rate * (start + beta * first), start + beta * first],
                        "β belongs to the old velocity, the gradient comes in whole",
                    ),
                    (
                        [theta - rate * (0.9 * start + first), 0.9 * start + first],
                        "beta is an argument, not always 0.9",
                    ),
                ],
            ),
            compare("two steps", 1, outputs["two"], [once - rate * v2, v2]),
        ]
        return [both(item, two) for item in (*one, self._nesterov(outputs["nesterov"], cases))]

    @staticmethod
    def _nesterov(made: Call, cases: Any) -> Item:
        """In float64, at another rate, with the beta that the signature gives."""
        theta, first, _, start = (t.double() for t in cases)
        rate, beta = 0.2, 0.9
        v = beta * start + first
        item = compare(
            "nesterov, float64",
            1,
            made,
            [theta - rate * (first + beta * v), v],
            [
                ([theta - rate * v, v], "nesterov has no effect"),
                ([theta - rate * (first + beta * start), v], "use the new velocity there"),
                ([theta - rate * (first + v), v], "the velocity counts β times there"),
                (
                    [theta - rate * (first + beta * v), first + beta * v],
                    "return the velocity, and step with something else",
                ),
            ],
            rtol=SINGLE,
            atol=SINGLE,
        )
        return led_on(item)


@exercise("optimizers.clip")
class Clip(Exercise):
    """Clipping."""

    points, minutes, difficulty, importance = 3, 6, 2, 4
    forbidden = (
        "torch.nn.utils.clip_grad_norm_",
        "torch.nn.utils.clip_grads_with_norm_",
        "torch.nn.utils.get_total_norm",
        "roofline.optim.clip_grad_norm_",
    )
    largest = 0.5

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        return [torch.randn(s, generator=random) for s in ((3, 4), (5,), (2, 2))]

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            "long": call(answer, cases, self.largest),
            "short": call(answer, [g.double() for g in cases], 100.0),
            "zero": call(answer, [torch.zeros(3), torch.zeros(2)], 1.0),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in cases))
        most = self.largest
        scaled = [g * most / norm for g in cases]
        zero = outputs["zero"]
        still = compare("gradients of zero", 0.5, zero[0], [torch.zeros(3), torch.zeros(2)])
        if still.lost and "NaN" in still.message:
            hint = "a norm of 0: don't divide by it"
            still = Item("gradients of zero", 0.5, 0.0, still.message, hint)
        flat = torch.cat([g.flatten() for g in cases])
        others = [
            (sum(float(g.norm()) for g in cases), "a joint norm isn't the sum of the norms"),
            (max(float(g.norm()) for g in cases), "a joint norm isn't the largest of the norms"),
            (float(flat.abs().sum()), "a length is the root of the sum of squares, not of sizes"),
            (float(flat.abs().max()), "a length is the root of the sum of squares of all entries"),
            (norm**2, "the root is missing"),
        ]
        items = [
            compare(
                "long gradients",
                1,
                outputs["long"][0],
                scaled,
                [
                    (
                        [g * min(1.0, most / float(g.norm())) for g in cases],
                        "one factor for all: a joint norm",
                    ),
                    (
                        [g.clamp(-most, most) for g in cases],
                        "that cuts each entry: the direction changes",
                    ),
                    (list(cases), "they aren't clipped"),
                    ([g / norm for g in cases], "their norm is 1 now: largest is an argument"),
                    *(([g * most / length for g in cases], hint) for length, hint in others),
                ],
                rtol=1e-4,
            ),
            compare(
                "short gradients stay, float64",
                1,
                outputs["short"][0],
                [g.double() for g in cases],
                [([100 * g.double() / norm for g in cases], "the factor is never above 1")],
                rtol=1e-4,
            ),
            compare(
                "the norm that was found",
                0.5,
                outputs["long"][1],
                norm,
                [(most, "the norm before clipping is asked"), *others],
                rtol=1e-5,
            ),
            still,
        ]
        given = outputs["long"].value
        pair = isinstance(given, (tuple, list)) and len(given) == 2 and not is_number(given[0])
        if outputs["long"].ok and not pair:
            hint = "return two things: the list of gradients, and the norm"
            return [replace(i, hint=hint) if i.lost and not i.hint else i for i in items]
        return [led_on(item) for item in items]


def is_number(value: Any) -> bool:
    """Whether it is a number, or a tensor that could be one."""
    return isinstance(value, (int, float)) or isinstance(value, torch.Tensor) and value.dim() == 0
