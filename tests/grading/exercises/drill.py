"""A chapter of exercises for the tests of the grading room, and the pattern for a real one."""

from __future__ import annotations

from typing import Any

import torch
from roofline.grading import Exercise, Item, at_most, call, compare, exercise, generator


@exercise("drill.linear")
class Linear(Exercise):
    """A linear layer and its pullback."""

    points, minutes, difficulty, importance = 4, 15, 2, 5
    forbidden = ("torch.nn.functional.linear", "torch.autograd.grad", "torch.Tensor.backward")
    limit = 5

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        x, w, b = (torch.randn(s, generator=random) for s in ((5, 3), (4, 3), (4,)))
        return x, w, b, torch.randn(5, 4, generator=random)

    def probe(self, answer: Any, cases: Any) -> Any:
        x, w, b, dy = cases
        made = call(answer, x, w, b)
        return {"result": made[0], "gradients": call(made[1], dy)}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, w, b, dy = cases
        gradients = outputs["gradients"]
        return [
            compare("result", 1, outputs["result"], x @ w.T + b, [(x @ w.T, "b is not added")]),
            compare("gradient of x", 1, gradients[0], dy @ w),
            compare("gradient of w", 1, gradients[1], dy.T @ x),
            compare(
                "gradient of b",
                1,
                gradients[2],
                dy.sum(0),
                [(dy.mean(0), "mean over the batch where the sum is asked")],
            ),
        ]


@exercise("drill.double")
class Double(Exercise):
    """Twice as much."""

    points, minutes = 2, 5
    forbidden = ("torch.mul", "torch.nn.Linear", "aten::lerp", "roofline.grading.describe")
    limit = 1

    def cases(self, seed: int) -> torch.Tensor:
        return torch.randn(3, 2, generator=generator(seed))

    def probe(self, answer: Any, cases: torch.Tensor) -> Any:
        return call(answer, cases)

    def judge(self, outputs: Any, cases: torch.Tensor) -> list[Item]:
        return [
            compare("values", 1, outputs, 2 * cases),
            Item("sum", 1, 1.0, "as expected")
            if outputs.ok and isinstance(outputs.value, torch.Tensor)
            else Item("sum", 1, 0.0, "no tensor to add up"),
        ]


@exercise("drill.row_norms")
class RowNorms(Exercise):
    """The length of each row, without a tensor of the size of all."""

    points, minutes = 3, 10
    limit = 5

    def cases(self, seed: int) -> torch.Tensor:
        return torch.randn(64, 32, generator=generator(seed))

    def probe(self, answer: Any, cases: torch.Tensor) -> Any:
        return call(answer, cases, count=True)

    def judge(self, outputs: Any, cases: torch.Tensor) -> list[Item]:
        norms = compare("norms", 1, outputs, cases.norm(dim=1))
        cost = at_most(
            "largest allocation",
            2,
            outputs,
            64 * 4,
            "bytes",
            "largest_allocation",
            [(64 * 32 * 4, "a tensor of x's size was made: let one operation square and add")],
        )
        return [norms, cost]
