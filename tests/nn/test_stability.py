"""What 16 bits do at the edges: large values, no variance, nothing to look at, long sequences.

float16 ends at 65,504, bfloat16 has 8 bits of precision. Losses are in tests/losses, an LSTM over
1,000 steps in test_recurrent.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from devices import DEVICES
from roofline import autograd, nn
from roofline.autograd import Tensor

HALVES = [torch.float16, torch.bfloat16]
SIZES = [1.0, 300.0, 1e4]  # squares of 300 are more than float16 holds


def draw(*shape: int, dtype: torch.dtype, device: str, size: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return (torch.randn(shape, generator=generator) * size).to(device, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm", "BatchNorm1d"])
def test_norms_are_those_of_float32(
    name: str, dtype: torch.dtype, size: float, device: str
) -> None:
    """Means and squares are summed in 32 bits: the size of the input makes no difference."""
    x = draw(64, 8, dtype=dtype, device=device, size=size)
    layer = getattr(nn, name)(8).to(device, dtype)
    twin = getattr(torch.nn, name)(8).to(device)
    ours, theirs = Tensor(x, True), x.float().requires_grad_()
    y, expected = layer(ours), twin(theirs)
    bound = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.data.float(), expected.detach(), atol=4 * bound, rtol=bound)
    grad = draw(64, 8, dtype=dtype, device=device) + 0.5
    y.backward(grad)
    expected.backward(grad.float())
    torch.testing.assert_close(
        ours.grad.float() * size, theirs.grad * size, atol=8 * bound, rtol=4 * bound
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm", "BatchNorm1d"])
def test_no_variance_is_no_division_by_0(name: str, dtype: torch.dtype, device: str) -> None:
    """Equal numbers come out as the bias (RMSNorm: their sign, and 0 stays 0), with finite
    gradients."""
    layer = getattr(nn, name)(4).to(device, dtype)
    if hasattr(layer, "bias"):
        layer.bias.data.copy_(torch.arange(4))
    for number in (0.0, 1.0, -300.0):
        x = Tensor(torch.full((6, 4), number, dtype=dtype, device=device), True)
        y = layer(x)
        sign = torch.full((6, 4), number).sign()
        expected = sign if name == "RMSNorm" else torch.arange(4.0).expand(6, 4)
        torch.testing.assert_close(y.data.float().cpu(), expected, atol=1e-2, rtol=0)
        y.backward(draw(6, 4, dtype=dtype, device=device))
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("block", [None, 1])
def test_a_fully_masked_row_of_attention_is_0(
    block: int | None, dtype: torch.dtype, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """softmax of nothing is NaN; attention says 0 instead, and hands back a gradient of 0."""
    import sys

    if block:
        monkeypatch.setattr(sys.modules["roofline.autograd.attention"], "BLOCK", block)
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool, device=device)
    mask[1, :, 2] = False
    for given in (mask, torch.zeros(mask.shape, device=device).masked_fill(~mask, -torch.inf)):
        q, k, v = (
            Tensor(draw(2, 3, 5, 4 + i, dtype=dtype, device=device)[..., :4], True)
            for i in range(3)
        )
        y = autograd.attention(q, k, v, given if given.dtype == torch.bool else given.to(dtype))
        assert y.dtype == dtype and not y.data[1, :, 2].any() and y.data[1, :, 3].all()
        y.backward(torch.ones_like(y.data))
        assert not q.grad[1, :, 2].any() and q.grad[1, :, 3].any()
        assert all(x.grad.isfinite().all() for x in (q, k, v))
    row = torch.full((1, 3), -torch.inf, dtype=dtype, device=device)
    assert autograd.softmax(row).data.isnan().all()
    assert autograd.log_softmax(row).data.isnan().all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("dtype", HALVES)
def test_attention_of_large_queries_is_finite(
    dtype: torch.dtype, weights: bool, device: str
) -> None:
    """A product of q and k of 230,000 before it is divided by the root of the width."""
    q = draw(1, 2, 6, 64, dtype=dtype, device=device, size=60.0)
    x = Tensor(q, True)
    y = autograd.attention(x, x, x)
    y.backward(torch.ones_like(y.data))
    torch.testing.assert_close(y.data, q, atol=0.5, rtol=0)  # each sees itself
    assert x.grad.isfinite().all()
    layer = nn.MultiheadAttention(64, 1, batch_first=True).to(device, dtype)
    layer.in_proj_weight.data.copy_(torch.eye(64).repeat(3, 1))
    layer.out_proj.weight.data.copy_(torch.eye(64))
    z = Tensor(q[0], True)
    out, _ = layer(z, z, z, need_weights=weights)
    torch.testing.assert_close(out.data, q[0], atol=0.5, rtol=0)
    out.backward(torch.ones_like(out.data))
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["gelu", "log_softmax", "logsumexp", "sigmoid", "silu", "softmax",
                                  "softplus", "tanh"])  # fmt: skip
def test_functions_of_large_numbers_are_finite(name: str, dtype: torch.dtype, device: str) -> None:
    x = torch.tensor([[1e4, -1e4, 3e4, 0.0], [6e4] * 4, [-6e4] * 4], device=device).to(dtype)
    leaf: Any = Tensor(x, True)
    y = getattr(autograd, name)(leaf)
    y.backward(torch.ones_like(y.data))
    assert y.dtype == leaf.grad.dtype == dtype
    assert y.data.isfinite().all() and leaf.grad.isfinite().all()
