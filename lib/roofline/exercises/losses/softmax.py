"""Log-sum-exp and the cross-entropy of a softmax."""

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

from ..backprop.shared import (
    DERIVATIVES,
    SINGLE,
    both,
    held,
    holds_at_most,
    leaves_alone,
    of_one,
    pulled_back,
)
from .shared import capped, finite, number


@exercise("losses.log_sum_exp")
class LogSumExp(Exercise):
    """Log-sum-exp that holds."""

    points, minutes, difficulty, importance = 3, 6, 2, 5
    forbidden = (
        "torch.logsumexp",
        "torch.logaddexp",
        "torch.logaddexp2",
        "torch.logcumsumexp",
        "torch.nn.functional.log_softmax",
        "torch.nn.functional.cross_entropy",
        "roofline.autograd.logsumexp",
        "roofline.autograd.log_softmax",
        "roofline.losses.cross_entropy",
        "roofline.autograd.cross_entropy",
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        return 2 * torch.randn(3, 4, 6, generator=random)

    def probe(self, answer: Any, cases: Any) -> Any:
        far = torch.tensor([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]], dtype=torch.float64)
        masked = torch.tensor([[1.0, -torch.inf, 2.0], [-torch.inf] * 3])
        return {
            "ordinary": call(answer, cases),
            "half": call(answer, self.half(cases)),
            "far": call(answer, far),
            "masked": call(answer, masked),
        }

    @staticmethod
    def half(z: torch.Tensor) -> torch.Tensor:
        """float16 logits whose rows lie far apart."""
        return (2 * z + torch.tensor([-20.0, 0.0, 20.0])[:, None, None]).half()

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        z = cases
        right = torch.logsumexp(z, -1)
        one = torch.tensor([math.log(math.e + math.exp(2)), -torch.inf])
        masked = finite(
            "masked logits, −inf",
            1,
            outputs["masked"],
            one,
            "−inf − (−inf) is NaN: where a row's largest is −inf, subtract 0",
        )
        mask = outputs["masked"].value
        if masked.lost and isinstance(mask, torch.Tensor) and mask.numel() == 2:
            if bool(mask.flatten()[1].isfinite()):
                masked = replace(masked, hint="a row in which everything is impossible stays −inf")
        return [
            compare(
                "ordinary logits",
                1,
                outputs["ordinary"],
                right,
                [
                    (right - z.max(-1).values, "the largest logit must be added again at the end"),
                    (z.exp().sum(-1), "the logarithm is missing"),
                    (torch.logsumexp(z, 0), "over the last dimension, not the first"),
                    (right.unsqueeze(-1), "the last dimension goes: keepdim stays inside"),
                    (z.logsumexp((0, 1, 2)), "over the last dimension alone"),
                    (right - math.log(z.shape[-1]), "the sum of the exponentials, not their mean"),
                    (
                        (right - z.max(-1).values) / math.log(2) + z.max(-1).values,
                        "the natural logarithm is asked: torch.log",
                    ),
                ],
            ),
            finite(
                "float16, logits up to ±30",
                0.5,
                outputs["half"],
                torch.logsumexp(self.half(z).float(), -1).half(),
                "float16 overflows at exp(11.1): subtract the largest logit first",
            ),
            finite(
                "logits of ±10,000, float64",
                0.5,
                outputs["far"],
                torch.tensor([1e4, -1e4 + math.log(3)], dtype=torch.float64),
                "subtract each row's own largest logit before the exponential",
                rtol=SINGLE,
            ),
            masked,
        ]


@exercise("losses.cross_entropy")
class CrossEntropy(Exercise):
    """Cross-entropy and its pullback."""

    points, minutes, difficulty, importance = 5, 12, 3, 5
    forbidden = (
        "torch.nn.functional.cross_entropy",
        "torch.nn.functional.nll_loss",
        "roofline.losses.cross_entropy",
        "roofline.autograd.cross_entropy",
        "aten::_log_softmax_backward_data",
        "aten::_softmax_backward_data",
        *DERIVATIVES,
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        logits = 2 * torch.randn(8, 24, generator=random)
        return logits, torch.randint(0, 24, (8,), generator=random)

    def probe(self, answer: Any, cases: Any) -> Any:
        logits, labels = cases
        made, again = call(answer, logits, labels), call(answer, logits, labels)
        far = call(answer, 1e4 * torch.eye(3, dtype=torch.float64), torch.tensor([0, 1, 0]))
        kept = held(made[1])  # before it is called: a pullback may use up what it holds
        return {
            "loss": made[0],
            "gradient": call(made[1], torch.tensor(1.0))[0],
            "scaled": call(again[1], torch.tensor(3.0))[0],
            "held": kept,
            "left": pulled_back(answer, (logits, labels), torch.tensor(1.0)),
            "far": far[0],
            "far gradient": call(far[1], torch.tensor(1.0, dtype=torch.float64))[0],
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        logits, labels = cases
        n = len(labels)
        one_hot = torch.nn.functional.one_hot(labels, logits.shape[1]).float()
        log_p = logits.log_softmax(1)
        right, slope = -(one_hot * log_p).sum() / n, (log_p.exp() - one_hot) / n
        loss = number(
            "loss",
            1,
            outputs["loss"],
            right,
            [
                (right * n, "this is the sum: the mean over the batch is asked"),
                (right / logits.shape[1], "the mean is over the rows, not over all entries"),
                (-right, "the sign: least is best"),
                (-(one_hot * log_p.exp()).sum() / n, "the logarithm is missing"),
                (-log_p[:, labels].mean(), "[:, labels] takes every label's column for every row"),
            ],
        )
        gradient = compare(
            "gradient",
            1.5,
            outputs["gradient"],
            slope,
            [
                (n * slope, "the loss is a mean: its gradient is divided by n too"),
                (-slope, "the sign: probabilities minus truth"),
                (log_p.exp() / n, "the truth must be subtracted from the probabilities"),
                (-one_hot / n, "log-sum-exp depends on every logit: its gradient is softmax"),
                (slope / logits.shape[1], "the mean is over the rows, not over all entries"),
                (
                    (log_p.exp() - one_hot.amax(0)) / n,
                    "[:, labels] takes every label's column for every row",
                ),
            ],
        )
        gradient = leaves_alone(of_one(gradient), outputs["left"], ("logits",))
        scaled = compare(
            "gradient times what arrives",
            0.5,
            outputs["scaled"],
            3 * slope,
            [(slope, "multiply by the gradient of the loss that arrives")],
        )
        small = 32 * n  # labels, row numbers, logarithms of sums: for each row, not for each logit
        memory = holds_at_most(
            "holds one tensor of the logits' size",
            1,
            outputs["held"],
            4 * logits.numel() + small,
            gradient,
            "probabilities are the exponential of their logarithms: hold one of the two",
        )
        return [
            both(loss, "return two things: the loss, and its pullback"),
            gradient,
            scaled,
            self._far(outputs, loss),
            memory,
        ]

    def _far(self, outputs: Any, ordinary: Item) -> Item:
        name, hint = "logits of 10,000, float64", "subtract the largest logit of each row first"
        rows = [(1e4 / 8, "the mean is over the rows of this batch: here there are 3")]
        item = finite(name, 1, outputs["far"], 1e4 / 3, hint, rows, rtol=SINGLE)
        if item.lost:
            return capped(item, outputs["far"], 1000, ordinary)
        # One row is sure of a wrong class.
        slope = torch.tensor([[0, 0, 0], [0, 0, 0], [-1, 0, 1]], dtype=torch.float64) / 3
        return finite(name, 1, outputs["far gradient"], slope, hint, rtol=SINGLE)
