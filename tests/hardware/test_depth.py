"""Longest chains of kernels, against chains that are known by construction."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline.hardware.depth import _Spans, critical_path


def chain(x: torch.Tensor, length: int) -> torch.Tensor:
    for _ in range(length):
        x = x + 1
    return x


@pytest.mark.parametrize("length", [0, 1, 7])
def test_a_chain_is_as_deep_as_it_is_long(length):
    found = critical_path(chain, torch.zeros(3), length)
    assert (found.depth, found.launches) == (length, length)
    assert torch.equal(found.result, torch.full((3,), float(length)))


def test_what_does_not_depend_counts_once():
    x = torch.zeros(3)
    found = critical_path(lambda: [chain(x, 5) for _ in range(4)])
    assert (found.depth, found.launches) == (5, 20)


@settings(deadline=None, max_examples=20)
@given(some.integers(1, 64))
def test_a_tree_of_sums_is_as_deep_as_its_logarithm(leaves):
    def tree() -> torch.Tensor:
        level = [torch.ones(2) + 1 for _ in range(leaves)]
        while len(level) > 1:
            pairs = [a + b for a, b in zip(level[::2], level[1::2], strict=False)]
            level = pairs + ([level[-1]] if len(level) % 2 else [])
        return level[0]

    # the ones are kernels too; then the leaves, then the levels
    assert critical_path(tree).depth == 2 + (leaves - 1).bit_length()


def test_slices_of_one_buffer_are_told_apart():
    def independent() -> torch.Tensor:
        buffer = torch.empty(8, 4)
        for row in range(8):
            torch.add(torch.zeros(4), 1.0, out=buffer[row])
        return buffer

    def dependent() -> torch.Tensor:
        buffer = torch.zeros(8, 4)
        for row in range(1, 8):
            torch.add(buffer[row - 1], 1.0, out=buffer[row])
        return buffer.sum()

    assert critical_path(independent).depth == 2
    assert critical_path(dependent).depth == 1 + 7 + 1


def test_views_and_writes_in_place_are_followed():
    def run() -> torch.Tensor:
        x = torch.zeros(4, 4)
        y = x.t()[1:]  # a view
        y.add_(1)
        x.mul_(2)
        return x.view(-1) + 1

    assert critical_path(run).depth == 4


def test_a_copy_over_everything_does_not_wait_for_what_was_there():
    def run() -> torch.Tensor:
        x = chain(torch.zeros(4), 5)
        x.copy_(torch.ones(4))
        return x + 1

    assert critical_path(run).depth == 6
    found = critical_path(lambda: torch.zeros(4).copy_(torch.ones(4)) + 1)
    assert found.depth == 3


def test_interleaved_columns_are_never_counted_too_low():
    def run() -> torch.Tensor:
        x = torch.zeros(4, 2)
        left, right = x[:, 0], x[:, 1]
        for _ in range(3):
            left.add_(1)
        return right + 1

    assert critical_path(run).depth >= 2


def test_memory_that_is_used_again_forgets():
    def run() -> None:
        for _ in range(20):
            chain(torch.zeros(1000), 3)

    assert critical_path(run).depth == 4


def test_a_backward_pass_is_followed():
    x = torch.randn(5, 5, requires_grad=True)
    forward = critical_path(lambda: (x @ x).tanh().sum())
    both = critical_path(lambda: (x @ x).tanh().sum().backward())
    assert forward.depth == 3
    # ones like the sum, then the slope of tanh, two products at the same time, and their sum
    assert both.depth == 7


@settings(deadline=None, max_examples=60)
@given(
    some.lists(
        some.tuples(some.integers(0, 30), some.integers(1, 12), some.booleans()), max_size=25
    ),
    some.integers(0, 30),
    some.integers(1, 15),
)
def test_spans_are_what_an_array_of_bytes_says(writes, start, length):
    spans, bytes_ = _Spans(), [0] * 64
    for depth, (at, size, whole) in enumerate(writes, start=1):
        spans.write(at, at + size, depth, whole)
        here = depth if whole else max(depth, *bytes_[at : at + size])
        bytes_[at : at + size] = [here] * size
    assert spans.depth(start, start + length) == max(bytes_[start : start + length])
    assert spans.pieces == sorted(spans.pieces)
    ends = [piece[:2] for piece in spans.pieces]
    assert all(a[1] <= b[0] for a, b in zip(ends, ends[1:], strict=False))
