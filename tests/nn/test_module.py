"""What a Module does with its parts: names, state, modes, moves, printing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from devices import DEVICES
from roofline import nn
from roofline.autograd import Tensor, kept, tape


def network(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)),
    )


class Tied(nn.Module):
    def __init__(self) -> None:
        self.embedding = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


def test_names_are_torchs() -> None:
    ours, theirs = network(nn), network(torch.nn)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]
    assert [n for n, _ in ours.named_children()] == [n for n, _ in theirs.named_children()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert len(list(ours.buffers())) == 3 and len(list(ours.modules())) == 10


def test_it_prints_as_torch_does() -> None:
    def big(nn: Any) -> Any:
        return nn.Sequential(
            network(nn),
            nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3), nn.GELU()]),
            nn.Conv1d(4, 6, 3, 2, 1, 2, 2),
            nn.LayerNorm((3, 4)),
            nn.Embedding(3, 4, 1),
            nn.AdaptiveAvgPool2d((1, None)),
            nn.Softmax(1),
        )

    theirs = repr(big(torch.nn))
    theirs = theirs.replace(", dilation=1, ceil_mode=False", "")  # settings that are torch's alone
    theirs = theirs.replace("affine=True, bias=True", "affine=True")
    assert repr(big(nn)) == theirs


def test_a_shared_parameter_counts_once_and_is_saved_under_both_names() -> None:
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["embedding.weight"]
    assert list(model.state_dict()) == ["embedding.weight", "head.weight"]
    model(torch.tensor([1, 2])).sum().backward()
    assert model.head.weight.grad is model.embedding.weight.grad
    moved = model.to(torch.float64)
    assert moved.head.weight is moved.embedding.weight
    assert moved.embedding.weight.grad.dtype == torch.float64
    other = copy.deepcopy(model)
    assert other.head.weight is other.embedding.weight
    assert other.head.weight is not model.head.weight


def test_state_is_loaded_in_place_and_from_any_dtype() -> None:
    ours, theirs = network(nn), network(torch.nn).double()
    before = {name: value.data_ptr() for name, value in ours.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    for name, value in ours.state_dict().items():
        assert value.data_ptr() == before[name] and value.dtype != torch.float64
        torch.testing.assert_close(value, theirs.state_dict()[name].to(value.dtype))


def test_state_that_does_not_fit_is_refused_by_name_and_changes_nothing() -> None:
    model = nn.Linear(4, 3)
    before = model.weight.data.clone()
    state = {"weight": torch.zeros(3, 4)}
    with pytest.raises(ValueError, match="Linear: missing bias"):
        model.load_state_dict(state)
    with pytest.raises(ValueError, match="unexpected gain"):
        model.load_state_dict({**state, "bias": torch.zeros(3), "gain": torch.zeros(3)})
    for strict in (True, False):
        with pytest.raises(ValueError, match=r"weight has shape \(4, 3\), here it is \(3, 4\)"):
            model.load_state_dict({"weight": torch.zeros(4, 3), "bias": torch.zeros(3)}, strict)
    with pytest.raises(ValueError, match="w4 and 5 more"):
        model.load_state_dict({f"w{i}": torch.zeros(1) for i in range(10)})
    assert torch.equal(model.weight.data, before)
    assert model.load_state_dict({**state, "gain": before}, strict=False) == (["bias"], ["gain"])
    assert not model.weight.data.any()


def test_state_that_torch_would_differentiate_is_loaded_as_plain_numbers() -> None:
    model, twin = nn.Linear(3, 2), torch.nn.Linear(3, 2)
    model.load_state_dict(dict(twin.named_parameters()))
    assert torch.equal(model.weight.data, twin.weight) and not model.weight.data.requires_grad


def test_a_parameter_made_of_torchs_is_plain_numbers_too() -> None:
    theirs = torch.nn.Linear(3, 2).weight
    ours = nn.Parameter(theirs)
    assert not ours.data.requires_grad and ours.data.data_ptr() == theirs.data_ptr()


def test_train_and_eval_reach_every_layer() -> None:
    model = nn.Sequential(nn.Sequential(nn.Dropout(0.5)), nn.BatchNorm1d(3))
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("device", DEVICES)
def test_to_moves_floats_and_leaves_counts(device: str) -> None:
    model = network(nn)
    assert model.to(device, torch.bfloat16) is model
    assert model.to(device=device).to(dtype=torch.bfloat16) is model
    for name, value in model.state_dict().items():
        expected = torch.int64 if name.endswith("tracked") else torch.bfloat16
        assert value.dtype == expected and value.device.type == device
    with pytest.raises(ValueError, match="floating point"):
        model.to(torch.int64)


def test_a_model_can_be_built_where_nothing_is_computed() -> None:
    with torch.device("meta"):
        model = network(nn)
        assert model(torch.empty(2, 1, 4, 4)).shape == (2, 3)
    assert all(parameter.device.type == "meta" for parameter in model.parameters())


def test_frozen_parameters_get_no_gradient() -> None:
    model = network(nn)
    list(model.children())[0].requires_grad_(False)
    model(torch.randn(2, 1, 4, 4)).sum().backward()
    assert [p.grad is None for p in model.parameters()] == [True] + [False] * 6
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(True)
    model(torch.randn(2, 1, 4, 4)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_apply_reaches_children_first() -> None:
    seen: list[str] = []
    network(nn).apply(lambda module: seen.append(type(module).__name__))
    assert seen[-2:] == ["Sequential", "Sequential"] and len(seen) == 10


def test_containers_are_lists() -> None:
    layers = [nn.Linear(2, 2), nn.ReLU()]
    for container in (nn.Sequential(*layers), nn.ModuleList(layers)):
        container.append(nn.Tanh())
        assert len(container) == 3 and container[0] is layers[0] and list(container)[1] is layers[1]
        assert isinstance(container[-1], nn.Tanh)
    with pytest.raises(TypeError, match="expected a Module, got builtin"):
        nn.Sequential(len)


def test_every_operation_knows_its_layer() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            self.blocks = nn.ModuleList([nn.Linear(3, 3) for _ in range(2)])
            self.head = nn.Sequential(nn.ReLU(), nn.Linear(3, 2))

        def forward(self, x: torch.Tensor) -> Tensor:
            for block in self.blocks:
                x = block(x)
            return self.head(x * 2)

    model = Model()
    for _ in range(2):
        layers = [node.layer for node in tape(model(torch.ones(1, 3)).exp()) if node.parents]
        assert layers == ["blocks.0", "blocks.1", "Model", "head.0", "head.1", ""]
    model.head[1](torch.ones(1, 3))  # a layer that has a place keeps its name when called alone
    assert model.head[1]._path == "Linear"
    model.name_layers()
    assert model.head[1]._path == "head.1"


def test_what_is_kept_is_told_by_the_same_names() -> None:
    model = network(nn)
    report = kept(model(torch.randn(2, 1, 4, 4)).sum(), besides=model.parameters())
    names = {name for name, _ in model.named_modules()}
    assert set(report.by_layer) <= names and {"1", "4.1"} <= set(report.by_layer)
    assert sum(report.by_layer.values()) == report.total
