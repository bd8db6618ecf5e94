"""What an optimizer weighs."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import (
    Call,
    Exercise,
    Item,
    call,
    compare,
    exercise,
    generator,
)


@exercise("optimizers.state_bytes")
class StateBytes(Exercise):
    """Bytes for each parameter."""

    points, minutes, difficulty, importance = 4, 5, 3, 4

    def cases(self, seed: int) -> Any:
        return int(torch.randint(1000, 10**6, (1,), generator=generator(seed)))

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            "fp32": [call(answer, cases, name) for name in ("sgd", "momentum", "adam")],
            "mixed": [call(answer, cases, name, precision="mixed") for name in ("sgd", "momentum")],
            "adam": call(answer, cases, "adam", "mixed"),
            "large": call(answer, 7 * 10**9, "adam", "mixed"),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        n = cases

        def row(name: str, points: float, got: list[Call], right: list[int], hints: list) -> Item:
            failed = next((made for made in got if not made.ok), None)
            return compare(name, points, failed or [made.value for made in got], right, hints)

        single, copies = [8 * n, 12 * n, 16 * n], [8 * n, 12 * n]
        return [
            row(
                "float32",
                1,
                outputs["fp32"],
                single,
                [
                    ([4 * n, 8 * n, 12 * n], "weights and gradients both count"),
                    ([8 * n, 12 * n, 12 * n], "Adam keeps two numbers, m and v"),
                    ([2 * n, 3 * n, 4 * n], "bytes, not numbers"),
                    ([8, 12, 16], "that is for one parameter: there are many"),
                    ([16 * n] * 3, "SGD keeps no state, momentum one number, Adam two"),
                    ([v / 1e9 for v in single], "bytes are asked, not gigabytes"),
                ],
            ),
            row(
                "mixed precision, SGD and momentum",
                1,
                outputs["mixed"],
                copies,
                [
                    ([4 * n, 8 * n], "the optimizer works on a 4-byte copy of the weights"),
                    (
                        [4 * n, 6 * n],
                        "the state stays at 4 bytes, beside a 4-byte copy of the weights",
                    ),
                    ([10 * n, 14 * n], "gradients have 2 bytes here"),
                    ([6 * n, 10 * n], "weights and gradients both count, beside the 4-byte copy"),
                    ([12 * n, 16 * n], "weights and gradients have 2 bytes here, their copy 4"),
                    ([8, 12], "that is for one parameter: there are many"),
                    ([16 * n] * 2, "SGD keeps no state, momentum one number, Adam two"),
                ],
            ),
            compare(
                "mixed precision, Adam",
                1,
                outputs["adam"],
                16 * n,
                [
                    (12 * n, "the optimizer works on a 4-byte copy of the weights"),
                    (8 * n, "the optimizer's copy and its state stay at 4 bytes"),
                    (18 * n, "gradients have 2 bytes here"),
                    (14 * n, "weights and gradients both count, beside the 4-byte copy"),
                    (20 * n, "weights and gradients have 2 bytes here, their copy 4"),
                ],
            ),
            self.exact(outputs["large"]),
        ]

    @staticmethod
    def exact(made: Call) -> Item:
        """An int, to the last digit."""
        item = compare("7 billion parameters, an exact int", 1, made, 112 * 10**9)
        if item.lost or isinstance(made.value, int):
            return item
        return Item(item.name, 1, 0.0, f"it returned {made.value!r}, expected an int")
