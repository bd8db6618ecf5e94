"""Chapter 4, optimizers: rates, momentum, clipping, accumulation, Adam, and what they weigh."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline import autograd
from roofline.autograd import Tensor
from roofline.grading import (
    Call,
    Exercise,
    Item,
    at_most,
    call,
    compare,
    exercise,
    generator,
    require,
)


@exercise("optimizers.rates")
class Rates(Exercise):
    """The best rate of a bowl."""

    points, minutes, difficulty, importance = 3, 10, 1, 3

    def cases(self, seed: int) -> Any:
        drawn = 0.1 + 20 * torch.rand(5, generator=generator(seed), dtype=torch.float64)
        return [[1.0, 25.0], drawn.tolist(), [4.0, 4.0]]

    def probe(self, answer: Any, cases: Any) -> Any:
        return [call(answer, case) for case in cases]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        bounds = [(min(case), max(case)) for case in cases]
        right = {
            "limit": [2 / high for _, high in bounds],
            "best": [2 / (low + high) for low, high in bounds],
            "factor": [(high - low) / (high + low) for low, high in bounds],
        }
        one = "1/λ reaches the bottom in one step: a factor of -1 is still no growth"
        mistakes = {
            "limit": [
                ([1 / high for _, high in bounds], one),
                ([2 / low for low, _ in bounds], "the steepest direction is the first to grow"),
            ],
            "best": [
                ([1 / high for _, high in bounds], "that serves the steep direction alone"),
                ([2 / high for _, high in bounds], "that is the limit: the steep one stands still"),
                ([1 / (low + high) for low, high in bounds], "make the two factors equal in size"),
            ],
            "factor": [
                ([1 - low / high for low, high in bounds], "that is the factor at the rate 1/λ"),
                ([high / low for low, high in bounds], "that is κ: the factor follows from it"),
            ],
        }
        return [
            compare(name, 1, _parts(outputs, i), right[name], mistakes[name], rtol=1e-6, atol=1e-9)
            for i, name in enumerate(right)
        ]


def _parts(outputs: list[Call], index: int) -> Any:
    """Part ``index`` of what every call returned, or the first call that has none."""
    got = [made[index] for made in outputs]
    return next((part for part in got if not part.ok), None) or [part.value for part in got]


@exercise("optimizers.momentum")
class Momentum(Exercise):
    """Momentum."""

    points, minutes, difficulty, importance = 3, 8, 1, 5
    forbidden = ("torch.optim.SGD", "roofline.optim.SGD")
    rate, beta = 0.05, 0.8

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        return [torch.randn(4, 3, generator=random) for _ in range(4)]

    def probe(self, answer: Any, cases: Any) -> Any:
        theta, first, second, velocity = cases
        one = call(answer, theta, first, velocity, self.rate, self.beta)
        two = call(answer, one[0], second, one[1], self.rate, self.beta)
        return {
            "one": one,
            "two": two,
            "nesterov": call(answer, theta, first, velocity, self.rate, self.beta, nesterov=True),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        theta, first, second, start = cases
        rate, beta = self.rate, self.beta
        v1 = beta * start + first
        v2 = beta * v1 + second
        once = theta - rate * v1
        average = beta * start + (1 - beta) * first
        inside = beta * start + rate * first
        return [
            compare(
                "one step",
                1,
                outputs["one"],
                [once, v1],
                [
                    ([theta + rate * v1, v1], "this climbs: subtract the step"),
                    (
                        [theta - rate * average, average],
                        "the gradient comes in whole: v is a sum, not a mean",
                    ),
                    ([theta - inside, inside], "the rate stands outside the velocity"),
                    (
                        [theta - rate * start, v1],
                        "step with the new velocity, not with the old one",
                    ),
                    ([theta - rate * first, v1], "the velocity isn't used in the step"),
                    ([v1, once], "return theta first, then the velocity"),
                ],
            ),
            compare("two steps", 1, outputs["two"], [once - rate * v2, v2]),
            compare(
                "nesterov",
                1,
                outputs["nesterov"],
                [theta - rate * (first + beta * v1), v1],
                [
                    ([once, v1], "nesterov has no effect"),
                    ([theta - rate * (first + beta * start), v1], "use the new velocity there"),
                    ([theta - rate * (first + v1), v1], "the velocity counts β times there"),
                ],
            ),
        ]


@exercise("optimizers.clip")
class Clip(Exercise):
    """Clipping."""

    points, minutes, difficulty, importance = 3, 8, 2, 4
    forbidden = (
        "torch.nn.utils.clip_grad_norm_",
        "roofline.optim.clip_grad_norm_",
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        return [torch.randn(s, generator=random) for s in ((3, 4), (5,), (2, 2))]

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            "long": call(answer, cases, 1.0),
            "short": call(answer, cases, 100.0),
            "zero": call(answer, [torch.zeros(3), torch.zeros(2)], 1.0),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in cases))
        scaled = [g / norm for g in cases]
        zero = outputs["zero"]
        still = compare("gradients of zero", 0.5, zero[0], [torch.zeros(3), torch.zeros(2)])
        if still.lost and "NaN" in still.message:
            hint = "a norm of 0: don't divide by it"
            still = Item("gradients of zero", 0.5, 0.0, still.message, hint)
        squares = sum(float(g.norm()) for g in cases)
        return [
            compare(
                "long gradients",
                1,
                outputs["long"][0],
                scaled,
                [
                    (
                        [g / max(1.0, float(g.norm())) for g in cases],
                        "one factor for all: a joint norm",
                    ),
                    (
                        [g.clamp(-1, 1) for g in cases],
                        "that cuts each entry: the direction changes",
                    ),
                    (list(cases), "they aren't clipped"),
                    ([g / norm**2 for g in cases], "the root is missing"),
                    ([g / squares for g in cases], "a joint norm isn't the sum of the norms"),
                ],
                rtol=1e-4,
            ),
            compare(
                "short gradients stay",
                1,
                outputs["short"][0],
                list(cases),
                [([100 * g / norm for g in cases], "the factor is never above 1")],
                rtol=1e-4,
            ),
            compare(
                "the norm that was found",
                0.5,
                outputs["long"][1],
                norm,
                [(1.0, "the norm before clipping is asked"), (norm**2, "the root is missing")],
                rtol=1e-5,
            ),
            still,
        ]


@exercise("optimizers.accumulate")
class Accumulate(Exercise):
    """A large batch in a small memory."""

    points, minutes, difficulty, importance = 4, 12, 3, 5

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        weight, bias = (torch.randn(s, generator=random) for s in ((3,), (1,)))
        return weight, bias, torch.randn(10, 3, generator=random), torch.randn(10, generator=random)

    @staticmethod
    def parameters(cases: Any) -> list[Tensor]:
        return [Tensor(v.clone(), requires_grad=True) for v in cases[:2]]

    @staticmethod
    def loss(parameters: list[Tensor], x: torch.Tensor, y: torch.Tensor) -> Tensor:
        weight, bias = parameters
        return autograd.mean((autograd.matmul(Tensor(x), weight) + bias - y) ** 2)

    def probe(self, answer: Any, cases: Any) -> Any:
        return {"even": self.run(answer, cases, 5), "uneven": self.run(answer, cases, 4)}

    def run(self, answer: Any, cases: Any, size: int) -> dict[str, Any]:
        parameters, rows, alive, most = self.parameters(cases), [], [], 0

        def loss_of(x: Any, y: Any) -> Tensor:
            nonlocal most
            rows.append(len(x))
            loss = self.loss(parameters, x, y)
            alive.append(loss.node)
            most = max(most, sum(node is not None and node.pullback is not None for node in alive))
            return loss

        mean = call(answer, parameters, loss_of, *cases[2:], size, may_change=(0,))
        return {
            "mean": mean,
            "gradients": [p.grad for p in parameters],
            "rows": rows,
            "alive": most,
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        parameters = self.parameters(cases)
        whole = self.loss(parameters, *cases[2:])
        whole.backward()
        right, mean = [p.grad for p in parameters], whole.item()
        parts = {size: self.pieces(cases, size) for size in (4, 5)}
        items = []
        for name, points, size in (("equal pieces", 1, 5), ("a last piece that is shorter", 1, 4)):
            got = outputs["even" if size == 5 else "uneven"]
            summed, last = parts[size]
            share = len(cases[3]) / size
            items.append(
                compare(
                    name,
                    points,
                    got["gradients"] if got["mean"].ok else got["mean"],
                    right,
                    [
                        (summed, "these are sums of means: what share of the batch is a piece?"),
                        (last, "only the last piece is left: were gradients cleared between?"),
                        ([g / math.ceil(share) for g in summed], "pieces differ in size"),
                        ([None, None], "no gradient arrived: is backward called?"),
                    ],
                )
            )
        items.append(
            compare("the mean loss", 1, outputs["uneven"]["mean"], mean, rtol=1e-5, may_change=True)
        )
        sizes = outputs["uneven"]["rows"]
        alone = outputs["uneven"]["alive"] <= 1
        message = f"{outputs['uneven']['alive']} tapes were alive at once, pieces of {sizes} rows"
        items.append(
            require(
                "one piece at a time",
                1,
                not items[1].lost and alone and max(sizes, default=0) <= 4,
                message if sizes else "nothing was run",
                "call backward for each piece before the next one runs",
            )
        )
        return items

    def pieces(self, cases: Any, size: int) -> tuple[list[Any], list[Any]]:
        """Sum of the pieces' gradients, and the last piece's."""
        parameters = self.parameters(cases)
        for rows in torch.arange(10).split(size):
            last = self.parameters(cases)
            for group in (parameters, last):
                self.loss(group, cases[2][rows], cases[3][rows]).backward()
        return [p.grad for p in parameters], [p.grad for p in last]


def adam(
    theta: torch.Tensor, gradient: torch.Tensor, m: Any, v: Any, t: int, rate: float, **options: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Adam as printed, with ways to go wrong: hats, epsilon, decay."""
    beta1, beta2 = options.get("betas", (0.9, 0.999))
    epsilon, decay = options.get("epsilon", 1e-8), options.get("decay", 0.0)
    if options.get("penalty"):
        gradient, decay = gradient + decay * theta, 0.0
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    hats = options.get("hats", (True, True))
    top = m / (1 - beta1**t) if hats[0] else m
    below = v / (1 - beta2**t) if hats[1] else v
    scale = (below + epsilon).sqrt() if options.get("inside") else below.sqrt() + epsilon
    return (1 - rate * decay) * theta - rate * top / scale, m, v


@exercise("optimizers.adamw")
class AdamW(Exercise):
    """AdamW."""

    points, minutes, difficulty, importance = 4, 12, 3, 5
    forbidden = ("torch.optim.AdamW", "torch.optim.Adam", "roofline.optim.AdamW")
    settings = {"betas": (0.8, 0.95), "epsilon": 1e-3}

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
            "settings": call(answer, theta, 0.01 * first, m, v * 1e-4, 7, 0.1, **self.settings),
            "decay": call(answer, theta, first, m, v, 3, 0.1, decay=0.5),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        theta, first, second, m, v = cases
        zero = torch.zeros_like(theta)

        def mistakes(*given: Any, **options: Any) -> list[tuple[Any, str]]:
            return [
                (adam(*given, **options, hats=(False, False)), "both means need their hats"),
                (adam(*given, **options, hats=(True, False)), "v needs its hat too"),
                (adam(*given, **options, hats=(False, True)), "m needs its hat too"),
                (adam(*given, **options, inside=True), "epsilon stands outside the root"),
            ]

        one = theta, first, zero, zero, 1, 0.1
        start = adam(*one)
        two = start[0], second, start[1], start[2], 2, 0.1
        set_ = theta, 0.01 * first, m, v * 1e-4, 7, 0.1
        decayed = theta, first, m, v, 3, 0.1
        return [
            compare("the first step", 1, outputs["first"], list(adam(*one)), mistakes(*one)),
            compare("the second step", 1, outputs["second"], list(adam(*two)), mistakes(*two)),
            compare(
                "other betas and epsilon",
                1,
                outputs["settings"],
                list(adam(*set_, **self.settings)),
                [
                    *mistakes(*set_, **self.settings),
                    (adam(*set_), "betas and epsilon come as arguments"),
                ],
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
                        (adam(*decayed)[0] - 0.5 * theta, *adam(*decayed)[1:]),
                        "the decay is multiplied by the rate",
                    ),
                ],
            ),
        ]


@exercise("optimizers.state_bytes")
class StateBytes(Exercise):
    """Bytes for each parameter."""

    points, minutes, difficulty, importance = 4, 8, 3, 4

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
                ],
            ),
            compare("7 billion parameters, an exact int", 1, outputs["large"], 112 * 10**9),
        ]


@exercise("optimizers.lean_adam")
class LeanAdam(Exercise):
    """A step that isn't limited by arithmetic."""

    points, minutes, difficulty, importance = 4, 15, 4, 3
    forbidden = (
        "torch.optim.Adam",
        "torch.optim.AdamW",
        "roofline.optim.Adam",
        "aten::_fused_adam_",
        "aten::_fused_adamw_",
    )
    passes = 8

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
            answer(theta, 2 * gradient, m, v, 4, 0.1, epsilon=1e-2)
            return [theta, m, v]

        return call(steps, answer)

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        theta, gradient, m, v = cases
        one = adam(theta, gradient, m, v, 3, 0.1)
        two = adam(one[0], 2 * gradient, one[1], one[2], 4, 0.1, epsilon=1e-2)
        after, counted = outputs["after"], outputs["counted"]
        values = compare(
            "theta, m and v after two steps",
            2,
            after,
            list(two),
            [
                ([theta, m, v], "nothing changed: names with an underscore work in place"),
                (_twice(theta, gradient, m, v, inside=True), "epsilon stands outside the root"),
                (
                    _twice(theta, gradient, m, v, shrunk=True),
                    "the hat of v was divided out of the root: epsilon must be scaled to match",
                ),
                (_twice(theta, gradient, m, v, hats=(False, False)), "the hats are missing"),
            ],
            may_change=True,
        )
        if values.lost:
            why = "counted once the values are right"
            return [values, Item("temporaries", 1, 0.0, why), Item("kernel launches", 1, 0.0, why)]
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


def _twice(*given: torch.Tensor, shrunk: bool = False, **options: Any) -> list[torch.Tensor]:
    """Two steps with a mistake in both; ``shrunk``: epsilon added before v's hat."""
    theta, gradient, m, v = given
    state = theta, m, v
    for t, g, epsilon in ((3, gradient, 1e-8), (4, 2 * gradient, 1e-2)):
        scaled = epsilon / math.sqrt(1 - 0.999**t) if shrunk else epsilon
        state = adam(state[0], g, state[1], state[2], t, 0.1, epsilon=scaled, **options)
    return list(state)
