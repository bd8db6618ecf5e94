"""One step of a batch in which some sequences are over."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

from .shared import RECURRENT


@exercise("rnn.step")
class Step(Exercise):
    """One step of a padded batch."""

    points, minutes, difficulty, importance = 3, 8, 2, 5
    forbidden = RECURRENT

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        shapes = ((6, 5, 3), (5, 4), (4, 3), (4, 4), (4,))  # x of six steps, h, W, R, b
        x, h, w, r, b = (torch.randn(shape, generator=random) for shape in shapes)
        return x, h, 0.5 * w, 0.5 * r, b, torch.tensor([6, 2, 4, 1, 3])

    def probe(self, answer: Any, cases: Any) -> Any:
        x, h, w, r, b, lengths = cases
        # Six steps in float64: what a step makes must have the dtype that it was given.
        state: Any = h.double()
        wide = [t.double() for t in (w, r, b)]
        for t in range(len(x)):
            state = call(answer, x[t].double(), state, t < lengths, *wide)
        return {"one": call(answer, x[0], h, 2 < lengths, w, r, b), "last": state}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, h, w, r, b, lengths = cases
        alive = 2 < lengths
        a = x[0] @ w.T + h @ r.T + b
        new = torch.tanh(a)
        padding = "a sequence that is over keeps its state: padding is no input"
        zero, still = "0 forgets what was read: keep the old state", "no input isn't no step: "
        still += "the state stays"
        straight = torch.tanh(x[0] @ w.T + h @ r + b)
        first = h.clone()
        first[: int(alive.sum())] = new[: int(alive.sum())]
        sorted_rows = "rows that go on needn't be the first ones: alive says which they are"
        got = outputs["one"]
        ok = got.ok and torch.is_tensor(got.value) and got.value.shape == h.shape
        fewer = [
            (lambda: new[alive], "a row for every sequence: those that are over keep their state"),
        ]
        going = compare(
            "rows that go on",
            1,
            got.value[alive] if ok else got,
            new[alive] if ok else new,
            [
                (h[alive], "the rows that go on are the ones to change"),
                (straight[alive], "R is (to, from): h @ R.T"),
                (torch.tanh(x[0] @ w.T + h @ r.T)[alive], "b is missing"),
                (torch.tanh(x[0] @ w.T + b)[alive], "the old state is missing: h @ R.T"),
                (torch.tanh(h @ r.T + b)[alive], "the input is missing: x @ W.T"),
                (a[alive], "tanh is missing"),
                (torch.sigmoid(a)[alive], "tanh, not the sigmoid"),
                (first[alive], sorted_rows),
                *(fewer if not ok else ()),
            ],
            may_change=True,
        )
        over = compare(
            "rows that are over",
            1,
            got.value[~alive] if ok else got,
            h[~alive] if ok else new,
            [
                (new[~alive], padding),
                (torch.zeros_like(h[~alive]), zero),
                (torch.tanh(h @ r.T + b)[~alive], still),
                (torch.tanh(h)[~alive], "tanh is part of the step: the old state stays as it is"),
                (straight[~alive], padding),
                (first[~alive], sorted_rows),
                *(fewer if not ok else ()),
            ],
        )
        if ok and got.changed:
            over = Item(over.name, 1, 0.0, "it changed its argument", "return a new tensor")
        return [going, over, self.after_six(outputs["last"], cases)]

    @staticmethod
    def after_six(got: Call, cases: Any) -> Item:
        """The last states, with a choice of what a sequence that is over gets."""
        x, h, w, r, b, lengths = (t.double() if t.is_floating_point() else t for t in cases)

        def last(over: Any = lambda kept, after, blind: kept) -> torch.Tensor:
            state = h
            for t in range(len(x)):
                after = torch.tanh(x[t] @ w.T + state @ r.T + b)
                kept, blind = state, torch.tanh(state @ r.T + b)
                state = torch.where((t < lengths)[:, None], after, over(kept, after, blind))
            return state

        padding = "a sequence that is over keeps its state: padding is no input"
        item = compare(
            "the last real states after six steps",
            1,
            got,
            last(),
            [
                (last(lambda kept, after, blind: after), padding),
                (
                    last(lambda kept, after, blind: torch.zeros_like(kept)),
                    "0 forgets what was read: keep the old state",
                ),
                (
                    last(lambda kept, after, blind: blind),
                    "no input isn't no step: the state stays",
                ),
            ],
        )
        if item.lost and not got.ok and "dtype" in item.message:
            hint = "the new state has the arguments' dtype, here float64: the next step reads it"
            return Item(item.name, item.points, 0.0, item.message, hint)
        return item
