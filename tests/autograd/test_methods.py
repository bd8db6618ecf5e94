"""A Tensor's operators and methods say what torch's say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from roofline.autograd import Tensor

X = torch.tensor([[0.5, 1.5, 2.5], [3.0, 0.25, 1.0]], dtype=torch.float64)
Y = torch.tensor([[2.0], [0.5]], dtype=torch.float64)

SAYINGS: dict[str, Callable] = {
    "arithmetic": lambda x, y: (x + y) * 3 - x / y + 2**x - y**2 + 1 / x,
    "from the left": lambda x, y: 1 + x + (2 - y) * 3 + 4 / x,
    "negative": lambda x, y: -x + abs(y - 1),
    "matrices": lambda x, y: x.T @ y,
    "mT": lambda x, y: x.mT @ y,
    "functions": lambda x, y: x.exp() + x.log() + x.sqrt() + x.sin() + x.cos() + x.abs(),
    "activations": lambda x, y: x.tanh() + x.sigmoid() + (x - 1).relu(),
    "softmax": lambda x, y: x.softmax(-1) + x.log_softmax(0),
    "sums": lambda x, y: x.sum() + x.sum(0).mean() + x.var(1).sum() + x.logsumexp(0).sum(),
    "cumsum": lambda x, y: x.cumsum(0),
    "clamp": lambda x, y: x.clamp(0.4, 2),
    "index": lambda x, y: x[0, 1:] + x[1][:2] + x[..., -1][0],
    "shapes": lambda x, y: x.reshape(3, 2).reshape((2, 3)).view(6).unsqueeze(1).squeeze(1),
    "transposed": lambda x, y: x.transpose(0, 1).permute(1, 0).permute((1, 0)),
    "expanded": lambda x, y: y.expand(2, 3) + y.expand((2, 3)) * x,
    "flattened": lambda x, y: x.unsqueeze(0).flatten(1).flatten(start_dim=0).unsqueeze(0).squeeze(),
    "kept dimensions": lambda x, y: x.sum(None, keepdim=True) + y.mean(None, keepdim=True),
    "narrowed": lambda x, y: x.narrow(1, 1, 2) + x.split(2, 1)[0],
    "masked": lambda x, y: x.masked_fill(torch.tensor([True, False, False]), 7.0),
    "moved": lambda x, y: x.to(torch.float32).to(torch.float64),
}


@pytest.mark.parametrize("name", SAYINGS)
def test_it_says_what_torch_says(name: str) -> None:
    ours, theirs = [[make(v) for v in (X, Y)] for make in
                    (lambda v: Tensor(v, True), lambda v: v.clone().requires_grad_())]  # fmt: skip
    got, expected = SAYINGS[name](*ours), SAYINGS[name](*theirs)
    assert isinstance(got, Tensor) and got.shape == expected.shape
    torch.testing.assert_close(got.data, expected.detach(), rtol=1e-10, atol=1e-10)
    grad = torch.rand(expected.shape, dtype=torch.float64)
    got.backward(grad)
    expected.backward(grad)
    for one, other in zip(ours, theirs, strict=True):
        assert (one.grad is None) == (other.grad is None)
        if other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-10)


def test_a_torch_tensor_on_the_left_gives_a_tensor_of_ours() -> None:
    x = Tensor(X, True)
    for result in (X + x, X - x, X * x, X / x, X**x, X.T @ x):
        assert isinstance(result, Tensor) and result.requires_grad


def test_extremes_and_comparisons() -> None:
    x = Tensor(X, True)
    assert x.max().item() == 3 and x.min(1).tolist() == [0.5, 0.25]
    assert x.argmax(1).tolist() == [2, 0] and x.argmax().item() == 3
    assert x.max(keepdim=True).tolist() == [[3]] and x.min(keepdim=True).tolist() == [[0.25]]
    assert x[:, Tensor([1, 0])].tolist() == X[:, [1, 0]].tolist()
    assert torch.equal(x > 1, X > 1) and torch.equal(x <= Tensor(X), X <= X)
    assert torch.equal(x == 3, X == 3) and torch.equal(x != Tensor(X), X != X)
    assert len({x, x, Tensor(X)}) == 2, "as a key a Tensor is itself and not its numbers"
    assert torch.equal(x < 1, X < 1) and torch.equal(x >= 1, X >= 1)


def test_what_it_tells_of_itself() -> None:
    x = Tensor(X, True)
    assert (x.shape, x.ndim, x.dim(), x.size(), x.size(1)) == (X.shape, 2, 2, X.shape, 3)
    assert (x.dtype, x.device, x.numel(), len(x)) == (X.dtype, X.device, 6, 2)
    assert float(x.sum()) == x.sum().item() == X.sum().item() and x.tolist() == X.tolist()
    assert repr(Tensor(torch.ones(2), True)) == "Tensor([1., 1.], requires_grad=True)"
    assert f"{x.sum():.1f} {Tensor([1, 2])}" == f"{X.sum():.1f} Tensor([1, 2])"
    assert repr(Tensor([1, 2])) == "Tensor([1, 2])"
    assert Tensor(X).data is X and not x.detach().requires_grad


@pytest.mark.filterwarnings("ignore:var")
def test_the_variance_of_one_number_is_nan_and_so_is_its_gradient() -> None:
    x = Tensor([[2.0]], requires_grad=True)
    y = x.var(1)
    y.backward()
    assert y.data.isnan().all() and x.grad.isnan().all()
