"""Pictures brought to one scale."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

Pair = tuple[torch.Tensor, torch.Tensor]
PLACES = (0, 2, 3)


def scaled(
    train: torch.Tensor, test: torch.Tensor, over: tuple[int, ...] = PLACES, power: int = 1
) -> Pair:
    """Both sets with the training set's numbers, taken ``over`` these dimensions."""
    mean = train.mean(over, keepdim=True)
    deviation = train.std(over, keepdim=True) ** power
    return (train - mean) / deviation, (test - mean) / deviation


def shifted(
    train: torch.Tensor, test: torch.Tensor, middle: torch.Tensor, unit: torch.Tensor
) -> Pair:
    """Both sets less ``middle``, in units of ``unit``."""
    return (train - middle) / unit, (test - middle) / unit


@exercise("cnn.standardise")
class Standardise(Exercise):
    """One scale, from the training set."""

    points, minutes, difficulty, importance = 3, 8, 1, 4
    forbidden = (
        "roofline.data.augment.normalise",
        "roofline.data.dataset.Images.standardise",
        "torch.nn.functional.batch_norm",
        "torch.nn.functional.instance_norm",
        "aten::native_batch_norm",
        "roofline.exercises.cnn.preparation.scaled",
    )
    tolerance: Any = {"rtol": 2e-3, "atol": 5e-3}  # division by n or by n - 1: both are right

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        scale = torch.tensor([0.2, 0.02, 0.3])[:, None, None]
        middle = torch.tensor([0.3, 0.6, 0.5])[:, None, None]
        # Some pictures are lighter than others: a mean of their deviations isn't the set's.
        light = torch.rand(12, 1, 1, 1, generator=random)
        train = middle + scale * (light + torch.rand(12, 3, 9, 8, generator=random))
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
            "double": call(answer, train.double(), test.double()),
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
    def enlarged(made: Call, test: torch.Tensor, channel: int, value: float) -> bool:
        """Whether the test set's difference from a constant channel came out many times as large,
        or is beyond any standardised number."""
        got = made[1].value
        if not isinstance(got, torch.Tensor) or got.shape != test.shape:
            return False
        times = got[:, channel].double() / (test[:, channel].double() - value)
        return bool((times > 1.5).all()) or bool((got.abs() > 1e3).any())

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
        right, mistakes = scaled(train, test), self.mistakes(train, test)
        name = "the training set"
        first = compare(
            name,
            1,
            outputs["both"][0],
            right[0],
            [(value[0], hint) for value, hint in mistakes],
            **self.tolerance,
        )
        if not first.lost:
            double = scaled(train.double(), test.double())
            first = compare(name, 1, outputs["double"][0], double[0], **self.tolerance)
        second = compare(
            "the test set",
            1,
            outputs["both"][1],
            right[1],
            [
                *self.own(train, test),
                *((value[1], hint) for value, hint in mistakes),
            ],
            **self.tolerance,
        )
        return [first, second, self.constant(outputs, test, constant, grey)]

    def mistakes(self, train: torch.Tensor, test: torch.Tensor) -> list[tuple[Pair, str]]:
        """What comes out of the usual mistakes, for both sets."""
        mean, deviation = train.mean(PLACES, keepdim=True), train.std(PLACES, keepdim=True)
        low, high = train.amin(PLACES, keepdim=True), train.amax(PLACES, keepdim=True)
        both = torch.cat([train, test])
        small = "a small deviation isn't 0: only one of the size of rounding, some 1e-7, is none"
        each = [(t - t.mean((2, 3), True)) / t.std((2, 3), keepdim=True) for t in (train, test)]
        return [
            (scaled(train, test, (0, 1, 2, 3)), "one mean and one deviation for each channel"),
            (scaled(train, test, (0,)), "take the numbers over all places too, not pixel by pixel"),
            (scaled(train, test, power=2), "divide by the deviation, not by the variance"),
            (scaled(train, test, power=0), "the deviation is missing"),
            (shifted(train, test, 0 * mean, deviation), "the mean is missing"),
            (
                shifted(train, test, mean, train.std((2, 3), keepdim=True).mean(0, keepdim=True)),
                "a mean of the pictures' deviations isn't the deviation of the set",
            ),
            (
                shifted(
                    train, test, both.mean(PLACES, keepdim=True), both.std(PLACES, keepdim=True)
                ),
                "these are the numbers of both sets together: use the training set's alone",
            ),
            (
                shifted(train, test, low, high - low),
                "this scale goes from the smallest to the largest: use mean and deviation",
            ),
            *(
                (shifted(train, test, mean, unit), small)
                for unit in (deviation.clamp_min(1e-2), deviation.where(deviation > 1e-2, 1.0))
            ),
            ((train, test), "it comes back as it was"),
            (scaled(train, test)[::-1], "return the training set first"),
            *(
                (self.with_epsilon(train, test, epsilon), "you added an epsilon: add nothing")
                for epsilon in (1e-5, 1e-4, 1e-3)
            ),
            ((each[0], each[1]), "the numbers are of the whole set, not of each picture"),
        ]

    @staticmethod
    def own(train: torch.Tensor, test: torch.Tensor) -> list[tuple[torch.Tensor, str]]:
        """The test set with its own mean, its own deviation, or both."""
        means = [t.mean(PLACES, keepdim=True) for t in (train, test)]
        wide = [t.std(PLACES, keepdim=True) for t in (train, test)]
        use = "use the training set's"
        return [
            ((test - means[1]) / wide[1], f"these are the test set's own numbers: {use}"),
            ((test - means[1]) / wide[0], f"this is the test set's own mean: {use}"),
            ((test - means[0]) / wide[1], f"this is the test set's own deviation: {use}"),
        ]

    def constant(
        self, outputs: Any, test: torch.Tensor, constant: torch.Tensor, grey: list[torch.Tensor]
    ) -> Item:
        """A channel whose deviation is 0, or 0 up to rounding."""
        flat = constant.clone()
        flat[:, [0, 2]] = scaled(constant[:, [0, 2]], test[:, [0, 2]])[0]
        flat[:, 1] = 0
        other = test.clone()  # its constant channel may come out as zeros or less the mean
        other[:, [0, 2]] = scaled(constant[:, [0, 2]], test[:, [0, 2]])[1]
        name, made = "a channel that never changes", outputs["constant"]
        still = compare(name, 1, made[0], flat, **self.tolerance)
        trained = not still.lost
        if trained:
            for way in (torch.zeros_like(test[:, 1]), test[:, 1] - 1.0):
                other[:, 1] = way
                still = compare(name, 1, made[1], other, **self.tolerance)
                if not still.lost:
                    break
        if not still.lost:
            still = self.up_to_rounding(name, outputs["flat"], grey, test[:, :1])
        hint = ""
        if "NaN" in still.message or "infinite" in still.message:
            hint = "its deviation is 0: divide by 1 there"
        elif trained and (
            self.enlarged(made, test, 1, 1.0)
            or any(
                self.enlarged(got, test[:, :1], 0, float(one[0, 0, 0, 0]))
                for got, one in zip(outputs["flat"], grey, strict=True)
            )
        ):
            hint = "a tiny divisor makes the test set's difference huge: divide by 1 there"
        return Item(name, 1, 0.0, still.message, hint) if still.lost and hint else still
