"""Rare classes, and confidence that means what it says."""

from __future__ import annotations

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

from .shared import finite, number


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
            "far": call(answer, 1000 * logits, labels, counts),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        logits, labels, counts = cases
        each = -logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
        weights = 1 / counts[labels]
        right = (weights * each).sum() / weights.sum()
        by_count = counts[labels]
        far = -(1000 * logits).log_softmax(1).gather(1, labels[:, None])[:, 0]
        never = finite(
            "a class that never occurs",
            0.5,
            outputs["never"],
            float(right),
            "1/0 got into a sum: look up the weights of the labels that are there",
        )
        return [
            number(
                "weighted loss",
                2,
                outputs["loss"],
                right,
                [
                    ((weights * each).mean(), "divide by the weights that took part, not by n"),
                    ((weights * each).sum(), "divide by the weights that took part"),
                    (each.mean(), "the weights have no effect"),
                    ((by_count * each).sum() / by_count.sum(), "the rarer a class, the heavier"),
                    (
                        (weights * each).sum() / (1 / counts).sum(),
                        "the weights of the examples belong below, not those of the classes",
                    ),
                ],
            ),
            number(
                "equal counts change nothing",
                1,
                outputs["equal"],
                each.mean(),
                [(each.mean() / 7, "divide by the weights that took part, not by n")],
            ),
            never,
            finite(
                "logits in the thousands",
                0.5,
                outputs["far"],
                float((weights * far).sum() / weights.sum()),
                "start from logarithms of probabilities, with the largest logit subtracted",
            ),
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
        unweighted = self.error(probabilities, labels, 10, weigh=False)
        signed = abs(self.gap(probabilities, labels))
        right = self.error(probabilities, labels, 10)
        return [
            compare(
                "ten bins",
                1.5,
                outputs["ten"],
                right,
                [
                    (unweighted, "weigh each bin by its share of the predictions"),
                    (signed, "take the size of the difference in each bin, not of the total"),
                    (100 * right, "a share, not percent"),
                ],
                rtol=1e-5,
            ),
            compare(
                "another number of bins",
                0.5,
                outputs["two"],
                self.error(probabilities, labels, 2),
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

    @staticmethod
    def gap(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
        confidence, chosen = probabilities.max(1)
        return float(confidence.mean() - (chosen == labels).double().mean())

    @staticmethod
    def error(
        probabilities: torch.Tensor, labels: torch.Tensor, bins: int, weigh: bool = True
    ) -> float:
        confidence, chosen = probabilities.max(1)
        right = (chosen == labels).double()
        which = torch.bucketize(confidence, torch.arange(1, bins, dtype=torch.float64) / bins)
        rows = [which == b for b in range(bins) if bool((which == b).any())]
        gaps = [float((confidence[r] - right[r]).mean().abs()) for r in rows]
        shares = [float(r.double().mean()) if weigh else 1 / len(rows) for r in rows]
        return sum(g * s for g, s in zip(gaps, shares, strict=True))
