"""Sequences of different lengths in one batch."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator, where

Rows = list[list[int]]


@exercise("rnn.pad")
class Pad(Exercise):
    """Pad and truncate."""

    points, minutes, difficulty, importance = 3, 8, 1, 4
    forbidden = (
        "torch.nn.utils.rnn.pad_sequence",
        "torch.nn.utils.rnn.pad_packed_sequence",
        "torch.nested.to_padded_tensor",
        "aten::to_padded_tensor",
        "aten::_nested_from_padded_tensor",
        "roofline.data.pad",
        "roofline.exercises.rnn.batches.Pad.table",
        "roofline.exercises.rnn.batches.Pad.all_three",
    )
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
        short_rows = cases["short"]
        right = self.all_three(rows, most, 7)
        short = self.all_three(short_rows, most, 0)
        kept_end = self.all_three([row[-most:] for row in rows], most, 7)
        whole = self.table(rows, max(map(len, rows)), 7)
        order = self.all_three(sorted(rows, key=len, reverse=True), most, 7)
        less = self.all_three(rows, most - 1, 7)
        dropped = self.all_three([row for row in rows if len(row) <= most], most, 7)
        got, few = outputs["long"], outputs["short"]
        tokens = few[0].value
        if torch.is_tensor(tokens) and tokens.shape == (len(short_rows), most):
            short[2] = torch.arange(most) < short[1][:, None]  # too wide: that loses `tokens` alone
        places = torch.arange(most)
        stay = "one row for each sequence, in the order in which they came"
        one_less = "`length` tokens may stay, not one less"
        items = [
            compare(
                "tokens",
                1,
                _both(got[0], few[0]),
                [right[0], short[0]],
                [
                    ([kept_end[0], short[0]], "keep the first tokens, not the last"),
                    ([whole, short[0]], "longer sequences are to be cut"),
                    (
                        [right[0], self.table(short_rows, most, 0)],
                        "no wider than the longest row that is left: padding costs time",
                    ),
                    (
                        [
                            self.table(part, width, value, "start")
                            for part, width, value in (
                                ([row[:most] for row in rows], most, 7),
                                (short_rows, 5, 0),
                            )
                        ],
                        "the padding goes behind the tokens",
                    ),
                    ([self.all_three(rows, most, 0)[0], short[0]], "pad with value"),
                    ([order[0], self.longest_first(short_rows)[0]], stay),
                    ([dropped[0], short[0]], f"{stay}: too long ones are cut, not left out"),
                    ([less[0], short[0]], one_less),
                ],
            ),
            compare(
                "lengths",
                0.5,
                _both(got[1], few[1]),
                [right[1], short[1]],
                [
                    (
                        [torch.tensor([len(row) for row in rows]), short[1]],
                        "count after cutting: a length is never above the limit",
                    ),
                    ([torch.full((5,), most), torch.full((3,), 5)], "that is the width"),
                    ([order[1], self.longest_first(short_rows)[1]], stay),
                    ([less[1], short[1]], one_less),
                ],
            ),
            compare(
                "mask",
                0.5,
                _both(got[2], few[2]),
                [right[2], short[2]],
                [
                    ([~right[2], ~short[2]], "True where a token is real"),
                    (
                        [right[0] != 7, short[0] != 0],
                        "a real token may equal the padding: use the lengths",
                    ),
                    (
                        [
                            places <= right[1][:, None],
                            places[: short[2].shape[1]] <= short[1][:, None],
                        ],
                        "one too many: positions start at 0",
                    ),
                    (
                        [right[2], places < short[1][:, None]],
                        "as wide as the tokens, which may be less than `length`",
                    ),
                    ([order[2], self.longest_first(short_rows)[2]], stay),
                ],
            ),
            self.at_the_edges(
                _both(*outputs["edges"]),
                [self.all_three(rows, most, 99) for rows, most in cases["edges"]],
            ),
        ]
        if not items[0].lost:
            items[0] = _untouched(items[0], [got, few, *outputs["edges"]])
        items[:3] = [where(item, ("the longer batch", "the shorter batch")) for item in items[:3]]
        return [_of_kind(item) for item in items]

    @staticmethod
    def at_the_edges(got: Any, right: Any) -> Item:
        item = compare("an empty row, and every row too long", 1, got, right)
        batches = ("the first row empty", "every row too long", "a length of 1, the last row empty")
        parts = ("tokens", "lengths", "mask")
        item = where(where(item, batches), parts)
        if item.lost and ("float" in item.message or "raised" in item.message):
            hint = "torch.tensor([]) holds floats, although it holds nothing: give it a dtype"
            return Item(item.name, 1, 0.0, item.message, hint)
        return item

    @classmethod
    def all_three(cls, rows: Rows, most: int, value: int) -> list[torch.Tensor]:
        cut = [row[:most] for row in rows]
        lengths = torch.tensor([len(row) for row in cut])
        width = int(lengths.max())
        return [cls.table(cut, width, value), lengths, torch.arange(width) < lengths[:, None]]

    @classmethod
    def longest_first(cls, rows: Rows) -> list[torch.Tensor]:
        return cls.all_three(sorted(rows, key=len, reverse=True), cls.limit_of_tokens, 0)

    @staticmethod
    def table(rows: Rows, width: int, value: int, side: str = "end") -> torch.Tensor:
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


def _untouched(item: Item, calls: list[Call]) -> Item:
    """The item, lost if one of the calls changed its lists."""
    changed = next((one.changed for one in calls if one.changed), None)
    if not changed:
        return item
    message = f"it changed its argument {', '.join(changed)} in place"
    hint = "a slice makes a new list: row[:length] + [value] * missing"
    return Item(item.name, item.points, 0.0, message, hint)


def _of_kind(item: Item) -> Item:
    """The item with a hint where it was lost to a kind or dtype."""
    if item.lost and not item.hint:
        if "expected int64" in item.message:
            hint = "numbers of tokens are int64, torch's default for whole numbers"
            return Item(item.name, item.points, 0.0, item.message, hint)
        if "expected bool" in item.message:
            hint = "a comparison such as positions < lengths gives bool"
            return Item(item.name, item.points, 0.0, item.message, hint)
        if "expected a tensor" in item.message:
            return Item(item.name, item.points, 0.0, item.message, "return three tensors")
    return item
