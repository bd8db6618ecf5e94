"""A convolution as one product, and the gradient of its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from roofline.grading import Call, Exercise, Item, at_most, call, compare, exercise, generator

READY_MADE = (
    "torch.nn.Conv2d",
    "aten::mkldnn_convolution",
    "aten::_slow_conv2d_forward",
    "aten::slow_conv_dilated2d",
    "aten::_nnpack_spatial_convolution",
    "roofline.autograd.conv2d",
    "roofline.autograd.conv.convolution",
    "roofline.nn.Conv2d",
)


def convolved(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stride: int = 1, padding: int = 0
) -> torch.Tensor:
    return functional.conv2d(x, weight, bias, stride, padding)


def later(item: Item, name: str, points: float = 1) -> Item | None:
    """A counted item that waits for the values; None if they are right."""
    if not item.lost:
        return None
    return Item(name, points, 0.0, "counted once the values are right")


def hinted(item: Item, hint: str) -> Item:
    return Item(item.name, item.points, 0.0, item.message, hint) if item.lost else item


def multiplied(name: str, made: Call, flops: int) -> Item | None:
    """The item, lost, if fewer FLOPs were counted than the product needs; None if all were."""
    if not made.ok or made.counts["flops"] >= flops:
        return None
    seen = f"{made.counts['flops']:,} FLOPs of products were counted, {flops:,} are needed"
    hint = "only torch's matrix products are counted: one product makes all sums"
    return Item(name, 1, 0.0, seen, hint)


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

        one = drawn((1, 1, 6, 6), (1, 1, 3, 3), (1,))
        many = drawn((2, 3, 7, 9), (5, 3, 3, 2), (5,))
        large = drawn((6, 3, 16, 16), (4, 3, 3, 3), (4,))
        return one, many, large

    def probe(self, answer: Any, cases: Any) -> Any:
        one, many, large = cases
        return {
            "one": call(answer, *one),
            "many": call(answer, *many),
            "stride": call(answer, *large, stride=3, padding=2),
            "large": call(answer, *large, count=True),
        }

    def too_many(self, made: Call) -> str:
        """The hint for too many launches: a loop, or only many small steps."""
        if made.ok and made.counts["launches"] <= 2 * self.launches:
            return (
                "every operation of torch's is a launch, also border, bias and each step of "
                "arithmetic on indices: a view of the windows, as x.unfold makes, needs no indices"
            )
        return "no loop: all windows of all pictures in one tensor, then one product"

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        one, many, large = cases

        def mistakes(x: Any, weight: Any, bias: Any) -> list[tuple[Any, str]]:
            right = convolved(x, weight, bias)
            n, o, h, w = right.shape
            scrambled = right.permute(0, 2, 3, 1).reshape(n, o, h, w)
            mixed = right.transpose(0, 1).reshape(n, o, h, w)
            alone = convolved(x[:, :1], weight[:, :1], bias)
            moved = "the product has its axes in another order: move them, don't reshape them"
            return [
                (right - bias[:, None, None], "the bias is missing"),
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
        x, weight, bias = large
        strided = compare(
            "stride and padding",
            1,
            outputs["stride"],
            convolved(x, weight, bias, 3, 2),
            [
                (convolved(*large), "stride and padding have no effect"),
                (convolved(x, weight, bias, 3), "the padding has no effect"),
                (convolved(x, weight, bias, 1, 2), "the stride has no effect"),
            ],
        )
        counted = "one product", "memory"
        columns = 4 * len(x) * weight[0].numel() * 14 * 14  # bytes
        waiting = [later(values, name) for name in counted]
        made, places = outputs["large"], 14 * 14
        flops = 2 * len(x) * places * weight.numel()
        product = multiplied(counted[0], made, flops)
        launches = (
            waiting[0]
            or product
            or hinted(
                at_most(counted[0], 1, made, self.launches, "launches", "launches"),
                self.too_many(made),
            )
        )
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


@exercise("cnn.weight_gradient")
class WeightGradient(Exercise):
    """The gradient of a weight that is used everywhere."""

    points, minutes, difficulty, importance = 4, 14, 4, 4
    forbidden = (
        *READY_MADE,
        "torch.Tensor.backward",
        "torch.autograd.grad",
        "torch.func.vjp",
        "torch.func.grad",
        "torch.nn.grad.conv2d_weight",
        "aten::convolution_backward",
        "aten::_slow_conv2d_backward",
    )
    launches = 8

    def cases(self, seed: int) -> Any:
        random = generator(seed)

        def drawn(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
            return [torch.randn(shape, generator=random) for shape in shapes]

        plain = drawn((3, 2, 6, 7), (3, 4, 4, 5))
        strided = drawn((2, 3, 10, 8), (2, 4, 4, 3))  # the last row and column: in no window
        large = drawn((6, 3, 16, 16), (6, 4, 14, 14))
        return plain, strided, large

    def probe(self, answer: Any, cases: Any) -> Any:
        plain, strided, large = cases
        return {
            "plain": call(answer, *plain, 3),
            "strided": call(answer, *strided, 3, stride=2),
            "large": call(answer, *large, 3, count=True),
        }

    @staticmethod
    def right(x: torch.Tensor, dy: torch.Tensor, stride: int = 1) -> torch.Tensor:
        columns = functional.unfold(x, 3, stride=stride)  # (n, c·9, places)
        product = dy.flatten(2) @ columns.transpose(1, 2)  # (n, o, c·9)
        return product.sum(0).view(dy.shape[1], x.shape[1], 3, 3)

    @staticmethod
    def first_windows(x: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
        """The columns of stride 1, as many of them as there are places."""
        columns = functional.unfold(x, 3)[:, :, : dy[0, 0].numel()]
        product = dy.flatten(2) @ columns.transpose(1, 2)
        return product.sum(0).view(dy.shape[1], x.shape[1], 3, 3)

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        plain, strided, large = cases
        x, dy = plain
        dw, db = self.right(x, dy), dy.sum((0, 2, 3))
        n, places = len(x), dy[0, 0].numel()
        bias = compare(
            "db",
            1,
            outputs["plain"][1],
            db,
            [
                (dy.sum(0), "every place uses the same bias: sum over the places too"),
                (dy.sum((2, 3)), "every picture uses the same bias: sum over the batch too"),
                (db / n, "this averages: gradients of a value used many times add up"),
                (db / n / places, "this averages: gradients of a value used many times add up"),
            ],
        )
        weight = compare(
            "dW",
            1,
            outputs["plain"][0],
            dw,
            [
                (dw / n, "this averages over the batch: gradients add up"),
                (dw / places, "this averages over the places: gradients add up"),
                (self.right(x[:1], dy[:1]), "this is the first picture's share"),
                (dw.flip(2, 3), "the kernel isn't flipped here"),
                (dw.transpose(2, 3), "rows and columns of the kernel are exchanged"),
                (dw.flatten(1), "the gradient of W has the shape of W: (outputs, channels, k, k)"),
                (dw.transpose(0, 1), "outputs first, then channels"),
            ],
        )
        strided_call, apart = outputs["strided"], "the windows lie a stride apart"
        step = compare(
            "stride",
            1,
            strided_call[0],
            self.right(strided[0], strided[1], 2),
            [
                (lambda: self.right(strided[0][:, :, :6, :5], strided[1]), apart),
                (lambda: self.first_windows(*strided), apart),
            ],
        )
        if step.lost and strided_call.status == "raised":
            hint = f"{apart}: do the columns have as many places as dy?"
            step = Item(step.name, 1, 0.0, step.message, hint)
        name, (large_x, large_dy) = "one product", large
        flops = 2 * large_dy.numel() * large_x.shape[1] * 9
        launches = (
            later(weight, name)
            or multiplied(name, outputs["large"], flops)
            or hinted(
                at_most(name, 1, outputs["large"], self.launches, "launches", "launches"),
                "no loop: the sum over pictures and places is the inner dimension of one product",
            )
        )
        return [bias, weight, step, launches]
