"""Chapter 2, backprop: pullbacks, checked, walked, and counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from roofline import autograd
from roofline.autograd import Tensor
from roofline.autograd.memory import captured
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
    unchanged,
)
from roofline.hardware.count import count

TENSOR_CLASSES = (
    "torch.Tensor.backward",
    "torch.autograd.grad",
    "torch.func.vjp",
    "torch.func.grad",
)


def held(pullback: Call) -> Call:
    """The bytes that a pullback keeps alive, each piece of memory once."""

    def add_up(function: Callable) -> int:
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in captured(function)}
        return sum(storage.nbytes() for storage in storages.values())

    return call(add_up, pullback)


def _elementwise_probe(answer: Any, cases: Any) -> dict[str, Any]:
    """Call an elementwise operation and its pullback, at ordinary and at extreme inputs."""
    x, dy, extreme = cases
    made, far = call(answer, x), call(answer, extreme)
    return {
        "result": made[0],
        "gradient": call(made[1], dy)[0],
        "far": far[0],
        "far gradient": call(far[1], torch.ones_like(extreme))[0],
        "held": held(made[1]),
    }


def _elementwise_cases(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = generator(seed)
    x = 2 * torch.randn(6, 5, generator=random)
    dy = torch.randn(6, 5, generator=random)
    return x, dy, torch.tensor([-100.0, -30.0, 0.0, 30.0, 100.0])


@exercise("backprop.sigmoid")
class Sigmoid(Exercise):
    """A pullback that remembers its result."""

    points, minutes, difficulty, importance = 3, 5, 1, 4
    forbidden = ("aten::sigmoid_backward", "roofline.autograd.sigmoid", *TENSOR_CLASSES)

    def cases(self, seed: int) -> Any:
        return _elementwise_cases(seed)

    def probe(self, answer: Any, cases: Any) -> Any:
        return _elementwise_probe(answer, cases)

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
            ],
        )
        return [
            compare("result", 0.5, outputs["result"], y, [(torch.sigmoid(-x), "the sign of x")]),
            gradient,
            _stable(outputs, far, far * (1 - far)),
            _holds_one(outputs, gradient, x, "refer only to the result inside the pullback"),
        ]


def _stable(outputs: Any, far: torch.Tensor, slope: torch.Tensor) -> Item:
    """Result and gradient at inputs up to 100 in size."""
    item = compare("at inputs up to ±100", 0.5, outputs["far"], far)
    if item.lost:
        return item
    return compare("at inputs up to ±100", 0.5, outputs["far gradient"], slope, atol=1e-6)


def _holds_one(outputs: Any, gradient: Item, x: torch.Tensor, hint: str) -> Item:
    """Whether the pullback keeps one tensor of x's size; worth nothing while it is wrong."""
    name, one = "remembers one tensor", 4 * x.numel()
    if gradient.lost:
        return Item(name, 1, 0.0, "counted once the gradient is right")
    item = at_most(name, 1, outputs["held"], one, "bytes")
    if item.lost and outputs["held"].ok:
        return Item(name, 1, 0.0, item.message, hint)
    return item


@exercise("backprop.linear")
class Linear(Exercise):
    """The layer where the work is."""

    points, minutes, difficulty, importance = 4, 12, 2, 5
    forbidden = ("torch.nn.functional.linear", "roofline.autograd.linear", *TENSOR_CLASSES)

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
            "result": made[0],
            "gradients": call(made[1], dy),
            "large": large,
            "walk": call(large[1], large_dy, count=True),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        (x, weight, bias, dy), (large_x, large_weight, _, _) = cases
        gradients = outputs["gradients"]
        dw, db, n = dy.T @ x, dy.sum(0), len(x)
        right = [
            compare("dx", 0.5, gradients[0], dy @ weight),
            compare(
                "dW",
                1,
                gradients[1],
                dw,
                [
                    (dw / n, "this averages over the batch: the gradients of its rows add up"),
                    (dw.T, "transposed: the gradient of W has the shape of W"),
                    (dy[:1].T @ x[:1], "this is the first row's share: sum over the batch"),
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
        result = compare(
            "result",
            0.5,
            outputs["result"],
            x @ weight.T + bias,
            [(lambda: x @ weight.T, "the bias is missing")],
        )
        return [result, *right, self._cost(outputs, large_x, large_weight, right)]

    def _cost(self, outputs: Any, x: torch.Tensor, weight: torch.Tensor, right: list[Item]) -> Item:
        """Two products in the pullback, and never a tensor of n · inputs · outputs entries."""
        name = "counted cost of the pullback"
        if any(item.lost for item in right):
            return Item(name, 1, 0.0, "counted once the gradients are right")
        product = 2 * len(x) * weight.numel()
        # A tenth more leaves room for a bias gradient that is written as a product too.
        flops = at_most(name, 1, outputs["walk"], 2.2 * product, "FLOPs", "flops")
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


@exercise("backprop.numerical_gradient")
class NumericalGradient(Exercise):
    """A numerical gradient."""

    points, minutes, difficulty, importance = 3, 10, 2, 4
    forbidden = ("torch.autograd.gradcheck", "roofline.autograd.gradcheck", *TENSOR_CLASSES)
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
            "float": call(answer, lambda t: float((t**2).sum()), x[:3]),
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
                ],
                rtol=1e-7,
            ),
            compare("f may return a float", 0.5, outputs["float"], 2 * x[:3], rtol=1e-4, atol=1e-6),
            compare(
                "x that is a view, not contiguous",
                0.5,
                outputs["view"],
                3 * corner**2,
                [(torch.zeros_like(corner), "the entries that you moved are not those of x")],
                rtol=1e-4,
                atol=1e-6,
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

    points, minutes, difficulty, importance = 4, 10, 2, 5
    forbidden = ("torch.optim.SGD", "roofline.optim.SGD", *TENSOR_CLASSES[1:])
    rate = 0.1

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
            sorted({type(v).__name__ for v in losses.value})
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
            ],
        )
        if {"Tensor"} & set(outputs["kinds"]):
            hint = "a loss that is still a Tensor holds its whole tape: keep loss.item()"
            kept = Item("losses", 1, 0.0, "the list holds Tensors, expected Python floats", hint)
        else:
            kept = compare(
                "losses",
                1,
                losses,
                right,
                [(right[1:], "one is missing: the first?")],
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


class Entry:
    """A node of a tape made for the exercise, with the attributes that the chapter names."""

    def __init__(self, pullback: Callable | None = None, *parents: Entry | None):
        self.pullback, self.parents, self.grad = pullback, parents, None


def _tape(values: tuple[torch.Tensor, ...]) -> tuple[list[Entry], dict[str, Entry]]:
    """A small tape: (a·b + a), doubled by an addition to itself, plus a, times data.

    In it a value is used three times, an addition hands one tensor to two slots, an argument is
    plain data, and one node is reached by no gradient.
    """
    a_value, b_value, c_value = values
    a, b = Entry(), Entry()
    product = Entry(lambda d: (d * b_value, d * a_value), a, b)
    first = Entry(lambda d: (d, d), product, a)
    aside = Entry(lambda d: (d * 2,), b)  # made on the way, but the loss doesn't use it
    doubled = Entry(lambda d: (d, d), first, first)
    second = Entry(lambda d: (d, d), doubled, a)
    loss = Entry(lambda d: (d * c_value, None), second, None)
    nodes = [a, b, product, first, aside, doubled, second, loss]
    return nodes, {"a": a, "b": b}


@exercise("backprop.walk")
class Walk(Exercise):
    """The backward walk."""

    points, minutes, difficulty, importance = 4, 15, 3, 5
    forbidden = ("roofline.autograd.backward", "roofline.autograd.Tensor.backward", *TENSOR_CLASSES)

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        return [torch.randn(4, 3, generator=random) for _ in range(5)]

    def probe(self, answer: Any, cases: Any) -> Any:
        *values, grad, before = cases
        x = Entry()
        chain = [x]
        for factor in values:
            chain.append(Entry(lambda d, factor=factor: (d * factor,), chain[-1]))
        chained = call(answer, chain, grad)
        nodes, leaves = _tape(tuple(values))
        walked = call(answer, nodes, grad)
        fresh, held = _tape(tuple(values))
        held["b"].grad = before.clone()
        again = call(answer, fresh, grad)
        inner = [node for node in nodes if node.parents and node is not nodes[4]]
        return {
            "chain": self._slot(chained, x),
            "a": self._slot(walked, leaves["a"]),
            "b": self._slot(walked, leaves["b"]),
            "added": self._slot(again, held["b"]),
            "calls": [chained, walked],
            "freed": sum(node.pullback is None and node.grad is None for node in inner),
            "inner": len(inner),
        }

    @staticmethod
    def _slot(walked: Call, node: Entry) -> Call:
        """The gradient in a leaf's slot, as what the call gave."""
        return call(lambda _: node.grad, walked) if walked.ok else walked

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        a, b, c, grad, before = cases
        through = grad * c  # arrives at the last addition
        right_a, right_b = through * (2 * b + 2 + 1), through * 2 * a
        values = [
            compare(
                "a chain",
                1,
                outputs["chain"],
                grad * a * b * c,
                [(grad * c, "it stops after the first node"), (grad, "the loss's own gradient")],
            ),
            compare(
                "a value used more than once",
                1,
                [outputs["a"].value, outputs["b"].value] if outputs["a"].ok else outputs["a"],
                [right_a, right_b],
                [
                    ([through * b, through * a], "an arriving gradient replaced the one before it"),
                    ([through, through * a], "an arriving gradient replaced the one before it"),
                ],
            ),
        ]
        if all(item.lost for item in values):
            why = "looked at once a gradient is right"
            return [
                *values,
                compare("adds to a leaf's old gradient", 1, outputs["added"], right_b + before)
                if not outputs["added"].ok
                else Item("adds to a leaf's old gradient", 1, 0.0, why),
                Item("frees what it has used", 1, 0.0, why),
            ]
        return [
            *values,
            compare(
                "adds to a leaf's old gradient",
                1,
                outputs["added"],
                right_b + before,
                [(right_b, "the gradient that the leaf held before is gone")],
            ),
            require(
                "frees what it has used",
                1,
                outputs["freed"] == outputs["inner"],
                f"{outputs['inner'] - outputs['freed']} of {outputs['inner']} inner nodes "
                "still hold a gradient or a pullback",
                "set both to None when the node has passed its gradient on",
            ),
        ]


@exercise("backprop.account")
class Account(Exercise):
    """The account."""

    points, minutes, difficulty, importance = 4, 12, 3, 4
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
            got = [made[key] for made in outputs]
            failed = next((part for part in got if not part.ok), None)
            items.append(compare(key, 1, failed or [part.value for part in got], right, hints))
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

        def with_logits(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["remembered"] + size * batch * widths[-1]

        def hidden_twice(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["remembered"] + size * batch * sum(widths[1:-1])

        def without_input(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["remembered"] - size * batch * widths[0]

        def with_parameters(widths: Any, batch: int, size: int, **a: int) -> int:
            return a["remembered"] + size * a["parameters"]

        return {
            "parameters": [(over(without_biases), "the biases are missing")],
            "forward": [
                (
                    over(lambda *c, **a: a["forward"] // 2),
                    "a multiplication and an addition are 2 FLOPs",
                ),
                (
                    over(lambda w, b, s, **a: a["forward"] // b),
                    "every row of the batch costs as much",
                ),
            ],
            "backward": [
                (
                    over(lambda *c, **a: 2 * a["forward"]),
                    "nobody needs the gradient with respect to the input: the first layer skips it",
                ),
                (over(lambda *c, **a: a["forward"]), "two products for each layer but the first"),
            ],
            "remembered": [
                (over(with_logits), "no pullback of the layers needs the logits"),
                (
                    over(hidden_twice),
                    "relu's result is the next layer's input: held twice, stored once",
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

    points, minutes, difficulty, importance = 4, 12, 4, 3
    forbidden = (
        "torch.nn.functional.silu",
        "roofline.autograd.silu",
        "aten::silu",
        "aten::silu_backward",
        *TENSOR_CLASSES,
    )

    def cases(self, seed: int) -> Any:
        return _elementwise_cases(seed)

    def probe(self, answer: Any, cases: Any) -> Any:
        return _elementwise_probe(answer, cases)

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
            ],
        )
        held_item = _holds_one(
            outputs,
            gradient,
            x,
            "compute sigmoid(x) again inside the pullback instead of holding it",
        )
        return [
            compare("result", 1, outputs["result"], x * s, [(s, "x times sigmoid(x) is asked")]),
            gradient,
            _stable(outputs, extreme * far, far + extreme * far * (1 - far)),
            held_item,
        ]
