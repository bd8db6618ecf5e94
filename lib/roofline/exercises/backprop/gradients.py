"""Gradients checked against differences, and gradients put to use."""

from __future__ import annotations

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
    require,
    unchanged,
)

from .shared import DERIVATIVES, TENSOR_CLASSES, led_on


@exercise("backprop.numerical_gradient")
class NumericalGradient(Exercise):
    """A numerical gradient."""

    points, minutes, difficulty, importance = 3, 8, 2, 4
    forbidden = ("torch.autograd.gradcheck", "roofline.autograd.gradcheck", *DERIVATIVES)
    step = 0.05

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        x = torch.randn(5, generator=random, dtype=torch.float64)
        scale = 1 + torch.rand(5, generator=random, dtype=torch.float64)
        wide = torch.randn(4, 6, generator=random, dtype=torch.float64)
        return x, scale, wide

    @staticmethod
    def function(scale: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """A smooth function whose entries all bend differently."""
        return lambda t: (torch.exp(0.5 * t) * scale).sum() + t[0] * t[-1]

    def probe(self, answer: Any, cases: Any) -> Any:
        x, scale, wide = cases
        corner = wide.T[1:4, ::2]  # neither contiguous nor the whole of its memory
        return {
            "gradient": call(answer, self.function(scale), x, step=self.step),
            "float": call(answer, lambda t: float((t**2).sum()), x[:3].float(), step=1e-2),
            "view": call(answer, lambda t: (t**3).sum(), corner, step=1e-4),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, scale, wide = cases
        f, h = self.function(scale), self.step
        unit = torch.eye(len(x), dtype=x.dtype)
        above = torch.stack([f(x + h * e) for e in unit])
        below = torch.stack([f(x - h * e) for e in unit])
        two_sided = (above - below) / (2 * h)
        together = (f(x + h) - f(x - h)) / (2 * h)
        moved = [x + h * unit[: i + 1].sum(0) for i in range(len(x))]
        drift = torch.stack(
            [(f(m) - f(m - 2 * h * e)) / (2 * h) for m, e in zip(moved, unit, strict=True)]
        )
        corner = wide.T[1:4, ::2]
        exact = 0.5 * torch.exp(0.5 * x) * scale
        exact[0] += x[-1]
        exact[-1] += x[0]
        rows = (3 * corner**2).sum(1, keepdim=True).expand(corner.shape)
        single = compare(
            "f may return a float, x be float32",
            0.5,
            outputs["float"],
            2 * x[:3].float(),
            rtol=1e-2,
            atol=1e-2,
            may_change=True,
        )
        if single.lost and "it raised" in single.message and outputs["gradient"].ok:
            single = replace(single, hint="float(f(x)) takes a float as well as a tensor")
        return [
            compare(
                "gradient of a smooth function",
                1.5,
                outputs["gradient"],
                two_sided,
                [
                    (
                        (above - f(x)) / h,
                        "this is the one-sided difference: its error is of order ε",
                    ),
                    (
                        (f(x) - below) / h,
                        "this is the one-sided difference: its error is of order ε",
                    ),
                    ((above - f(x)) / (2 * h), "one side only, divided by two steps"),
                    (2 * two_sided, "the two points are 2ε apart: divide by that"),
                    (together.expand(len(x)), "all entries were moved at once: move one at a time"),
                    (drift, "an entry that was moved must come back before the next one moves"),
                    (exact, "the difference for the step that is given is asked: step counts"),
                ],
                rtol=1e-7,
                may_change=True,
            ),
            led_on(single),
            compare(
                "x that is a view, not contiguous",
                0.5,
                outputs["view"],
                3 * corner**2,
                [
                    (torch.zeros_like(corner), "the entries that you moved are not those of x"),
                    (rows, "an x of two dimensions: move entries, not whole rows"),
                ],
                rtol=1e-4,
                atol=1e-6,
                may_change=True,
            ),
            _left_alone(outputs),
        ]


def _left_alone(outputs: Any) -> Item:
    """x as it was, of which a function that fails everywhere earns nothing."""
    calls = list(outputs.values())
    failed = next((c for c in calls if not c.ok), None)
    if failed is not None:
        return compare("x is left as it was", 0.5, failed, None)
    return unchanged("x is left as it was", 0.5, *calls)


@exercise("backprop.train")
class Train(Exercise):
    """The loop."""

    points, minutes, difficulty, importance = 4, 7, 2, 5
    forbidden = ("torch.optim.SGD", "roofline.optim.SGD", *TENSOR_CLASSES[1:])
    rate = 0.07

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        weight, bias = torch.randn(3, generator=random), torch.randn(1, generator=random)
        batches = [
            (torch.randn(6, 3, generator=random), torch.randn(6, generator=random))
            for _ in range(5)
        ]
        return weight, bias, batches

    @staticmethod
    def loss(parameters: list[Tensor], x: torch.Tensor, y: torch.Tensor) -> Tensor:
        weight, bias = parameters
        return autograd.mean((autograd.matmul(Tensor(x), weight) + bias - y) ** 2)

    def probe(self, answer: Any, cases: Any) -> Any:
        weight, bias, batches = cases
        parameters = [Tensor(v.clone(), requires_grad=True) for v in (weight, bias)]
        losses = call(
            answer,
            parameters,
            lambda x, y: self.loss(parameters, x, y),
            iter(batches),
            self.rate,
            may_change=(0, 2),
        )
        kinds = (
            sorted({f"{type(v).__module__}.{type(v).__name__}" for v in losses.value})
            if losses.ok and isinstance(losses.value, list)
            else []
        )
        return {
            "losses": losses,
            "kinds": kinds,
            "parameters": [p.data for p in parameters],
            "cleared": all(p.grad is None or not p.grad.any() for p in parameters),
        }

    def descend(
        self, cases: Any, rate: float, stale: bool = False
    ) -> tuple[list[torch.Tensor], list]:
        """Parameters and losses after descent, with gradients that pile up if ``stale``."""
        weight, bias, batches = cases
        parameters = [Tensor(v.clone(), requires_grad=True) for v in (weight, bias)]
        losses = []
        for x, y in batches:
            loss = self.loss(parameters, x, y)
            loss.backward()
            losses.append(loss.item())
            for parameter in parameters:
                assert parameter.grad is not None
                parameter.data = parameter.data - rate * parameter.grad
                if not stale:
                    parameter.grad = None
        return [p.data for p in parameters], losses

    def at_the_end(self, cases: Any, rate: float) -> tuple[list[torch.Tensor], list]:
        """The same with a single step, along the sum of all batches' gradients."""
        weight, bias, batches = cases
        parameters = [Tensor(v.clone(), requires_grad=True) for v in (weight, bias)]
        losses = []
        for batch in batches:
            loss = self.loss(parameters, *batch)
            loss.backward()
            losses.append(loss.item())
        return [p.data - rate * p.grad for p in parameters if p.grad is not None], losses

    def afterwards(self, cases: Any, rate: float) -> list[float]:
        """Each batch's loss once its step is taken."""
        weight, bias, batches = cases
        found = []
        for number, batch in enumerate(batches):
            data, _ = self.descend((weight, bias, batches[: number + 1]), rate)
            found.append(self.loss([Tensor(v) for v in data], *batch).item())
        return found

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        losses, rate = outputs["losses"], self.rate
        if not losses.ok:
            return [
                compare("parameters", 2, losses, []),
                compare("losses", 1, losses, []),
                compare("gradients are cleared", 1, losses, []),
            ]
        trained, right = self.descend(cases, rate)
        size = len(cases[2][0][1])
        parameters = compare(
            "parameters",
            2,
            outputs["parameters"],
            trained,
            [
                (
                    list(cases[:2]),
                    "they didn't change: write to p.data, a new p is nobody's parameter",
                ),
                (
                    self.descend(cases, rate, stale=True)[0],
                    "the gradients of earlier batches are still in there: clear them each step",
                ),
                (self.descend(cases, -rate)[0], "this climbs: go against the gradient"),
                (
                    self.descend(cases, rate / size)[0],
                    "the loss is a mean already: don't divide again",
                ),
                (self.descend(cases, 1.0)[0], "the rate is missing"),
                (self.descend(cases, 0.1)[0], "rate is an argument"),
                (self.at_the_end(cases, rate)[0], "a step for each batch, not one at the end"),
                (
                    self.descend((*cases[:2], cases[2][:1]), rate)[0],
                    "only the first batch was used: does the loop return too early?",
                ),
            ],
        )
        if "torch.Tensor" in outputs["kinds"]:
            message = "the list holds torch tensors, expected Python floats"
            kept = Item("losses", 1, 0.0, message, "loss.item() is a float")
        elif any(kind.endswith(".Tensor") for kind in outputs["kinds"]):
            hint = "a loss that is still a Tensor holds its whole tape: keep loss.item()"
            kept = Item("losses", 1, 0.0, "the list holds Tensors, expected Python floats", hint)
        else:
            kept = compare(
                "losses",
                1,
                losses,
                right,
                [
                    (right[1:], "one is missing: the first?"),
                    (self.afterwards(cases, rate), "the loss before the step is asked"),
                    (sum(right) / len(right), "a list is asked, not its mean"),
                    (right[-1], "a list is asked, not the last loss"),
                ],
                may_change=True,
            )
        cleared = require(
            "gradients are cleared",
            1,
            outputs["cleared"] and not parameters.lost,
            "a parameter still holds a gradient"
            if not outputs["cleared"]
            else "counted once they train",
            "" if outputs["cleared"] else "the next step would add to it: set p.grad = None",
        )
        return [parameters, kept, cleared]
