"""The backward walk over a tape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
    require,
)

from .shared import DERIVATIVES


class Entry:
    """A node of a tape made for the exercise, with the attributes that the chapter names."""

    def __init__(self, pullback: Callable | None = None, *parents: Entry | None):
        self.pullback, self.parents, self.grad = pullback, parents, None
        self.alive = 0  # nodes behind it that were still held when its pullback was called


def _tape(values: tuple[torch.Tensor, ...]) -> tuple[list[Entry], dict[str, Entry]]:
    """A small tape: (a·b + a), doubled by an addition to itself, plus a, times data.

    In it a value is used three times, an addition hands one tensor to two slots, an argument is
    plain data, and one node is reached by no gradient.
    """
    a_value, b_value, c_value = values
    a, b = Entry(), Entry()

    def back(d: torch.Tensor) -> tuple[torch.Tensor, ...]:
        product.alive = sum(n.pullback is not None or n.grad is not None for n in after)
        return d * b_value, d * a_value

    product = Entry(back, a, b)
    first = Entry(lambda d: (d, d), product, a)
    aside = Entry(lambda d: (d * 2,), b)  # made on the way, but the loss doesn't use it
    doubled = Entry(lambda d: (d, d), first, first)
    second = Entry(lambda d: (d, d), doubled, a)
    loss = Entry(lambda d: (d * c_value, None), second, None)
    after = [first, doubled, second, loss]
    nodes = [a, b, product, first, aside, doubled, second, loss]
    return nodes, {"a": a, "b": b, "product": product}


@exercise("backprop.walk")
class Walk(Exercise):
    """The backward walk."""

    points, minutes, difficulty, importance = 4, 12, 3, 5
    forbidden = DERIVATIVES

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        return [torch.randn(4, 3, generator=random) for _ in range(5)]

    def probe(self, answer: Any, cases: Any) -> Any:
        *values, grad, before = cases
        x = Entry()
        chain = [x]
        for factor in values:
            chain.append(Entry(lambda d, factor=factor: (d * factor,), chain[-1]))
        chained = call(answer, chain, grad, may_change=(0,))
        nodes, leaves = _tape(tuple(values))
        walked = call(answer, nodes, grad, may_change=(0,))
        fresh, held = _tape(tuple(values))
        held["b"].grad = before.clone()
        again = call(answer, fresh, grad, may_change=(0,))
        inner = [node for node in nodes if node.parents and node is not nodes[4]]
        return {
            "chain": self._slot(chained, x),
            "a": self._slot(walked, leaves["a"]),
            "b": self._slot(walked, leaves["b"]),
            "added": self._slot(again, held["b"]),
            "calls": [chained, walked],
            "freed": sum(node.pullback is None and node.grad is None for node in inner),
            "inner": len(inner),
            "alive": leaves["product"].alive,
        }

    @staticmethod
    def _slot(walked: Call, node: Entry) -> Call:
        """The gradient in a leaf's slot, as what the call gave."""
        if not walked.ok:
            return walked
        found = call(lambda _: node.grad, walked)
        # What the walk changed: nodes are its to change, the gradient that it starts from isn't.
        found.changed = [name for name in walked.changed if name != "nodes"]
        return found

    @staticmethod
    def _two(a: Call, b: Call) -> Call:
        """Both leaves' gradients as one value."""
        return replace(a, value=[a.value, b.value]) if a.ok else a

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        a, b, c, grad, before = cases
        through = grad * c  # arrives at the last addition
        right_a, right_b = through * (2 * b + 2 + 1), through * 2 * a
        values = [
            compare(
                "a chain",
                1,
                outputs["chain"],
                grad * a * b * c,
                [
                    (grad * c, "it stops after the first node"),
                    (grad, "the loss's own gradient"),
                    (a * b * c, "the last node starts with the gradient grad, not with 1"),
                ],
            ),
            compare(
                "a value used more than once",
                1,
                self._two(outputs["a"], outputs["b"]),
                [right_a, right_b],
                [
                    ([through * b, through * a], "an arriving gradient replaced the one before it"),
                    ([through, through * a], "an arriving gradient replaced the one before it"),
                    ([through * b, None], "each parent gets a gradient, not the first alone"),
                    (
                        [through, None],
                        "the walk goes on past a node without a gradient",
                    ),
                ],
            ),
        ]
        values = [self.about(item) for item in values]
        if all(item.lost for item in values):
            why = "looked at once a gradient is right"
            return [
                *values,
                compare("adds to a leaf's old gradient", 1, outputs["added"], right_b + before)
                if not outputs["added"].ok
                else Item("adds to a leaf's old gradient", 1, 0.0, why),
                Item("frees what it has used", 1, 0.0, why),
            ]
        return [
            *values,
            compare(
                "adds to a leaf's old gradient",
                1,
                outputs["added"],
                right_b + before,
                [(right_b, "the gradient that the leaf held before is gone")],
            ),
            self.frees(outputs),
        ]

    @staticmethod
    def about(item: Item) -> Item:
        """The item with a hint about what a walk leaves behind and what it passes over."""
        if item.lost and "returned None" in item.message:
            message = item.message.replace("it returned None", "a leaf holds no gradient")
            hint = item.hint if "return" not in item.hint else ""
            hint = hint or "nothing arrived in the leaf, or it was freed: leaves keep theirs"
            return Item(item.name, item.points, 0.0, message, hint)
        if item.lost and "NoneType" in item.message:
            hint = "parents may be None (plain data), and a node's grad where nothing arrived"
            return Item(item.name, item.points, 0.0, item.message, hint)
        return item

    @staticmethod
    def frees(outputs: Any) -> Item:
        """Nothing left at the end, and nothing held on the way once it was used."""
        name, left = "frees what it has used", outputs["inner"] - outputs["freed"]
        hint = "set gradient and pullback to None when the node has passed its gradient on"
        if left:
            message = (
                f"{left} of {outputs['inner']} inner nodes still hold a gradient or a pullback"
            )
            return require(name, 1, False, message, hint)
        message = f"{outputs['alive']} nodes that were used before still held something on the way"
        return require(name, 1, outputs["alive"] == 0, message, hint)
