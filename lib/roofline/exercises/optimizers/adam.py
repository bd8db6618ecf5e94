"""Adam, and its mistakes."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline.grading import (
    Exercise,
    Item,
    call,
    compare,
    exercise,
    generator,
)

from ..backprop.shared import SINGLE, both, led_on

READY = (
    "torch.optim.Adam",
    "torch.optim.AdamW",
    "torch.optim.adam.adam",
    "torch.optim.adamw.adamw",
    "aten::_fused_adam_",
    "aten::_fused_adamw_",
)


def adam(
    theta: torch.Tensor, gradient: torch.Tensor, m: Any, v: Any, t: int, rate: float, **options: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Adam as printed, with ways to go wrong: hats, epsilon, decay."""
    beta1, beta2 = options.get("betas", (0.9, 0.999))
    epsilon, decay = options.get("epsilon", 1e-8), options.get("decay", 0.0)
    if options.get("penalty"):
        gradient, decay = gradient + decay * theta, 0.0
    share1, share2 = (1, 1) if options.get("summed") else (1 - beta1, 1 - beta2)
    m = beta1 * m + share1 * gradient
    v = beta2 * v + share2 * gradient**2
    hats = options.get("hats", (True, True))
    top = m / (1 - beta1**t) if hats[0] else m
    below = v / (1 - beta2**t) if hats[1] else v
    scale = (below + epsilon).sqrt() if options.get("inside") else below.sqrt() + epsilon
    if options.get("bare"):  # epsilon beside the root of the v without its hat
        scale = scale - epsilon + epsilon / math.sqrt(1 - beta2**t)
    if options.get("whole"):
        scale = below + epsilon
    if options.get("hatted"):
        m, v = top, below
    return (1 - rate * decay) * theta - rate * top / scale, m, v


@exercise("optimizers.adamw")
class AdamW(Exercise):
    """AdamW."""

    points, minutes, difficulty, importance = 4, 10, 3, 5
    forbidden = (*READY, "roofline.optim.Adam", "roofline.optim.AdamW")
    settings: dict[str, Any] = {"betas": (0.8, 0.95), "epsilon": 1e-3}

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        theta, first, second = (torch.randn(6, generator=random) for _ in range(3))
        m, v = torch.randn(6, generator=random), torch.rand(6, generator=random)
        return theta, first, second, m, v

    def probe(self, answer: Any, cases: Any) -> Any:
        theta, first, second, m, v = cases
        zero = torch.zeros_like(theta)
        start = call(answer, theta, first, zero, zero, 1, 0.1)
        return {
            "first": start,
            "second": call(answer, start[0], second, start[1], start[2], 2, 0.1),
            "settings": call(answer, *self.tiny(cases), 7, 0.03, **self.settings),
            "decay": call(answer, theta, first, m, v, 3, 0.1, decay=0.5),
        }

    @staticmethod
    def tiny(cases: Any) -> tuple[torch.Tensor, ...]:
        """Gradients so small that epsilon shows, in float64."""
        theta, first, _, m, v = (t.double() for t in cases)
        return theta, 0.01 * first, m, v * 1e-4

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        theta, first, second, m, v = cases
        zero = torch.zeros_like(theta)

        def mistakes(*given: Any, **options: Any) -> list[tuple[Any, str]]:
            beta1, beta2 = options.get("betas", (0.9, 0.999))
            start, gradient, m, v, t, rate = given
            right = adam(*given, **options)
            later = adam(start, gradient, m, v, t + 1, rate, **options)
            earlier = adam(start, gradient, m, v, t - 1, rate, **options) if t > 1 else None
            back = adam(start, gradient, m, v, t, -rate, **options)
            swapped = adam(*given, **{**options, "betas": (beta2, beta1)})
            counted = "t counts from 1 and is this step's: the powers use t itself"
            return [
                (adam(*given, **options, bare=True), "epsilon joins the root of v's hat, not of v"),
                (adam(*given, **options, whole=True), "the root of v's hat stands below"),
                (adam(*given, **options, summed=True), "means, not sums: g counts 1 − β"),
                (adam(*given, **options, hatted=True), "return m and v without their hats"),
                ((later[0], *right[1:]), counted),
                (earlier and (earlier[0], *right[1:]), counted),
                ((back[0], *right[1:]), "this climbs: subtract the step"),
                (swapped, "the first of betas belongs to m, the second to v"),
                (adam(*given, **options, hats=(False, False)), "both means need their hats"),
                (adam(*given, **options, hats=(True, False)), "v needs its hat too"),
                (adam(*given, **options, hats=(False, True)), "m needs its hat too"),
                (adam(*given, **options, inside=True), "epsilon stands outside the root"),
            ]

        one = theta, first, zero, zero, 1, 0.1
        start = adam(*one)
        two = start[0], second, start[1], start[2], 2, 0.1
        set_: Any = (*self.tiny(cases), 7, 0.03)
        decayed = theta, first, m, v, 3, 0.1
        items = [
            compare("the first step", 1, outputs["first"], list(adam(*one)), mistakes(*one)),
            compare("the second step", 1, outputs["second"], list(adam(*two)), mistakes(*two)),
            compare(
                "other betas and epsilon, float64",
                1,
                outputs["settings"],
                list(adam(*set_, **self.settings)),
                [
                    *mistakes(*set_, **self.settings),
                    (adam(*set_), "betas and epsilon come as arguments"),
                ],
                rtol=SINGLE,
                atol=1e-7,
            ),
            compare(
                "decay beside the gradient",
                1,
                outputs["decay"],
                list(adam(*decayed, decay=0.5)),
                [
                    (adam(*decayed, decay=0.5, penalty=True), "decay goes around the gradient"),
                    (adam(*decayed), "decay has no effect"),
                    (
                        (adam(*decayed)[0] * (1 - 0.1 * 0.5), *adam(*decayed)[1:]),
                        "theta shrinks before the step: the step itself doesn't",
                    ),
                    (
                        (adam(*decayed)[0] - 0.5 * theta, *adam(*decayed)[1:]),
                        "the decay is multiplied by the rate",
                    ),
                ],
            ),
        ]
        three = "return three things: the new theta, m and v"
        return [led_on(both(item, three)) for item in items]
