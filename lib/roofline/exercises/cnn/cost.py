"""What a network of convolutions costs, worked out and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from roofline import nn
from roofline.autograd import Tensor
from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator
from roofline.models import summary


class Means(nn.Module):
    """Global average pooling, without the matrix products of pooling to a grid."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def network(channels: tuple[int, ...], side: int, classes: int, pooled: bool) -> nn.Sequential:
    """The network of the exercise."""
    layers: list[nn.Module] = []
    for before, after in zip(channels, channels[1:], strict=False):
        layers += [nn.Conv2d(before, after, 3), nn.MaxPool2d(2), nn.ReLU()]
        side = (side - 2) // 2
    if pooled:
        layers.append(Means())
    features = channels[-1] * (1 if pooled else side * side)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, classes))


@exercise("cnn.account")
class Account(Exercise):
    """The account."""

    points, minutes, difficulty, importance = 4, 14, 3, 4
    keys = ("parameters", "forward", "remembered")

    def cases(self, seed: int) -> Any:
        random = generator(seed)

        def drawn(number: int, low: int) -> tuple[tuple[int, ...], int, int, int]:
            channels = tuple(torch.randint(2, 12, (number,), generator=random).tolist())
            side, batch, classes = torch.randint(low, low + 9, (3,), generator=random).tolist()
            return channels, 2 * side + 1, batch, classes

        return [((3, 32, 64), 224, 1, 10), drawn(2, 6), drawn(4, 15)]

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            "flat": [call(answer, *case) for case in cases],
            "pooled": [call(answer, *case, pooled=True) for case in cases],
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        flat = [self.counted(*case) for case in cases]
        items = []
        for key, hints in self.mistakes(cases, flat).items():
            right = [account[key] for account in flat]
            items.append(compare(key, 1, _over(outputs["flat"], key), right, hints))
        pooled = [self.counted(c, s, b, k, pooled=True) for c, s, b, k in cases]
        got = [_over(outputs["pooled"], key) for key in self.keys]
        failed = next((part for part in got if isinstance(part, Call)), None)
        items.append(
            compare(
                "global pooling",
                1,
                failed or got,
                [[account[key] for account in pooled] for key in self.keys],
                [
                    (
                        [[account[key] for account in flat] for key in self.keys],
                        "pooled has no effect: the dense layer then sees one number a channel",
                    )
                ],
            )
        )
        return items

    @staticmethod
    def counted(
        channels: tuple[int, ...], side: int, batch: int, classes: int, pooled: bool = False
    ) -> dict[str, int]:
        """The account of a network that runs on the meta device; bytes from the shapes there."""
        with torch.device("meta"):
            model = network(channels, side, classes, pooled)
            found = summary(model, torch.empty(batch, channels[0], side, side))
        inputs = 0
        shape: tuple[int, ...] = (batch, channels[0], side, side)
        for row in found.rows:
            if row.kind in ("Conv2d", "Linear"):
                inputs += torch.Size(shape).numel()
            if row.kind != "Sequential":
                shape = row.shape or shape
        return {"parameters": found.parameters, "forward": found.flops, "remembered": 4 * inputs}

    @staticmethod
    def mistakes(cases: Any, right: list[dict[str, int]]) -> dict[str, list[tuple[list, str]]]:
        """What comes out of the usual mistakes, for each number of the account."""

        def over(formula: Callable[..., int]) -> list[int]:
            return [formula(*case, **account) for case, account in zip(cases, right, strict=True)]

        def biases(channels: Any, classes: int) -> int:
            return sum(channels[1:]) + classes

        return {
            "parameters": [
                (
                    over(lambda c, s, b, k, **a: a["parameters"] - biases(c, k)),
                    "the biases are missing",
                ),
                (
                    over(
                        lambda c, s, b, k, **a: (
                            a["parameters"]
                            - sum(9 * (i - 1) * o for i, o in zip(c, c[1:], strict=False))
                        )
                    ),
                    "a filter has 9 weights for each channel that it sees",
                ),
            ],
            "forward": [
                (
                    over(lambda *c, **a: a["forward"] // 2),
                    "a multiplication and an addition are 2 FLOPs",
                ),
                (
                    over(lambda c, s, b, k, **a: a["forward"] // b),
                    "every picture of the batch costs as much",
                ),
                (
                    over(
                        lambda c, s, b, k, **a: 2 * b * (a["parameters"] - biases(c, k)),
                    ),
                    "a filter's weights work once at every place",
                ),
            ],
            "remembered": [
                (
                    over(lambda c, s, b, k, **a: a["remembered"] - 4 * b * c[0] * s * s),
                    "the first layer needs the pictures for its dW",
                ),
                (over(lambda *c, **a: a["remembered"] // 4), "this counts numbers, not bytes"),
                (
                    over(lambda c, s, b, k, **a: a["remembered"] // b),
                    "this is one picture's share of the batch",
                ),
                (
                    over(lambda c, s, b, k, **a: a["remembered"] + 4 * b * k),
                    "no pullback of the layers needs the logits",
                ),
            ],
        }


def _over(outputs: list[Call], key: str) -> Any:
    """One number of every account, or the first call that has none."""
    got = [made[key] for made in outputs]
    return next((part for part in got if not part.ok), None) or [part.value for part in got]
