"""What a network of convolutions costs, worked out and counted."""

from __future__ import annotations

import functools
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


HALVES = "a side is a whole number: an odd last row is left out before the next layer"
PADDED = "without padding a map is 2 smaller than what it was made of"
HINTS = {
    "parameters": {
        "no biases": "the biases are missing",
        "no dense bias": "the dense layer has a bias for each class",
        "one channel": "a filter has 9 weights for each channel that it sees",
        "padded": PADDED,
        "up": HALVES,
        "exact": HALVES,
        "late": HALVES,
    },
    "forward": {
        "multiplications": "a multiplication and an addition are 2 FLOPs",
        "one picture": "every picture of the batch costs as much",
        "dense once": "the dense layer works for every picture of the batch, too",
        "no places": "a filter's weights work once at every place",
        "biases": "additions of biases aren't counted: 2 for each multiply-add",
        "places of the input": "count the places of the map that comes out, 2 fewer a side",
        "pooled first": "the convolution comes before the pooling: it makes the larger map",
        "one channel": "a filter has 9 weights for each channel that it sees",
        "padded": PADDED,
        "up": HALVES,
        "exact": HALVES,
        "late": HALVES,
    },
    "remembered": {
        "no pictures": "the first layer needs the pictures for its dW",
        "no features": "the dense layer needs its inputs for its dW, too",
        "numbers": "this counts numbers, not bytes",
        "one picture": "this is one picture's share of the batch",
        "logits": "no pullback of the layers needs the logits",
        "outputs": "these are the outputs of the convolutions: dW needs their inputs",
        "outputs too": "what convolutions make isn't asked, only what those layers read",
        "padded": PADDED,
        "up": HALVES,
        "exact": HALVES,
        "late": HALVES,
    },
}


def worked_out(
    channels: tuple[int, ...],
    side: float,
    batch: int,
    classes: int,
    pooled: bool = False,
    *,
    mistake: str,
) -> dict[str, float]:
    """The account with a mistake. A half of a side is rounded "up", kept ("exact"), or kept and cut
    off in each number at the end ("late")."""
    parameters = forward = inputs = 0.0
    for layer, (before, after) in enumerate(zip(channels, channels[1:], strict=False)):
        seen, read = (1 if mistake == "one channel" else before), side
        side -= 0 if mistake == "padded" else 2
        made, small = side**2, side / 2 if mistake in ("exact", "late") else side // 2
        small = -(-side // 2) if mistake == "up" else small
        places = {"places of the input": read, "pooled first": small, "no places": 1}
        parameters += after * (9 * seen + (mistake != "no biases"))
        forward += 9 * seen * after * places.get(mistake, side) ** 2
        forward += after * made / 2 if mistake == "biases" else 0
        skipped = mistake == "outputs" or (mistake == "no pictures" and layer == 0)
        inputs += 0 if skipped else before * read**2
        inputs += after * made if mistake in ("outputs", "outputs too") else 0
        side = small
    features = channels[-1] * (1 if pooled else side**2)
    biases = 0 if mistake in ("no biases", "no dense bias") else 1
    dense = features * classes + (classes / 2 if mistake == "biases" else 0)
    pictures = 1 if mistake == "one picture" else batch
    inputs += {"no features": 0, "logits": features + classes}.get(mistake, features)
    found = {
        "parameters": parameters + classes * (features + biases),
        "forward": (1 if mistake == "multiplications" else 2)
        * (pictures * forward + (1 if mistake == "dense once" else pictures) * dense),
        "remembered": (1 if mistake == "numbers" else 4) * pictures * inputs,
    }
    return {key: value if mistake == "exact" else int(value) for key, value in found.items()}


@exercise("cnn.account")
class Account(Exercise):
    """The account."""

    points, minutes, difficulty, importance = 4, 14, 3, 4
    forbidden = (
        "roofline.models.summary",
        "roofline.exercises.cnn.cost.worked_out",
        "roofline.exercises.cnn.cost.counted",
    )
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
        flat = [counted(*case) for case in cases]
        pooled = [counted(*case, pooled=True) for case in cases]
        items = []
        for key in self.keys:
            got, right = self.over(outputs["flat"], flat, key, cases)
            items.append(compare(key, 1, got, right, self.mistakes(key, cases, False)))
        name, no_effect = "global pooling", "the dense layer then sees one number a channel"
        for key in self.keys:
            got, right = self.over(outputs["pooled"], pooled, key, cases)
            unpooled = _named(cases, [account[key] for account in flat])
            wrong = [(unpooled, f"pooled has no effect: {no_effect}")]
            item = compare(name, 1, got, right, [*wrong, *self.mistakes(key, cases, True)])
            if item.lost:
                message = item.message.removeprefix("value ")
                item = Item(name, 1, 0.0, f"{key}: {message}", item.hint)
                break
        return [*items, item]

    @staticmethod
    def over(
        outputs: list[Call], right: list[dict[str, int]], key: str, cases: Any
    ) -> tuple[Any, Any]:
        """One number of every account, or the first call that has none; and the right ones."""
        got = [made[key] for made in outputs]
        failed = next((part for part in got if not part.ok), None)
        expected = _named(cases, [account[key] for account in right])
        return failed or _named(cases, [part.value for part in got]), expected

    @staticmethod
    def mistakes(key: str, cases: Any, pooled: bool) -> list[tuple[Any, str]]:
        """What comes out of the usual mistakes, for one number of the account."""
        found = []
        for mistake, hint in HINTS[key].items():
            values = [worked_out(c, s, b, k, pooled, mistake=mistake)[key] for c, s, b, k in cases]
            found.append((_named(cases, values), hint))
        return found


@functools.lru_cache(maxsize=64)
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


def _named(cases: Any, values: list[Any]) -> dict[str, Any]:
    """A value of each case under words for the case, which a message can show."""
    words = [f"channels {c}, side {s}, batch {b}, classes {k}" for c, s, b, k in cases]
    return dict(zip(words, values, strict=True))
