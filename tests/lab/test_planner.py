"""The planner's experiment against every plan tried one by one, and against what it draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline import lab
from roofline.hardware.cost import flops, parameters
from roofline.hardware.planner import (
    Estimate,
    Plan,
    Rejection,
    estimate,
    indivisible,
    misfit,
)
from roofline.lab.controls import Choices
from roofline.lab.planned import NETWORKS, machines

SETTINGS = some.fixed_dictionaries(
    {
        name: some.sampled_from(
            control.kind.options if isinstance(control.kind, Choices) else control.kind.stops()
        )
        for name, control in lab.planner.controls.items()
    }
)


@pytest.mark.parametrize(
    ("network", "device", "devices"),
    [("GPT 1.7B", "RTX 4090", 8), ("GPT 22B", "A100 80GB SXM", 16), ("GPT 1.7B", "TPU v5p", 12)],
)
def test_each_split_is_its_best_plan_or_breaks_as_said(network, device, devices):
    batch = 24
    found = lab.planner.model(network=network, device=device, devices=devices, batch=batch).found
    cluster, shape = machines(device, devices), NETWORKS[network]
    sizes = range(1, devices + 1)
    for tensor, pipeline in ((t, p) for t in sizes for p in sizes if devices % (t * p) == 0):
        data = devices // (tensor * pipeline)
        plans = [
            Plan(data, tensor, pipeline, b, v, z, r)
            for b in (1, 2, 4, 8) for v in (1, 2, 4, 8)
            for z in range(4 if data > 1 else 1) for r in flops.RECOMPUTE
        ]  # fmt: skip
        whole = [plan for plan in plans if not indivisible(shape, cluster, plan, batch)]
        tried = [estimate(shape, cluster, plan, batch) for plan in whole]
        fits = [each.step_seconds for each in tried if not misfit(cluster, each)]
        here = found.shapes[tensor, pipeline]
        if fits:
            assert isinstance(here, Estimate) and here.step_seconds == pytest.approx(min(fits))
        else:
            assert isinstance(here, Rejection)
            kind = "memory" if tried else here.constraint.split(":")[0]
            assert here.constraint.startswith(kind)
            if tried:
                least = min(each.memory_bytes for each in tried)
                assert f"{least / 1e9:.1f} of" in here.constraint


@settings(deadline=None, max_examples=25)
@given(SETTINGS)
def test_the_learner_s_plan_is_broken_by_what_is_said(setting):
    result = lab.planner.model(**setting)
    shape, cluster = NETWORKS[setting["network"]], machines(setting["device"], setting["devices"])
    broken = indivisible(shape, cluster, result.plan, int(setting["batch"]))
    if broken:
        assert result.own is None and result.broken == broken
    else:
        assert result.own is not None
        room = cluster.memory * cluster.usable
        assert bool(result.broken) == (result.own.memory_bytes > room)
        held = [each for each in result.found.best if not result.broken]
        assert all(each.step_seconds <= result.own.step_seconds * (1 + 1e-9) for each in held)
    assert "\n" not in result.broken


@settings(deadline=None, max_examples=10)
@given(SETTINGS)
def test_the_text_says_what_the_picture_says(setting):
    result = lab.planner.model(**setting)
    line = lab.planner.describe(result)
    figure = lab.planner.draw(result)
    bars = figure.axes[2]
    drawn = " ".join(text.get_text() for text in bars.texts)
    for each in result.splits:
        assert f"{each.plan.data}×{each.plan.tensor}×{each.plan.pipeline} b" in drawn
        assert f"{each.step_seconds:.3g} s" in line and f"{100 * each.mfu:.3g}%" in line
    if result.broken:
        assert result.broken in line and result.broken.split(",")[0][:40] in drawn
    else:
        assert "it fits" in line
    assert f"{result.found.tried:,} plans tried, {result.found.feasible:,} fit" in line
    assert "90% of a memory for the program (assumed)" in line


def test_bars_are_as_long_as_the_steps():
    result = lab.planner.model()
    figure = lab.planner.draw(result)
    ends = [
        max(
            collection.get_segments()[place][-1][0] for collection in figure.axes[2].collections[1:]
        )
        for place in range(len(result.splits))
    ]
    assert ends == pytest.approx([each.step_seconds for each in result.splits])


def test_the_map_is_the_mfu_of_each_split():
    result = lab.planner.model()
    (shades,) = lab.planner.draw(result).axes[0].images
    values = shades.get_array()
    best = result.splits[0]
    row, column = best.plan.pipeline.bit_length() - 1, best.plan.tensor.bit_length() - 1
    assert values[row, column] == pytest.approx(100 * best.mfu) == values.max()
    assert bool(values.mask[7, 0]), "96 layers don't divide into 128 stages"


def test_networks_are_the_published_ones():
    # 2104.04473, table 1, which prints one digit more; the others as 2205.05198 names them
    for (name, shape), billions in zip(
        NETWORKS.items(), (1.7, 22, 174.6, 529.6, 1008.0), strict=True
    ):
        assert parameters.parameters(shape) / 1e9 == pytest.approx(billions, rel=0.03), name


def test_more_memory_never_slows_the_best_plan():
    small = lab.planner.model(network="GPT 22B", devices=64)
    cluster = machines("A100 80GB SXM", 64)
    from roofline.hardware.planner import search

    more = search(NETWORKS["GPT 22B"], replace(cluster, memory=2 * cluster.memory), 2048, keep=1)
    assert small.best is not None
    assert more.best[0].step_seconds <= small.best.step_seconds
    assert more.feasible > small.found.feasible


def test_plans_that_do_not_multiply_are_one_line():
    result = lab.planner.model(devices=8, tensor=64, pipeline=128, batch=64)
    assert result.broken.startswith("devices: 1 data × 64 tensor × 128 pipeline is 8,192")
    assert "there are 8" in result.broken
    assert lab.planner.model(devices=1000, tensor=7).broken.startswith("devices: ")
    assert lab.planner.model(batch=1000, tensor=8, pipeline=1).broken.startswith("batch: ")


@pytest.mark.parametrize(
    "setting",
    [
        {"devices": 4097},
        {"devices": 0},
        {"network": "GPT 2T"},
        {"device": "H100"},
        {"batch": 1.5},
        {"tensor": -8},
        {"zero": 4},
        {"recompute": "maybe"},
        {"data": 8},
    ],
)
def test_a_bad_setting_is_one_line(setting):
    with pytest.raises(lab.ControlError) as caught:
        lab.planner.model(**setting)
    assert "\n" not in str(caught.value)


def test_nothing_fits_and_it_says_so():
    result = lab.planner.model(network="GPT 1T", device="RTX 4090", devices=8, batch=16)
    assert result.best is None and result.found.feasible == 0
    assert "none" in lab.planner.describe(result)
    assert lab.planner.question.truth(result) is None
    assert lab.planner.saved(result)["image/png"]
