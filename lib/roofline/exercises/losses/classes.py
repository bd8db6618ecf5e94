"""Rare classes, and confidence that means what it says."""

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

from .shared import capped, finite, number


@exercise("losses.balanced")
class Balanced(Exercise):
    """When one class is rare."""

    points, minutes, difficulty, importance = 4, 6, 3, 3
    forbidden = (
        "torch.nn.functional.cross_entropy",
        "torch.nn.functional.nll_loss",
        "roofline.losses.cross_entropy",
        "roofline.autograd.cross_entropy",
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        logits = torch.randn(9, 4, generator=random)
        labels = torch.randint(0, 3, (9,), generator=random)
        return logits, labels, torch.tensor([500.0, 20.0, 90.0, 300.0])

    def probe(self, answer: Any, cases: Any) -> Any:
        logits, labels, counts = cases
        never = torch.tensor([500.0, 20.0, 90.0, 0.0])
        return {
            "loss": call(answer, logits, labels, counts),
            "equal": call(answer, logits, labels, torch.full((4,), 7.0)),
            "never": call(answer, logits, labels, never),
            "far": call(answer, 1000 * logits.double(), labels, counts.double()),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        logits, labels, counts = cases
        each = -logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
        weights = 1 / counts[labels]
        right = (weights * each).sum() / weights.sum()
        by_count = counts[labels]
        far = -(1000 * logits).log_softmax(1).gather(1, labels[:, None])[:, 0]
        here = 1 / torch.bincount(labels, minlength=len(counts))[labels].float()
        thousands = finite(
            "logits in the thousands, float64",
            0.5,
            outputs["far"],
            float((weights * far).sum() / weights.sum()),
            "start from logarithms of probabilities, with the largest logit subtracted",
            dtype=torch.float64,
        )
        never = finite(
            "a class that never occurs",
            0.5,
            outputs["never"],
            float(right),
            "1/0 got into a sum: look up the weights of the labels that are there",
        )
        weighted = number(
            "weighted loss",
            2,
            outputs["loss"],
            right,
            [
                ((weights * each).mean(), "divide by the weights that took part, not by n"),
                ((weights * each).sum(), "divide by the weights that took part"),
                (each.mean(), "the weights have no effect"),
                (each.sum(), "(n, 1) times (n,) gives (n, n): drop the second dimension first"),
                ((by_count * each).sum() / by_count.sum(), "the rarer a class, the heavier"),
                (
                    (weights * each).sum() / (1 / counts).sum(),
                    "the weights of the examples belong below, not those of the classes",
                ),
                (
                    (here * each).sum() / here.sum(),
                    "counts are given, of the training set: this batch's don't matter",
                ),
                (
                    (weights * each).mean() / (1 / counts).mean(),
                    "divide by the weights that took part: they differ from batch to batch",
                ),
            ],
        )
        return [
            weighted,
            number(
                "equal counts change nothing",
                1,
                outputs["equal"],
                each.mean(),
                [(each.mean() / 7, "divide by the weights that took part, not by n")],
            ),
            never,
            capped(thousands, outputs["far"], 100, weighted),
        ]


@exercise("losses.calibration")
class Calibration(Exercise):
    """Does 90 percent mean 90 percent?"""

    points, minutes, difficulty, importance = 3, 10, 3, 3

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        probabilities = (3 * torch.randn(200, 4, generator=random, dtype=torch.float64)).softmax(1)
        labels = torch.multinomial(probabilities, 1, generator=random)[:, 0]
        # Too shy at one end and too sure at the other: differences of both signs on every seed.
        confidence, chosen = probabilities.max(1)
        labels = torch.where(confidence < 0.6, chosen, labels)
        slips = (confidence > 0.8) & (torch.rand(200, generator=random) < 0.4)
        return probabilities, torch.where(slips, (chosen + 1) % 4, labels)

    def probe(self, answer: Any, cases: Any) -> Any:
        probabilities, labels = cases
        # Edges that floats hold exactly: 0.5, 0.75 and 1 with four bins.
        edges = torch.tensor(
            [[0.5, 0.25, 0.25], [0.6, 0.2, 0.2], [0.75, 0.125, 0.125], [1, 0, 0]],
            dtype=torch.float64,
        )
        return {
            "ten": call(answer, probabilities, labels),
            "two": call(answer, probabilities, labels, bins=2),
            "edges": call(answer, edges, torch.tensor([1, 0, 0, 1]), bins=4),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        probabilities, labels = cases
        right = self.error(probabilities, labels, 10)
        return [
            compare(
                "ten bins",
                1.5,
                outputs["ten"],
                right,
                [
                    (math.nan, "an empty bin has no mean: pass over it"),
                    (100 * right, "a share, not percent"),
                    *self.mistakes(probabilities, labels),
                ],
                rtol=1e-5,
            ),
            compare(
                "another number of bins",
                0.5,
                outputs["two"],
                self.error(probabilities, labels, 2),
                [(right, "that is the error with ten bins: their number is an argument")],
                rtol=1e-5,
            ),
            compare(
                "edges, and a confidence of 1",
                1,
                outputs["edges"],
                (0.5 + 0.65 + 1) / 4,
                [
                    ((0.1 + 0.75) / 4, "a confidence on an upper edge belongs to the bin below"),
                    (
                        (0.1 + 0.25 + 1) / 4,
                        "a confidence on an upper edge belongs to the bin below",
                    ),
                    ((0.5 + 0.65) / 4, "a confidence of 1 was lost: bins are closed above"),
                ],
                rtol=1e-5,
            ),
        ]

    @classmethod
    def error(cls, probabilities: torch.Tensor, labels: torch.Tensor, bins: int) -> float:
        table = cls.table(*cls.predictions(probabilities, labels), bins)
        return sum(share * abs(mean - right) for _, mean, right, share in table)

    @classmethod
    def mistakes(cls, probabilities: torch.Tensor, labels: torch.Tensor) -> list[tuple[float, str]]:
        """What the usual mistakes give with ten bins."""
        confidence, right = cls.predictions(probabilities, labels)
        rows = cls.table(confidence, right, 10)
        gaps = [abs(mean - right) for _, mean, right, _ in rows]
        truth = probabilities.gather(1, labels[:, None])[:, 0]
        own = cls.table(truth, right, 10)
        return [
            (sum(gaps) / len(gaps), "weigh each bin by its share of the predictions"),
            (sum(gaps) / 10, "weigh each bin by its share of the predictions: an empty one has 0"),
            (
                abs(float((confidence - right).mean())),
                "take the size of the difference in each bin, not of the total",
            ),
            (
                float((confidence - right).abs().mean()),
                "take the means of a bin first, and then the size of their difference",
            ),
            (max(gaps), "the mean over the bins is asked, not the largest"),
            (
                sum(share * abs((b + 0.5) / 10 - right) for b, _, right, share in rows),
                "the mean confidence of a bin, not the middle of the bin",
            ),
            (
                sum(share * abs(mean - right) for _, mean, right, share in own),
                "confidence is the probability of the class that was chosen, not of the label",
            ),
            (
                math.sqrt(sum(share * (mean - right) ** 2 for _, mean, right, share in rows)),
                "the differences in size, not their squares",
            ),
        ]

    @staticmethod
    def predictions(
        probabilities: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Confidence, and 1 where the prediction is right, else 0."""
        confidence, chosen = probabilities.max(1)
        return confidence, (chosen == labels).double()

    @staticmethod
    def table(
        confidence: torch.Tensor, right: torch.Tensor, bins: int
    ) -> list[tuple[int, float, float, float]]:
        """(bin, mean confidence, share that is right, share of all) of every bin with any."""
        which = torch.bucketize(confidence, torch.arange(1, bins, dtype=torch.float64) / bins)
        rows = [(b, which == b) for b in range(bins) if bool((which == b).any())]
        return [
            (b, float(confidence[r].mean()), float(right[r].mean()), float(r.double().mean()))
            for b, r in rows
        ]
