"""The LSTM's step."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Exercise, Item, call, compare, exercise, generator

from .shared import RECURRENT


def lstm_step(
    x: torch.Tensor,
    h: torch.Tensor,
    c: torch.Tensor,
    w: torch.Tensor,
    r: torch.Tensor,
    b: torch.Tensor,
    *,
    mistake: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """The new (h, c), with ways to go wrong."""
    if mistake == "transposed":
        r = torch.cat([block.T for block in r.chunk(4)])
    a = x @ w.T + (0 if mistake == "no state" else h @ r.T) + (0 if mistake == "no bias" else b)
    i, f, g, o = a.chunk(4, 1)
    if mistake == "every fourth":
        i, f, g, o = (a[:, k::4] for k in range(4))
    if mistake == "order":
        o, g = g, o
    i, f, o = i.sigmoid(), f.sigmoid(), o.sigmoid()
    g = g.sigmoid() if mistake == "candidate" else g if mistake == "linear" else g.tanh()
    new = c + i * g if mistake == "no forgetting" else f * c + i * g
    if mistake == "tied":
        new = f * c + (1 - f) * g
    if mistake == "swapped":
        new = i * c + f * g
    if mistake == "old cell":
        return o * c.tanh(), new
    if mistake == "no output gate":
        return new.tanh(), new
    return (o * new if mistake == "flat" else o * new.tanh()), new


@exercise("rnn.lstm_step")
class LSTMStep(Exercise):
    """One step of an LSTM."""

    points, minutes, difficulty, importance = 4, 12, 3, 5
    forbidden = (*RECURRENT, "roofline.exercises.rnn.gates.lstm_step")
    mistakes = {
        "order": "the rows are in the order i, f, g, o",
        "candidate": "g is what may be written, between -1 and 1: tanh, not the sigmoid",
        "linear": "g goes through tanh",
        "no forgetting": "the forget gate multiplies the old cell",
        "tied": "the input gate is a gate of its own, not 1 - f",
        "swapped": "f is for the old cell and i for the new: the rows are in the order i, f, g, o",
        "old cell": "h reads the new cell",
        "flat": "h reads the cell through tanh",
        "no output gate": "o is missing: it says how much of the cell h shows",
        "no bias": "b is missing",
        "no state": "the old state is missing: h @ r.T",
        "transposed": "r is (to, from): h @ r.T",
        "every fourth": "a gate is a block of rows that follow each other, not every fourth row",
    }

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        shapes = ((5, 3), (5, 4), (5, 4), (16, 3), (16, 4), (16,))
        made = tuple(torch.randn(shape, generator=random) for shape in shapes)
        return made, self.shut(random)

    @staticmethod
    def shut(random: torch.Generator) -> tuple[torch.Tensor, ...]:
        """One sequence in float64, hidden 3: the input gate is shut and the forget gate open."""
        shapes = ((1, 2), (1, 3), (1, 3), (12, 2), (12, 3), (12,))
        *others, b = (torch.randn(shape, generator=random).double() for shape in shapes)
        push = torch.zeros(4, 3)
        push[0], push[1] = -1000.0, 1000.0
        return *others, b + push.flatten()

    def probe(self, answer: Any, cases: Any) -> Any:
        made, shut = cases
        return {"made": call(answer, *made), "shut": call(answer, *shut)[1]}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        made, shut = cases
        h, c = lstm_step(*made)
        wrong = {key: lstm_step(*made, mistake=key) for key in self.mistakes}
        hints = self.mistakes.items()
        swapped = "return h first, then c"
        items = [
            compare(
                "the cell",
                2,
                outputs["made"][1],
                c,
                [*((wrong[key][1], hint) for key, hint in hints), (h, swapped)],
            ),
            compare(
                "the state",
                1,
                outputs["made"][0],
                h,
                [*((wrong[key][0], hint) for key, hint in hints), (c, swapped)],
            ),
            compare(
                "a shut input gate keeps the cell",
                1,
                outputs["shut"],
                shut[2],
                [
                    *((lstm_step(*shut, mistake=key)[1], hint) for key, hint in hints),
                    (lstm_step(*shut)[0], swapped),
                ],
            ),
        ]
        last = items[2]
        if last.lost and not last.hint and not items[0].lost:
            hint = "here is one sequence, hidden 3, in float64: take sizes and dtype from h"
            items[2] = Item(last.name, last.points, 0.0, last.message, hint)
        elif last.lost and ("NaN" in last.message or "infinite" in last.message):
            hint = (
                "exp of 1,000 is infinite, and inf/inf isn't a number: torch.sigmoid stays finite"
            )
            items[2] = Item(last.name, last.points, 0.0, last.message, hint)
        return items
