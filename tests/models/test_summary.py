"""The summary's numbers against the model's own, torch's counter and what the tape keeps."""

from __future__ import annotations

import math

import pytest
import torch
from roofline import models, nn
from roofline.autograd import Tensor, kept, no_grad
from roofline.models import summary
from torch.utils.flop_counter import FlopCounterMode


def test_every_number_of_a_small_model_by_hand() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.Tanh(), nn.Linear(8, 2, bias=False)))
    rows = {row.name: row for row in summary(model, torch.ones(3, 4)).rows}
    assert [row.kind for row in rows.values()] == [
        "Sequential", "Linear", "Sequential", "Tanh", "Linear",
    ]  # fmt: skip
    assert [row.shape for row in rows.values()] == [(3, 2), (3, 8), (3, 2), (3, 8), (3, 2)]
    assert [row.parameters for row in rows.values()] == [0, 40, 0, 0, 16]
    assert [row.flops for row in rows.values()] == [0, 2 * 3 * 4 * 8, 0, 0, 2 * 3 * 8 * 2]
    # tanh keeps its output; that the last layer keeps it too, as its input, costs nothing more.
    assert [row.kept for row in rows.values()] == [0, 0, 0, 3 * 8 * 4, 0]


def test_sums_are_the_models() -> None:
    for model, x in (
        (models.TwoConvNet(1, 20), torch.randn(2, 1, 20, 20)),
        (models.GPT(11, 8, 16, 2, 2), torch.randint(11, (3, 8))),
        (models.ResNet(1, width=4), torch.randn(2, 3, 8, 8)),
    ):
        found = summary(model, x)
        assert found.parameters == sum(math.prod(p.shape) for p in model.parameters())
        with no_grad(), FlopCounterMode(display=False) as counter:
            model(x)
        assert found.flops == counter.get_total_flops()
        assert found.kept == kept(model(x), besides=[*model.parameters(), x]).total > 0


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    summary(model, torch.randn(5, 4, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.rand(3), expected)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert "forward" not in vars(model[0]) and model.training


def test_a_large_model_costs_nothing_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = models.GPT(50257, 1024, 768, 12, 12)
        found = summary(model, torch.empty(1, 1024, dtype=torch.long))
    assert found.parameters == 124_439_808
    head = {row.name: row for row in found.rows}["head"]
    assert (head.flops, head.parameters) == (2 * 1024 * 768 * 50257, 0)  # its weight is shared
    assert found.kept > 10**8


def test_it_prints_a_table() -> None:
    text = repr(summary(nn.Sequential(nn.Linear(1000, 2000)), torch.ones(1, 1000)))
    assert text.splitlines() == [
        "layer  kind        output shape  parameters      FLOPs  bytes kept",
        "------------------------------------------------------------------",
        "       Sequential  (1, 2000)",
        "0      Linear      (1, 2000)      2,002,000  4,000,000",
        "------------------------------------------------------------------",
        "total                             2,002,000  4,000,000           0",
    ]


def test_layers_that_return_several_values() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: torch.Tensor) -> Tensor:
            return self.attention(x, x, x)[0]

    rows = {row.name: row for row in summary(Model(), torch.randn(2, 3, 4)).rows}
    assert rows["attention"].shape == (2, 3, 4)
    assert rows["attention"].flops == 2 * 2 * 3 * 4 * 12 + 2 * (2 * 2 * 3 * 3 * 4)
    assert rows["attention.out_proj"].flops == 2 * 2 * 3 * 4 * 4


def test_a_shape_in_place_of_an_input_is_named() -> None:
    with pytest.raises(ValueError, match="pass its inputs, such as torch.empty"):
        summary(nn.Linear(3, 2), (1, 3))
