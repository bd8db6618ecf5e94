"""Positions as clocks."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise


@exercise("transformer.sinusoids")
class Sinusoids(Exercise):
    """Positions as clocks."""

    points, minutes, difficulty, importance = 3, 8, 2, 3
    forbidden = ("roofline.nn.SinusoidalPositions",)

    def cases(self, seed: int) -> Any:
        return (5 + seed % 7, 8 + 2 * (seed % 3)), (2000 + seed % 50, 6)

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
        }

        def columns(name: str, start: int) -> Item:
            ok = near.ok and torch.is_tensor(near.value) and near.value.shape == right.shape
            got: Call = call(lambda: near.value[:, start::2]) if ok else near
            wrong = [(table(*cases[0], m)[:, start::2], h) for m, h in hints.items()]
            expected = right[:, start::2] if ok else right
            return compare(name, 1, got, expected, wrong, rtol=1e-4, atol=1e-5, dtype=False)

        wrong = [(table(*cases[1], m), h) for m, h in hints.items()]
        return [
            columns("sines", 0),
            columns("cosines", 1),
            compare("far positions, in float32", 1, far, distant, wrong, rtol=1e-3, atol=2e-3),
        ]

    @staticmethod
    def table(length: int, width: int, mistake: str = "") -> torch.Tensor:
        place = torch.arange(length, dtype=torch.float64)[:, None] + (mistake == "from one")
        column = torch.arange(width, dtype=torch.float64)
        even = column if mistake == "own" else column - column % 2
        exponent = even / width * {"speed": 0.5, "sign": -1.0}.get(mistake, 1.0)
        angles = place / 10000**exponent
        first = column % 2 == (1 if mistake == "swapped" else 0)
        made = torch.where(first, angles.sin(), angles.cos()).float()
        return torch.cat([made[:, ::2], made[:, 1::2]], 1) if mistake == "halves" else made
