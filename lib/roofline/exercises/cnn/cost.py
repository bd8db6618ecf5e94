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
            named = [(_named(cases, value), hint) for value, hint in hints]
            got = _over(outputs["flat"], key, cases)
            items.append(compare(key, 1, got, _named(cases, right), named))
        pooled = [self.counted(c, s, b, k, pooled=True) for c, s, b, k in cases]
        name, no_effect = "global pooling", "the dense layer then sees one number a channel"
        for key in self.keys:
            unpooled = _named(cases, [account[key] for account in flat])
            item = compare(
                name,
                1,
                _over(outputs["pooled"], key, cases),
                _named(cases, [account[key] for account in pooled]),
                [(unpooled, f"pooled has no effect: {no_effect}")],
            )
            if item.lost:
                message = item.message.removeprefix("value ")
                item = Item(name, 1, 0.0, f"{key}: {message}", item.hint)
                break
        return [*items, item]

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
    def unfloored(
        way: str, channels: tuple[int, ...], side: float, batch: int, classes: int
    ) -> dict[str, float]:
        """The account with sides of which a half is rounded "up", kept ("exact"), or kept and cut
        off in each number at the end ("late")."""
        parameters = forward = inputs = 0.0
        for before, after in zip(channels, channels[1:], strict=False):
            inputs += before * side**2
            side -= 2
            parameters += after * (9 * before + 1)
            forward += 9 * before * after * side**2
            side = -(-side // 2) if way == "up" else side / 2
        features = channels[-1] * side**2
        found = {
            "parameters": parameters + classes * (features + 1),
            "forward": 2 * batch * (forward + features * classes),
            "remembered": 4 * batch * (inputs + features),
        }
        return {key: value if way == "exact" else int(value) for key, value in found.items()}

    @staticmethod
    def mistakes(cases: Any, right: list[dict[str, int]]) -> dict[str, list[tuple[list, str]]]:
        """What comes out of the usual mistakes, for each number of the account."""

        def over(formula: Callable[..., int]) -> list[int]:
            return [formula(*case, **account) for case, account in zip(cases, right, strict=True)]

        def biases(channels: Any, classes: int) -> int:
            return sum(channels[1:]) + classes

        def maps(channels: Any, side: int, batch: int) -> list[tuple[int, int]]:
            """Numbers that a convolution reads and writes."""
            found = []
            for before, after in zip(channels, channels[1:], strict=False):
                found.append((batch * before * side**2, batch * after * (side - 2) ** 2))
                side = (side - 2) // 2
            return found

        unfloored_ways = [
            [Account.unfloored(way, *case) for case in cases] for way in ("up", "exact", "late")
        ]
        halves = "a side is a whole number: an odd last row is left out before the next layer"

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
                *(([a["parameters"] for a in found], halves) for found in unfloored_ways),
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
                (
                    over(
                        lambda c, s, b, k, **a: (
                            a["forward"] + b * k + sum(made for _, made in maps(c, s, b))
                        )
                    ),
                    "additions of biases aren't counted: 2 for each multiply-add",
                ),
                *(([a["forward"] for a in found], halves) for found in unfloored_ways),
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
                (
                    over(
                        lambda c, s, b, k, **a: (
                            a["remembered"] + 4 * sum(made - read for read, made in maps(c, s, b))
                        )
                    ),
                    "these are the outputs of the convolutions: dW needs their inputs",
                ),
                *(([a["remembered"] for a in found], halves) for found in unfloored_ways),
            ],
        }


def _named(cases: Any, values: list[Any]) -> dict[str, Any]:
    """A value of each case under words for the case, which a message can show."""
    words = [f"channels {c}, side {s}, batch {b}, classes {k}" for c, s, b, k in cases]
    return dict(zip(words, values, strict=True))


def _over(outputs: list[Call], key: str, cases: Any) -> Any:
    """One number of every account, or the first call that has none."""
    got = [made[key] for made in outputs]
    failed = next((part for part in got if not part.ok), None)
    return failed or _named(cases, [part.value for part in got])
