"""Pictures brought to one scale."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

Pair = tuple[torch.Tensor, torch.Tensor]


def scaled(
    train: torch.Tensor, test: torch.Tensor, over: tuple[int, ...] = (0, 2, 3), power: int = 1
) -> Pair:
    """Both sets with the training set's numbers, taken ``over`` these dimensions."""
    mean = train.mean(over, keepdim=True)
    deviation = train.std(over, keepdim=True) ** power
    return (train - mean) / deviation, (test - mean) / deviation


@exercise("cnn.standardise")
class Standardise(Exercise):
    """One scale, from the training set."""

    points, minutes, difficulty, importance = 3, 8, 1, 4
    forbidden = (
        "roofline.data.augment.normalise",
        "roofline.data.dataset.Images.standardise",
    )
    tolerance: Any = {"rtol": 2e-3, "atol": 5e-3}  # division by n or by n - 1: both are right

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        scale = torch.tensor([0.2, 0.1, 0.3])[:, None, None]
        middle = torch.tensor([0.3, 0.6, 0.5])[:, None, None]
        train = middle + scale * torch.rand(12, 3, 9, 8, generator=random)
        test = 0.1 + 0.7 * middle + scale * torch.rand(5, 3, 9, 8, generator=random)
        constant = train.clone()
        constant[:, 1] = 1.0
        # The mean of many 0.1 is a neighbour of 0.1, and their deviation isn't quite 0.
        flat = [torch.full((12, 1, 9, 9), value) for value in (0.1, 0.7)]
        return train, test, constant, flat

    def probe(self, answer: Any, cases: Any) -> Any:
        train, test, constant, flat = cases
        return {
            "both": call(answer, train, test),
            "constant": call(answer, constant, test),
            "flat": [call(answer, one, test[:, :1]) for one in flat],
        }

    @staticmethod
    def with_epsilon(train: torch.Tensor, test: torch.Tensor, epsilon: float) -> Pair:
        """What comes out if ``epsilon`` is added to the variance."""
        mean = train.mean((0, 2, 3), keepdim=True)
        deviation = (train.var((0, 2, 3), keepdim=True) + epsilon).sqrt()
        return (train - mean) / deviation, (test - mean) / deviation

    @staticmethod
    def huge(made: Call) -> bool:
        """Whether a part of what was returned is far beyond any standardised number."""
        parts = [made[index].value for index in (0, 1) if made[index].ok]
        return any(isinstance(t, torch.Tensor) and bool((t.abs() > 1e3).any()) for t in parts)

    def up_to_rounding(
        self, name: str, made: list[Call], sets: list[torch.Tensor], test: torch.Tensor
    ) -> Item:
        """Sets that are constant, but whose deviation rounds to a little more than 0."""
        for got, flat in zip(made, sets, strict=True):
            still = compare(name, 1, got[0], torch.zeros_like(flat), **self.tolerance)
            if still.lost:
                hint = "its deviation is 0 up to rounding, some 1e-8: divide by 1 there"
                return Item(name, 1, 0.0, still.message, hint) if got.ok else still
            for right in (torch.zeros_like(test), test - flat[0, 0, 0, 0]):
                still = compare(name, 1, got[1], right, **self.tolerance)
                if not still.lost:
                    break
            if still.lost:
                return still
        return still

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        train, test, constant, grey = cases
        right = scaled(train, test)
        ways = [
            (scaled(train, test, (0, 1, 2, 3)), "one mean and one deviation for each channel"),
            (scaled(train, test, (0,)), "take the numbers over all places too, not pixel by pixel"),
            (scaled(train, test, power=2), "divide by the deviation, not by the variance"),
            (scaled(train, test, power=0), "the deviation is missing"),
            *(
                (self.with_epsilon(train, test, epsilon), "you added an epsilon: add nothing")
                for epsilon in (1e-5, 1e-4, 1e-3)
            ),
        ]
        each = [(t - t.mean((2, 3), True)) / t.std((2, 3), keepdim=True) for t in (train, test)]
        first = [(t, "the numbers are of the whole set, not of each picture") for t in each]
        own = scaled(test, test)[0]
        flat = constant.clone()
        flat[:, [0, 2]] = scaled(constant[:, [0, 2]], test[:, [0, 2]])[0]
        flat[:, 1] = 0
        other = test.clone()  # its constant channel may come out as zeros or less the mean
        other[:, [0, 2]] = scaled(constant[:, [0, 2]], test[:, [0, 2]])[1]
        name, made = "a channel that never changes", outputs["constant"]
        still = compare(name, 1, made[0], flat, **self.tolerance)
        if not still.lost:
            for way in (torch.zeros_like(test[:, 1]), test[:, 1] - 1.0):
                other[:, 1] = way
                still = compare(name, 1, made[1], other, **self.tolerance)
                if not still.lost:
                    break
        if not still.lost:
            still = self.up_to_rounding(name, outputs["flat"], grey, test[:, :1])
        if still.lost and ("NaN" in still.message or "infinite" in still.message):
            hint = "its deviation is 0: divide by 1 there"
            still = Item(still.name, 1, 0.0, still.message, hint)
        elif still.lost and any(map(self.huge, (made, *outputs["flat"]))):
            hint = "a tiny divisor makes the test set's difference huge: divide by 1 there"
            still = Item(still.name, 1, 0.0, still.message, hint)
        return [
            compare(
                "the training set",
                1,
                outputs["both"][0],
                right[0],
                [*((value[0], hint) for value, hint in ways), first[0]],
                **self.tolerance,
            ),
            compare(
                "the test set",
                1,
                outputs["both"][1],
                right[1],
                [
                    (own, "these are the test set's own numbers: use the training set's"),
                    *((value[1], hint) for value, hint in ways),
                    first[1],
                ],
                **self.tolerance,
            ),
            still,
        ]
