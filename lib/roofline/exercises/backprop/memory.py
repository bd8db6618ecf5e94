"""What a step costs, worked out and counted; and an operation that remembers less."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from roofline import autograd
from roofline.autograd import Tensor
from roofline.grading import (
    Exercise,
    Item,
    call,
    compare,
    exercise,
    generator,
)
from roofline.hardware.count import count

from ..machine.shared import column
from .shared import (
    DERIVATIVES,
    elementwise_cases,
    elementwise_probe,
    holds_at_most,
    leaves_alone,
    of_one,
    stable,
)


@exercise("backprop.account")
class Account(Exercise):
    """The account."""

    points, minutes, difficulty, importance = 4, 8, 3, 4
    sizes = {4: torch.float32, 8: torch.float64}

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        drawn = [tuple(torch.randint(3, 40, (n,), generator=random).tolist()) for n in (2, 4, 6)]
        batches = torch.randint(2, 30, (3,), generator=random).tolist()
        shapes = list(zip(drawn, batches, (4, 8, 4), strict=True))
        return [((784, 256, 10), 64, 4), *shapes]

    def probe(self, answer: Any, cases: Any) -> Any:
        return [call(answer, *case) for case in cases]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        counted = [self.counted(*case) for case in cases]
        items = []
        for key, hints in self.mistakes(cases, counted).items():
            right = [account[key] for account in counted]
            item = column(key, 1, outputs, key, right, hints, rtol=0.0, cases=cases)
            if item.lost and "in it" in item.message:
                hint = "return a dict with the keys parameters, forward, backward, remembered"
                item = replace(item, hint=hint)
            if item.lost and "it raised" in item.message and outputs[0].ok:
                item = replace(item, hint="widths may have any length, from two on")
            items.append(item)
        return items

    def counted(self, widths: tuple[int, ...], batch: int, size: int) -> dict[str, int]:
        """The account of a perceptron, counted while it runs."""
        dtype = self.sizes[size]
        shapes = [shape for i, o in itertools.pairwise(widths) for shape in ((o, i), (o,))]
        parameters = [Tensor(torch.zeros(s, dtype=dtype), requires_grad=True) for s in shapes]

        def forward() -> Tensor:
            x: Any = torch.zeros(batch, widths[0], dtype=dtype)
            for i in range(0, len(parameters), 2):
                x = autograd.linear(autograd.relu(x) if i else x, *parameters[i : i + 2])
            return x

        ahead = count(forward)
        logits = ahead.result
        kept = autograd.kept(logits, besides=parameters).total
        back = count(logits.backward, torch.ones_like(logits.data))
        return {
            "parameters": sum(p.data.numel() for p in parameters),
            "forward": ahead.flops,
            "backward": back.flops,
            "remembered": kept,
        }

    @staticmethod
    def mistakes(cases: Any, counted: list[dict[str, int]]) -> dict[str, list[tuple[list, str]]]:
        """What comes out of the usual mistakes, for each number of the account."""

        def over(formula: Callable[..., int]) -> list[int]:
            return [formula(*case, **account) for case, account in zip(cases, counted, strict=True)]

        def without_biases(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["parameters"] - sum(widths[1:])

        def one_bias(widths: Any, batch: int, size: int, **a: int) -> int:
            return without_biases(widths, batch, size, **a) + len(widths) - 1

        def added(widths: Any, batch: int, size: int, **a: int) -> int:
            return batch * sum(widths[1:])

        def without_the_last(widths: Any, batch: int, size: int, **a: int) -> int:
            return 2 * a["forward"] - 2 * batch * widths[-2] * widths[-1]

        def with_masks(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["remembered"] + batch * sum(widths[1:-1])

        def with_logits(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["remembered"] + size * batch * widths[-1]

        def hidden_twice(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["remembered"] + size * batch * sum(widths[1:-1])

        def without_input(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["remembered"] - size * batch * widths[0]

        def with_parameters(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["remembered"] + size * a["parameters"]

        return {
            "parameters": [
                (over(without_biases), "the biases are missing"),
                (over(one_bias), "every output of a layer has a bias of its own"),
            ],
            "forward": [
                (
                    over(lambda *c, **a: a["forward"] // 2),
                    "a multiplication and an addition are 2 FLOPs",
                ),
                (
                    over(lambda w, b, s, **a: a["forward"] // b),
                    "every row of the batch costs as much",
                ),
                (
                    over(lambda *c, **a: a["forward"] + added(*c, **a)),
                    "matrix products only: adding the bias isn't one",
                ),
            ],
            "backward": [
                (
                    over(lambda *c, **a: 2 * a["forward"]),
                    "nobody needs the gradient with respect to the input: the first layer skips it",
                ),
                (over(lambda *c, **a: a["forward"]), "two products for each layer but the first"),
                (over(without_the_last), "the layer at the input skips a product, not the last"),
                (
                    over(lambda *c, **a: a["backward"] + added(*c, **a)),
                    "matrix products only: the gradient of a bias is a sum",
                ),
            ],
            "remembered": [
                (over(with_logits), "no pullback of the layers needs the logits"),
                (
                    over(hidden_twice),
                    "relu's result is the next layer's input: held twice, stored once",
                ),
                (over(with_masks), "relu's pullback reads its mask off its result: nothing extra"),
                (
                    over(lambda w, b, s, **a: a["remembered"] // s * 4),
                    "a number has bytes_per_number bytes, not always 4",
                ),
                (over(without_input), "the first layer's pullback needs the input for dW"),
                (over(with_parameters), "the parameters exist anyway: leave them out"),
                (over(lambda w, b, s, **a: a["remembered"] // s), "this counts numbers, not bytes"),
                (
                    over(lambda w, b, s, **a: a["remembered"] // b),
                    "this is one row's share of the batch",
                ),
            ],
        }


@exercise("backprop.silu")
class Silu(Exercise):
    """Remember less."""

    points, minutes, difficulty, importance = 4, 7, 3, 3
    forbidden = (
        "torch.nn.functional.silu",
        "roofline.autograd.silu",
        "aten::silu",
        "aten::silu_backward",
        "torch.nn.functional.glu",
        *DERIVATIVES,
    )

    def cases(self, seed: int) -> Any:
        return elementwise_cases(seed)

    def probe(self, answer: Any, cases: Any) -> Any:
        return elementwise_probe(answer, cases)

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, dy, extreme = cases
        s, far = torch.sigmoid(x), torch.sigmoid(extreme)
        slope = s + x * s * (1 - s)
        gradient = compare(
            "gradient",
            1.5,
            outputs["gradient"],
            dy * slope,
            [
                (dy * s, "a product has two terms in its derivative: this is the first"),
                (
                    dy * x * s * (1 - s),
                    "a product has two terms in its derivative: this is the second",
                ),
                (slope, "this is the derivative alone: multiply it by the gradient that arrives"),
                (dy * s * (1 - s), "this is the derivative of sigmoid"),
                (dy * (s - x * s * (1 - s)), "sigmoid grows: its derivative is added"),
                (dy * (1 + x * (1 - s)), "the first term is sigmoid(x), not 1"),
                (dy * (1 + x * s * (1 - s)), "the first term is sigmoid(x), not 1"),
            ],
        )
        gradient = leaves_alone(of_one(gradient), outputs["left"], ("x",))
        held_item = holds_at_most(
            "remembers one tensor",
            1,
            outputs["held"],
            4 * x.numel(),
            gradient,
            "compute sigmoid(x) again inside the pullback instead of holding it",
        )
        return [
            compare("result", 1, outputs["result"], x * s, [(s, "x times sigmoid(x) is asked")]),
            gradient,
            stable(outputs, extreme * far, far + extreme * far * (1 - far)),
            held_item,
        ]
