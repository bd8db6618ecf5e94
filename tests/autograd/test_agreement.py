"""What is computed in two ways, to be read and to be run, comes out the same."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from autograd.drawn import plain_attention
from devices import DEVICES, float_type
from roofline import autograd
from roofline.autograd import Tensor, kept, tape

# The function of the same name hides the module.
module = importlib.import_module("roofline.autograd.attention")


def draw(*shape: int, device: str = "cpu") -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(
        device, float_type(device)
    )


def agree(one: Callable, other: Callable, *values: torch.Tensor) -> None:
    """Values and gradients of two functions of Tensors."""
    results = []
    for function in (one, other):
        leaves = [Tensor(v, requires_grad=True) for v in values]
        out = function(*leaves)
        torch.manual_seed(0)
        out.backward(torch.randn(out.shape).to(out.data))
        results.append([out.data, *[leaf.grad for leaf in leaves]])
    exact = values[0].dtype == torch.float64
    bound = 1e-10 if exact else 1e-4
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=bound, atol=bound)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stride", [1, (2, 1)])
@pytest.mark.parametrize("padding", [0, (2, 1)])
@pytest.mark.parametrize("dilation", [1, (1, 3)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_readable_convolution_is_the_fast_one(
    stride: Any, padding: Any, dilation: Any, groups: int, device: str
) -> None:
    x, bias = draw(2, 4, 8, 9, device=device), draw(8, device=device)
    weight = draw(8, 4 // groups, 2, 3, device=device)
    options = (stride, padding, dilation, groups)

    def readable(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        with autograd.readable_convolution():
            return autograd.conv2d(x, w, b, *options)

    agree(lambda x, w, b: autograd.conv2d(x, w, b, *options), readable, x, weight, bias)
    agree(
        lambda x, w: autograd.conv1d(x[:, :, 0], w[:, :, 0], None, 2, 1, groups=groups, fast=True),
        lambda x, w: autograd.conv1d(x[:, :, 0], w[:, :, 0], None, 2, 1, groups=groups, fast=False),
        x,
        weight,
    )


def test_one_flag_chooses_the_convolution() -> None:
    x, weight = Tensor(draw(1, 1, 4, 4), True), draw(1, 1, 2, 2)

    def used(**options: Any) -> str:
        node = tape(autograd.conv2d(x, weight, **options))[-1]
        return node.pullback.__module__.removeprefix("roofline.autograd.")

    assert used() == used(fast=True) == "convolution_kernels" and used(fast=False) == "conv"
    with autograd.readable_convolution():
        assert used() == "conv" and used(fast=True) == "convolution_kernels"
    assert used() == "convolution_kernels"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("t", "s"), [(40, 40), (40, 7), (7, 40)])
@pytest.mark.parametrize("masked", [True, False])
def test_attention_in_blocks_is_the_formula(
    masked: bool, t: int, s: int, causal: bool, recompute: bool, device: str
) -> None:
    """Blocks of 16 queries, the last one short; 4 query heads on 2 key heads; some rows see
    nothing."""
    q, k = draw(3, 4, t, 5, device=device), draw(3, 2, s, 5, device=device) + 1
    v = draw(3, 2, s, 6, device=device)
    mask = draw(3, 1, t, s, device=device) > 0 if masked else None
    if mask is not None:
        mask[1, :, 3] = False

    def blocked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with mock.patch.object(module, "BLOCK", 64):
            y = autograd.attention(q, k, v, mask, causal, recompute=recompute)
        blind = causal and t > s  # queries that see nothing: there the formula itself is used
        assert y.node is None or blind or y.node.name == "_blocked"
        return y

    def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        added = module._additive(mask, q.data)
        return module.explicit_attention(q, k, v, added, causal, 5**-0.5)

    agree(blocked, explicit, q, k, v)
    if device == "cpu":
        expected = plain_attention(q, k, v, mask, causal)
        torch.testing.assert_close(blocked(*map(Tensor, (q, k, v))).data, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize(
    ("t", "s", "block"), [(67, 67, 20_000), (64, 70, 20_000), (130, 130, 4096)]
)
def test_causal_attention_in_halves_is_the_formula(
    t: int, s: int, block: int, recompute: bool, device: str
) -> None:
    """Two samples in a block, the third alone; or one sample in more than two blocks. Half of the
    queries see half of the keys, and a mask may be one for all queries or all samples."""
    q, k, v = (draw(3, 4, length, 5, device=device) for length in (t, s, s))
    for shape in ((3, 1, 1, s), (1, 4, t, s), None):
        mask = None if shape is None else draw(*shape, device=device)

        def blocked(q: Tensor, k: Tensor, v: Tensor, mask: Any = mask) -> Tensor:
            with mock.patch.object(module, "BLOCK", block):
                return autograd.attention(q, k, v, mask, True, recompute=recompute)

        def explicit(q: Tensor, k: Tensor, v: Tensor, mask: Any = mask) -> Tensor:
            return module.explicit_attention(q, k, v, mask, True, 5**-0.5)

        assert blocked(Tensor(q, True), k, v).node.name == "_blocked"
        agree(blocked, explicit, q, k, v)


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_layer_norm_are_added_where_others_are(device: str) -> None:
    """To those of another use of x, whatever their layout. The weight's and the bias's are there
    too where x has none, and in their own dtype."""
    x, w, b = draw(3, 5, 4, device=device), draw(4, device=device), draw(4, device=device)

    def once(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return autograd.layer_norm(x, w, b)

    def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / ((centred * centred).mean(-1, keepdim=True) + 1e-5).sqrt() * w + b

    for use in (
        lambda x, y: y + x,
        lambda x, y: (x.transpose(0, 1) * 2.0).transpose(0, 1) + y + x.transpose(0, 1).sum(1).sum(),
        lambda x, y: y + y * x,
    ):
        agree(*(lambda x, w, b, f=f, use=use: use(x, f(x, w, b)) for f in (once, plain)), x, w, b)
    agree(lambda w, b: once(Tensor(x), w, b), lambda w, b: plain(Tensor(x), w, b), w, b)
    agree(lambda b: once(Tensor(x), w, b), lambda b: plain(Tensor(x), w, b), b)
    leaves = [Tensor(value.bfloat16(), requires_grad=True) for value in (x, w, b)]
    once(*leaves).backward(torch.ones(x.shape, dtype=torch.bfloat16, device=device))
    assert torch.equal(leaves[2].grad, torch.full((4,), 15.0, device=device).bfloat16())
    assert leaves[1].grad.dtype == torch.bfloat16 and leaves[1].grad.any()


def test_recomputed_attention_keeps_no_weights() -> None:
    values = [draw(2, 3, 64, 8) for _ in range(3)]
    weights = 2 * 3 * 64 * 64 * 8
    sizes = {}
    for recompute in (True, False):
        leaves = [Tensor(v, requires_grad=True) for v in values]
        with mock.patch.object(module, "BLOCK", 1024):
            y = autograd.attention(*leaves, recompute=recompute)
        sizes[recompute] = kept(y, besides=leaves).total
    assert sizes[False] - sizes[True] == weights
    assert sizes[True] <= 2 * 3 * 64 * 8 * 8 + 64  # the output, and a number or so


def plain_softmax(x: Tensor) -> Tensor:
    powers = (x - x.max(-1, keepdim=True).detach()).exp()
    return powers / powers.sum(-1, keepdim=True)


def test_fused_operations_are_the_plain_ones_put_together() -> None:
    x, weight, bias = draw(6, 5), draw(4, 5), draw(4)
    agree(autograd.linear, lambda x, w, b: x @ w.T + b, x, weight, bias)
    agree(autograd.softmax, plain_softmax, x)
    agree(autograd.log_softmax, lambda x: plain_softmax(x).log(), x)
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    agree(
        lambda x: autograd.cross_entropy(x, labels),
        lambda x: -(plain_softmax(x)[torch.arange(6), labels].log().mean()),
        x,
    )
    targets = torch.rand(6, 5, dtype=torch.float64)
    agree(
        lambda x: autograd.binary_cross_entropy_with_logits(x, targets),
        lambda x: -((x.sigmoid().log() * targets) + (1 - x.sigmoid()).log() * (1 - targets)).mean(),
        x,
    )

    def plain_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred**2).mean(-1, keepdim=True).__add__(1e-5).sqrt() * w + b

    agree(autograd.layer_norm, plain_norm, x, draw(5), draw(5) + 1)
    agree(
        lambda x, w: autograd.rms_norm(x, w, eps=1e-5),
        lambda x, w: x / ((x * x).mean(-1, keepdim=True) + 1e-5).sqrt() * w,
        x,
        draw(5),
    )


def test_a_fused_lstm_is_its_steps() -> None:
    """One input product for all steps, against the equations written step by step on our tape."""
    hidden = 3
    values = [draw(5, 2, 4), draw(2, 3), draw(2, 3) + 1, draw(12, 4), draw(12, 3), draw(12)]

    def steps(x: Tensor, h: Tensor, c: Tensor, w: Tensor, u: Tensor, b: Tensor) -> Tensor:
        out = []
        for t in range(5):
            gates = autograd.linear(x[t], w, b) + autograd.linear(h, u)
            i, f, g, o = gates.split(hidden, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        return autograd.stack(out)

    agree(lambda *v: autograd.lstm(*v)[0], steps, *values)
