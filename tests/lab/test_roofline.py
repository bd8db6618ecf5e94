"""The roofline: what an operation asks for, where that stands, and what is shown of it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from roofline import lab
from roofline.hardware import catalogue
from roofline.hardware.count import count
from roofline.hardware.recordings import Measurement
from roofline.lab import operations
from roofline.lab.experiments import roofline as room
from roofline.lab.here import Here
from roofline.lab.measuring import LIVE, RECORDED, Door

SEVERAL_WAYS = ("attention", "LSTM", "max pooling")
"""Whose kernels depend on the device."""


@pytest.mark.parametrize(
    ("name", "work", "moved"),
    [
        # b rows of n: 2bn² FLOPs; the matrix, the rows, the results.
        ("linear", 2 * 8 * 64**2, 4 * (64**2 + 2 * 8 * 64)),
        ("linear and back", 3 * 2 * 8 * 64**2, 3 * 4 * (64**2 + 2 * 8 * 64)),
        ("add", 8 * 64, 4 * 3 * 8 * 64),
        ("relu", 8 * 64, 4 * 2 * 8 * 64),
        # 16 channels to 16, 3×3, on 4×4 pixels with a border.
        ("convolution", 2 * 9 * 16 * 16 * 8 * 16, 4 * (9 * 16 * 16 + 2 * 16 * 8 * 16)),
    ],
)
def test_by_hand(name, work, moved):
    asked = operations.asked(name, 64, 8)
    assert (asked.work, asked.moved) == (work, moved)
    assert asked.intensity == work / moved


@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_counted_without_numbers_as_with(name):
    here, there = (operations.asked(name, 64, 4, device) for device in ("meta", "cpu"))
    if name in SEVERAL_WAYS:
        assert here.work == pytest.approx(there.work, rel=0.02)
        assert here.moved == pytest.approx(there.moved, rel=0.3)
    else:
        assert here == there


@pytest.mark.parametrize("name", operations.OPERATIONS)
def test_what_is_timed_is_what_is_counted(name, monkeypatch):
    """The call behind the door has the width and the batch of the controls, not the other way."""
    monkeypatch.setenv("ROOFLINE_MEASURE", "live")
    called = []

    def look(where, function, **_):
        function()
        called.append(count(function).flops)
        return Measurement(where, [1e-3], "a machine", "2026-01-02")

    result = lab.roofline.model(operation=name, width=128, batch=2)
    steps = list(room.measured(result, Door(look, LIVE.measure_in_turn, RECORDED.observe)))
    flops = count(operations.OPERATIONS[name].build(2, 128, torch.device("cpu"))).flops
    assert called == [flops] and steps[-1].result.time is not None and not steps[-1].next


def test_places_by_hand():
    here = Here(100e9, ((1000, 50e9), (10**9, 10e9)), 1e-6, "measured on a made-up machine")
    asked = operations.Asked(work=4_000_000, moved=1_000_000, kernels=1)
    time = Measurement("x", [2e-4], "a made-up machine", "2026-01-02")
    placed = room.Placed("linear", 64, 8, "T4", asked, here, time)
    assert placed.roof == 40e9  # 4 FLOPs a byte, below the ridge at 10
    assert placed.reached == pytest.approx(20e9)
    assert placed.there == 8  # 16 bits: half the bytes
    assert placed.other_roof == 8 * catalogue.find("T4").bandwidth.value
    high = dataclasses.replace(placed, asked=operations.Asked(4_000_000, 1000, 1))
    assert high.roof == 100e9 and high.other_roof == catalogue.find("T4").peak().value
    assert "0.5 times that roof" in lab.roofline.describe(placed)
    assert "memory limits it to 40 GFLOP/s" in lab.roofline.describe(placed)
    assert "arithmetic limits it to 100 GFLOP/s" in lab.roofline.describe(high)


def test_an_operation_that_mostly_waits_stays_in_the_picture():
    # Of 64 numbers in 200 µs: several launches on a slow or busy machine.
    result = lab.roofline.model(operation="cross-entropy", width=64, batch=1)
    slow = Measurement("x", [2e-4], "a made-up machine", "2026-01-02")
    axis = lab.roofline.draw(dataclasses.replace(result, time=slow)).axes[0]
    (dot,) = [at for at in axis.lines if at.get_marker() == "o"]
    assert axis.get_ylim()[0] < dot.get_ydata()[0]


def test_text_and_picture_have_the_same_numbers():
    result = lab.roofline.measured(lab.roofline.model(operation="gelu"), RECORDED)
    axis = lab.roofline.draw(result).axes[0]
    diamonds = [at for at in axis.lines if at.get_marker() == "D"]
    (dot,) = [at for at in axis.lines if at.get_marker() == "o"]
    places = [(2 ** at.get_xdata()[0], 10 ** at.get_ydata()[0]) for at in diamonds]
    assert places[0] == pytest.approx((result.asked.intensity, result.roof))
    assert places[1] == pytest.approx((result.there, result.other_roof))
    assert 10 ** dot.get_ydata()[0] == pytest.approx(result.reached)
    line = lab.roofline.describe(result)
    for value in (result.roof, result.reached, result.other_roof):
        assert lab.style.amount(value, "FLOP/s") in line
    assert f"{result.asked.intensity:.3g} FLOPs a byte" in line
    assert result.time.label in line and result.here.label in line
    # The rest of the catalogue: one roof for each device, which bends at its ridge.
    (roofs,) = [c for c in axis.collections if len(c.get_segments()) == len(catalogue.devices())]
    for device, corners in zip(catalogue.devices(), roofs.get_segments(), strict=True):
        ridge = device.peak().value / device.bandwidth.value
        assert 2 ** corners[1][0] == pytest.approx(ridge)
        assert 10 ** corners[1][1] == pytest.approx(device.peak().value)


def test_a_disputed_figure_is_shown_as_a_range():
    name = next(d.name for d in catalogue.devices() if d.peak().disputed or d.bandwidth.disputed)
    assert " to " in lab.roofline.describe(lab.roofline.model(compare=name)).split("printed")[0]


def test_every_operation_stands_within_the_picture_at_every_stop():
    for name in operations.OPERATIONS:
        for width, batch in ((64, 1), (1024, 256)):
            intensity = operations.asked(name, width, batch).intensity
            assert room.LEAST < intensity and 2 * intensity < room.MOST, name


def test_this_machine_is_measured_once_and_then_known(monkeypatch):
    from roofline.lab import here

    monkeypatch.setenv("ROOFLINE_MEASURE", "live")
    monkeypatch.setattr(here, "_measured", {})
    monkeypatch.setattr(here, "load_profile", lambda device: None)
    monkeypatch.setattr(here, "SECONDS", 0.01)
    *words, machine = here.measured(LIVE)
    assert [type(each) for each in words] == [str, str]
    assert machine.peak > 0 and machine.memory > 0 and "measured on" in machine.label
    assert list(here.measured(LIVE)) == [machine]


def test_bandwidth_within_and_between_working_sets():
    here = Here(1e9, ((100, 8e9), (400, 2e9)), 0.0, "")
    assert here.rate(1) == here.rate(100) == here.cache == 8e9
    assert here.rate(200) == pytest.approx(4e9)
    assert here.rate(400) == pytest.approx(2e9) and here.rate(10**12) == here.memory == 2e9


@pytest.mark.parametrize(
    "setting", [{"operation": "sort"}, {"compare": "GTX 480"}, {"width": 7}, {"batch": math.inf}]
)
def test_a_bad_setting_is_one_line(setting):
    with pytest.raises(lab.ControlError) as caught:
        lab.roofline.model(**setting)
    assert "\n" not in str(caught.value)
