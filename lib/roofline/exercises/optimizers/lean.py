"""Adam in few passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from roofline.grading import (
    Call,
    Exercise,
    Item,
    at_most,
    call,
    compare,
    exercise,
    generator,
)

from .adam import READY, adam


@exercise("optimizers.lean_adam")
class LeanAdam(Exercise):
    """A step that isn't limited by arithmetic."""

    points, minutes, difficulty, importance = 4, 12, 4, 3
    forbidden = (*READY, "roofline.optim.Adam")
    passes = 8
    betas = 0.8, 0.95  # of the second step

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        theta, gradient, m = (torch.randn(512, generator=random) for _ in range(3))
        return theta, gradient, m, torch.rand(512, generator=random)

    def probe(self, answer: Any, cases: Any) -> Any:
        counted = call(answer, *cases, 3, 0.1, may_change=(0, 2, 3), count=True)
        return {"counted": counted, "after": self.run(answer, cases)}

    @staticmethod
    def run(answer: Any, cases: Any) -> Call:
        """Two steps on tensors that stay the same objects, and what they hold afterwards."""
        theta, gradient, m, v = (t.clone() for t in cases)

        def steps(_: Any) -> list[torch.Tensor]:
            answer(theta, gradient, m, v, 3, 0.1)
            answer(theta, 2 * gradient, m, v, 4, 0.1, betas=LeanAdam.betas, epsilon=1e-2)
            return [theta, m, v]

        return call(steps, answer)

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        theta, gradient, m, v = cases
        two = _twice(*cases)
        after, counted = outputs["after"], outputs["counted"]
        values = compare(
            "theta, m and v after two steps",
            2,
            after,
            two,
            [
                ([theta, m, v], "nothing changed: names with an underscore work in place"),
                (_twice(theta, gradient, m, v, inside=True), "epsilon stands outside the root"),
                (
                    _twice(theta, gradient, m, v, shrunk=True),
                    "the hat of v was divided out of the root: epsilon must be scaled to match",
                ),
                (_twice(theta, gradient, m, v, hats=(False, False)), "the hats are missing"),
                (_twice(*cases, second=(0.9, 0.999)), "betas come as an argument"),
                (_twice(*cases, epsilon=1e-8), "epsilon comes as an argument"),
            ],
            may_change=True,
        )
        if values.lost and counted.changed:
            hint = "leave the gradient as it is: only theta, m and v are written"
            values = replace(values, message="it changed the gradient in place", hint=hint)
        if values.lost:
            why = "counted once the values are right"
            return [values, Item("temporaries", 1, 0.0, why), Item("kernel launches", 1, 0.0, why)]
        # Four tensors are read and three written, whatever the operations.
        if counted.counts.get("bytes_moved", 0) < 7 * 4 * theta.numel():
            hint = "only torch operations are counted: work on the tensors themselves"
            why = "not all of the work was seen"
            return [
                values,
                *(Item(n, 1, 0.0, why, hint) for n in ("temporaries", "kernel launches")),
            ]
        size = 4 * theta.numel()
        temporaries = at_most("temporaries", 1, counted, 1.25 * size, "bytes", "bytes_allocated")
        launches = at_most("kernel launches", 1, counted, self.passes, "launches", "launches")
        return [
            values,
            _hinted(temporaries, "one root is needed as a tensor: everything else goes in place"),
            _hinted(
                launches, "lerp_, addcmul_ and addcdiv_ do two or three operations in one pass"
            ),
        ]


def _hinted(item: Item, hint: str) -> Item:
    return Item(item.name, item.points, 0.0, item.message, hint) if item.lost else item


def _twice(
    *given: torch.Tensor,
    shrunk: bool = False,
    second: tuple[float, float] = LeanAdam.betas,
    **options: Any,
) -> list[torch.Tensor]:
    """Two steps, with a mistake in both; ``shrunk``: epsilon added before v's hat."""
    theta, gradient, m, v = given
    state = theta, m, v
    for t, g, betas, epsilon in (
        (3, gradient, (0.9, 0.999), 1e-8),
        (4, 2 * gradient, second, 1e-2),
    ):
        settings = {"betas": betas, "epsilon": epsilon, "bare": shrunk, **options}
        state = adam(state[0], g, state[1], state[2], t, 0.1, **settings)
    return list(state)
