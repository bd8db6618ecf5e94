"""Log-sum-exp and the cross-entropy of a softmax."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline.grading import (
    Exercise,
    Item,
    at_most,
    call,
    compare,
    exercise,
    generator,
)

from .shared import DERIVATIVES, finite


@exercise("losses.log_sum_exp")
class LogSumExp(Exercise):
    """Log-sum-exp that holds."""

    points, minutes, difficulty, importance = 3, 8, 2, 5
    forbidden = (
        "torch.logsumexp",
        "torch.logaddexp",
        "torch.nn.functional.log_softmax",
        "roofline.autograd.logsumexp",
        "roofline.autograd.log_softmax",
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        return 2 * torch.randn(3, 4, 6, generator=random)

    def probe(self, answer: Any, cases: Any) -> Any:
        far = torch.tensor([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]])
        masked = torch.tensor([[1.0, -torch.inf, 2.0], [-torch.inf] * 3])
        return {
            "ordinary": call(answer, cases),
            "half": call(answer, (4 * cases).half()),
            "far": call(answer, far),
            "masked": call(answer, masked),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        z = cases
        right = torch.logsumexp(z, -1)
        one = torch.tensor([math.log(math.e + math.exp(2)), -torch.inf])
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
                ],
            ),
            finite(
                "float16, logits up to ±30",
                0.5,
                outputs["half"],
                torch.logsumexp((4 * z).half().float(), -1).half(),
                "float16 overflows at exp(11.1): subtract the largest logit first",
            ),
            finite(
                "logits of ±10,000",
                0.5,
                outputs["far"],
                torch.tensor([1e4, -1e4 + math.log(3)]),
                "subtract each row's own largest logit before the exponential",
            ),
            finite(
                "masked logits, −inf",
                1,
                outputs["masked"],
                one,
                "−inf − (−inf) is NaN: where a row's largest is −inf, subtract 0",
            ),
        ]


@exercise("losses.cross_entropy")
class CrossEntropy(Exercise):
    """Cross-entropy and its pullback."""

    points, minutes, difficulty, importance = 5, 15, 3, 5
    forbidden = (
        "torch.nn.functional.cross_entropy",
        "torch.nn.functional.nll_loss",
        "roofline.losses.cross_entropy",
        "roofline.autograd.cross_entropy",
        *DERIVATIVES,
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        logits = 2 * torch.randn(8, 5, generator=random)
        return logits, torch.randint(0, 5, (8,), generator=random)

    def probe(self, answer: Any, cases: Any) -> Any:
        from roofline.exercises.backprop.shared import held

        logits, labels = cases
        made = call(answer, logits, labels)
        far = call(answer, 1e4 * torch.eye(3), torch.tensor([0, 1, 0]))
        return {
            "loss": made[0],
            "gradient": call(made[1], torch.tensor(1.0))[0],
            "scaled": call(made[1], torch.tensor(3.0))[0],
            "held": held(made[1]),
            "far": far[0],
            "far gradient": call(far[1], torch.tensor(1.0))[0],
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        logits, labels = cases
        n = len(labels)
        one_hot = torch.nn.functional.one_hot(labels, logits.shape[1]).float()
        log_p = logits.log_softmax(1)
        right, slope = -(one_hot * log_p).sum() / n, (log_p.exp() - one_hot) / n
        loss = compare(
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
            ],
        )
        scaled = compare(
            "gradient times what arrives",
            0.5,
            outputs["scaled"],
            3 * slope,
            [(slope, "multiply by the gradient of the loss that arrives")],
        )
        return [loss, gradient, scaled, self._far(outputs), self._held(outputs, gradient, logits)]

    def _far(self, outputs: Any) -> Item:
        name, hint = "logits of 10,000", "subtract the largest logit of each row first"
        item = finite(name, 1, outputs["far"], torch.tensor(1e4 / 3), hint)
        if item.lost:
            return item
        slope = torch.tensor([[0.0, 0, 0], [0, 0, 0], [-1, 0, 1]]) / 3
        return finite(name, 1, outputs["far gradient"], slope, hint)

    def _held(self, outputs: Any, gradient: Item, logits: torch.Tensor) -> Item:
        name = "holds one tensor of the logits' size"
        if gradient.lost:
            return Item(name, 1, 0.0, "counted once the gradient is right")
        small = 16 * len(logits)  # labels, row numbers: one number for each row, not for each logit
        item = at_most(name, 1, outputs["held"], 4 * logits.numel() + small, "bytes")
        if item.lost and outputs["held"].ok:
            hint = "probabilities are the exponential of their logarithms: hold one of the two"
            return Item(name, 1, 0.0, item.message, hint)
        return item
