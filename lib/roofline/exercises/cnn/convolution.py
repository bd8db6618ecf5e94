"""A convolution as one product."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from roofline.grading import Call, Exercise, Item, at_most, call, compare, exercise, generator

from .shared import READY_MADE, hinted, later, multiplied, wasted


def convolved(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int = 1, padding: int = 0
) -> torch.Tensor:
    return functional.conv2d(x, weight, bias, stride, padding)


@exercise("cnn.convolve")
class Convolve(Exercise):
    """A convolution as one matrix product."""

    points, minutes, difficulty, importance = 5, 18, 3, 5
    forbidden = (*READY_MADE, "torch.nn.functional.conv2d", "aten::convolution")
    launches = 8

    def cases(self, seed: int) -> Any:
        random = generator(seed)

        def drawn(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
            return [torch.randn(shape, generator=random) for shape in shapes]

        one = [t.double() for t in drawn((1, 1, 6, 6), (1, 1, 3, 3), (1,))]
        many = drawn((2, 3, 7, 9), (5, 3, 3, 2), (5,))
        apart = drawn((2, 3, 12, 8), (4, 3, 3, 2), (4,))  # 5 by 4 places, and rest at both sides
        large = drawn((6, 3, 16, 16), (4, 3, 3, 3), (4,))
        return one, many, apart, large

    def probe(self, answer: Any, cases: Any) -> Any:
        one, many, apart, large = cases
        return {
            "one": call(answer, *one),
            "many": call(answer, *many),
            "stride": call(answer, *apart, stride=3, padding=2, count=True),
            "large": call(answer, *large, count=True),
        }

    def too_many(self, made: Call) -> str:
        """The hint for too many launches: a loop, or only many small steps."""
        if made.ok and made.counts["launches"] <= 2 * self.launches:
            return (
                "no loop over pictures either; every operation of torch's is a launch, also "
                "border, bias and arithmetic on indices: a view of the windows needs none"
            )
        return "no loop: all windows of all pictures in one tensor, then one product"

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        one, many, apart, large = cases

        def mistakes(x: Any, weight: Any, bias: Any) -> list[tuple[Any, str]]:
            right = convolved(x, weight, bias)
            n, o, h, w = right.shape
            scrambled = right.permute(0, 2, 3, 1).reshape(n, o, h, w)
            mixed = right.transpose(0, 1).reshape(n, o, h, w)
            alone = convolved(x[:, :1], weight[:, :1], bias)
            moved = "the product has its axes in another order: move them, don't reshape them"
            return [
                (right - bias[:, None, None], "the bias is missing"),
                (
                    right - bias[:, None, None] + bias[0],
                    "every filter has a bias of its own: bias[o] for all places of map o",
                ),
                (convolved(x, weight.flip(2, 3), bias), "the kernel isn't flipped here"),
                (
                    lambda: convolved(x, weight.transpose(2, 3), bias),
                    "rows and columns of the kernel are exchanged",
                ),
                (scrambled, moved),
                (mixed, moved),
                (alone, "sum over all channels of the picture"),
            ]

        single = compare("one channel", 1, outputs["one"], convolved(*one), mistakes(*one))
        values = compare(
            "channels, filters and bias", 1, outputs["many"], convolved(*many), mistakes(*many)
        )
        strided = self.strided(outputs["stride"], *apart)
        counted = "one product", "memory"
        x, weight, _ = large
        columns = 4 * len(x) * weight[0].numel() * 14 * 14  # bytes
        waiting = [later(values, name) for name in counted]
        made, flops = outputs["large"], 2 * len(x) * 14 * 14 * weight.numel()
        product = multiplied(counted[0], made, flops)
        launches = (
            waiting[0]
            or product
            or wasted(counted[0], made, flops, "each place and filter once: no more is needed")
            or hinted(
                at_most(counted[0], 1, made, self.launches, "launches", "launches"),
                self.too_many(made),
            )
        )
        if not (launches.lost or strided.lost):
            hint = "take only windows a stride apart: places that it skips aren't asked for"
            flops = 2 * len(apart[0]) * 5 * 4 * apart[1].numel()
            launches = wasted(counted[0], outputs["stride"], flops, hint) or launches
        memory = waiting[1] or hinted(
            at_most(
                counted[1],
                1,
                outputs["large"],
                1.1 * columns,
                "bytes at once",
                "largest_allocation",
            ),
            "multiply and sum in one step, as a matrix product does: the terms never exist",
        )
        if product and not memory.lost:
            memory = Item(counted[1], 1, 0.0, "counted once there is one product")
        return [single, values, strided, launches, memory]

    @staticmethod
    def strided(made: Call, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> Item:
        """A stride of 3 and a padding of 2, and sides into which the last windows don't fit."""
        right = convolved(x, weight, bias, 3, 2)
        behind = functional.pad(x, [0, 4, 0, 4])
        before = functional.pad(x, [4, 0, 4, 0])
        once = "padding stands on all four sides, as much on each"
        return compare(
            "stride and padding",
            1,
            made,
            right,
            [
                (convolved(x, weight, bias), "stride and padding have no effect"),
                (convolved(x, weight, bias, 3), "the padding has no effect"),
                (convolved(x, weight, bias, 1, 2), "the stride has no effect"),
                (convolved(behind, weight, bias, 3), once),
                (convolved(before, weight, bias, 3), once),
                (
                    convolved(functional.pad(x, [2] * 4, "replicate"), weight, bias, 3),
                    "the border is zeros",
                ),
                (
                    convolved(functional.pad(x, [2, 4, 2, 4]), weight, bias, 3),
                    "a place into which the window doesn't fit whole is left out",
                ),
                (
                    right.reshape(*right.shape[:2], *right.shape[:1:-1]),
                    "height and width of the map are exchanged",
                ),
            ],
        )
