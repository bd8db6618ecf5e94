"""Counting: the cost of a product, and of a chain of products."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from roofline.grading import Exercise, Item, at_most, call, compare, exercise, generator

from ..backprop.shared import SINGLE
from .shared import column, integers, over


@exercise("machine.product")
class Product(Exercise):
    """The cost of a product."""

    points, minutes, difficulty, importance = 3, 5, 1, 5

    def cases(self, seed: int) -> Any:
        n, k, m = integers(seed, 2, 300, 3)
        return [(n, k, m, 4), (1, 64, 32, 2), (512, 512, 512, 8)]

    def probe(self, answer: Any, cases: Any) -> Any:
        default = call(answer, 3, 4, 5)
        return {"made": [call(answer, *case) for case in cases], "default": default}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        def flops(n: int, k: int, m: int, size: int) -> int:
            return 2 * n * k * m

        def moved(n: int, k: int, m: int, size: int) -> int:
            return size * (n * k + k * m + n * m)

        made = [*outputs["made"], outputs["default"]]
        cases = [*cases, (3, 4, 5, 4)]
        right = over(cases, flops), over(cases, moved)
        ratio = [f / b for f, b in zip(*right, strict=True)]
        return [
            column(
                "FLOPs",
                1,
                made,
                0,
                right[0],
                [
                    ([f / 1e9 for f in right[0]], "FLOPs are asked, not billions of them"),
                    ([f // 2 for f in right[0]], "a multiplication and an addition are 2 FLOPs"),
                    (
                        over(cases, lambda n, k, m, s: n * m * (2 * k - 1)),
                        "that is exact; the field counts 2k for each entry, as multiply-adds",
                    ),
                    (
                        over(cases, lambda n, k, m, s: 2 * n**3),
                        "the sides differ: (n, k) by (k, m) gives n · m entries, k terms in each",
                    ),
                ],
                cases=cases,
            ),
            column(
                "bytes",
                1,
                made,
                1,
                right[1],
                [
                    (
                        [b // c[3] for b, c in zip(right[1], cases, strict=True)],
                        "numbers, not bytes",
                    ),
                    (
                        over(cases, lambda n, k, m, s: s * (n * k + k * m)),
                        "the result is written, too",
                    ),
                    (over(cases, lambda n, k, m, s: s * n * m), "the two factors are read, too"),
                    (
                        over(cases, lambda n, k, m, s: 4 * (n * k + k * m + n * m)),
                        "a number has size bytes, not always 4",
                    ),
                    (
                        over(cases, lambda n, k, m, s: s * (2 * n * k * m + n * m)),
                        "each number moves once: a row isn't read again for every column",
                    ),
                    (
                        over(cases, lambda n, k, m, s: s * (n * k + k * m + 2 * n * m)),
                        "the result is written once, and not read",
                    ),
                    ([8 * b for b in right[1]], "bytes, not bits"),
                    ([b / 1e9 for b in right[1]], "bytes are asked, not gigabytes"),
                ],
                cases=cases,
            ),
            column(
                "intensity",
                1,
                made,
                2,
                ratio,
                [
                    ([1 / r for r in ratio], "FLOPs over bytes, not bytes over FLOPs"),
                    (
                        [float(int(r)) for r in ratio],
                        "/ and not //: a ratio, not a whole number",
                    ),
                ],
                cases=cases,
            ),
        ]


@exercise("machine.chain")
class Chain(Exercise):
    """The same result for less."""

    points, minutes, difficulty, importance = 3, 5, 2, 4
    forbidden = ("torch.linalg.multi_dot", "torch.chain_matmul")

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        shapes = [(6, 40), (40, 30), (30, 50)]
        scale = [torch.randn(s, generator=random) / s[1] ** 0.5 for s in shapes]
        return scale, torch.randn(50, generator=random)

    def probe(self, answer: Any, cases: Any) -> Any:
        matrices, v = cases
        return {
            "many": call(answer, matrices, v, count=True),
            "one": call(answer, [m.double() for m in matrices[2:]], v.double()),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        matrices, v = cases
        right = matrices[0] @ (matrices[1] @ (matrices[2] @ v))
        value = compare("result", 1, outputs["many"], right)
        alone = (matrices[2].double(), v.double())
        one = compare(
            "a single matrix, float64",
            1,
            outputs["one"],
            alone[0] @ alone[1],
            rtol=SINGLE,
            atol=SINGLE,
        )
        if not value.lost and not outputs["one"].ok:
            hint = "the list may have any length: here it holds one matrix"
            one = replace(one, hint=hint)
        name = "counted FLOPs"
        if value.lost:
            return [value, one, Item(name, 1, 0.0, "counted once the result is right")]
        least, seen = sum(2 * m.numel() for m in matrices), outputs["many"].counts["flops"]
        if seen < least:
            hint = "only torch's products are counted: use @"
            message = f"{seen:,} FLOPs were counted, the result needs {least:,}"
            return [value, one, Item(name, 1, 0.0, message, hint)]
        cost = at_most(name, 1, outputs["many"], least, "FLOPs", "flops")
        if cost.lost:
            hint = (
                "start with the vector, from the right: every product is then matrix times vector"
            )
            cost = Item(name, 1, 0.0, cost.message, hint)
        return [value, one, cost]
