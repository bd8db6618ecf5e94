"""Where data is when a kernel wants it: how much else was touched since it was touched last.

A cache of so many bytes still holds what was touched less than so many bytes ago, near enough
(Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 9, 1970,
on stack distances). A step's tensors come and go at the same addresses, so the addresses are
watched, in blocks. Code has its distance too: an operator that was not called for a while is no
longer in the cache that it runs from.
"""

from __future__ import annotations

import torch

from roofline.hardware.count import Call
from roofline.hardware.operators import span

BLOCK = 1 << 15
FAR = float(1 << 40)

Traffic = list[tuple[float, float]]  # bytes, and the distance that they come from, in bytes


class Reuse:
    """The clock counts bytes touched; every block of memory remembers when it was touched last."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.touched: dict[int, float] = {}
        self.called: dict[str, float] = {}

    def code(self, call: Call) -> float:
        """How many bytes were touched since the code of an operator ran last.

        Of convolutions there is code for each shape: oneDNN compiles it at the first call.
        """
        code = call.operator.name
        if code.startswith("convolution"):
            code = f"{code} {[tuple(each.shape) for each in call.inputs]}"
        distance = self.clock - self.called.get(code, -FAR)
        self.called[code] = self.clock
        return distance

    def traffic(self, call: Call) -> Traffic:
        """The bytes that a kernel moves, with their distances, and note that it touched them.

        A line of memory takes about as long to fetch for reading as for writing, and one that is
        written where it was read takes no longer for it. Tables are touched where they are used.
        """
        operator = call.operator
        reads = call.inputs[1:] if operator.overwriter else call.inputs
        if operator.gatherer:
            weights = [(each, 2.0) for each in call.made]
        elif operator.scatterer:
            weights = [(each, 2.0 if each.is_floating_point() else 1.0) for each in call.inputs[1:]]
        else:
            once = {id(each): each for each in (*reads, *call.made, *call.written)}
            weights = [(each, 1.0) for each in once.values()]
        return self._pass(weights)

    def _pass(self, weights: list[tuple[torch.Tensor, float]]) -> Traffic:
        """Go through tensors side by side, from their first blocks to their last.

        Of a tensor that was just written the end is near and so, when it is reached, is not the
        beginning: each block is as far away as the whole that was touched since.
        """
        total = float(sum(span(each) for each, _ in weights))
        moves: Traffic = []
        now: dict[int, float] = {}
        for tensor, weight in weights:
            size = span(tensor)
            if not size:
                continue
            blocks = _blocks(tensor)
            share = weight * size / len(blocks)
            for number, block in enumerate(blocks):
                at = self.clock + total * (number + 1) / len(blocks)
                before = self.touched.get(block, -FAR)
                moves.append((share, at - before))
                now[block] = at
        self.touched |= now
        self.clock += total
        return moves


def _blocks(tensor: torch.Tensor) -> range:
    """The blocks of memory that a tensor lies in."""
    start = tensor.data_ptr()
    reach = sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    end = start + (reach + 1) * tensor.element_size() - 1
    return range(start // BLOCK, end // BLOCK + 1)
