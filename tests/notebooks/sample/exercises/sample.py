"""Two exercises for the chapter that the pipeline's tests build."""

from __future__ import annotations

from typing import Any

import torch
from roofline.grading import Call, Exercise, Item, call, compare, exercise


class _Elementwise(Exercise):
    """An exercise on a function of one tensor: half of the points for the values of a row."""

    limit = 5

    def right(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def cases(self, seed: int) -> list[torch.Tensor]:
        row = torch.arange(3.0, 7.0) + seed % 7
        return [row, row.reshape(2, 2)]

    def probe(self, answer: Any, cases: list[torch.Tensor]) -> list[Call]:
        return [call(answer, x) for x in cases]

    def judge(self, outputs: list[Call], cases: list[torch.Tensor]) -> list[Item]:
        half = self.points / 2
        row, square = (self.right(x) for x in cases)
        return [compare("row", half, outputs[0], row), compare("square", half, outputs[1], square)]


@exercise("sample.double")
class Double(_Elementwise):
    """Twice as much."""

    points, minutes, difficulty, importance = 2, 5, 1, 4

    def right(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@exercise("sample.square")
class Square(_Elementwise):
    """The square."""

    points, minutes, difficulty, importance = 1.5, 10, 2, 5

    def right(self, x: torch.Tensor) -> torch.Tensor:
        return x * x
