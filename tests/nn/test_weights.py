"""Weights of every layer, to torch's twin and back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nn.test_gradients import BY_NAME, LAYERS
from roofline import nn

STATES: dict[str, Callable[[Any], Any]] = {
    **{name: lambda m, n=name: getattr(m, n)(2, 3, 2) for name in ("RNN", "LSTM", "GRU")},
    **{name: lambda m, n=name: getattr(m, n)(3) for name in ("BatchNorm1d", "BatchNorm2d")},
    "Conv1d": lambda m: m.Conv1d(2, 3, 2),
    "Conv2d": lambda m: m.Conv2d(2, 4, 3, groups=2),
    "Embedding": lambda m: m.Embedding(3, 2),
    "LayerNorm": lambda m: m.LayerNorm((2, 3)),
    "Linear": lambda m: m.Linear(2, 3),
    "MultiheadAttention": lambda m: m.MultiheadAttention(4, 2),
    "RMSNorm": lambda m: m.RMSNorm(3),
    "TransformerDecoder": lambda m: m.TransformerDecoder(m.TransformerDecoderLayer(2, 1, 3), 2),
    "TransformerDecoderLayer": lambda m: m.TransformerDecoderLayer(2, 1, 3),
    "TransformerEncoder": lambda m: m.TransformerEncoder(m.TransformerEncoderLayer(2, 1, 3), 2),
    "TransformerEncoderLayer": lambda m: m.TransformerEncoderLayer(2, 1, 3),
}


@pytest.mark.parametrize("name", STATES)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_weights_move_both_ways(name: str) -> None:
    """Every key, in torch's order, from our layer to torch's and from torch's to ours."""

    def scrambled(layer: Any, seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        for value in layer.state_dict().values():
            value.copy_(10 * torch.rand(value.shape, generator=generator))
        return layer

    for source, target in ((nn, torch.nn), (torch.nn, nn)):
        giver, taker = scrambled(STATES[name](source), 1), scrambled(STATES[name](target), 2)
        taker.load_state_dict(giver.state_dict())
        given, taken = giver.state_dict(), taker.state_dict()
        assert list(given) == list(taken) and given
        assert all(torch.equal(given[key], taken[key]) for key in given)


def test_every_layer_with_weights_that_torch_has_is_among_them() -> None:
    """What is not among them has nothing to move, or no twin."""
    for name in {*LAYERS, *BY_NAME} - set(STATES):
        if hasattr(torch.nn, name):
            parameters = inspect.signature(getattr(nn, name)).parameters.values()
            needed = [2 for parameter in parameters if parameter.default is parameter.empty]
            assert not getattr(torch.nn, name)(*needed).state_dict(), name
