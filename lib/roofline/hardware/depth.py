"""How many kernels must wait for each other: the longest chain of a computation, counted.

A kernel depends on those that wrote what it reads. With as many processors as you like, a step
takes at least as long as its longest such chain, whatever its FLOPs are (Brent, "The Parallel
Evaluation of General Arithmetic Expressions", JACM 21(2), 1974; span, or critical path). The count
is the same on every machine, and needs no clock.
"""

from __future__ import annotations

import weakref
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from roofline.hardware.count import Call, Counter


@dataclass(frozen=True)
class Path:
    """``depth`` kernels in the longest chain, of ``launches`` in all; ``flops`` of all; and what
    the function gave."""

    depth: int
    launches: int
    flops: int
    result: Any


def critical_path(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Path:
    """Call ``function(*args, **kwargs)`` and count the longest chain of its kernels.

    What was there before has depth 0. Tensors that are cut from one storage are told apart by the
    bytes they span: of slices that interleave, such as columns of one matrix, a reader of one waits
    for the writer of another too, so that the count is never too low and may be too high there.
    """
    counter = _Depths()
    with counter:
        result = function(*args, **kwargs)
    counts = counter.counts
    return Path(counter.depth, counts.launches, counts.flops, result)


class _Depths(Counter):
    """Knows for every byte of every storage how deep the kernel lies that wrote it."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self._written: dict[int, tuple[weakref.ref, _Spans]] = {}

    def kernel(self, call: Call) -> None:
        reads = call.inputs[1:] if call.operator.overwriter else call.inputs
        depth = 1 + max((self._spans(each).depth(*_span(each)) for each in reads), default=0)
        for each in (*call.made, *call.written):
            start, end = _span(each)
            self._spans(each).write(start, end, depth, whole=end - start == each.nbytes)
        self.depth = max(self.depth, depth)

    def _spans(self, tensor: torch.Tensor) -> _Spans:
        storage = tensor.untyped_storage()
        known = self._written.get(storage._cdata)
        if known is None or known[0]() is not storage:
            known = weakref.ref(storage), _Spans()
            self._written[storage._cdata] = known
        return known[1]


class _Spans:
    """Depths along one storage: pieces that don't overlap, (start, end, depth), first to last."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, int, int]] = []

    def depth(self, start: int, end: int) -> int:
        return max((piece[2] for piece in self._inside(start, end)), default=0)

    def write(self, start: int, end: int, depth: int, whole: bool) -> None:
        """Note who wrote from ``start`` to ``end``; if not ``whole``, what was there stays too."""
        if start >= end:
            return
        if not whole:
            depth = max(depth, self.depth(start, end))
        for piece in self._inside(start, end):
            self.pieces.remove(piece)
            if piece[0] < start:
                insort(self.pieces, (piece[0], start, piece[2]))
            if piece[1] > end:
                insort(self.pieces, (end, piece[1], piece[2]))
        insort(self.pieces, (start, end, depth))

    def _inside(self, start: int, end: int) -> list[tuple[int, int, int]]:
        first = max(0, bisect_left(self.pieces, (start, start, 0)) - 1)
        found = []
        for piece in self.pieces[first:]:
            if piece[0] >= end:
                break
            if piece[1] > start:
                found.append(piece)
        return found


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """From the first byte to the last one of a tensor in its storage."""
    if not tensor.numel():
        return 0, 0
    reach = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    size, offset = tensor.element_size(), int(tensor.storage_offset())
    return offset * size, int(offset + reach + 1) * size
