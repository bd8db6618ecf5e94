"""The gradient of a convolution's weights."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from roofline.grading import Exercise, Item, at_most, call, compare, exercise, generator

from .shared import AUTOGRAD, READY_MADE, hinted, later, multiplied


@exercise("cnn.weight_gradient")
class WeightGradient(Exercise):
    """The gradient of a weight that is used everywhere."""

    points, minutes, difficulty, importance = 4, 14, 3, 4
    forbidden = (
        *READY_MADE,
        *AUTOGRAD,
        "torch.nn.grad.conv2d_weight",
        "aten::convolution_backward",
        "aten::_slow_conv2d_backward",
        "roofline.exercises.cnn.gradient.WeightGradient.right",
    )
    launches = 8

    def cases(self, seed: int) -> Any:
        random = generator(seed)

        def drawn(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
            return [torch.randn(shape, generator=random) for shape in shapes]

        plain = drawn((3, 2, 6, 7), (3, 4, 4, 5))
        # The last row and column are in no window, and the kernel is another.
        strided = [t.double() for t in drawn((2, 3, 9, 12), (2, 4, 3, 4))]
        large = drawn((6, 3, 10, 10), (6, 4, 8, 8))
        return plain, strided, large

    def probe(self, answer: Any, cases: Any) -> Any:
        plain, strided, large = cases
        return {
            "plain": call(answer, *plain, 3),
            "strided": call(answer, *strided, 2, stride=3),
            "large": call(answer, *large, 3, count=True),
        }

    @staticmethod
    def right(x: torch.Tensor, dy: torch.Tensor, kernel: int = 3, stride: int = 1) -> torch.Tensor:
        columns = functional.unfold(x, kernel, stride=stride)  # (n, c·k·k, places)
        product = dy.flatten(2) @ columns.transpose(1, 2)  # (n, o, c·k·k)
        return product.sum(0).view(dy.shape[1], x.shape[1], kernel, kernel)

    @staticmethod
    def first_windows(x: torch.Tensor, dy: torch.Tensor, kernel: int) -> torch.Tensor:
        """The columns of stride 1, as many of them as there are places."""
        columns = functional.unfold(x, kernel)[:, :, : dy[0, 0].numel()]
        product = dy.flatten(2) @ columns.transpose(1, 2)
        return product.sum(0).view(dy.shape[1], x.shape[1], kernel, kernel)

    @staticmethod
    def mixed(x: torch.Tensor, dy: torch.Tensor) -> list[torch.Tensor]:
        """Reshaped where axes are to be moved, in the columns, in dy, or in both."""
        columns = functional.unfold(x, 3)
        moved = columns.transpose(0, 1).flatten(1), dy.transpose(0, 1).flatten(1)
        reshaped = columns.reshape(len(moved[0]), -1), dy.reshape(len(moved[1]), -1)
        pairs = ((reshaped[0], moved[1]), (moved[0], reshaped[1]), reshaped)
        shape = dy.shape[1], x.shape[1], 3, 3
        return [(given @ seen.T).view(shape) for seen, given in pairs]

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
                (dw, "return dW first, then db"),
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
                (self.right(x[-1:], dy[-1:]), "this is the last picture's share: add them all up"),
                (dw.flip(2, 3), "the kernel isn't flipped here"),
                (dw.transpose(2, 3), "rows and columns of the kernel are exchanged"),
                (dw.flatten(1), "the gradient of W has the shape of W: (outputs, channels, k, k)"),
                (dw.transpose(0, 1), "outputs first, then channels"),
                (db, "return dW first, then db"),
                *(
                    (value, "pictures and places are mixed up: move axes, don't reshape them")
                    for value in self.mixed(x, dy)
                ),
            ],
        )
        strided_call, apart = outputs["strided"], "the windows lie a stride apart"
        x, dy = strided
        step = compare(
            "stride",
            1,
            strided_call[0],
            self.right(x, dy, 2, 3),
            [
                (lambda: self.right(x[:, :, :4, :5], dy, 2), apart),
                (lambda: self.first_windows(x, dy, 2), apart),
                (self.right(x, dy, 3, 3), "here the kernel is 2 by 2: use the argument"),
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
