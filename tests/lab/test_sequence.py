"""One long sequence: FLOPs against torch's counter, chains against the count, times by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline import lab
from roofline.hardware.count import count
from roofline.hardware.depth import critical_path
from roofline.hardware.recordings import Measurement, duration
from roofline.lab import chains
from roofline.lab.experiments import sequence as room
from roofline.lab.here import Here
from torch.utils.flop_counter import FlopCounterMode

KINDS = some.sampled_from(chains.KINDS)
LENGTH, WIDTH = some.integers(16, 200), some.integers(2, 48)
KERNEL = some.sampled_from([3, 5, 7, 9])
WALK = some.sampled_from([chains.FORWARD, chains.TRAINING])
MACHINE = Here(1e11, ((1 << 16, 1e10),), 1e-5, "measured on a made-up machine")


def twin(kind: str, length: int, width: int, kernel: int) -> int:
    """Forward FLOPs of the same layer in torch, counted by torch."""
    w = width
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        if kind == "recurrent":
            x, inwards, again = torch.zeros(length, w), torch.zeros(w, w), torch.zeros(w, w)
            h, first = torch.zeros(1, w), x @ inwards
            for t in range(length):
                h = torch.tanh(first[t] + h @ again)
        elif kind == "attention":
            q, k, v = (torch.zeros(length, w) @ torch.zeros(w, 3 * w)).chunk(3, -1)
            (q @ k.t()).softmax(-1) @ v @ torch.zeros(w, w)
        else:
            x = torch.zeros(1, w, length)
            reach = 1
            while reach < length:
                x = torch.nn.functional.conv1d(
                    x, torch.zeros(w, w, kernel), padding=reach * (kernel // 2), dilation=reach
                ).relu()
                reach *= kernel
    return counter.get_total_flops()


@settings(deadline=None, max_examples=30)
@given(KINDS, LENGTH, WIDTH, KERNEL)
def test_flops_are_those_that_torch_and_we_count(kind, length, width, kernel):
    modelled = chains.forward_flops(kind, length, width, kernel)
    assert modelled == twin(kind, length, width, kernel)
    once = chains.computation(kind, length, width, kernel, chains.FORWARD, "cpu")
    assert count(once).flops == modelled


@settings(deadline=None, max_examples=40)
@given(KINDS, LENGTH, KERNEL, WALK)
def test_chains_are_as_modelled(kind, length, kernel, walk):
    modelled = chains.modelled_depth(kind, length, kernel, walk)
    assert modelled == chains.counted_depth(kind, length, kernel, walk)


@pytest.mark.parametrize("kind", chains.KINDS)
@pytest.mark.parametrize("walk", [chains.FORWARD, chains.TRAINING])
def test_the_longest_sequence_and_another_width_too(kind, walk):
    modelled = chains.modelled_depth(kind, 512, 3, walk)
    once = chains.computation(kind, 512, 17, 3, walk, "cpu")
    once()
    assert critical_path(once).depth == modelled


@given(some.integers(16, 1024), some.integers(16, 128), KERNEL)
def test_widths_make_flops_equal(length, width, kernel):
    wanted = chains.forward_flops("attention", length, width, kernel)
    for kind in chains.KINDS:
        wide = chains.equal_width(kind, length, width, kernel)
        got = chains.forward_flops(kind, length, wide, kernel)
        # to the nearest width: half of one step
        assert abs(got - wanted) <= wanted * (1 / wide + 1 / wide**2)


@given(some.integers(2, 5000), KERNEL)
def test_the_last_convolution_reaches_every_token(length, kernel):
    layers = chains.layers_of(length, kernel)
    reach = 1 + sum((kernel - 1) * kernel**layer for layer in range(layers))
    assert reach >= length
    assert layers == 1 or reach - (kernel - 1) * kernel ** (layers - 1) < length


def test_every_output_of_attention_and_the_last_state_depend_on_every_token():
    torch.manual_seed(0)
    for kind in chains.KINDS:
        run = chains.computation(kind, 27, 4, 3, chains.FORWARD, "cpu")
        run()
    # three convolutions of 3 reach 27 tokens: the middle one sees the first and the last
    weights = [torch.ones(1, 1, 3)] * chains.layers_of(27, 3)
    seen = torch.zeros(27)
    for token in range(27):
        x = torch.zeros(1, 1, 27)
        x[0, 0, token] = 1
        for layer, weight in enumerate(weights):
            x = torch.nn.functional.conv1d(x, weight, padding=3**layer, dilation=3**layer)
        seen[token] = x[0, 0, 13]
    assert (seen > 0).all()


def test_no_schedule_is_faster_than_the_floor():
    # 1 MFLOP at 100 GFLOP/s in 10 µs; three launches of 10 µs
    assert chains.floor_seconds(1e6, 3, MACHINE) == pytest.approx(3e-5)
    assert chains.floor_seconds(1e9, 3, MACHINE) == pytest.approx(1e-2)


def timed(result):
    """With made-up times, each twice its floor."""
    result = room.on(result, MACHINE)
    times = {
        (kind, n): Measurement(
            "x.y", [2 * result.floor[kind][result.lengths.index(n)]], "a made-up one", "2026-01-02"
        )
        for kind in chains.KINDS
        for n in room.measured_lengths(result.length)
    }
    counted = {
        (kind, n): result.depth[kind][result.lengths.index(n)]
        for kind in chains.KINDS
        for n in room.measured_lengths(result.length)
    }
    return dataclasses.replace(result, times=times, counted=counted)


def test_a_trial_without_times_says_of_which_machine_the_model_is():
    result = room.on(lab.sequence.model(), MACHINE)
    assert lab.sequence.row(result)["of"] == MACHINE.label


def test_the_text_says_the_numbers_of_the_picture():
    result = timed(lab.sequence.model(length=128, kernel="5"))
    line = lab.sequence.describe(result)
    figure = lab.sequence.draw(result)
    kernels, clock = figure.axes
    for place, kind in enumerate(chains.KINDS):
        drawn = dict(zip(*kernels.lines[1 + 2 * place].get_data(), strict=True))
        assert 10 ** drawn[7.0] == pytest.approx(result.modelled(kind)[0])
        points = dict(zip(*clock.lines[2 + 2 * place].get_data(), strict=True))
        seconds = result.times[kind, 128].median
        assert 10 ** points[7.0] == pytest.approx(seconds)
        assert duration(seconds) in line
        assert f"a chain of {result.counted[kind, 128]:,} measured" in line
    assert "measured on a made-up one, 2026-01-02" in line
    assert "The model's figures: measured on a made-up machine" in line
    assert lab.sequence.row(result)["of"] == "measured on a made-up one, 2026-01-02"


def test_recurrent_chains_grow_with_the_sequence_and_others_do_not():
    short, long = (lab.sequence.model(length=n) for n in (64, 512))
    assert long.modelled("recurrent")[0] > 7 * short.modelled("recurrent")[0]
    assert long.modelled("attention")[0] == short.modelled("attention")[0]
    assert long.modelled("convolution")[0] <= 1.5 * short.modelled("convolution")[0]
    assert math.isclose(long.flops["recurrent"], long.flops["attention"], rel_tol=0.02)


def test_chains_are_counted_soon_where_that_is_quick():
    truth = lab.sequence.question.truth
    soon, late = lab.sequence.model(length=32), lab.sequence.model(length=512)
    assert truth(soon) == soon.counted["recurrent", 32] / soon.counted["attention", 32]
    assert truth(late) is None
    longest = [late.modelled(kind)[0] for kind in ("recurrent", "attention")]
    assert truth(timed(late)) == longest[0] / longest[1] > 100


@pytest.mark.parametrize("walk", [chains.FORWARD, chains.TRAINING])
def test_a_step_is_a_product_and_what_follows_it(walk):
    # a product and a tanh, a convolution and a relu; going back takes at least as many again
    least = 2 if walk == chains.FORWARD else 4
    assert least <= chains.growth("recurrent", 3, walk)[1] <= 4 * least
    assert least <= chains.growth("convolution", 3, walk)[1] <= 4 * least
    assert chains.growth("attention", 3, walk)[1] == 0
    assert 5 <= chains.growth("attention", 3, chains.FORWARD)[0] <= 8


def test_nothing_is_called_measured_before_it_is():
    line = lab.sequence.describe(lab.sequence.model())
    assert "No time has been measured yet" in line and " ms measured" not in line


@pytest.mark.parametrize(
    "setting", [{"length": 8}, {"width": 0}, {"kernel": "4"}, {"walk": "sideways"}, {"length": 2.5}]
)
def test_a_bad_setting_is_one_line(setting):
    with pytest.raises(lab.ControlError) as caught:
        lab.sequence.model(**setting)
    assert "\n" not in str(caught.value)
