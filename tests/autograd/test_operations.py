"""Every operation against two oracles in float64: torch.autograd, and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline import autograd
from roofline.autograd import Tensor, gradcheck
from torch.nn import functional

POSITIVE = {"log", "sqrt", "power"}

UNARY: dict[str, tuple[Callable, Callable]] = {
    "absolute": (autograd.absolute, torch.abs),
    "clamp": (lambda x: autograd.clamp(x, -0.5, 0.7), lambda x: x.clamp(-0.5, 0.7)),
    "cos": (autograd.cos, torch.cos),
    "cumsum": (lambda x: autograd.cumsum(x, -1), lambda x: x.cumsum(-1)),
    "exp": (autograd.exp, torch.exp),
    "gelu": (autograd.gelu, functional.gelu),
    "leaky_relu": (autograd.leaky_relu, functional.leaky_relu),
    "log": (autograd.log, torch.log),
    "log_softmax": (lambda x: autograd.log_softmax(x, -1), lambda x: x.log_softmax(-1)),
    "logsumexp": (lambda x: autograd.logsumexp(x, -1), lambda x: x.logsumexp(-1)),
    "max": (lambda x: autograd.max(x, -1), lambda x: x.max(-1).values),
    "mean": (lambda x: autograd.mean(x, -1), lambda x: x.mean(-1)),
    "min": (lambda x: autograd.min(x, -1), lambda x: x.min(-1).values),
    "negative": (autograd.negative, torch.neg),
    "power": (lambda x: autograd.power(x, 1.7), lambda x: x**1.7),
    "relu": (autograd.relu, torch.relu),
    "sigmoid": (autograd.sigmoid, torch.sigmoid),
    "silu": (autograd.silu, functional.silu),
    "sin": (autograd.sin, torch.sin),
    "softmax": (lambda x: autograd.softmax(x, -1), lambda x: x.softmax(-1)),
    "softplus": (autograd.softplus, functional.softplus),
    "sqrt": (autograd.sqrt, torch.sqrt),
    "sum": (lambda x: autograd.sum(x, -1), lambda x: x.sum(-1)),
    "tanh": (autograd.tanh, torch.tanh),
    "transpose": (lambda x: autograd.transpose(x, -1, -2), lambda x: x.transpose(-1, -2)),
    "var": (lambda x: autograd.var(x, -1), lambda x: x.var(-1)),
}

BINARY: dict[str, tuple[Callable, Callable]] = {
    "add": (autograd.add, torch.add),
    "subtract": (autograd.subtract, torch.sub),
    "multiply": (autograd.multiply, torch.mul),
    "divide": (autograd.divide, torch.div),
}


def leaves(*values: torch.Tensor) -> tuple[list[Tensor], list[torch.Tensor]]:
    """The same values as leaves of both tapes."""
    ours = [Tensor(v.clone(), requires_grad=True) for v in values]
    return ours, [v.clone().requires_grad_() for v in values]


def agree(ours: Callable, theirs: Callable, *values: torch.Tensor) -> None:
    """Values and gradients are torch's, for a random gradient of the result."""
    here, there = leaves(*values)
    got, expected = ours(*here), theirs(*there)
    torch.testing.assert_close(got.data, expected.detach(), rtol=1e-10, atol=1e-10)
    grad = torch.randn_like(expected)
    expected.backward(grad)
    got.backward(grad)
    for leaf, twin in zip(here, there, strict=True):
        torch.testing.assert_close(leaf.grad, twin.grad, rtol=1e-10, atol=1e-10)


def drawn(shape: tuple[int, ...], seed: int, contiguous: bool) -> torch.Tensor:
    """Normal float64 numbers, in memory as they stand or as a transposed view."""
    random = torch.Generator().manual_seed(seed)
    if contiguous:
        return torch.randn(shape, generator=random, dtype=torch.float64)
    return torch.randn(shape[::-1], generator=random, dtype=torch.float64).permute(
        *range(len(shape) - 1, -1, -1)
    )


SHAPES = st.lists(st.integers(2, 4), min_size=2, max_size=4).map(tuple)


@pytest.mark.parametrize("name", UNARY)
@settings(max_examples=12, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 9999), contiguous=st.booleans())
def test_an_operation_of_one_argument(
    name: str, shape: tuple[int, ...], seed: int, contiguous: bool
) -> None:
    ours, theirs = UNARY[name]
    x = drawn(shape, seed, contiguous)
    agree(ours, theirs, x.abs() + 0.1 if name in POSITIVE else x)


@pytest.mark.parametrize("name", BINARY)
@settings(max_examples=12, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 9999), cut=st.integers(0, 15))
def test_an_operation_of_two_that_broadcast(
    name: str, shape: tuple[int, ...], seed: int, cut: int
) -> None:
    ours, theirs = BINARY[name]
    x, y = drawn(shape, seed, True), drawn(shape, seed + 1, False)
    small = tuple(1 if cut >> i & 1 else n for i, n in enumerate(shape))[cut % 2 :]
    y = y[tuple(slice(0, n) for n in (1,) * (cut % 2) + small)].reshape(small)
    agree(ours, theirs, x, y.abs() + 0.5 if name == "divide" else y)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
@pytest.mark.parametrize("name", ["relu", "exp", "sigmoid", "tanh", "sum"])
def test_nothing_goes_through(name: str, shape: tuple[int, ...]) -> None:
    agree(*UNARY[name], torch.zeros(shape, dtype=torch.float64))


@settings(max_examples=12, deadline=None)
@given(sizes=st.tuples(*[st.integers(1, 5)] * 4), seed=st.integers(0, 9999))
def test_products(sizes: tuple[int, int, int, int], seed: int) -> None:
    n, k, m, b = sizes
    x, y = drawn((b, n, k), seed, True), drawn((b, k, m), seed + 1, False)
    agree(autograd.matmul, torch.matmul, x, y)
    agree(autograd.matmul, torch.matmul, x, y[0])
    agree(
        autograd.linear,
        functional.linear,
        x,
        drawn((m, k), seed + 2, True),
        drawn((m, 1), seed, True)[:, 0],
    )


def random(*shape: int) -> torch.Tensor:
    return drawn(shape, sum(shape), True)


CASES: dict[str, tuple[Callable, Callable, tuple[torch.Tensor, ...]]] = {
    "cat": (
        lambda a, b: autograd.cat([a, b], 1),
        lambda a, b: torch.cat([a, b], 1),
        (random(2, 3), random(2, 4)),
    ),
    "stack": (
        lambda a, b: autograd.stack([a, b], 1),
        lambda a, b: torch.stack([a, b], 1),
        (random(2, 3), random(2, 3)),
    ),
    "getitem": (lambda x: x[[0, 0, 2], 1:], lambda x: x[[0, 0, 2], 1:], (random(3, 4),)),
    "reshape": (lambda x: x.reshape(6, 2), lambda x: x.reshape(6, 2), (random(3, 4),)),
    "permute": (
        lambda x: autograd.permute(x, (2, 0, 1)),
        lambda x: x.permute(2, 0, 1),
        (random(2, 3, 4),),
    ),
    "embedding": (
        lambda w: autograd.embedding(w, torch.tensor([[0, 2], [2, 1]])),
        lambda w: functional.embedding(torch.tensor([[0, 2], [2, 1]]), w),
        (random(4, 3),),
    ),
    "layer_norm": (
        autograd.layer_norm,
        lambda x, w, b: functional.layer_norm(x, (5,), w, b),
        (random(2, 3, 5), random(5), random(5) + 1),
    ),
    "rms_norm": (
        lambda x, w: autograd.rms_norm(x, w, eps=1e-3),
        lambda x, w: functional.rms_norm(x, (5,), w, eps=1e-3),
        (random(2, 3, 5), random(5)),
    ),
    "cross_entropy": (
        lambda z: autograd.cross_entropy(z, torch.tensor([0, 2, 1])),
        lambda z: functional.cross_entropy(z, torch.tensor([0, 2, 1])),
        (random(3, 4),),
    ),
    "mse": (autograd.mse, functional.mse_loss, (random(3, 4), random(4, 3).T)),
    "binary_cross_entropy_with_logits": (
        lambda x: autograd.binary_cross_entropy_with_logits(x, random(3, 4).sigmoid()),
        lambda x: functional.binary_cross_entropy_with_logits(x, random(3, 4).sigmoid()),
        (random(4, 3).T,),
    ),
    "conv1d": (
        lambda x, w, b: autograd.conv1d(x, w, b, stride=2, padding=1),
        lambda x, w, b: functional.conv1d(x, w, b, stride=2, padding=1),
        (random(2, 3, 9), random(4, 3, 3), random(4)),
    ),
    "conv2d": (
        lambda x, w, b: autograd.conv2d(x, w, b, stride=2, padding=1, groups=2),
        lambda x, w, b: functional.conv2d(x, w, b, stride=2, padding=1, groups=2),
        (random(2, 4, 7, 6), random(6, 2, 3, 3), random(6)),
    ),
    "max_pool2d": (
        lambda x: autograd.max_pool2d(x, 2),
        lambda x: functional.max_pool2d(x, 2),
        (random(2, 3, 6, 8),),
    ),
    "avg_pool2d": (
        lambda x: autograd.avg_pool2d(x, 2),
        lambda x: functional.avg_pool2d(x, 2),
        (random(2, 3, 6, 8),),
    ),
    "attention": (
        lambda q, k, v: autograd.attention(q, k, v, causal=True),
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        (random(2, 3, 5, 4), random(2, 3, 5, 4) * 0.5, random(2, 3, 5, 4) + 1),
    ),
    "attention, recomputed": (
        lambda q, k, v: autograd.attention(q, k, v, causal=True, recompute=True),
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        (random(2, 3, 5, 4), random(2, 3, 5, 4) * 0.5, random(2, 3, 5, 4) + 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_against_torch(name: str) -> None:
    ours, theirs, values = CASES[name]
    agree(ours, theirs, *values)


@pytest.mark.parametrize("name", CASES)
def test_a_case_against_finite_differences(name: str) -> None:
    ours, _, values = CASES[name]
    assert gradcheck(ours, *[Tensor(v.clone(), requires_grad=True) for v in values])


def test_the_readable_convolution_is_the_fast_one() -> None:
    ours, _, values = CASES["conv2d"]
    fast, _ = leaves(*values)
    slow, _ = leaves(*values)
    y = ours(*fast)
    with autograd.readable_convolution():
        z = ours(*slow)
        z.backward(torch.ones_like(z.data))
    y.backward(torch.ones_like(y.data))
    torch.testing.assert_close(y.data, z.data)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_gradcheck_finds_a_wrong_gradient() -> None:
    @autograd.op
    def wrong(x: torch.Tensor) -> Any:
        return x * x, lambda dy: (dy * x,)

    with pytest.raises(AssertionError):
        gradcheck(wrong, Tensor(random(3), requires_grad=True))
