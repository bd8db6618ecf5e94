"""What recurrence costs: parameters, FLOPs, the chain, and launches."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

from .shared import DERIVATIVES, RECURRENT

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
BLOCKS = {
    "gates": "an LSTM has four blocks of rows: i, f, g, o",
    "candidates": "beside the gates, what may be written is a block of rows too: g, or m",
}


def account(
    kind: str, inputs: int, hidden: int, layers: int, steps: int, *, mistake: str = ""
) -> tuple[int, int, int]:
    """(parameters, forward FLOPs of one sequence, longest chain), with ways to go wrong."""
    gates = GATES[kind]
    if mistake == "gates" and kind == "lstm" or mistake == "candidates" and kind != "rnn":
        gates -= 1
    widths = [inputs] + [inputs if mistake == "widths" else hidden] * (layers - 1)
    biases = {"one bias": 1, "no bias": 0}.get(mistake, 2)
    parameters = sum(gates * hidden * (width + hidden + biases) for width in widths)
    flops = sum(2 * gates * hidden * (width + hidden) * steps for width in widths)
    if mistake == "biases too":
        flops = 2 * parameters * steps
    if mistake == "multiply-adds":
        flops //= 2
    if mistake == "one step":
        flops //= steps
    chain = {"product": layers * steps, "steps": steps, "sum": layers + steps}
    chain["longer"] = max(layers, steps)
    return parameters, flops, chain.get(mistake, steps + layers - 1)


@exercise("rnn.account")
class Account(Exercise):
    """Parameters, FLOPs and the chain."""

    points, minutes, difficulty, importance = 4, 12, 3, 4
    forbidden = RECURRENT

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
        right = [account(*case) for case in cases]

        def row(name: str, points: float, part: int, hints: dict[str, str], which: slice) -> Item:
            parts: list[Call] = [made[part] for made in outputs[which]]
            # Under the arguments that they belong to, which the message then names.
            given = [", ".join(map(str, case)) for case in cases[which]]
            failed = next((p for p in parts if not p.ok), None)
            got = failed or dict(zip(given, (p.value for p in parts), strict=True))
            made = [
                ([account(*case, mistake=key)[part] for case in cases[which]], hint)
                for key, hint in hints.items()
            ]
            wrong = [(dict(zip(given, values, strict=True)), hint) for values, hint in made]
            expected = dict(zip(given, (each[part] for each in right[which]), strict=True))
            return compare(name, points, got, expected, wrong)

        every, single = slice(None), slice(0, 3)
        widths = "from the second layer on the inputs are states, hidden wide"
        return [
            row(
                "parameters",
                1,
                0,
                {
                    **BLOCKS,
                    "one bias": "torch keeps two biases, one beside W and one beside R",
                    "no bias": "the biases are missing, two vectors",
                },
                single,
            ),
            row(
                "FLOPs",
                1,
                1,
                {
                    **BLOCKS,
                    "multiply-adds": "a multiply-add is 2 FLOPs",
                    "biases too": "biases are added: the matrix products alone count",
                    "one step": "for all steps of the sequence",
                },
                single,
            ),
            self.deep(outputs, right, cases, widths),
            row(
                "the chain",
                1,
                2,
                {
                    "product": "a layer needn't wait for the layer below to finish its sequence",
                    "steps": "the last step of the lowest layer still has to climb",
                    "longer": "the last step of the lowest layer still has to climb",
                    "sum": "one too many: draw the grid of layers and steps, count the corners",
                },
                every,
            ),
        ]

    @staticmethod
    def deep(outputs: Any, right: Any, cases: Any, hint: str) -> Item:
        parts = [outputs[3][0], outputs[3][1]]
        both = ("parameters", "FLOPs")
        failed = next((p for p in parts if not p.ok), None)
        got = failed or dict(zip(both, (p.value for p in parts), strict=True))
        wrong = [
            (dict(zip(both, account(*cases[3], mistake=key)[:2], strict=True)), text)
            for key, text in {
                "widths": hint,
                **BLOCKS,
                "one bias": "torch keeps two biases in every layer",
                "no bias": "the biases are missing, two vectors a layer",
                "multiply-adds": "a multiply-add is 2 FLOPs",
                "biases too": "biases are added: the matrix products alone count",
                "one step": "for all steps of the sequence",
            }.items()
        ]
        return compare("three layers", 1, got, dict(zip(both, right[3][:2], strict=True)), wrong)


@exercise("rnn.hoisted")
class Hoisted(Exercise):
    """Out of the loop."""

    points, minutes, difficulty, importance = 5, 15, 4, 4
    forbidden = (*RECURRENT, *DERIVATIVES)
    steps = 32

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        shapes = ((self.steps, 5, 3), (5, 6), (6, 3), (6, 6), (6,))
        x, h, w, r, b = (torch.randn(shape, generator=random) for shape in shapes)
        return x, h, w, 0.4 * r, b

    def probe(self, answer: Any, cases: Any) -> Any:
        x, *rest = cases
        return {
            "counted": call(answer, *cases, count=True),
            "one": call(answer, x[:1], *rest),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, h, w, r, b = cases
        states = self.run(x, h, w, r, b)
        without = self.run(x, h, w, r, torch.zeros_like(b))
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
                (repeated, "each step starts from the state before it, not from h0"),
            ],
            rtol=1e-4,
            atol=1e-5,
        )
        one = compare("a single step", 0.5, outputs["one"], states[:1], rtol=1e-4, atol=1e-5)
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
            hint = "two a step: inputs before the loop, and torch.addmm, a product and a sum in one"
            return Item(name, points, 1.0, message, hint)
        hint = "what doesn't need h can be done for all steps at once, before the loop"
        if counted <= 4 * self.steps + 4:
            hint += "; if it is, see what else the loop launches: writing into a table, b, a sum"
        return Item(name, points, 0.0, message, hint)

    @staticmethod
    def run(x: torch.Tensor, h: torch.Tensor, w: Any, r: Any, b: Any) -> torch.Tensor:
        states = []
        for row in x:
            h = torch.tanh(row @ w.T + h @ r.T + b)
            states.append(h)
        return torch.stack(states)
