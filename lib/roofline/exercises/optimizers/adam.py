"""Adam, what it weighs, and how few passes it needs."""

from __future__ import annotations

import math
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

from ..backprop.shared import SINGLE, both, led_on

READY = (
    "torch.optim.Adam",
    "torch.optim.AdamW",
    "torch.optim.adam.adam",
    "torch.optim.adamw.adamw",
    "aten::_fused_adam_",
    "aten::_fused_adamw_",
)


def adam(
    theta: torch.Tensor, gradient: torch.Tensor, m: Any, v: Any, t: int, rate: float, **options: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Adam as printed, with ways to go wrong: hats, epsilon, decay."""
    beta1, beta2 = options.get("betas", (0.9, 0.999))
    epsilon, decay = options.get("epsilon", 1e-8), options.get("decay", 0.0)
    if options.get("penalty"):
        gradient, decay = gradient + decay * theta, 0.0
    share1, share2 = (1, 1) if options.get("summed") else (1 - beta1, 1 - beta2)
    m = beta1 * m + share1 * gradient
    v = beta2 * v + share2 * gradient**2
    hats = options.get("hats", (True, True))
    top = m / (1 - beta1**t) if hats[0] else m
    below = v / (1 - beta2**t) if hats[1] else v
    scale = (below + epsilon).sqrt() if options.get("inside") else below.sqrt() + epsilon
    if options.get("bare"):  # epsilon beside the root of the v without its hat
        scale = scale - epsilon + epsilon / math.sqrt(1 - beta2**t)
    if options.get("whole"):
        scale = below + epsilon
    if options.get("hatted"):
        m, v = top, below
    return (1 - rate * decay) * theta - rate * top / scale, m, v


@exercise("optimizers.adamw")
class AdamW(Exercise):
    """AdamW."""

    points, minutes, difficulty, importance = 4, 10, 3, 5
    forbidden = (*READY, "roofline.optim.Adam", "roofline.optim.AdamW")
    settings: dict[str, Any] = {"betas": (0.8, 0.95), "epsilon": 1e-3}

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        theta, first, second = (torch.randn(6, generator=random) for _ in range(3))
        m, v = torch.randn(6, generator=random), torch.rand(6, generator=random)
        return theta, first, second, m, v

    def probe(self, answer: Any, cases: Any) -> Any:
        theta, first, second, m, v = cases
        zero = torch.zeros_like(theta)
        start = call(answer, theta, first, zero, zero, 1, 0.1)
        return {
            "first": start,
            "second": call(answer, start[0], second, start[1], start[2], 2, 0.1),
            "settings": call(answer, *self.tiny(cases), 7, 0.03, **self.settings),
            "decay": call(answer, theta, first, m, v, 3, 0.1, decay=0.5),
        }

    @staticmethod
    def tiny(cases: Any) -> tuple[torch.Tensor, ...]:
        """Gradients so small that epsilon shows, in float64."""
        theta, first, _, m, v = (t.double() for t in cases)
        return theta, 0.01 * first, m, v * 1e-4

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        theta, first, second, m, v = cases
        zero = torch.zeros_like(theta)

        def mistakes(*given: Any, **options: Any) -> list[tuple[Any, str]]:
            beta1, beta2 = options.get("betas", (0.9, 0.999))
            start, gradient, m, v, t, rate = given
            right = adam(*given, **options)
            later = adam(start, gradient, m, v, t + 1, rate, **options)
            earlier = adam(start, gradient, m, v, t - 1, rate, **options) if t > 1 else None
            back = adam(start, gradient, m, v, t, -rate, **options)
            swapped = adam(*given, **{**options, "betas": (beta2, beta1)})
            counted = "t counts from 1 and is this step's: the powers use t itself"
            return [
                (adam(*given, **options, bare=True), "epsilon joins the root of v's hat, not of v"),
                (adam(*given, **options, whole=True), "the root of v's hat stands below"),
                (adam(*given, **options, summed=True), "means, not sums: g counts 1 − β"),
                (adam(*given, **options, hatted=True), "return m and v without their hats"),
                ((later[0], *right[1:]), counted),
                (earlier and (earlier[0], *right[1:]), counted),
                ((back[0], *right[1:]), "this climbs: subtract the step"),
                (swapped, "the first of betas belongs to m, the second to v"),
                (adam(*given, **options, hats=(False, False)), "both means need their hats"),
                (adam(*given, **options, hats=(True, False)), "v needs its hat too"),
                (adam(*given, **options, hats=(False, True)), "m needs its hat too"),
                (adam(*given, **options, inside=True), "epsilon stands outside the root"),
            ]

        one = theta, first, zero, zero, 1, 0.1
        start = adam(*one)
        two = start[0], second, start[1], start[2], 2, 0.1
        set_: Any = (*self.tiny(cases), 7, 0.03)
        decayed = theta, first, m, v, 3, 0.1
        items = [
            compare("the first step", 1, outputs["first"], list(adam(*one)), mistakes(*one)),
            compare("the second step", 1, outputs["second"], list(adam(*two)), mistakes(*two)),
            compare(
                "other betas and epsilon, float64",
                1,
                outputs["settings"],
                list(adam(*set_, **self.settings)),
                [
                    *mistakes(*set_, **self.settings),
                    (adam(*set_), "betas and epsilon come as arguments"),
                ],
                rtol=SINGLE,
                atol=1e-7,
            ),
            compare(
                "decay beside the gradient",
                1,
                outputs["decay"],
                list(adam(*decayed, decay=0.5)),
                [
                    (adam(*decayed, decay=0.5, penalty=True), "decay goes around the gradient"),
                    (adam(*decayed), "decay has no effect"),
                    (
                        (adam(*decayed)[0] * (1 - 0.1 * 0.5), *adam(*decayed)[1:]),
                        "theta shrinks before the step: the step itself doesn't",
                    ),
                    (
                        (adam(*decayed)[0] - 0.5 * theta, *adam(*decayed)[1:]),
                        "the decay is multiplied by the rate",
                    ),
                ],
            ),
        ]
        three = "return three things: the new theta, m and v"
        return [led_on(both(item, three)) for item in items]


@exercise("optimizers.state_bytes")
class StateBytes(Exercise):
    """Bytes for each parameter."""

    points, minutes, difficulty, importance = 4, 5, 3, 4

    def cases(self, seed: int) -> Any:
        return int(torch.randint(1000, 10**6, (1,), generator=generator(seed)))

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            "fp32": [call(answer, cases, name) for name in ("sgd", "momentum", "adam")],
            "mixed": [call(answer, cases, name, precision="mixed") for name in ("sgd", "momentum")],
            "adam": call(answer, cases, "adam", "mixed"),
            "large": call(answer, 7 * 10**9, "adam", "mixed"),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        n = cases

        def row(name: str, points: float, got: list[Call], right: list[int], hints: list) -> Item:
            failed = next((made for made in got if not made.ok), None)
            return compare(name, points, failed or [made.value for made in got], right, hints)

        single, copies = [8 * n, 12 * n, 16 * n], [8 * n, 12 * n]
        return [
            row(
                "float32",
                1,
                outputs["fp32"],
                single,
                [
                    ([4 * n, 8 * n, 12 * n], "weights and gradients both count"),
                    ([8 * n, 12 * n, 12 * n], "Adam keeps two numbers, m and v"),
                    ([2 * n, 3 * n, 4 * n], "bytes, not numbers"),
                    ([8, 12, 16], "that is for one parameter: there are many"),
                    ([16 * n] * 3, "SGD keeps no state, momentum one number, Adam two"),
                    ([v / 1e9 for v in single], "bytes are asked, not gigabytes"),
                ],
            ),
            row(
                "mixed precision, SGD and momentum",
                1,
                outputs["mixed"],
                copies,
                [
                    ([4 * n, 8 * n], "the optimizer works on a 4-byte copy of the weights"),
                    (
                        [4 * n, 6 * n],
                        "the state stays at 4 bytes, beside a 4-byte copy of the weights",
                    ),
                    ([10 * n, 14 * n], "gradients have 2 bytes here"),
                    ([6 * n, 10 * n], "weights and gradients both count, beside the 4-byte copy"),
                    ([12 * n, 16 * n], "weights and gradients have 2 bytes here, their copy 4"),
                    ([8, 12], "that is for one parameter: there are many"),
                    ([16 * n] * 2, "SGD keeps no state, momentum one number, Adam two"),
                ],
            ),
            compare(
                "mixed precision, Adam",
                1,
                outputs["adam"],
                16 * n,
                [
                    (12 * n, "the optimizer works on a 4-byte copy of the weights"),
                    (8 * n, "the optimizer's copy and its state stay at 4 bytes"),
                    (18 * n, "gradients have 2 bytes here"),
                    (14 * n, "weights and gradients both count, beside the 4-byte copy"),
                    (20 * n, "weights and gradients have 2 bytes here, their copy 4"),
                ],
            ),
            self.exact(outputs["large"]),
        ]

    @staticmethod
    def exact(made: Call) -> Item:
        """An int, to the last digit."""
        item = compare("7 billion parameters, an exact int", 1, made, 112 * 10**9)
        if item.lost or isinstance(made.value, int):
            return item
        return Item(item.name, 1, 0.0, f"it returned {made.value!r}, expected an int")


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
