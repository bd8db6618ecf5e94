"""Checkpoints in k segments: the formula, the tape, PyTorch's own FLOP counter, and what is shown.

Times are not tested. Where a measurement is needed, it is made of whatever this machine gives.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline import lab
from roofline.autograd import Tensor, backward
from roofline.hardware.count import count
from roofline.hardware.recordings import Measurement
from roofline.lab import segments as work
from roofline.lab import style
from roofline.lab.experiments import checkpointing as room
from roofline.lab.measuring import LIVE, Door

RANDOM_STATE = torch.get_rng_state().nbytes
ACTIVATIONS = lab.checkpointing.controls["activation"].kind.options


@settings(deadline=None, max_examples=30)
@given(
    some.integers(1, 12), some.integers(1, 40), some.integers(1, 40),
    some.sampled_from(ACTIVATIONS), some.integers(0, 12),
)  # fmt: skip
def test_the_formula_is_what_the_tape_counts(depth, width, batch, activation, segments):
    segments = min(segments, depth)
    modelled = work.modelled_bytes(depth, width, batch, activation, segments)
    counted = work.measured_bytes(depth, width, batch, activation, segments)
    assert counted == modelled + RANDOM_STATE * segments


@pytest.mark.parametrize("segments", [0, 1, 3])
def test_tensors_without_numbers_count_as_those_with(segments):
    setting = (6, 8, 4, "gelu", segments)
    assert work.measured_bytes(*setting) == work.measured_bytes(*setting, device="cpu")


def test_the_peak_of_a_whole_step_is_that_of_the_formula():
    """What is alive at one time, counted with gradients and all, is less by what is remembered."""
    depth, width, batch = 16, 16, 4096  # numbers that flow are many, weights few
    layers = work.chain(width, depth, "meta")

    def step(segments):
        x = Tensor(torch.empty(batch, width, device="meta"))
        y = work.forward(x, layers, "relu", segments)
        backward(y, torch.empty_like(y.data))

    peaks = {k: count(step, k).peak_bytes for k in (0, 2, 4, 8)}
    for k in (2, 4, 8):
        saved = work.modelled_bytes(depth, width, batch, "relu", 0) - work.modelled_bytes(
            depth, width, batch, "relu", k
        )
        # Two more tensors may live for a moment: a layer's output before and after its activation.
        assert abs(peaks[0] - peaks[k] - saved) <= 2.1 * 4 * batch * width


@pytest.mark.parametrize("depth", [2, 5, 16])
def test_the_extra_work_is_what_the_counter_counts(depth):
    layers = work.chain(8, depth, "cpu")

    def step(segments):
        y = work.forward(Tensor(torch.randn(4, 8)), layers, "relu", segments)
        backward(y, torch.ones_like(y.data))

    ratio = count(step, min(3, depth)).flops / count(step, 0).flops
    assert ratio == pytest.approx(work.modelled_slowdown(depth))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_the_same_with_and_without(activation):
    torch.manual_seed(0)
    layers, x = work.chain(8, 7, "cpu"), torch.randn(5, 8)
    found = {}
    for segments in (0, 1, 3, 7):
        y = work.forward(Tensor(x), layers, activation, segments)
        backward(y, torch.ones_like(y.data))
        found[segments] = [t.grad.clone() for layer in layers for t in layer]
        for layer in layers:
            for tensor in layer:
                tensor.grad = None
    for segments in (1, 3, 7):
        torch.testing.assert_close(found[segments], found[0])


@given(some.integers(1, 99), some.data())
def test_segments_are_as_equal_as_can_be(depth, data):
    segments = data.draw(some.integers(1, depth))
    sizes = work.sizes(depth, segments)
    assert sum(sizes) == depth and len(sizes) == segments and max(sizes) - min(sizes) <= 1


def test_the_square_root_is_best():
    assert lab.checkpointing.model(depth=64).best == 8
    assert lab.checkpointing.model(depth=16).best == 4
    # With gelu the inside of a segment weighs twice its input: more segments, √(2·32) = 8.
    assert lab.checkpointing.model(depth=32, activation="gelu").best == 8


def timed(result, ratio=1.25):
    """``result`` with made-up times, each in turn with 10 ms."""
    times = {
        k: tuple(
            Measurement("test.time", [seconds] * 5, "a made-up machine", "2026-01-02")
            for seconds in (0.010 * (ratio + k / 100), 0.010)
        )
        for k in result.inputs
    }
    counted = {
        k: work.measured_bytes(result.depth, result.width, result.batch, result.activation, k)
        for k in (0, *times)
    }
    return dataclasses.replace(result, times=times, measured=counted)


def test_text_and_picture_have_the_same_numbers():
    result = timed(lab.checkpointing.model(depth=16, segments=2))
    line = lab.checkpointing.describe(result)
    left, right = lab.checkpointing.draw(result).axes
    modelled = next(at for at in left.lines if at.get_color() == style.BLUE)
    assert list(modelled.get_ydata()) == [result.modelled[k] for k in (1, 2, 4, 8, 16)]
    for k in (1, 2, 4, 8, 16):
        assert f"{k} {style.size(result.modelled[k])}" in line
        assert f"{k} {style.size(result.measured[k])}" in line
        assert f"{k} {result.ratio(k):.3g}" in line
    points = [at for at in right.lines if at.get_marker() == "o"]
    assert [at.get_ydata()[0] for at in points] == [result.ratio(k) for k in result.times]
    assert "A step takes 12.7 ms, without checkpoints 10 ms: 1.27 times as long" in line
    assert "measured on a made-up machine, 2026-01-02" in line
    assert lab.checkpointing.question.truth(result) == pytest.approx(1.27)
    assert lab.checkpointing.row(result)["time is"] == "measured on a made-up machine, 2026-01-02"


def test_a_ratio_beyond_the_picture_is_drawn_at_its_edge_as_another_mark():
    result = timed(lab.checkpointing.model(), ratio=9)
    _, right = lab.checkpointing.draw(result).axes
    marks = {at.get_marker() for at in right.lines if len(at.get_xdata()) == 1}
    assert marks == {"^"} and "9.08" in lab.checkpointing.describe(result)


def test_before_measuring_it_says_so():
    result = lab.checkpointing.model()
    assert lab.checkpointing.question.truth(result) is None
    assert "Nothing of it has been measured yet" in lab.checkpointing.describe(result)
    assert lab.checkpointing.row(result)["time is"] == "modelled"


def test_measuring_takes_the_asked_number_first_and_all_of_them_in_turn(monkeypatch):
    monkeypatch.setenv("ROOFLINE_MEASURE", "live")
    asked = []

    def in_turn(functions, seconds):
        asked.append(list(functions))
        return LIVE.measure_in_turn(functions, seconds=0)

    result = lab.checkpointing.model(depth=16, width=64, batch=32, segments=4)
    door = Door(LIVE.measure, in_turn, LIVE.observe)
    steps = list(room.measured(result, door))
    assert [(step.done, step.total) for step in steps] == [(k, 5) for k in range(6)]
    assert [list(step.result.times) for step in steps][1] == [4]
    assert set(steps[-1].result.times) == {1, 2, 4, 8, 16} and not steps[-1].next
    name = "lab_checkpointing.depth=16.width=64.batch=32.relu.segments=4"
    assert asked[0] == [name, f"{name}.without"]
    assert lab.checkpointing.question.truth(steps[1].result) > 0


@pytest.mark.parametrize("setting", [{"depth": 8}, {"segments": 0}, {"batch": 0.5}, {"width": "a"}])
def test_a_bad_setting_is_one_line(setting):
    with pytest.raises(lab.ControlError) as caught:
        lab.checkpointing.model(**setting)
    assert "\n" not in str(caught.value)
