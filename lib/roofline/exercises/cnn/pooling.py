"""The largest of each window, and what its pullback holds."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from roofline.grading import Exercise, Item, at_most, call, compare, exercise, generator

from .shared import AUTOGRAD


def tiles(x: torch.Tensor, size: int) -> torch.Tensor:
    """(n, c, h, w) to (n, c, h / size, w / size, size²)."""
    return x.unfold(2, size, size).unfold(3, size, size).flatten(-2)


def overlapping(x: torch.Tensor, size: int) -> torch.Tensor:
    """The maxima of windows that move by 1."""
    return x.unfold(2, size, 1).unfold(3, size, 1).amax((-2, -1))


def in_a_row(x: torch.Tensor, size: int) -> torch.Tensor:
    """The maxima of size² numbers that follow each other, as a reshape alone gives them."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // size, w // size, size * size).amax(-1)


def of_three(item: Item) -> Item:
    """An item about windows of 3 by 3 that is lost where windows of 2 by 2 were right."""
    if item.lost and not item.hint:
        hint = "right for windows of 2 by 2, but not for 3 by 3 of one picture"
        return Item(item.name, item.points, 0.0, item.message, hint)
    return item


@exercise("cnn.max_pool")
class MaxPool(Exercise):
    """Max pooling, with a pullback that forgets the picture."""

    points, minutes, difficulty, importance = 4, 14, 3, 3
    forbidden = (
        "torch.nn.functional.max_pool2d",
        "torch.nn.functional.adaptive_max_pool2d",
        "torch.nn.MaxPool2d",
        "roofline.autograd.max_pool2d",
        "roofline.nn.MaxPool2d",
        "aten::max_pool2d_with_indices",
        "aten::max_pool3d_with_indices",
        "aten::max_pool1d",
        "aten::adaptive_max_pool2d",
        "aten::adaptive_max_pool3d",
        "aten::fractional_max_pool2d",
        *AUTOGRAD,
        "roofline.exercises.cnn.pooling.MaxPool.gradient",
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        x = torch.randn(2, 3, 6, 8, generator=random) - 2
        wide = torch.randn(1, 2, 9, 6, generator=random).double() - 2
        tied = torch.zeros(2, 1, 4, 4)
        tied[1] = torch.tensor([-2.0, -1.0]).repeat(4, 2)  # two of each window are the largest
        gradients = [
            torch.randn(s, generator=random) for s in ((2, 3, 3, 4), (1, 2, 3, 2), (2, 1, 2, 2))
        ]
        gradients[1] = gradients[1].double()
        return [(x, 2), (wide, 3), (tied, 2)], gradients

    def probe(self, answer: Any, cases: Any) -> Any:
        from roofline.exercises.backprop.shared import held

        made = [call(answer, *case) for case in cases[0]]
        # Before they are used: a pullback may let go of what it holds.
        bytes_held = [held(m[1])["bytes"] for m in made[:2]]
        return {
            "results": [m[0] for m in made],
            "gradients": [call(m[1], dy) for m, dy in zip(made, cases[1], strict=True)],
            "held": bytes_held,
        }

    @staticmethod
    def gradient(x: torch.Tensor, size: int, dy: torch.Tensor) -> torch.Tensor:
        _, place = functional.max_pool2d(x, size, return_indices=True)
        dx = torch.zeros_like(x).flatten(2)
        return dx.scatter_(2, place.flatten(2), dy.flatten(2)).view(x.shape)

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        (x, size), (wide, three), (tied, _) = cases[0]
        dy, dy3, dy_tied = cases[1]
        result = self.results(outputs, x, wide)
        bare = [made.ok and isinstance(made.value, torch.Tensor) for made in outputs["gradients"]]
        outputs = {**outputs, "gradients": [made[0] for made in outputs["gradients"]]}
        largest = self.gradient(x, size, dy)
        mask = (largest != 0).float()
        spread = functional.interpolate(dy, scale_factor=2)
        gradient = compare(
            "gradient",
            1,
            outputs["gradients"][0],
            largest,
            [
                (mask, "these are ones: multiply by the gradient that arrives"),
                (spread, "only the largest of a window gets the gradient"),
                (spread / 4, "only the largest of a window gets the gradient, and all of it"),
                (
                    tiles(largest, size).reshape(x.shape),
                    "the windows lie in a row: give them their two sides, then move the axes back",
                ),
                (self.gradient(x.abs(), size, dy), "the largest, not what is farthest from 0"),
            ],
        )
        if not gradient.lost:
            gradient = of_three(
                compare("gradient", 1, outputs["gradients"][1], self.gradient(wide, three, dy3))
            )
        ties = self.tie(outputs, tied, dy_tied)
        if any(bare):
            message = "the pullback must return a tuple, (dx,)"
            gradient = Item(gradient.name, 1, 0.0, message, "a comma makes a tuple: return (dx,)")
            ties = Item(ties.name, 1, 0.0, message)
        memory = self.memory(outputs, [(dy, size), (dy3, three)])
        if gradient.lost:
            memory = Item(memory.name, 1, 0.0, "counted once the gradient is right")
        return [result, gradient, ties, memory]

    @staticmethod
    def results(outputs: Any, x: torch.Tensor, wide: torch.Tensor) -> Item:
        for got, picture, size in zip(outputs["results"], (x, wide), (2, 3), strict=False):
            windows = tiles(picture, size)
            right = windows.amax(-1)
            item = compare(
                "result",
                1,
                got,
                right,
                [
                    (windows.mean(-1), "this is the mean of each window"),
                    (right.clamp_min(0), "the largest may be below 0: what do you start from?"),
                    (
                        overlapping(picture, size),
                        "windows don't overlap: they lie their size apart",
                    ),
                    (windows[..., 0], "this is the first of each window, not the largest"),
                    (windows.amin(-1), "this is the smallest of each window"),
                    (
                        windows.gather(-1, windows.abs().argmax(-1, True))[..., 0],
                        "the largest, not what is farthest from 0",
                    ),
                    (
                        in_a_row(picture, size),
                        "a window is a square, not numbers in a row: split both sides, move axes",
                    ),
                ],
            )
            if item.lost:
                return of_three(item) if size == 3 else item
        return item

    @staticmethod
    def memory(outputs: Any, sizes: list[tuple[torch.Tensor, int]]) -> Item:
        """At most 8 bytes for each window, or a byte for each number: a mask of the winners.

        Windows of 2 alone would let the picture pass in half precision, and windows of 3 don't.
        A few numbers beside them, such as sizes in a tensor, are free.
        """
        name = "remembers less than the picture"
        for got, (dy, size) in zip(outputs["held"], sizes, strict=True):
            item = at_most(name, 1, got, max(8, size * size) * dy.numel() + 64, "bytes")
            if item.lost:
                hint = "where the largest stood is enough: hold places and sizes, not x"
                return Item(name, 1, 0.0, item.message, hint) if got.ok else item
        return item

    @staticmethod
    def tie(outputs: Any, tied: torch.Tensor, dy: torch.Tensor) -> Item:
        """Whichever of equals gets the gradient, it is one of them, and it gets all of it."""
        got, name = outputs["gradients"][2], "equal numbers in a window"
        if not got.ok or not isinstance(got.value, torch.Tensor) or got.value.shape != tied.shape:
            return compare(name, 1, got, tied)
        given, windows = tiles(got.value, 2), tiles(tied, 2)
        whole = compare(
            name,
            1,
            given.sum(-1),
            dy,
            [
                (
                    dy * (windows == windows.amax(-1, keepdim=True)).sum(-1),
                    "each of the equals got the whole gradient: it was multiplied",
                )
            ],
        )
        if whole.lost:
            return whole
        chosen = given != 0
        if bool((chosen.sum(-1) > 1).any()):
            hint = "any one of the equals gets all of it: a place, not a share for each"
            return Item(name, 1, 0.0, "several places of a window got a part", hint)
        if bool((chosen & (windows < windows.amax(-1, keepdim=True))).any()):
            hint = "find the place in the numbers as they are: signs belong to them"
            return Item(name, 1, 0.0, "a place that isn't the largest got the gradient", hint)
        return whole
