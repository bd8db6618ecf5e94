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
    i, f, g, o = (x @ w.T + h @ r.T + b).chunk(4, 1)
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
    return (o * new if mistake == "flat" else o * new.tanh()), new


@exercise("rnn.lstm_step")
class LSTMStep(Exercise):
    """One step of an LSTM."""

    points, minutes, difficulty, importance = 4, 12, 3, 5
    forbidden = RECURRENT
    mistakes = {
        "order": "the rows are in the order i, f, g, o",
        "candidate": "g is what may be written, between -1 and 1: tanh, not the sigmoid",
        "linear": "g goes through tanh",
        "no forgetting": "the forget gate multiplies the old cell",
        "tied": "the input gate is a gate of its own, not 1 - f",
        "swapped": "f is for the old cell and i for the new: the rows are in the order i, f, g, o",
        "old cell": "h reads the new cell",
        "flat": "h reads the cell through tanh",
    }

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        shapes = ((5, 3), (5, 4), (5, 4), (16, 3), (16, 4), (16,))
        return tuple(torch.randn(shape, generator=random) for shape in shapes)

    @staticmethod
    def shut(cases: Any) -> tuple[torch.Tensor, ...]:
        """The same with the input gate shut and the forget gate open."""
        x, h, c, w, r, b = cases
        push = torch.zeros(4, 4)
        push[0], push[1] = -200.0, 200.0
        return x, h, c, w, r, b + push.flatten()

    def probe(self, answer: Any, cases: Any) -> Any:
        return {"made": call(answer, *cases), "shut": call(answer, *self.shut(cases))[1]}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        h, c = lstm_step(*cases)
        wrong = {key: lstm_step(*cases, mistake=key) for key in self.mistakes}
        hints = self.mistakes.items()
        swapped = "return h first, then c"
        return [
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
                cases[2],
                [(lstm_step(*self.shut(cases), mistake=key)[1], hint) for key, hint in hints],
            ),
        ]
