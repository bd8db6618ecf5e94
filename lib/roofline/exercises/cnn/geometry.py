"""What a stack of windows makes of a picture's side, and how far it sees."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

Layers = list[tuple[int, int, int]]


def sides(layers: Layers, side: int, *, up: bool = False, once: bool = False) -> int:
    """The side after ``layers``; ``up`` rounds up, ``once`` pads one edge only."""
    for kernel, stride, padding in layers:
        room = side + padding * (1 if once else 2) - kernel
        side = (-(-room // stride) if up else room // stride) + 1
    return side


def seen(layers: Layers, *, jumps: bool = True, late: bool = False) -> int:
    """The receptive field; without ``jumps`` strides count for nothing, ``late``: one too early."""
    field, jump = 1, 1
    for kernel, stride, _ in layers:
        jump *= stride if late else 1
        field += (kernel - 1) * (jump if jumps else 1)
        jump *= 1 if late else stride
    return field


@exercise("cnn.stack")
class Stack(Exercise):
    """How large, and how far it sees."""

    points, minutes, difficulty, importance = 4, 10, 2, 4

    def cases(self, seed: int) -> Any:
        random = generator(seed)

        def drawn(number: int) -> Layers:
            kernels = torch.randint(2, 6, (number,), generator=random).tolist()
            strides = [2, *torch.randint(1, 4, (number - 1,), generator=random).tolist()]
            return [(k, s, k // 2) for k, s in zip(kernels, strides, strict=True)]

        plain = [(k, 1, 0) for k in torch.randint(2, 6, (3,), generator=random).tolist()]
        article = [(3, 1, 0), (2, 2, 0), (3, 1, 0), (2, 2, 0)]
        mixed = [(7, 2, 3), (3, 2, 1), (3, 1, 1), *drawn(1), (3, 1, 1)]
        return [(plain, 40)], [
            (article, 224),
            (mixed, 101),
            (mixed, 96),
            (drawn(3), 150),
            (mixed, 20),
        ]

    def probe(self, answer: Any, cases: Any) -> Any:
        return [[call(answer, *case) for case in group] for group in cases]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        items = []
        for group, made, name in zip(
            cases, outputs, ("stride 1, no padding", "strides and padding"), strict=True
        ):
            right = [sides(*case) for case in group]
            items.append(
                compare(
                    f"side, {name}",
                    1,
                    _part(made, 0),
                    right,
                    [
                        ([s - 1 for s in right], "a window also starts at 0: add 1"),
                        ([sides(*c, up=True) for c in group], "a window that sticks out is none"),
                        ([s + 1 for s in right], "one place too many at the end?"),
                        ([sides(*c, once=True) for c in group], "padding stands on both sides"),
                        ([seen(c[0]) for c in group], "return the side first, then the field"),
                    ],
                )
            )
            items.append(
                compare(
                    f"receptive field, {name}",
                    1,
                    _part(made, 1),
                    [seen(layers) for layers, _ in group],
                    [
                        (
                            [seen(layers, jumps=False) for layers, _ in group],
                            "after a stride, neighbours lie further apart in the picture",
                        ),
                        (
                            [seen(layers, late=True) for layers, _ in group],
                            "a layer's own stride moves its neighbours, it doesn't widen it",
                        ),
                        (
                            [1 + sum(layer[0] for layer in layers) for layers, _ in group],
                            "a window of 1 adds nothing: each adds its kernel less 1",
                        ),
                        (
                            [sum(layer[0] for layer in layers) for layers, _ in group],
                            "windows overlap: each adds its kernel less 1",
                        ),
                    ],
                )
            )
        return [items[0], items[2], items[1], items[3]]


def _part(outputs: list[Call], index: int) -> Any:
    """Part ``index`` of what every call returned, or the first call that has none."""
    got = [made[index] for made in outputs]
    return next((part for part in got if not part.ok), None) or [part.value for part in got]
