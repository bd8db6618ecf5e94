"""Sequences of different lengths in one batch."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

from .shared import RECURRENT


@exercise("rnn.pad")
class Pad(Exercise):
    """Pad and truncate."""

    points, minutes, difficulty, importance = 3, 8, 1, 4
    forbidden = ("torch.nn.utils.rnn.pad_sequence", "roofline.data.pad")
    limit_of_tokens = 6

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        sizes = [3, 9, 1, 5, 6]
        rows = [torch.randint(0, 50, (size,), generator=random).tolist() for size in sizes]
        rows[0][1] = rows[3][0] = 7  # a real token that looks like padding
        edges = [([[], *rows[:2]], 4), ([rows[1], rows[4]], 5), ([rows[2], rows[3], []], 1)]
        return {"long": rows, "short": [rows[0], rows[2], rows[3]], "edges": edges}

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            "long": call(answer, cases["long"], self.limit_of_tokens, 7),
            "short": call(answer, cases["short"], self.limit_of_tokens),
            "edges": [call(answer, *case, 99) for case in cases["edges"]],
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        rows, most = cases["long"], self.limit_of_tokens
        cut, kept_end = [row[:most] for row in rows], [row[-most:] for row in rows]
        right, short = self.table(cut, most, 7), self.table(cases["short"], 5, 0)
        lengths = torch.tensor([len(row) for row in cut])
        mask = torch.arange(most) < lengths[:, None]
        got = outputs["long"]
        width = max(map(len, rows))
        edges = [self.all_three(*case) for case in cases["edges"]]
        return [
            compare(
                "tokens",
                1,
                _both(got[0], outputs["short"][0]),
                [right, short],
                [
                    ([self.table(kept_end, most, 7), short], "keep the first tokens, not the last"),
                    ([self.table(rows, width, 7), short], "longer sequences are to be cut"),
                    (
                        [right, self.table(cases["short"], most, 0)],
                        "no wider than the longest row that is left: padding costs time",
                    ),
                    (
                        [self.table(cut, most, 7, "start"), self.table(cases["short"], 5, 0, "s")],
                        "the padding goes behind the tokens",
                    ),
                    ([self.table(cut, most, 0), short], "pad with value"),
                ],
            ),
            compare(
                "lengths",
                0.5,
                _both(got[1], outputs["short"][1]),
                [lengths, torch.tensor([3, 1, 5])],
                [
                    (
                        [torch.tensor([len(row) for row in rows]), torch.tensor([3, 1, 5])],
                        "count after cutting: a length is never above the limit",
                    ),
                    ([torch.full((5,), most), torch.full((3,), 5)], "that is the width"),
                ],
            ),
            compare(
                "mask",
                0.5,
                got[2],
                mask,
                [
                    (~mask, "True where a token is real"),
                    (right != 7, "a real token may equal the padding: use the lengths"),
                    (torch.arange(most) <= lengths[:, None], "one too many: positions start at 0"),
                ],
            ),
            self.at_the_edges(_both(*outputs["edges"]), edges),
        ]

    @staticmethod
    def at_the_edges(got: Any, right: Any) -> Item:
        item = compare("an empty row, and every row too long", 1, got, right)
        if item.lost and ("dtype" in item.message or "raised" in item.message):
            hint = "torch.tensor([]) holds floats, although it holds nothing: give it a dtype"
            return Item(item.name, 1, 0.0, item.message, hint)
        return item

    @classmethod
    def all_three(cls, rows: list[list[int]], most: int) -> list[torch.Tensor]:
        cut = [row[:most] for row in rows]
        lengths = torch.tensor([len(row) for row in cut])
        width = int(lengths.max())
        return [cls.table(cut, width, 99), lengths, torch.arange(width) < lengths[:, None]]

    @staticmethod
    def table(rows: list[list[int]], width: int, value: int, side: str = "end") -> torch.Tensor:
        filled = [
            row + [value] * (width - len(row))
            if side == "end"
            else [value] * (width - len(row)) + row
            for row in rows
        ]
        return torch.tensor(filled)


def _both(*parts: Call) -> Any:
    """The values of several calls, or the first call that has none."""
    return next((part for part in parts if not part.ok), None) or [part.value for part in parts]


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
        state: Any = h
        for t in range(len(x)):
            state = call(answer, x[t], state, t < lengths, w, r, b)
        return {"one": call(answer, x[0], h, 2 < lengths, w, r, b), "last": state}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        x, h, w, r, b, lengths = cases
        alive = 2 < lengths
        new = torch.tanh(x[0] @ w.T + h @ r.T + b)
        padding = "a sequence that is over keeps its state: padding is no input"
        zero, still = "0 forgets what was read: keep the old state", "no input isn't no step: "
        still += "the state stays"
        straight = torch.tanh(x[0] @ w.T + h @ r + b)

        def last(over: Any = lambda kept, after, blind: kept) -> torch.Tensor:
            """The last states, with a choice of what a sequence that is over gets."""
            state = h
            for t in range(len(x)):
                after = torch.tanh(x[t] @ w.T + state @ r.T + b)
                kept, blind = state, torch.tanh(state @ r.T + b)
                state = torch.where((t < lengths)[:, None], after, over(kept, after, blind))
            return state

        got = outputs["one"]
        ok = got.ok and torch.is_tensor(got.value) and got.value.shape == h.shape
        going = compare(
            "rows that go on",
            1,
            got.value[alive] if ok else got,
            new[alive] if ok else new,
            [
                (h[alive], "the rows that go on are the ones to change"),
                (straight[alive], "R is (to, from): h @ R.T"),
                (torch.tanh(x[0] @ w.T + h @ r.T)[alive], "b is missing"),
                ((x[0] @ w.T + h @ r.T + b)[alive], "tanh is missing"),
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
                (straight[~alive], padding),
            ],
        )
        if ok and got.changed:
            over = Item(over.name, 1, 0.0, "it changed its argument", "return a new tensor")
        return [
            going,
            over,
            compare(
                "the last real states after six steps",
                1,
                outputs["last"],
                last(),
                [
                    (last(lambda kept, after, blind: after), padding),
                    (last(lambda kept, after, blind: torch.zeros_like(kept)), zero),
                    (last(lambda kept, after, blind: blind), still),
                ],
            ),
        ]
