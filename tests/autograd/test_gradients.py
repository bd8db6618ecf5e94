"""Every operation, on what hypothesis draws, against torch.autograd and finite differences."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from autograd import drawn
from autograd.drawn import CASES, joined
from devices import DEVICES, float_type
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline import autograd
from roofline.autograd import Tensor, gradcheck

few = settings(max_examples=10, deadline=None, derandomize=True, database=None)
fewer = settings(few, max_examples=4)

# What roofline.autograd exports besides operations.
NO_OPERATIONS = {
    "Kept", "Methods", "Node", "Tensor",
    "backward", "gradcheck", "kept", "layer", "no_grad", "op", "readable_convolution", "tape",
}  # fmt: skip


def test_every_operation_has_a_case() -> None:
    """A new operation fails here until its gradients are checked."""
    exported = {
        name
        for name, found in vars(autograd).items()
        if not name.startswith("_") and callable(found)
    }
    assert exported - NO_OPERATIONS == set(CASES)
    assert NO_OPERATIONS <= exported


@contextlib.contextmanager
def blocks_of(size: int | None) -> Iterator[None]:
    """Elementwise chains, attention and pooling in pieces of so few elements, None as they are."""
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if size and name.startswith("roofline.autograd.") and hasattr(module, "BLOCK"):
                stack.enter_context(mock.patch.object(module, "BLOCK", size))
        yield


# MPS has no float64, in which everything here is drawn.
EXACT = [device for device in DEVICES if float_type(device) == torch.float64]


@pytest.mark.parametrize("device", EXACT)
@pytest.mark.parametrize("name", CASES)
@few
@given(data=st.data(), block=st.sampled_from([None, 1, 8]))
def test_values_and_gradients_are_torchs(
    name: str, device: str, data: Any, block: int | None
) -> None:
    """To 1e-10 in float64, whatever the shape and the layout, and however small the blocks."""
    with mock.patch.object(drawn, "PLACE", [device]):
        ours, theirs, values = CASES[name](data.draw)
    here = [Tensor(v, requires_grad=True) for v in values]
    there = [v.detach().requires_grad_() for v in values]
    before = [v.clone() for v in values]
    with blocks_of(block):
        got, expected = joined(ours(*here)), joined(theirs(*there))
        assert got.data.shape == expected.shape
        close(got.data, expected.detach())
        torch.manual_seed(1)
        grad = torch.randn(expected.shape, dtype=torch.float64).to(device)
        expected.backward(grad)
        got.backward(grad)
    for leaf, twin in zip(here, there, strict=True):
        assert leaf.grad is not None and leaf.grad.shape == leaf.data.shape
        close(leaf.grad, torch.zeros_like(twin) if twin.grad is None else twin.grad)
    for kept, v in zip(before, values, strict=True):
        assert torch.equal(kept, v), "an operation changed its argument"


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10, equal_nan=True)


@pytest.mark.parametrize("name", CASES)
@fewer
@given(data=st.data(), block=st.sampled_from([None, 1]))
def test_gradients_are_difference_quotients(name: str, data: Any, block: int | None) -> None:
    if name in ("cast", "embedding"):
        return  # differences drown in float32; the row of the padding moves, and never learns
    ours, _, values = CASES[name](data.draw)
    with blocks_of(block):
        leaves = [Tensor(v, requires_grad=True) for v in values]
        if recorded(ours(*leaves)).data.isfinite().all():  # the mean of nothing is none
            assert gradcheck(lambda *v: recorded(ours(*v)), *leaves, atol=1e-6)


def recorded(outputs: Any) -> Tensor:
    """What is on the tape: running means move with x, but have no gradient."""
    if isinstance(outputs, list):
        outputs = [o for o in outputs if isinstance(o, Tensor)]
    return joined(outputs)


# Half the digits of the dtype, for a chain of a few roundings.
BOUNDS = {torch.float32: 2e-4, torch.float16: 3e-2, torch.bfloat16: 2e-1}
# Their targets, masks or running means are float64 in the cases.
NO_MIX = {"attention", "batch_norm", "binary_cross_entropy_with_logits", "cross_entropy"}


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
@pytest.mark.parametrize("name", [name for name in CASES if name not in {*NO_MIX, "cast"}])
@fewer
@given(data=st.data(), block=st.sampled_from([None, 8]))
def test_results_and_gradients_stay_in_their_dtype(
    name: str, dtype: torch.dtype, data: Any, block: int | None
) -> None:
    ours, theirs, values = CASES[name](data.draw)
    values = tuple(v.to(dtype) for v in values)
    leaves = [Tensor(v, requires_grad=True) for v in values]
    exact = [v.double().requires_grad_() for v in values]
    with blocks_of(block):
        got, expected = joined(ours(*leaves)), joined(theirs(*exact))
        assert got.data.dtype == dtype
        bound = BOUNDS[dtype]
        torch.testing.assert_close(
            got.data.double(), expected.detach(), rtol=bound, atol=bound, equal_nan=True
        )
        got.backward(torch.ones_like(got.data))
        expected.backward(torch.ones_like(expected))
    for leaf, twin in zip(leaves, exact, strict=True):
        assert leaf.grad is not None and leaf.grad.dtype == dtype
        twin_grad = torch.zeros_like(twin) if twin.grad is None else twin.grad
        torch.testing.assert_close(
            leaf.grad.double(), twin_grad, rtol=3 * bound, atol=3 * bound, equal_nan=True
        )


@few
@given(
    data=st.data(),
    name=st.sampled_from(["add", "subtract", "multiply", "divide", "power"]),
    dtypes=st.tuples(*[st.sampled_from([torch.float64, *BOUNDS])] * 2),
)
def test_mixed_dtypes_promote_as_torchs(name: str, data: Any, dtypes: tuple) -> None:
    ours, theirs, values = CASES[name](data.draw)
    values = tuple(v.to(d) for v, d in zip(values, dtypes, strict=False))
    leaves = [Tensor(v, requires_grad=True) for v in values]
    twins = [v.clone().requires_grad_() for v in values]
    got, expected = ours(*leaves), theirs(*twins)
    assert got.dtype == expected.dtype and torch.equal(got.data, expected.detach())
    got.backward(torch.ones_like(got.data))
    expected.backward(torch.ones_like(expected))
    for leaf, twin in zip(leaves, twins, strict=True):
        assert leaf.grad.dtype == twin.grad.dtype
        torch.testing.assert_close(leaf.grad, twin.grad, rtol=5e-2, atol=5e-2)
