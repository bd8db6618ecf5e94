"""RNN, LSTM and GRU against torch's, with and without padding; long sequences."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from devices import DEVICES, float_type
from roofline import nn
from roofline.autograd import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from twins import agree, compare, twins

KINDS = ["RNN", "LSTM", "GRU"]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"num_layers": 3, "batch_first": True},
    {"num_layers": 2, "bias": False},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]
T, N, INPUTS, HIDDEN = 6, 4, 5, 3
LENGTHS = torch.tensor([3, 6, 1, 5])


def pair(kind: str, device: str, **settings: Any) -> tuple[Any, Any]:
    return twins(
        lambda: getattr(nn, kind)(INPUTS, HIDDEN, **settings),
        lambda: getattr(torch.nn, kind)(INPUTS, HIDDEN, **settings),
        device,
    )


def draw(*shape: int, device: str = "cpu") -> torch.Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape, dtype=float_type(device)).to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_outputs_states_and_gradients_equal_torchs(
    kind: str, settings: dict[str, Any], device: str
) -> None:
    our, their = pair(kind, device, **settings)
    shape = (N, T, INPUTS) if settings.get("batch_first") else (T, N, INPUTS)
    compare(our, their, draw(*shape, device=device))


def test_a_plain_network_of_relus() -> None:
    our, their = pair("RNN", "cpu", nonlinearity="relu")
    compare(our, their, draw(T, N, INPUTS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_state_goes_in_and_gradients_come_back_through_it(
    kind: str, settings: dict[str, Any]
) -> None:
    """The loss is of the last states only."""
    our, their = pair(kind, "cpu", **{**settings, "batch_first": False})
    places = settings.get("num_layers", 1) * (1 + settings.get("bidirectional", False))
    states = [draw(places, N, HIDDEN) + i for i in range(2 if kind == "LSTM" else 1)]
    x = draw(T, N, INPUTS)
    mine = [Tensor(s, True) for s in states]
    theirs = [s.clone().requires_grad_() for s in states]
    _, our_last = our(x, tuple(mine) if kind == "LSTM" else mine[0])
    _, their_last = their(x, tuple(theirs) if kind == "LSTM" else theirs[0])
    agree(our_last, their_last)
    loss = sum(h.exp().sum() for h in (our_last if kind == "LSTM" else [our_last]))
    loss.backward()
    sum(h.exp().sum() for h in (their_last if kind == "LSTM" else [their_last])).backward()
    for one, other in zip(mine, theirs, strict=True):
        agree(one.grad, other.grad)
    for parameter, twin in zip(our.parameters(), their.parameters(), strict=True):
        agree(parameter.grad, twin.grad)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_padded_batch_equals_torchs_packed_one(
    kind: str, settings: dict[str, Any], device: str
) -> None:
    our, their = pair(kind, device, **{**settings, "batch_first": True})
    x = draw(N, T, INPUTS, device=device)
    mine, theirs = Tensor(x, True), x.clone().requires_grad_()
    packed = pack_padded_sequence(theirs, LENGTHS, batch_first=True, enforce_sorted=False)
    expected, last = their(packed)
    expected, _ = pad_packed_sequence(expected, batch_first=True)
    y, our_last = our(mine, lengths=LENGTHS)
    agree(y, expected)
    agree(our_last, last)
    h, their_h = (our_last[0], last[0]) if kind == "LSTM" else (our_last, last)
    weight = draw(*expected.shape, device=device)
    ((y * weight).sum() + h.exp().sum()).backward()
    ((expected * weight).sum() + their_h.exp().sum()).backward()
    agree(mine.grad, theirs.grad)
    for row, length in enumerate(LENGTHS):
        assert not mine.grad[row, length:].any()
    for parameter, twin in zip(our.parameters(), their.parameters(), strict=True):
        agree(parameter.grad, twin.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_layers_works_in_training_only(kind: str) -> None:
    layer = getattr(nn, kind)(INPUTS, HIDDEN, num_layers=2, dropout=0.5).to(torch.float64)
    x = draw(T, N, INPUTS)
    torch.manual_seed(0)
    first, second = layer(x)[0].data, layer(x)[0].data
    assert not torch.equal(first, second)
    layer.eval()
    assert torch.equal(layer(x)[0].data, layer(x)[0].data)
    alone = getattr(nn, kind)(INPUTS, HIDDEN, dropout=0.5).to(torch.float64)
    assert torch.equal(alone(x)[0].data, alone(x)[0].data)  # nothing lies between


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_an_lstm_over_a_thousand_steps_stays_finite(dtype: torch.dtype) -> None:
    """Outputs within ±1 and finite gradients in every dtype, however large the inputs."""
    torch.manual_seed(0)
    layer = nn.LSTM(4, 8).to(dtype)
    for size in (1.0, 1e4):
        x = Tensor((torch.randn(1000, 2, 4) * size).to(dtype), True)
        y, (h, c) = layer(x)
        assert y.data.abs().max() <= 1 and c.data.isfinite().all()
        y.mean().backward()
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in layer.parameters())
        layer.zero_grad()


def test_an_lstm_carries_a_gradient_over_a_thousand_steps_where_an_rnn_loses_it() -> None:
    """With its forget gate open an LSTM's memory reaches the first step; a plain network's doesn't.

    Hochreiter, Schmidhuber, 1997: the constant error carousel.
    """
    torch.manual_seed(0)
    steps, hidden = 1000, 8
    lstm = nn.LSTM(4, hidden).to(torch.float64)
    for parameter in (lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0):
        parameter.data.zero_()
    lstm.bias_ih_l0.data[hidden : 2 * hidden] = 8.0
    rnn = nn.RNN(4, hidden).to(torch.float64)

    def first_gradient(layer: Any) -> float:
        x = Tensor(0.1 * torch.randn(steps, 1, 4, dtype=torch.float64), True)
        y, _ = layer(x)
        y[-1].sum().backward()
        assert x.grad.isfinite().all()
        return x.grad[0].abs().max().item()

    gain = torch.sigmoid(torch.tensor(8.0)).item() ** (steps - 1)
    assert gain > 0.7 and first_gradient(lstm) > 1e-3
    assert first_gradient(rnn) < 1e-20


def test_a_thousand_steps_equal_torchs() -> None:
    our, their = pair("LSTM", "cpu")
    compare(our, their, draw(1000, 2, INPUTS))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: layer(torch.zeros(T, N, 4)), r"\(t, n, 5\)"),
        (lambda layer: layer(torch.zeros(T, INPUTS)), "got shape"),
        (
            lambda layer: layer(torch.zeros(T, 2, INPUTS), None, torch.tensor([1, 2, 3])),
            r"expected \(2,\)",
        ),
        (
            lambda layer: layer(torch.zeros(T, 2, INPUTS), None, torch.tensor([0, 7])),
            "between 1 and 6",
        ),
        (
            lambda layer: layer(torch.zeros(T, 2, INPUTS), torch.zeros(1, 2, HIDDEN)),
            rf"state is 2 of shape \(1, 2, {HIDDEN}\)",
        ),
        (lambda layer: layer(torch.zeros(T, 2, INPUTS), None, [1, 7]), "between 1 and 6"),
        (lambda layer: nn.RNN(INPUTS, 3, nonlinearity="sine")(torch.zeros(T, 2, INPUTS)), "tanh"),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(nn.LSTM(INPUTS, HIDDEN))


def test_first_values_are_within_the_published_bound() -> None:
    layer = nn.GRU(30, 100)
    for parameter in layer.parameters():
        assert 0.09 < parameter.data.abs().max() <= 0.1
    assert repr(nn.GRU(3, 4, num_layers=2, batch_first=True)) == repr(
        torch.nn.GRU(3, 4, num_layers=2, batch_first=True)
    )
    assert math.isclose(layer.weight_hh_l0.data.var().item(), 0.01 / 3, rel_tol=0.1)
