"""The loss of a large vocabulary, without its logits."""

from __future__ import annotations

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

from ..backprop.shared import DERIVATIVES, SINGLE, both
from .shared import finite, number


@exercise("losses.chunked")
class Chunked(Exercise):
    """Never build the logits."""

    points, minutes, difficulty, importance = 5, 12, 4, 4
    forbidden = (
        "torch.nn.functional.cross_entropy",
        "roofline.losses.cross_entropy",
        "roofline.autograd.cross_entropy",
        *DERIVATIVES,
    )
    chunk = 12  # of 37 rows: the last piece has a single one

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        hidden, weight = (torch.randn(s, generator=random) for s in ((37, 6), (11, 6)))
        large = [torch.randn(s, generator=random) for s in ((256, 8), (512, 8))]
        return (
            (hidden, weight, torch.randint(0, 11, (37,), generator=random)),
            (*large, torch.randint(0, 512, (256,), generator=random)),
        )

    def probe(self, answer: Any, cases: Any) -> Any:
        small, large = cases
        return {
            "even": call(answer, *(t[:32] if t.shape[0] == 37 else t for t in small), chunk=8),
            "uneven": call(answer, *small, chunk=self.chunk),
            "large": call(answer, *large, chunk=8, count=True),
            "far": call(
                answer, 1000 * small[0].double(), small[1].double(), small[2], chunk=self.chunk
            ),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        (hidden, weight, labels), (large, wide, _) = cases
        even_loss, even_slope = self.reference(hidden[:32], weight, labels[:32])
        loss, slope = self.reference(hidden, weight, labels)
        mean_of_means, total = self.by_piece(hidden, weight, labels, self.chunk)
        whole = self.reference(hidden[:36], weight, labels[:36])
        gradient = compare(
            "gradient",
            1,
            outputs["even"][1],
            even_slope,
            [
                (32 * even_slope, "the loss is a mean over all n rows: divide the gradient by n"),
                (
                    self.by_piece(hidden[:32], weight, labels[:32], 8)[1],
                    "divide by n, not by the rows of the piece",
                ),
                (-even_slope, "the sign: probabilities minus truth"),
            ],
        )
        value = number(
            "loss", 1, outputs["even"][0], even_loss, [(32 * even_loss, "the mean is asked")]
        )
        value = both(value, "return two things: the loss, and its gradient")
        last = compare(
            "n that is no multiple of the chunk",
            1,
            outputs["uneven"],
            [float(loss), slope],
            [
                (
                    [float(mean_of_means), total],
                    "a mean of means weighs the short last piece too much",
                ),
                (
                    [float(mean_of_means), slope],
                    "a mean of means weighs the short last piece too much",
                ),
                (
                    [float(whole[0]), whole[1]],
                    "the last rows are missing: a piece may be shorter than the chunk",
                ),
            ],
        )
        far = finite(
            "logits in the thousands, float64",
            0.5,
            outputs["far"],
            [
                float(v) if v.dim() == 0 else v
                for v in self.reference(1000 * hidden.double(), weight.double(), labels)
            ],
            "start from logarithms of probabilities, with the largest logit subtracted",
            rtol=SINGLE,
        )
        return [value, gradient, last, far, self._largest(outputs, [value, gradient], large, wide)]

    def _largest(
        self, outputs: Any, before: list[Item], large: torch.Tensor, wide: torch.Tensor
    ) -> Item:
        """Counted: nothing as large as an eighth of the logits, nor half of them in pieces."""
        name, made = "never holds more than a piece", outputs["large"]
        if any(item.lost for item in before) or not made.ok:
            return Item(name, 1.5, 0.0, "counted once loss and gradient are right")
        whole = 4 * len(large) * len(wide)
        if made.counts["flops"] < 2 * len(large) * wide.numel():
            hint = "only torch operations are counted: do the products with torch"
            return Item(name, 1.5, 0.0, "the products were not seen", hint)
        largest = at_most(name, 1.5, made, whole // 8, "bytes at once", "largest_allocation")
        peak = at_most(name, 1.5, made, whole // 2, "bytes alive together", "peak_bytes")
        if largest.lost:
            hint = "a tensor of about n × k entries was built: work on rows[start : start + chunk]"
            return Item(name, 1.5, 0.0, largest.message, hint)
        if peak.lost:
            hint = "the pieces are kept: take from each what you need, and forget it"
            return Item(name, 1.5, 0.0, peak.message, hint)
        return largest

    @staticmethod
    def reference(
        hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        log_p = (hidden @ weight.T).log_softmax(1)
        one_hot = torch.nn.functional.one_hot(labels, len(weight)).to(log_p.dtype)
        n = len(labels)
        return -(one_hot * log_p).sum() / n, (log_p.exp() - one_hot) @ weight / n

    @classmethod
    def by_piece(
        cls, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, chunk: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean of the pieces' mean losses, and the gradients of each."""
        pieces = [
            cls.reference(h, weight, y)
            for h, y in zip(hidden.split(chunk), labels.split(chunk), strict=True)
        ]
        return torch.stack([p[0] for p in pieces]).mean(), torch.cat([p[1] for p in pieces])
