"""The pullbacks of sigmoid and of a linear layer."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import (
    Exercise,
    Item,
    at_most,
    call,
    compare,
    exercise,
    generator,
)

from .shared import (
    DERIVATIVES,
    SINGLE,
    TWO,
    both,
    elementwise_cases,
    elementwise_probe,
    holds_at_most,
    leaves_alone,
    led_on,
    of_one,
    pulled_back,
    stable,
)


@exercise("backprop.sigmoid")
class Sigmoid(Exercise):
    """A pullback that remembers its result."""

    points, minutes, difficulty, importance = 3, 5, 1, 4
    forbidden = ("aten::sigmoid_backward", "roofline.autograd.sigmoid", *DERIVATIVES)

    def cases(self, seed: int) -> Any:
        return elementwise_cases(seed)

    def probe(self, answer: Any, cases: Any) -> Any:
        return elementwise_probe(answer, cases)

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, dy, extreme = cases
        y, far = torch.sigmoid(x), torch.sigmoid(extreme)
        slope = y * (1 - y)
        gradient = compare(
            "gradient",
            1,
            outputs["gradient"],
            dy * slope,
            [
                (slope, "this is the derivative alone: multiply it by the gradient that arrives"),
                (dy * x * (1 - x), "y(1 - y) is written in the result y, not in x"),
                (dy * y, "this multiplies by the result, not by the derivative y(1 - y)"),
                (slope * slope * dy, "the derivative is in there twice"),
                (dy * y * (1 + y), "the derivative is y(1 - y): a minus"),
                (-dy * slope, "the sign: sigmoid grows everywhere"),
            ],
        )
        gradient = leaves_alone(of_one(gradient), outputs["left"], ("x",))
        result = compare("result", 0.5, outputs["result"], y, [(1 - y, "the sign of x")])
        return [
            both(result, TWO),
            gradient,
            stable(outputs, far, far * (1 - far)),
            holds_at_most(
                "remembers nothing but its result",
                1,
                outputs["beside"],
                0,
                gradient,
                "inside the pullback, refer to the result alone, and not to a copy of it",
            ),
        ]


@exercise("backprop.linear")
class Linear(Exercise):
    """The layer where the work is."""

    points, minutes, difficulty, importance = 4, 10, 2, 5
    forbidden = ("torch.nn.functional.linear", "roofline.autograd.linear", *DERIVATIVES)

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        shapes = [(7, 5), (4, 5), (4,), (7, 4)]
        small = [torch.randn(shape, generator=random) for shape in shapes]
        large = [torch.randn(s, generator=random) for s in [(32, 48), (40, 48), (40,), (32, 40)]]
        return small, large

    def probe(self, answer: Any, cases: Any) -> Any:
        (x, weight, bias, dy), (large_x, large_weight, large_bias, large_dy) = cases
        made = call(answer, x, weight, bias)
        large = call(answer, large_x, large_weight, large_bias, count=True)
        return {
            "result": call(answer, *(t.double() for t in (x, weight, bias)))[0],
            "gradients": call(made[1], dy),
            "left": pulled_back(answer, (x, weight, bias), dy),
            "large": large,
            "walk": call(large[1], large_dy, count=True),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        (x, weight, bias, dy), (large_x, large_weight, _, _) = cases
        gradients = outputs["gradients"]
        dw, db, n = dy.T @ x, dy.sum(0), len(x)
        dx = compare(
            "dx",
            0.5,
            gradients[0],
            dy @ weight,
            [
                (dy @ weight / n, "the rows of a batch don't share their inputs: no average"),
                (weight.sum(0).expand(x.shape), "multiply by the gradient that arrives"),
                (dw, "that is dW: the pullback returns (dx, dW, db)"),
            ],
        )
        right = [
            leaves_alone(dx, outputs["left"], ("x", "weight", "bias")),
            compare(
                "dW",
                1,
                gradients[1],
                dw,
                [
                    (dw / n, "this averages over the batch: the gradients of its rows add up"),
                    (dw.T, "transposed: the gradient of W has the shape of W"),
                    (dy[:1].T @ x[:1], "this is the first row's share: sum over the batch"),
                    (torch.ones_like(dy).T @ x, "multiply by the gradient that arrives"),
                ],
            ),
            compare(
                "db",
                1,
                gradients[2],
                db,
                [
                    (dy, "every row uses the same bias: sum the gradient over the batch"),
                    (db / n, "this averages over the batch: the gradients of its rows add up"),
                    (torch.ones_like(bias), "multiply by the gradient that arrives"),
                ],
            ),
        ]
        wide, w = x.double(), weight.double()
        result = compare(
            "result, float64",
            0.5,
            outputs["result"],
            wide @ w.T + bias,
            [(wide @ w.T, "the bias is missing")],
            rtol=SINGLE,
            atol=SINGLE,
        )
        three = "the pullback returns a tuple with a gradient for each argument: (dx, dW, db)"
        cost = self._cost(outputs, large_x, large_weight, right)
        return [led_on(both(result, TWO)), *(both(item, three) for item in right), cost]

    def _cost(self, outputs: Any, x: torch.Tensor, weight: torch.Tensor, right: list[Item]) -> Item:
        """Two products in the pullback, and never a tensor of n · inputs · outputs entries."""
        name = "counted cost of the pullback"
        if any(item.lost for item in right):
            return Item(name, 1, 0.0, "counted once the gradients are right")
        product, walk = 2 * len(x) * weight.numel(), outputs["walk"]
        if walk.ok and walk.counts["flops"] == 0:
            hint = "only torch's products are counted: NumPy's aren't"
            return Item(name, 1, 0.0, "no product was seen", hint)
        # A tenth more leaves room for a bias gradient that is written as a product too.
        flops = at_most(name, 1, walk, 2.2 * product, "FLOPs", "flops")
        if flops.lost:
            hint = "dx and dW are one product each: is the forward pass repeated?"
            return Item(name, 1, 0.0, flops.message, hint)
        cube = 4 * len(x) * weight.numel()
        largest = at_most(
            name, 1, outputs["walk"], cube // 2, "bytes at once", "largest_allocation"
        )
        if largest.lost:
            hint = "a tensor of n × out × in entries was built: a matrix product sums as it goes"
            return Item(name, 1, 0.0, largest.message, hint)
        return flops
