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

    def code(self, operator: str) -> float:
        """How many bytes were touched since an operator was called last."""
        distance = self.clock - self.called.get(operator, -FAR)
        self.called[operator] = self.clock
        return distance

    def traffic(self, call: Call) -> Traffic:
        """The bytes that a kernel moves, with their distances, and note that it touched them.

        A byte that is read counts once. One that is written but not read counts twice: its line
        is fetched before it is written. One written where it was read counts once more.
        """
        operator = call.operator
        reads = call.inputs[1:] if operator.overwriter else call.inputs
        moves: Traffic = []
        if operator.gatherer:
            for each in call.made:
                moves += self._distances(each, 3.0)
        elif operator.scatterer:
            for each in call.inputs[1:]:
                moves += self._distances(each, 3.0 if each.is_floating_point() else 1.0)
        else:
            for each in reads:
                moves += self._distances(each, 1.0)
            for each in call.made:
                moves += self._distances(each, 2.0)
            for each in call.written:
                read_too = any(each is other for other in reads)
                moves += self._distances(each, 1.0 if read_too else 2.0)
        for each in (*reads, *call.made, *call.written):
            self._touch(each)
        return moves

    def _distances(self, tensor: torch.Tensor, weight: float) -> Traffic:
        size = span(tensor)
        if not size:
            return []
        blocks = _blocks(tensor)
        share = weight * size / len(blocks)
        found: dict[float, float] = {}
        for block in blocks:
            distance = self.clock - self.touched[block] if block in self.touched else FAR
            found[distance] = found.get(distance, 0.0) + share
        return [(count, distance) for distance, count in found.items()]

    def _touch(self, tensor: torch.Tensor) -> None:
        size = span(tensor)
        if size:
            self.clock += size
            for block in _blocks(tensor):
                self.touched[block] = self.clock


def _blocks(tensor: torch.Tensor) -> range:
    """The blocks of memory that a tensor lies in."""
    start = tensor.data_ptr()
    reach = sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    end = start + (reach + 1) * tensor.element_size() - 1
    return range(start // BLOCK, end // BLOCK + 1)
