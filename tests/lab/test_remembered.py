"""Bytes that training remembers: the formula and the tape agree, everywhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline import lab
from roofline.lab.experiments import remembered

CONTROLS = lab.remembered.controls
BATCH, WIDTH, DEPTH = (
    some.integers(int(CONTROLS[name].kind.low), int(CONTROLS[name].kind.high))
    for name in ("batch", "width", "depth")
)
ACTIVATION = some.sampled_from(CONTROLS["activation"].kind.options)


@settings(deadline=None, max_examples=60)
@given(BATCH, WIDTH, DEPTH, ACTIVATION)
def test_the_formula_is_what_the_tape_counts(batch, width, depth, activation):
    modelled = remembered.modelled_bytes(batch, width, depth, activation)
    assert modelled == remembered.measured_bytes(batch, width, depth, activation)


@pytest.mark.parametrize("activation", CONTROLS["activation"].kind.options)
@pytest.mark.parametrize(("batch", "width", "depth"), [(1, 16, 1), (7, 33, 3), (64, 128, 8)])
def test_tensors_without_numbers_count_as_those_with(batch, width, depth, activation):
    counted = remembered.measured_bytes(batch, width, depth, activation)
    assert counted == remembered.measured_bytes(batch, width, depth, activation, device="cpu")


def test_by_hand():
    # 2 images, 784 -> 16 -> 10: the inputs of both layers, 784 and 16 numbers for each image.
    assert remembered.modelled_bytes(2, 16, 1, "relu") == 2 * 4 * (784 + 16)
    # where the activation's input was positive, 1 byte each; its slope, 4 bytes each
    assert remembered.modelled_bytes(2, 16, 1, "leaky_relu") == 2 * (4 * (784 + 16) + 16)
    assert remembered.modelled_bytes(2, 16, 1, "silu") == 2 * (4 * (784 + 16) + 4 * 16)


@given(WIDTH, DEPTH)
@settings(deadline=None, max_examples=20)
def test_parameters_are_torch_s(width, depth):
    sizes = [784] + [width] * depth + [10]
    with torch.device("meta"):
        layers = [torch.nn.Linear(n, m) for n, m in zip(sizes, sizes[1:], strict=False)]
    expected = sum(p.numel() for layer in layers for p in layer.parameters())
    assert remembered.parameter_count(width, depth) == expected


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", lambda weights: torch.optim.SGD(weights, lr=0.1)),
        ("momentum", lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9)),
        ("adam", lambda weights: torch.optim.Adam(weights, lr=0.1)),
    ],
)
def test_state_bytes_are_those_of_torch_s_optimizers(name, make):
    weight = torch.nn.Parameter(torch.ones(30, 20))
    optimizer = make([weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    state = [t for s in optimizer.state.values() for t in s.values() if torch.is_tensor(t)]
    held = sum(t.nbytes for t in state if t.shape == weight.shape)
    assert remembered.STATE[name] * weight.numel() == held


def test_a_result_says_the_same_at_the_setting_and_along_each_control():
    result = lab.remembered.model(batch=100, width=48, depth=3, activation="gelu")
    for name, sweep in result.sweeps.items():
        modelled = dict(zip(sweep.values, sweep.modelled, strict=True))
        assert {n: modelled.get(n, result.modelled) for n in sweep.measured} == sweep.measured
        assert sweep.measured[getattr(result, name)] == result.measured == result.modelled
        assert list(sweep.modelled) == sorted(sweep.modelled)


def test_twice_the_batch_is_twice_the_bytes_and_no_more_weights():
    one, two = lab.remembered.model(batch=64), lab.remembered.model(batch=128)
    assert two.measured == 2 * one.measured
    assert one.beside == two.beside


@pytest.mark.parametrize("setting", [{"batch": 0}, {"width": -3}, {"depth": 99}, {"depth": "x"}])
def test_a_bad_setting_is_one_line(setting):
    with pytest.raises(lab.ControlError) as caught:
        lab.remembered.model(**setting)
    assert "\n" not in str(caught.value)
