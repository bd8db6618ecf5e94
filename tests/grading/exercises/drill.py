"""A chapter of exercises for the tests of the grading room, and the pattern for a real one."""

from __future__ import annotations

from typing import Any

import torch
from roofline.grading import Exercise, Item, call, compare, exercise, generator


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
