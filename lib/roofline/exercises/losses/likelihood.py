"""Losses that are negative log-likelihoods: a Gaussian, a coin."""

from __future__ import annotations

import math
from dataclasses import replace
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

from ..backprop.shared import SINGLE, led_on
from .shared import capped, finite, number


@exercise("losses.gaussian")
class Gaussian(Exercise):
    """What mean squared error assumes."""

    points, minutes, difficulty, importance = 3, 6, 1, 4
    forbidden = ("torch.nn.functional.gaussian_nll_loss", "torch.distributions.Distribution")

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        mean, y = torch.randn(9, generator=random), torch.randn(9, generator=random)
        return mean, 0.5 + torch.rand(9, generator=random), y

    def probe(self, answer: Any, cases: Any) -> Any:
        mean, sigma, y = cases
        return {
            "one": call(answer, mean, 1.0, y),
            "each": call(answer, *(t.double() for t in (mean, sigma, y))),
            "far": call(answer, mean + 100, 0.5, y),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        mean, sigma, y = cases
        constant = torch.tensor(0.5 * math.log(2 * math.pi))

        def loss(mean: torch.Tensor, sigma: Any) -> torch.Tensor:
            each = torch.log(torch.as_tensor(sigma)) + constant + self.square(mean, sigma, y)
            return each.mean()

        square = self.square(mean, 1.0, y)
        far = finite(
            "a prediction that is far off",
            1,
            outputs["far"],
            float(loss(mean + 100, 0.5)),
            "the density underflows to 0: take the logarithm on paper",
        )
        items = [
            number(
                "sigma = 1",
                1,
                outputs["one"],
                loss(mean, 1.0),
                [
                    (square.mean(), "the factor 1/√(2π) of the density has a logarithm too"),
                    (2 * square.mean(), "the exponent has a 2 under it, and the density a factor"),
                    (constant + 2 * square.mean(), "the exponent has a 2 under it"),
                    ((square + constant).sum(), "this is the sum: the mean is asked"),
                    (-(square + constant).mean(), "the sign: least is best"),
                    ((square + 2 * constant).mean(), "√(2π): its logarithm is half of log 2π"),
                    ((constant - square).mean(), "the exponent is negative: minus it, positive"),
                    (square + constant, "one number is asked: take the mean"),
                ],
            ),
            number(
                "a sigma for each example, float64",
                1,
                outputs["each"],
                loss(mean, sigma),
                [
                    (
                        (constant + self.square(mean, sigma, y)).mean(),
                        "log σ is missing: a model could claim any noise for nothing",
                    ),
                    (
                        (torch.log(sigma) + constant + 0.5 * (y - mean) ** 2 / sigma).mean(),
                        "the exponent divides by σ², not by σ",
                    ),
                    (
                        (sigma.log2() + constant + self.square(mean, sigma, y)).mean(),
                        "the natural logarithm is asked: torch.log",
                    ),
                ],
                torch.float64,
            ),
            far,
        ]
        items[2] = capped(far, outputs["far"], 1000, items[0])
        hint = "sigma may be a float or a tensor: torch.as_tensor makes a tensor of both"
        kinds = "one", "each", "far"
        odd = {outputs[kind].status for kind in kinds} == {"returned", "raised"}
        return [
            replace(item, hint=hint) if odd and not outputs[kind].ok else item
            for item, kind in zip(items, kinds, strict=True)
        ]

    @staticmethod
    def square(mean: torch.Tensor, sigma: Any, y: torch.Tensor) -> torch.Tensor:
        return 0.5 * ((y - mean) / sigma) ** 2


@exercise("losses.binary")
class Binary(Exercise):
    """The coin, from logits."""

    points, minutes, difficulty, importance = 3, 8, 2, 4
    forbidden = (
        "torch.nn.functional.binary_cross_entropy_with_logits",
        "torch.nn.functional.binary_cross_entropy",
        "torch.nn.functional.logsigmoid",
        "torch.nn.functional.softplus",
        "torch.nn.functional.soft_margin_loss",
        "torch.nn.functional.multilabel_soft_margin_loss",
        "torch.distributions.Distribution",
        "roofline.losses.binary_cross_entropy_with_logits",
        "roofline.autograd.binary_cross_entropy_with_logits",
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        x = 3 * torch.randn(4, 5, generator=random)
        hard = torch.randint(0, 2, (4, 5), generator=random).float()
        return x, hard, torch.rand(4, 5, generator=random)

    def probe(self, answer: Any, cases: Any) -> Any:
        x, hard, soft = cases
        far = torch.tensor([-1e4, -200.0, 200.0, 1e4])
        return {
            "hard": call(answer, x, hard),
            "soft": call(answer, x.double(), soft.double()),
            "far": call(answer, far, torch.tensor([1.0, 0.0, 1.0, 0.0])),
            "small": call(answer, torch.tensor([-20.0, 20.0]), torch.tensor([0.0, 1.0])),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, hard, soft = cases
        logits = x.double()

        def loss(y: torch.Tensor) -> torch.Tensor:
            p = torch.sigmoid(logits)
            return -(y * p.log() + (1 - y) * (1 - p).log())

        p = torch.sigmoid(x)
        mistakes = [
            (loss(hard).mean(), "one loss for each entry is asked, not their mean"),
            (-(hard * p.log()), "the second term is missing: what if y is 0?"),
            (loss(1 - hard), "the two terms are swapped"),
            (-loss(hard), "the sign: least is best"),
            (-(hard * p.log()) + (1 - hard) * (1 - p).log(), "the minus must reach both terms"),
        ]
        tiny = torch.full((2,), math.log1p(math.exp(-20)))
        ordinary = compare("targets 0 and 1", 1, outputs["hard"], loss(hard).float(), mistakes)
        far = finite(
            "logits up to ±10,000",
            1,
            outputs["far"],
            torch.tensor([1e4, 0.0, 0.0, 1e4]),
            "no exponential may see a large positive number, no logarithm a zero",
        )
        between = compare(
            "targets in between, float64",
            0.5,
            outputs["soft"],
            loss(soft),
            [
                (
                    loss((soft > 0.5).double()),
                    "y needn't be 0 or 1: both terms count, by their share",
                )
            ],
            rtol=SINGLE,
            atol=SINGLE,
        )
        return [
            ordinary,
            led_on(between),
            capped(far, outputs["far"], 1000, ordinary),
            compare(
                "tiny losses keep their digits",
                0.5,
                outputs["small"],
                tiny,
                [
                    (torch.zeros(2), "1 + e⁻²⁰ rounds to 1 in float32: log1p doesn't add it first"),
                    (
                        tiny * torch.tensor([1.0, 0.0]),
                        "20 + e⁻²⁰ rounds to 20 before x · y goes: add the small part last",
                    ),
                ],
                atol=0.0,
            ),
        ]
