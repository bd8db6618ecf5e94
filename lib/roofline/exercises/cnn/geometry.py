"""What a stack of windows makes of a picture's side, and how far it sees."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

Layers = list[tuple[int, int, int]]

WHOLE = "a side is a whole number: round down, a window that doesn't fit whole is left out"
SIDES = {
    "no first": "a window also starts at 0: add 1",
    "two first": "one place too many in every layer: add 1 only once",
    "up": "a window that sticks out is none",
    "nearest": WHOLE,
    "exact": WHOLE,
    "once": "padding stands on both sides",
    "no padding": "the padding is missing",
    "no stride": "the stride is missing",
    "same": "that is what padding to the 'same' side gives: use the padding of each layer",
}
FIELDS = {
    "no stride": "after a stride, neighbours lie further apart in the picture",
    "late": "a layer's own stride moves its neighbours, it doesn't widen it",
    "last stride": "strides multiply: each makes every later window reach further",
    "whole kernels": "a window of 1 adds nothing: each adds its kernel less 1",
    "kernels alone": "windows overlap: each adds its kernel less 1",
}


def sides(layers: Layers, side: float, mistake: str = "") -> float:
    """The side after ``layers``, with ways to go wrong."""
    for kernel, stride, padding in layers:
        room = side + padding * {"once": 1, "no padding": 0}.get(mistake, 2) - kernel
        steps: float = room // (1 if mistake == "no stride" else stride)
        if mistake == "exact":
            steps = room / stride
        if mistake in ("up", "nearest"):
            steps = math.ceil(room / stride) if mistake == "up" else round(room / stride)
        first = {"no first": 0, "two first": 2}.get(mistake, 1)
        side = -(-side // stride) if mistake == "same" else steps + first
    return side


def seen(layers: Layers, mistake: str = "") -> int:
    """The receptive field, with ways to go wrong."""
    field, jump = 1, 1
    if mistake == "kernels alone":
        return sum(kernel for kernel, _, _ in layers)
    for kernel, stride, _ in layers:
        jump *= stride if mistake == "late" else 1
        field += (kernel if mistake == "whole kernels" else kernel - 1) * jump
        if mistake == "last stride":
            jump = stride
        elif mistake not in ("late", "no stride"):
            jump *= stride
    return field


@exercise("cnn.stack")
class Stack(Exercise):
    """How large, and how far it sees."""

    points, minutes, difficulty, importance = 4, 10, 2, 4
    forbidden = ("roofline.exercises.cnn.geometry.sides", "roofline.exercises.cnn.geometry.seen")

    def cases(self, seed: int) -> Any:
        random = generator(seed)

        def drawn(number: int) -> Layers:
            kernels = torch.randint(2, 6, (number,), generator=random).tolist()
            strides = [2, *torch.randint(1, 4, (number - 1,), generator=random).tolist()]
            return [(k, s, k // 2) for k, s in zip(kernels, strides, strict=True)]

        plain = [(k, 1, 0) for k in torch.randint(2, 6, (3,), generator=random).tolist()]
        article = [(3, 1, 0), (2, 2, 0), (3, 1, 0), (2, 2, 0)]
        mixed = [(7, 2, 3), (3, 2, 1), (3, 1, 1), *drawn(1), (3, 1, 1)]
        return [(plain, 40), ([(5, 1, 0)], 5)], [
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
            whole = [sides(*case) for case in group]
            field = [seen(layers) for layers, _ in group]
            items.append(
                compare(
                    f"side, {name}",
                    1,
                    _part(made, 0, group),
                    _named(whole, group),
                    [
                        *(
                            (
                                _named(
                                    [sides(layers, start, key) for layers, start in group], group
                                ),
                                hint,
                            )
                            for key, hint in SIDES.items()
                        ),
                        (_named(field, group), "return the side first, then the field"),
                    ],
                )
            )
            clipped = [min(f, side) for f, (_, side) in zip(field, group, strict=True)]
            items.append(
                compare(
                    f"receptive field, {name}",
                    1,
                    _part(made, 1, group),
                    _named(field, group),
                    [
                        *(
                            (_named([seen(layers, key) for layers, _ in group], group), hint)
                            for key, hint in FIELDS.items()
                        ),
                        (
                            _named(clipped, group),
                            "the border counts too: a field may be larger than the picture",
                        ),
                        (_named(whole, group), "return the side first, then the field"),
                    ],
                )
            )
        changed = [made for group in outputs for made in group if made.changed]
        if changed and not items[0].lost:
            message = f"it changed its argument {', '.join(changed[0].changed)} in place"
            hint = "read the list, take nothing out of it: a loop over it does"
            items[0] = Item(items[0].name, 1, 0.0, message, hint)
        return [items[0], items[2], items[1], items[3]]


def _named(values: list[Any], group: list[tuple[Layers, int]]) -> dict[str, Any]:
    """A value of each case under words for the case, which a message then shows."""
    names = [f"layers {layers}, side {side}" for layers, side in group]
    return dict(zip(names, values, strict=True))


def _part(outputs: list[Call], index: int, group: list[tuple[Layers, int]]) -> Any:
    """Part ``index`` of what every call returned, or the first call that has none."""
    got = [made[index] for made in outputs]
    failed = next((part for part in got if not part.ok), None)
    return failed or _named([part.value for part in got], group)
