"""Positions as clocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise


@exercise("transformer.sinusoids")
class Sinusoids(Exercise):
    """Positions as clocks."""

    points, minutes, difficulty, importance = 3, 8, 2, 3
    forbidden = (
        "roofline.nn.SinusoidalPositions",
        "roofline.nn.positions.sinusoids",
        "roofline.exercises.transformer.positions.Sinusoids.table",
    )

    def cases(self, seed: int) -> Any:
        # Far enough that 16 bits have no number for an odd position.
        return (5 + seed % 7, 8 + 2 * (seed % 3)), (2060 + seed % 40, 6)

    def probe(self, answer: Any, cases: Any) -> Any:
        return [call(answer, *case) for case in cases]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        near, far = outputs
        table: Any = self.table  # any number of arguments, for mypy
        right, distant = (table(*case) for case in cases)
        hints = {
            "halves": "sine and cosine stand side by side, in turn, not in two halves",
            "speed": "the exponent uses the even column 2i: the hands of a pair turn too fast",
            "own": "the exponent uses 2i for both: sine and cosine of a pair share a speed",
            "swapped": "the sine comes first",
            "from one": "the first position is 0",
            "sign": "divide by 10000^(2i/w): later hands turn more slowly",
            "doubled": "2i is the number of the even column itself: it was doubled again",
            "whole": "the exponent is 2i / w: the division by w is missing",
            "next": "the cosine in column 2i + 1 has the exponent 2i / w, as the sine before it",
            "degrees": "angles are in radians: take p / 10000^(2i/w) as it is",
        }
        # What hand 1 shows at position 1, for those whose mistake nobody knows.
        second = [f"{float(right[1, c]):.4f}" for c in (2, 3)]
        turn = "at position 1 the second pair of columns has turned by 1 / 10000^(2/w)"
        lead = f"{turn}: for width {right.shape[1]}, sine {second[0]} and cosine {second[1]}"

        def columns(name: str, start: int) -> Item:
            ok = near.ok and torch.is_tensor(near.value) and near.value.shape == right.shape
            got: Call = call(lambda: near.value[:, start::2]) if ok else near
            wrong = [(table(*cases[0], m)[:, start::2], h) for m, h in hints.items()]
            expected = right[:, start::2] if ok else right
            item = compare(name, 1, got, expected, wrong, rtol=1e-4, atol=1e-5, dtype=False)
            if not item.lost or not ok:
                return item
            message = f"in columns {start}, {start + 2}, {start + 4} ...: {item.message}"
            return replace(item, message=message, hint=item.hint or lead)

        wrong = [(table(*cases[1], m), h) for m, h in hints.items()]
        items = [columns("sines", 0), columns("cosines", 1)]
        last = compare("far positions, in float32", 1, far, distant, wrong, rtol=1e-3, atol=2e-3)
        if last.lost and far.ok and not last.hint and not any(item.lost for item in items):
            hint = "near positions are right: large angles need at least 32 bits from the start"
            if last.message.startswith("dtype"):
                hint = "end with .float(): the table is asked for in float32"
            last = replace(last, hint=hint)
        return [*items, last]

    @staticmethod
    def table(length: int, width: int, mistake: str = "") -> torch.Tensor:
        place = torch.arange(length, dtype=torch.float64)[:, None] + (mistake == "from one")
        column = torch.arange(width, dtype=torch.float64)
        even = column if mistake == "own" else column - column % 2
        even = even + 2 * (column % 2) if mistake == "next" else even
        factors = {"speed": 0.5, "sign": -1.0, "doubled": 2.0, "whole": float(width)}
        exponent = even / width * factors.get(mistake, 1.0)
        angles = place / 10000**exponent
        angles = angles.deg2rad() if mistake == "degrees" else angles
        first = column % 2 == (1 if mistake == "swapped" else 0)
        made = torch.where(first, angles.sin(), angles.cos()).float()
        return torch.cat([made[:, ::2], made[:, 1::2]], 1) if mistake == "halves" else made
