"""What the tape says that training remembers, against a count by hand."""

from __future__ import annotations

import functools
from typing import Any

import torch
from roofline import autograd
from roofline.autograd import Tensor, kept, layer, op

N = 100
BYTES = N * 8


def leaf() -> Tensor:
    return Tensor(torch.rand(N, dtype=torch.float64), requires_grad=True)


def test_bytes_by_operation_and_layer() -> None:
    x = leaf()
    with layer("a"):
        y = x.exp()  # keeps its result
    with layer("b"):
        z = (y * x).sin()  # the product keeps y and x, the sine the product
    found = kept(z)
    assert found.total == 3 * BYTES
    assert found.by_op == {"exp": BYTES, "multiply": BYTES, "sin": BYTES}
    assert found.by_layer == {"a": BYTES, "b": 2 * BYTES}
    assert kept(z, besides=[x]).total == kept(z, besides=[x.data]).total == 2 * BYTES


def test_what_is_shared_counts_once_and_a_view_as_its_storage() -> None:
    x = leaf()
    assert kept(x * x).total == BYTES
    assert kept(x[:10].exp() * x[:3].sum()).total == 10 * 8 + 8
    assert kept(x[:10] * x[:10]).total == BYTES


def test_sums_and_moves_keep_nothing() -> None:
    x = leaf()
    y = autograd.cat([(x + 1).reshape(10, 10).transpose(), (x - 3).reshape(10, 10)], 1)
    assert kept((y * 2.0).sum(0).mean()).total == 0
    assert kept(-autograd.pad(y, [1, 1]).expand(3, 10, 22)).total == 0


def test_the_walk_leaves_nothing_kept() -> None:
    x = leaf()
    y = x.exp().sum()
    y.backward()
    assert kept(y).total == 0


def test_whatever_a_pullback_is_made_of() -> None:
    class Object:
        def __init__(self, value: Any):
            self.value = value

        def __call__(self, dy: torch.Tensor) -> tuple:
            return (dy * self.value,)

    def function(dy: torch.Tensor, value: torch.Tensor) -> tuple:
        return (dy * value,)

    def deep(value: torch.Tensor) -> Any:
        held = {"list": [({"x": value},)]}
        return lambda dy: (dy * held["list"][0][0]["x"],)

    makers = [
        Object,
        deep,
        lambda value: functools.partial(function, value=value),
        lambda value: Object(value).__call__,
        lambda value: lambda dy, hidden=value: (dy * hidden,),
        lambda value: Object(Tensor(value)),
    ]
    for make in makers:

        @op
        def own(x: torch.Tensor, make: Any = make) -> Any:
            return x * 2, make(torch.ones(N, dtype=torch.float64))

        assert kept(own(leaf())).by_op == {"own": BYTES}
