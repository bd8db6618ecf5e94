"""Times and rates of whole programs: many operations, and a model that writes tokens."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Exercise, Item, call, compare, exercise, generator

from .shared import column, over


@exercise("machine.program")
class Program(Exercise):
    """The time of a program."""

    points, minutes, difficulty, importance = 3, 8, 3, 4
    machine = 5e10, 1e10, 2e-6  # FLOP/s, bytes/s, seconds

    def cases(self, seed: int) -> Any:
        drawn = torch.rand(6, 2, generator=generator(seed), dtype=torch.float64)
        small = [(1e3 * float(a), 1e3 * float(b)) for a, b in drawn[:3]]
        large = [(1e7 * float(1 + a), 1e6 * float(1 + b)) for a, b in drawn[3:]]
        one_sided = [(1.0, 1e9), (1e12, 1.0)]  # each waits for one limit and not for the other
        return [[*small, *large], large, small, one_sided]

    def probe(self, answer: Any, cases: Any) -> Any:
        made = [call(answer, case, *self.machine) for case in cases]
        return {"made": made, "empty": call(answer, [], *self.machine)}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        peak, bandwidth, overhead = self.machine
        roofs = [[max(f / peak, b / bandwidth) for f, b in case] for case in cases]
        right = [sum(max(t, overhead) for t in case) for case in roofs]
        started = [sum(overhead for t in case if t < overhead) for case in roofs]
        share = [s / total for s, total in zip(started, right, strict=True)]
        counted = [sum(t < overhead for t in case) / len(case) for case in roofs]
        made = outputs["made"]
        return [
            column(
                "total time",
                1.5,
                made,
                0,
                right,
                [
                    (
                        [sum(t + overhead for t in case) for case in roofs],
                        "starting overlaps with computing: the longest counts, not the sum",
                    ),
                    ([sum(case) for case in roofs], "no operation takes less than the overhead"),
                    (
                        [
                            max(
                                sum(f for f, _ in case) / peak,
                                sum(b for _, b in case) / bandwidth,
                                overhead,
                            )
                            for case in cases
                        ],
                        "each waits for its own limit, not the program for one",
                    ),
                ],
            ),
            column(
                "share that only pays for starting",
                1,
                made,
                1,
                share,
                [
                    (counted, "a share of the time, not of the number of operations"),
                    ([1 - s for s in share], "the share of the others was asked for? no: of these"),
                    ([100 * s for s in share], "a share between 0 and 1, not percent"),
                ],
            ),
            compare("an empty program", 0.5, outputs["empty"], [0.0, 0.0]),
        ]


@exercise("machine.tokens")
class Tokens(Exercise):
    """Tokens per second."""

    points, minutes, difficulty, importance = 3, 8, 3, 5

    def cases(self, seed: int) -> Any:
        parameters = 1e9 * float(1 + 6 * torch.rand(1, generator=generator(seed)))
        card = 312e12, 2039e9, 80e9
        return {
            "one": [(parameters, 2, 1, *card), (60e9, 0.5, 1, *card), (40e9, 2, 1, *card)],
            "many": [(parameters, 2, 64, *card), (parameters, 2, 1024, *card)],
            "large": (70e9, 2, 1, *card),
        }

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            "one": [call(answer, *case) for case in cases["one"]],
            "many": [call(answer, *case) for case in cases["many"]],
            "large": call(answer, *cases["large"]),
        }

    @staticmethod
    def right(n: float, size: float, batch: int, peak: float, bandwidth: float, m: float) -> float:
        return batch / max(n * size / bandwidth, 2 * n * batch / peak)

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        one, many = cases["one"], cases["many"]
        steps = over(one, lambda n, s, b, p, w, m: n * s / w)
        arithmetic = over(one, lambda n, s, b, p, w, m: p / (2 * n))
        return [
            column(
                "one user",
                1,
                outputs["one"],
                None,
                over(one, self.right),
                [
                    (
                        [0.0 if c[0] * c[1] == c[5] else self.right(*c) for c in one],
                        "exactly full still fits",
                    ),
                    (steps, "this is the time of a step: tokens per second are asked"),
                    (arithmetic, "one token needs every parameter once: bandwidth binds"),
                    (
                        over(one, lambda n, s, b, p, w, m: w / n),
                        "a parameter has size bytes",
                    ),
                ],
            ),
            column(
                "many users",
                1,
                outputs["many"],
                None,
                over(many, self.right),
                [
                    (
                        over(many, lambda n, s, b, p, w, m: b * w / (n * s)),
                        "at some batch the arithmetic takes longer than the reading",
                    ),
                    (
                        over(many, lambda n, s, b, p, w, m: w / (n * s)),
                        "one reading serves all users of the batch",
                    ),
                    (
                        over(many, lambda n, s, b, p, w, m: 1 / max(n * s / w, 2 * n * b / p)),
                        "tokens of all users together",
                    ),
                    (
                        over(many, lambda n, s, b, p, w, m: b / (n * s / w + 2 * n * b / p)),
                        "reading and computing overlap: the longer one counts",
                    ),
                ],
            ),
            compare(
                "a model that doesn't fit",
                1,
                outputs["large"],
                0.0,
                [(self.right(*cases["large"]), "140 GB don't fit into 80 GB: 0.0 is asked")],
            ),
        ]
