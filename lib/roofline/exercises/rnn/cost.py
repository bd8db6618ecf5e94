"""What recurrence costs: parameters, FLOPs, the chain, and launches."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

from .shared import DERIVATIVES, RECURRENT

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
BLOCKS = {
    "gates": "an LSTM has four blocks of rows: i, f, g, o",
    "candidates": "beside the gates, what may be written is a block of rows too: g, or m",
    "gru like lstm": "a GRU has three blocks of rows, not four: keeping and writing share a gate",
    "gru of two": "a GRU has three blocks of rows: two gates, and what may be written",
    "no R": "R is missing: every block of rows reads the old state, too",
    "no W": "W is missing: every block of rows reads the input, too",
}
PARAMETERS = {
    **BLOCKS,
    "one bias": "torch keeps two biases in every layer, one beside W and one beside R",
    "no bias": "the biases are missing, two vectors a layer",
    "short biases": "each bias has a number for every row of W, not for every state",
}
FLOPS = {
    **BLOCKS,
    "multiply-adds": "a multiply-add is 2 FLOPs",
    "biases too": "biases are added: the matrix products alone count",
    "biases once": "biases are added: the matrix products alone count",
    "one step": "for all steps of the sequence",
}
CHAIN = {
    "product": "a layer needn't wait for the layer below to finish its sequence",
    "steps": "the last step of the lowest layer still has to climb",
    "longer": "the last step of the lowest layer still has to climb",
    "sum": "one too many: draw the grid of layers and steps, count the corners",
    "edges": "count the cells on the path, not the arrows between them",
}


def account(
    kind: str, inputs: int, hidden: int, layers: int, steps: int, *, mistake: str = ""
) -> tuple[int, int, int]:
    """(parameters, forward FLOPs of one sequence, longest chain), with ways to go wrong."""
    gates = GATES[kind]
    if mistake == "gates" and kind == "lstm" or mistake == "candidates" and kind != "rnn":
        gates -= 1
    if kind == "gru":
        gates = {"gru like lstm": 4, "gru of two": 2}.get(mistake, gates)
    widths = [inputs] + [inputs if mistake == "widths" else hidden] * (layers - 1)
    old = 0 if mistake == "no R" else hidden
    read = [old + (0 if mistake == "no W" else width) for width in widths]
    biases = {"one bias": 1, "no bias": 0}.get(mistake, 2) * gates * hidden * layers
    if mistake == "short biases":
        biases = 2 * hidden * layers
    parameters = sum(gates * hidden * numbers for numbers in read) + biases
    flops = sum(2 * gates * hidden * numbers * steps for numbers in read)
    if mistake == "biases too":
        flops = 2 * parameters * steps
    if mistake == "biases once":
        flops += biases * steps
    if mistake == "multiply-adds":
        flops //= 2
    if mistake == "one step":
        flops //= steps
    chain = {"product": layers * steps, "steps": steps, "sum": layers + steps}
    chain |= {"longer": max(layers, steps), "edges": steps + layers - 2}
    return parameters, flops, chain.get(mistake, steps + layers - 1)


@exercise("rnn.account")
class Account(Exercise):
    """Parameters, FLOPs and the chain."""

    points, minutes, difficulty, importance = 4, 12, 3, 4
    # A layer of torch's may be asked for its shapes: it knows neither the FLOPs nor the chain.
    forbidden = ("roofline.models.summary", "roofline.exercises.rnn.cost.account")

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        inputs, hidden, steps = (int(torch.randint(5, 90, (1,), generator=random)) for _ in "123")
        return [
            *((kind, inputs, hidden + 100, 1, steps) for kind in GATES),
            ("lstm", inputs, hidden + 100, 3, steps),
            ("gru", inputs, hidden + 100, 5, 1),  # one step: it still climbs five layers
        ]

    def probe(self, answer: Any, cases: Any) -> Any:
        return [call(answer, *case) for case in cases]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        def row(name: str, parts: dict[str, int], hints: dict[str, str], which: slice) -> Item:
            """Some of the three numbers, each under the arguments that it belongs to."""

            def named(numbers: Any) -> dict[str, Any]:
                return {
                    ", ".join(filter(None, (part, *map(str, case)))): made[place]
                    for case, made in zip(cases[which], numbers, strict=True)
                    for part, place in parts.items()
                }

            calls: dict[str, Call] = named(outputs[which])
            failed = next((made for made in calls.values() if not made.ok), None)
            got = failed or {key: made.value for key, made in calls.items()}
            wrong = [
                (named([account(*case, mistake=key) for case in cases[which]]), hint)
                for key, hint in hints.items()
            ]
            return compare(name, 1, got, named([account(*c) for c in cases[which]]), wrong)

        every, single, several = slice(None), slice(0, 3), slice(3, None)
        both = {"parameters": 0, "FLOPs": 1}
        widths = {"widths": "from the second layer on the inputs are states, hidden wide"}
        return [
            row("parameters", {"": 0}, PARAMETERS, single),
            row("FLOPs", {"": 1}, FLOPS, single),
            row("several layers", both, widths | PARAMETERS | FLOPS, several),
            row("the chain", {"": 2}, CHAIN, every),
        ]


@exercise("rnn.hoisted")
class Hoisted(Exercise):
    """Out of the loop."""

    points, minutes, difficulty, importance = 5, 15, 4, 4
    forbidden = (*RECURRENT, *DERIVATIVES, "roofline.exercises.rnn.cost.Hoisted.run")
    steps = 32

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        shapes = ((self.steps, 5, 3), (5, 6), (6, 3), (6, 6), (6,))
        x, h, w, r, b = (torch.randn(shape, generator=random) for shape in shapes)
        return x, h, w, 0.4 * r, b

    def probe(self, answer: Any, cases: Any) -> Any:
        x, *rest = (t.double() for t in cases)
        return {
            "counted": call(answer, *cases, count=True),
            "one": call(answer, x[:1], *rest),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, h, w, r, b = cases
        states = self.run(x, h, w, r, b)
        without = self.run(x, h, w, r, torch.zeros_like(b))
        once = "the same tensor T times, overwritten at every step: keep a new one of each"
        repeated = torch.tanh(x @ w.T + b + h @ r.T)
        values = compare(
            "all states",
            1.5,
            outputs["counted"],
            states,
            [
                (states[-1], "all T states are asked, not the last one alone"),
                (torch.cat([h[None], states]), "h0 isn't one of the T states"),
                (torch.cat([h[None], states[:-1]]), "the state after each step, not before it"),
                (without, "b is missing"),
                (self.run(x, torch.zeros_like(h), w, r, b), "start from h0, not from zeros"),
                (repeated, "each step starts from the state before it, not from h0"),
                (self.run(x, h, w, r.T, b), "r is (to, from): h @ r.T"),
                (partial(self.run, x, h, w, r, b, bend=torch.sigmoid), "tanh, not the sigmoid"),
                (partial(self.run, x, h, w, r, b, bend=torch.clone), "tanh is missing"),
                (states.transpose(0, 1), "steps first, then sequences: (t, n, hidden)"),
                (states.flip(0), "the first step first: turn them round"),
                (states[-1:].expand_as(states), once),
            ],
            rtol=1e-4,
            atol=1e-5,
        )
        name, wide = "a single step", states[:1].double()
        one = compare(name, 0.5, outputs["one"], wide, rtol=1e-4, atol=1e-5)
        if one.lost and not one.hint and not values.lost:
            hint = "here is one step, in float64: take the number of steps and the dtype from x"
            one = Item(name, 0.5, 0.0, one.message, hint)
        return [values, one, self.launches(outputs["counted"], values, cases)]

    def launches(self, made: Call, values: Item, cases: Any) -> Item:
        name, points = "kernel launches", 3
        if values.lost:
            return Item(name, points, 0.0, "counted once the states are right")
        x, _, w, r, _ = cases
        once, seen = 2 * x.shape[0] * x.shape[1] * (w.numel() + r.numel()), made.counts["flops"]
        message = f"{seen:,} FLOPs of products were counted, the formula has {once:,}"
        if seen < once:
            hint = "only torch operations are counted: do the products with torch"
            return Item(name, points, 0.0, message, hint)
        if seen > 1.1 * once:
            hint = (
                "each state once, from the one before it: launches saved by more work don't count"
            )
            return Item(name, points, 0.0, message, hint)
        few, some = 2 * self.steps + 4, 3 * self.steps + 4
        counted = made.counts["launches"]
        message = f"{counted} launches for {self.steps} steps, at most {few} asked"
        if counted <= few:
            return Item(name, points, points, f"{counted} launches")
        if counted <= some:
            hint = (
                "two a step: torch.addmm, a product and a sum in one, and tanh; inputs before the "
                "loop, and the states into one tensor after it"
            )
            return Item(name, points, 1.0, message, hint)
        hint = "what doesn't need h can be done for all steps at once, before the loop"
        if counted <= 4 * self.steps + 4:
            hint += "; if it is, see what else the loop launches: writing into a table, b, a sum"
        return Item(name, points, 0.0, message, hint)

    @staticmethod
    def run(
        x: torch.Tensor, h: torch.Tensor, w: Any, r: Any, b: Any, bend: Any = torch.tanh
    ) -> torch.Tensor:
        states = []
        for row in x:
            h = bend(row @ w.T + h @ r.T + b)
            states.append(h)
        return torch.stack(states)
