"""Times and rates of whole programs: many operations, and a model that writes tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

from .shared import column, not_always, over


@exercise("machine.program")
class Program(Exercise):
    """The time of a program."""

    points, minutes, difficulty, importance = 3, 8, 3, 4
    # FLOP/s, bytes/s, seconds, for each of the programs
    machines = [(5e10, 1e10, 2e-6), (5e10, 1e10, 1e-3), (8e11, 1e11, 2e-6), (2e10, 4e9, 1e-6)]

    def cases(self, seed: int) -> Any:
        drawn = torch.rand(6, 2, generator=generator(seed), dtype=torch.float64)
        small = [(1e3 * float(a), 1e3 * float(b)) for a, b in drawn[:3]]
        large = [(1e7 * float(1 + a), 1e6 * float(1 + b)) for a, b in drawn[3:]]
        one_sided = [(1.0, 1e9), (1e12, 1.0)]  # each waits for one limit and not for the other
        return [[*large, *small], large, small, one_sided]

    def probe(self, answer: Any, cases: Any) -> Any:
        made = [call(answer, *given) for given in zip(cases, *self.columns(), strict=True)]
        return {"made": made, "empty": call(answer, [], *self.machines[0])}

    @classmethod
    def columns(cls) -> list[tuple[float, ...]]:
        """Peaks, bandwidths and overheads."""
        return list(zip(*cls.machines, strict=True))

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        given = list(zip(cases, *self.columns(), strict=True))
        made = outputs["made"]

        def times(roof: Callable[[float, float], float]) -> list[tuple[float, float]]:
            """Total and share of every program, if ``roof`` combines two times of an operation."""
            found = []
            for case, peak, bandwidth, overhead in given:
                own = [roof(f / peak, b / bandwidth) for f, b in case]
                total = sum(max(t, overhead) for t in own)
                found.append((total, sum(overhead for t in own if t < overhead) / total))
            return found

        def each(formula: Callable[[list[float], float], float]) -> list[float]:
            """A formula of the operations' times under the roof, and the overhead."""
            return [
                formula([max(f / peak, b / bandwidth) for f, b in case], overhead)
                for case, peak, bandwidth, overhead in given
            ]

        right, share = (list(part) for part in zip(*times(max), strict=True))
        odd = {
            "computing and moving overlap: the longer one counts": times(lambda a, b: a + b),
            "bytes can be the limit, too": times(lambda a, b: a),
            "FLOPs can be the limit, too": times(lambda a, b: b),
        }
        return [
            column(
                "total time",
                1.5,
                made,
                0,
                right,
                [
                    (
                        each(lambda own, overhead: sum(t + overhead for t in own)),
                        "starting overlaps with computing: the longest counts, not the sum",
                    ),
                    (
                        each(lambda own, overhead: sum(own)),
                        "no operation takes less than the overhead",
                    ),
                    (
                        [
                            max(
                                sum(f for f, _ in case) / peak,
                                sum(b for _, b in case) / bandwidth,
                                overhead,
                            )
                            for case, peak, bandwidth, overhead in given
                        ],
                        "each waits for its own limit, not the program for one",
                    ),
                    *(([total for total, _ in found], hint) for hint, found in odd.items()),
                ],
                cases=given,
            ),
            column(
                "share that only pays for starting",
                1,
                made,
                1,
                share,
                [
                    (
                        each(lambda own, overhead: sum(t < overhead for t in own) / len(own)),
                        "a share of the time, not of the number of operations",
                    ),
                    ([1 - s for s in share], "that is the share of the other operations"),
                    ([100 * s for s in share], "a share between 0 and 1, not percent"),
                    (
                        [s * total for s, total in zip(share, right, strict=True)],
                        "those are seconds: divide by the total",
                    ),
                    (
                        [
                            waits / total
                            for waits, total in zip(
                                each(lambda own, o: sum(max(0.0, o - t) for t in own)),
                                right,
                                strict=True,
                            )
                        ],
                        "all of the time of such an operation counts, not what exceeds its roof",
                    ),
                    (
                        [
                            starts / total
                            for starts, total in zip(
                                each(lambda own, o: o * len(own)), right, strict=True
                            )
                        ],
                        "only operations whose own time is shorter than the overhead count",
                    ),
                    *(([part for _, part in found], hint) for hint, found in odd.items()),
                ],
                cases=given,
            ),
            not_always(
                compare("an empty program", 0.5, outputs["empty"], [0.0, 0.0]),
                (0.0, 0.0),
                [Call(value=tuple(c.value)) for c in made if c.ok and isinstance(c.value, tuple)],
            ),
        ]


@exercise("machine.tokens")
class Tokens(Exercise):
    """Tokens per second."""

    points, minutes, difficulty, importance = 3, 8, 3, 5

    def cases(self, seed: int) -> Any:
        parameters = 1e9 * float(1 + 6 * torch.rand(1, generator=generator(seed)))
        card, small = (312e12, 2039e9, 80e9), (71e12, 936e9, 24e9)
        return {
            "one": [
                (parameters, 2, 1, *card),
                (100e9, 0.5, 1, *card),  # more parameters than the memory has bytes
                (40e9, 2, 1, *card),
                (parameters, 1, 1, *small),
            ],
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
        large = compare(
            "a model that doesn't fit",
            1,
            outputs["large"],
            0.0,
            [(self.right(*cases["large"]), "140 GB don't fit into 80 GB: 0.0 is asked")],
        )
        if large.lost and outputs["large"].ok and outputs["large"].value is None:
            large = replace(large, hint="where the model doesn't fit, return 0.0")
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
                    (
                        [self.right(*c) if c[0] <= c[5] else 0.0 for c in one],
                        "bytes must fit, parameters times size",
                    ),
                    ([float(int(self.right(*c))) for c in one], "a rate needn't be a whole number"),
                ],
                cases=one,
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
                    (
                        over(many, lambda n, s, b, p, w, m: b / max(n * s / w, n * b / p)),
                        "2 FLOPs for each parameter and user",
                    ),
                ],
                cases=many,
            ),
            not_always(large, 0.0, outputs["one"]),
        ]
