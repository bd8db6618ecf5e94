"""Chapter 3, losses: likelihoods, float formats, gradients, calibration, and a large vocabulary."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline.grading import (
    Call,
    Exercise,
    Item,
    at_most,
    call,
    compare,
    exercise,
    generator,
)

DERIVATIVES = ("torch.Tensor.backward", "torch.autograd.grad", "torch.func.vjp", "torch.func.grad")


def _finite(name: str, points: float, made: Call, expected: torch.Tensor, hint: str) -> Item:
    """Like compare, with a hint of the exercise's own for whatever isn't finite."""
    item = compare(name, points, made, expected)
    if item.lost and ("NaN" in item.message or "infinite" in item.message):
        return Item(name, points, 0.0, item.message, hint)
    return item


@exercise("losses.gaussian")
class Gaussian(Exercise):
    """What mean squared error assumes."""

    points, minutes, difficulty, importance = 3, 8, 1, 4
    forbidden = ("torch.nn.functional.gaussian_nll_loss", "torch.distributions.Normal")

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        mean, y = torch.randn(9, generator=random), torch.randn(9, generator=random)
        return mean, 0.5 + torch.rand(9, generator=random), y

    def probe(self, answer: Any, cases: Any) -> Any:
        mean, sigma, y = cases
        return {
            "one": call(answer, mean, 1.0, y),
            "each": call(answer, mean, sigma, y),
            "far": call(answer, mean + 100, 0.5, y),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        mean, sigma, y = cases
        constant = torch.tensor(0.5 * math.log(2 * math.pi))

        def loss(mean: torch.Tensor, sigma: Any) -> torch.Tensor:
            return (
                torch.log(torch.as_tensor(sigma)) + constant + self.square(mean, sigma, y)
            ).mean()

        square = self.square(mean, 1.0, y)
        return [
            compare(
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
                    (square + constant, "one number is asked: take the mean"),
                ],
            ),
            compare(
                "a sigma for each example",
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
                ],
            ),
            _finite(
                "a prediction that is far off",
                1,
                outputs["far"],
                loss(mean + 100, 0.5),
                "the density underflows to 0: take the logarithm on paper",
            ),
        ]

    @staticmethod
    def square(mean: torch.Tensor, sigma: Any, y: torch.Tensor) -> torch.Tensor:
        return 0.5 * ((y - mean) / sigma) ** 2


@exercise("losses.binary")
class Binary(Exercise):
    """The coin, from logits."""

    points, minutes, difficulty, importance = 3, 10, 2, 4
    forbidden = (
        "torch.nn.functional.binary_cross_entropy_with_logits",
        "torch.nn.functional.binary_cross_entropy",
        "torch.nn.functional.logsigmoid",
        "torch.nn.functional.softplus",
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
            "soft": call(answer, x, soft),
            "far": call(answer, far, torch.tensor([1.0, 0.0, 1.0, 0.0])),
            "small": call(answer, torch.tensor([-20.0, 20.0]), torch.tensor([0.0, 1.0])),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, hard, soft = cases
        logits = x.double()

        def loss(y: torch.Tensor) -> torch.Tensor:
            p = torch.sigmoid(logits)
            return -(y * p.log() + (1 - y) * (1 - p).log()).float()

        p = torch.sigmoid(x)
        mistakes = [
            (loss(hard).mean(), "one loss for each entry is asked, not their mean"),
            (-(hard * p.log()), "the second term is missing: what if y is 0?"),
            (loss(1 - hard), "the two terms are swapped"),
            (-loss(hard), "the sign: least is best"),
            (-(hard * p.log()) + (1 - hard) * (1 - p).log(), "the minus must reach both terms"),
        ]
        tiny = torch.full((2,), math.log1p(math.exp(-20)))
        return [
            compare("targets 0 and 1", 1, outputs["hard"], loss(hard), mistakes),
            compare("targets in between", 0.5, outputs["soft"], loss(soft)),
            _finite(
                "logits up to ±10,000",
                1,
                outputs["far"],
                torch.tensor([1e4, 0.0, 0.0, 1e4]),
                "no exponential may see a large positive number, no logarithm a zero",
            ),
            compare(
                "tiny losses keep their digits",
                0.5,
                outputs["small"],
                tiny,
                [(torch.zeros(2), "1 + e⁻²⁰ rounds to 1 in float32: log1p doesn't add it first")],
                atol=0.0,
            ),
        ]


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
            _finite(
                "float16, logits up to ±30",
                0.5,
                outputs["half"],
                torch.logsumexp((4 * z).half().float(), -1).half(),
                "float16 overflows at exp(11.1): subtract the largest logit first",
            ),
            _finite(
                "logits of ±10,000",
                0.5,
                outputs["far"],
                torch.tensor([1e4, -1e4 + math.log(3)]),
                "subtract each row's own largest logit before the exponential",
            ),
            _finite(
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
        from roofline.exercises.backprop import held

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
        item = _finite(name, 1, outputs["far"], torch.tensor(1e4 / 3), hint)
        if item.lost:
            return item
        slope = torch.tensor([[0.0, 0, 0], [0, 0, 0], [-1, 0, 1]]) / 3
        return _finite(name, 1, outputs["far gradient"], slope, hint)

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


@exercise("losses.balanced")
class Balanced(Exercise):
    """When one class is rare."""

    points, minutes, difficulty, importance = 4, 10, 3, 3
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
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        logits, labels, counts = cases
        each = -logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
        weights = 1 / counts[labels]
        right = (weights * each).sum() / weights.sum()
        by_count = counts[labels]
        never = _finite(
            "a class that never occurs",
            1,
            outputs["never"],
            right,
            "1/0 got into a sum: look up the weights of the labels that are there",
        )
        return [
            compare(
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
            compare(
                "equal counts change nothing",
                1,
                outputs["equal"],
                each.mean(),
                [(each.mean() / 7, "divide by the weights that took part, not by n")],
            ),
            never,
        ]


@exercise("losses.calibration")
class Calibration(Exercise):
    """Does 90 percent mean 90 percent?"""

    points, minutes, difficulty, importance = 3, 12, 3, 3

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        probabilities = (3 * torch.randn(200, 4, generator=random, dtype=torch.float64)).softmax(1)
        labels = torch.multinomial(probabilities, 1, generator=random)[:, 0]
        return probabilities, labels

    def probe(self, answer: Any, cases: Any) -> Any:
        probabilities, labels = cases
        # Edges that floats hold exactly: 0.5, 0.75 and 1 with four bins.
        edges = torch.tensor(
            [[0.5, 0.25, 0.25], [0.75, 0.125, 0.125], [1, 0, 0]], dtype=torch.float64
        )
        return {
            "ten": call(answer, probabilities, labels),
            "five": call(answer, probabilities, labels, bins=5),
            "edges": call(answer, edges, torch.tensor([1, 0, 1]), bins=4),
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
                outputs["five"],
                self.error(probabilities, labels, 5),
                rtol=1e-5,
            ),
            compare(
                "edges, and a confidence of 1",
                1,
                outputs["edges"],
                (0.5 + 0.25 + 1) / 3,
                [
                    ((0.5 + 0.75) / 3, "a confidence on an upper edge belongs to the bin below"),
                    ((0.5 + 0.25) / 3, "a confidence of 1 was lost: bins are closed above"),
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


@exercise("losses.chunked")
class Chunked(Exercise):
    """Never build the logits."""

    points, minutes, difficulty, importance = 5, 18, 4, 4
    forbidden = (
        "torch.nn.functional.cross_entropy",
        "roofline.losses.cross_entropy",
        "roofline.autograd.cross_entropy",
        *DERIVATIVES,
    )

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
            "uneven": call(answer, *small, chunk=8),
            "large": call(answer, *large, chunk=16, count=True),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        (hidden, weight, labels), (large, wide, _) = cases
        even_loss, even_slope = self.reference(hidden[:32], weight, labels[:32])
        loss, slope = self.reference(hidden, weight, labels)
        n = len(labels)
        pieces = [
            self.reference(hidden[i : i + 8], weight, labels[i : i + 8]) for i in range(0, n, 8)
        ]
        mean_of_means = torch.stack([p[0] for p in pieces]).mean()
        total = torch.cat([p[1] for p in pieces])
        whole = self.reference(hidden[:32], weight, labels[:32])
        gradient = compare(
            "gradient",
            1,
            outputs["even"][1],
            even_slope,
            [
                (32 * even_slope, "the loss is a mean over all n rows: divide the gradient by n"),
                (total[:32], "divide by n, not by the rows of the piece"),
                (-even_slope, "the sign: probabilities minus truth"),
            ],
        )
        value = compare(
            "loss", 1, outputs["even"][0], even_loss, [(32 * even_loss, "the mean is asked")]
        )
        last = compare(
            "n that is no multiple of the chunk",
            1,
            outputs["uneven"],
            [loss, slope],
            [
                ([mean_of_means, total], "a mean of means weighs the short last piece too much"),
                ([mean_of_means, slope], "a mean of means weighs the short last piece too much"),
                (list(whole), "the last rows are missing: a piece may be shorter than the chunk"),
            ],
        )
        return [value, gradient, last, self._largest(outputs, [value, gradient], large, wide)]

    def _largest(
        self, outputs: Any, before: list[Item], large: torch.Tensor, wide: torch.Tensor
    ) -> Item:
        name = "never holds more than a piece"
        if any(item.lost for item in before):
            return Item(name, 2, 0.0, "counted once loss and gradient are right")
        whole = 4 * len(large) * len(wide)
        item = at_most(name, 2, outputs["large"], whole // 4, "bytes at once", "largest_allocation")
        if item.lost and outputs["large"].ok:
            hint = "a tensor of about n × k entries was built: work on rows[start : start + chunk]"
            return Item(name, 2, 0.0, item.message, hint)
        return item

    @staticmethod
    def reference(
        hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        log_p = (hidden @ weight.T).log_softmax(1)
        one_hot = torch.nn.functional.one_hot(labels, len(weight)).float()
        n = len(labels)
        return -(one_hot * log_p).sum() / n, (log_p.exp() - one_hot) @ weight / n
