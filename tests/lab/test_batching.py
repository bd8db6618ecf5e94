"""Why batch: the model against arithmetic by hand and the roofline, and what is shown."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline import lab
from roofline.hardware.cost import rates
from roofline.hardware.count import count
from roofline.hardware.recordings import Measurement, duration
from roofline.lab.experiments import batching as room
from roofline.lab.measuring import LIVE, RECORDED, Door

MACHINE = room.Speed(100e9, 10e9, 1e-5, 4, "measured on a made-up machine")


def test_by_hand():
    # 1000 wide, one input: 2 MFLOP in 20 µs; 4.008 MB in 400.8 µs; the launch 10 µs.
    assert room.modelled_seconds(1, 1000, 3, MACHINE) == pytest.approx(3 * (400.8e-6 + 10e-6))
    # 100 inputs: 200 MFLOP in 2 ms; 4.8 MB in 0.48 ms.
    assert room.modelled_seconds(100, 1000, 1, MACHINE) == pytest.approx(2e-3 + 10e-6)


@settings(deadline=None)
@given(some.integers(1, 512), some.sampled_from([256, 512, 2048]))
def test_without_launches_it_is_the_roofline(batch, width):
    speed = dataclasses.replace(MACHINE, overhead=0.0)
    intensity = rates.matmul_intensity(batch, width, width, 4)
    expected = 2 * batch * width**2 / rates.roofline(intensity, speed.peak, speed.bandwidth)
    assert room.modelled_seconds(batch, width, 1, speed) == pytest.approx(expected)


@given(some.sampled_from([256, 1024, 2048]), some.floats(1e9, 1e15), some.floats(1e8, 1e13))
def test_at_the_ridge_the_intensity_is_the_ridge_point(width, peak, bandwidth):
    speed = room.Speed(peak, bandwidth, 0.0, 2, "")
    ridge = room.modelled_ridge(width, speed)
    if ridge == math.inf:
        # Even a batch without end has no more FLOPs a byte than this.
        assert 2 * width**2 / (2 * 2 * width) <= rates.ridge_point(peak, bandwidth) * (1 + 1e-9)
    else:
        moved = 2 * (width**2 + 2 * ridge * width)
        assert 2 * ridge * width**2 / moved == pytest.approx(peak / bandwidth)


def test_what_is_timed_is_what_is_modelled():
    counts = count(room.forward(8, 256, 4))
    assert counts.flops == 4 * 2 * 8 * 256**2
    # The first call makes the weights; the second moves weights, inputs and results.
    run = room.forward(8, 256, 4)
    run()
    assert count(run).bytes_moved == 4 * 4 * (256**2 + 2 * 8 * 256)


def timed(result, flat=0.002, slope=0.0001):
    """``result`` with made-up times: flat, then growing."""
    times = {
        b: Measurement("x", [max(flat, slope * b)] * 5, "a made-up machine", "2026-01-02")
        for b in room.ORDER
    }
    return dataclasses.replace(result, measured=times)


def test_the_ridge_is_found_where_it_is():
    result = timed(lab.batching.model())
    assert result.found == pytest.approx(20)
    assert lab.batching.question.truth(result) == result.found
    assert lab.batching.question.truth(lab.batching.model()) is None


def test_a_modelled_machine_s_ridge_would_be_found():
    """Where launches take nothing, measuring what is modelled finds what is modelled."""
    speed = dataclasses.replace(MACHINE, overhead=0.0)
    result = room._modelled(2048, 4, room.THIS, speed)
    times = {
        b: Measurement("x", [room.modelled_seconds(b, 2048, 4, speed)], "m", "d")
        for b in room.BATCHES
    }
    found = dataclasses.replace(result, measured=times).found
    assert found == pytest.approx(result.ridge, rel=0.05)


def test_text_and_picture_have_the_same_numbers():
    result = timed(lab.batching.model(width=1024))
    left, right = lab.batching.draw(result).axes
    line = lab.batching.describe(result)
    for axis, of in ((left, lambda b, t: t), (right, lambda b, t: b / t)):
        modelled, measured = axis.lines[-2:]
        assert [10**y for y in modelled.get_ydata()] == pytest.approx(
            [of(b, result.modelled[b]) for b in room.BATCHES]
        )
        assert [10**y for y in measured.get_ydata()] == pytest.approx(
            [of(b, result.measured[b].median) for b in room.BATCHES]
        )
    for b in (1, 16, 256):
        assert f"batch {b} {duration(result.modelled[b])}" in line
    for b in room.BATCHES:
        assert f"batch {b} {duration(result.measured[b].median)}" in line
    assert "Ridge found: 20 inputs (measured)" in line
    assert "measured on a made-up machine, 2026-01-02" in line and result.speed.label in line


@pytest.mark.parametrize("device", room.DEVICES)
def test_a_device_of_the_catalogue_is_modelled_and_says_so(device, monkeypatch):
    monkeypatch.setenv("ROOFLINE_MEASURE", "live")
    result = lab.batching.model(device=device)
    (step,) = room.measured(result, LIVE)
    assert step.result == result and step.total == 0
    line = lab.batching.describe(result)
    assert "Nothing of it was measured here" in line and "as printed" in line
    assert 20 < result.ridge < 1000


def test_measuring_goes_from_the_ends_inwards(monkeypatch):
    monkeypatch.setenv("ROOFLINE_MEASURE", "live")
    asked = []

    def quickly(name, function, **options):
        asked.append(name)
        return LIVE.measure(name, function, **{**options, "seconds": 0.0})

    door = Door(quickly, LIVE.measure_in_turn, RECORDED.observe)
    result = lab.batching.model(width=256, layers=1)
    steps = list(room.measured(result, door))
    assert asked[:2] == [f"lab_batching.width=256.layers=1.batch={b}" for b in (1, 256)]
    assert steps[0].result.measured == {} and steps[0].done == 0
    assert [step.done for step in steps] == list(range(10))
    assert set(steps[-1].result.measured) == set(room.BATCHES)
    assert steps[1].result.found is None and steps[2].result.found > 0


@pytest.mark.parametrize("setting", [{"width": 100}, {"layers": 0}, {"device": "abacus"}])
def test_a_bad_setting_is_one_line(setting):
    with pytest.raises(lab.ControlError) as caught:
        lab.batching.model(**setting)
    assert "\n" not in str(caught.value)
