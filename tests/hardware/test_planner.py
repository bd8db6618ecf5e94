"""The planner against brute force, conservation, and step times that others measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline.hardware.catalogue import devices, find
from roofline.hardware.cost import Transformer, flops, memory, parameters
from roofline.hardware.planner import (
    Cluster,
    Plan,
    cluster,
    estimate,
    indivisible,
    misfit,
    search,
)
from roofline.hardware.planner_step import Step

SMALL = Transformer(8, 256, 8, 1000, 64)
GPT3 = Transformer(96, 12288, 96, 51200, 2048)
EIGHT = Cluster(8, 1e14, 4e8, 1e12, 1e11, 1e10, node=4)


def test_one_device_is_the_sum_of_its_parts() -> None:
    machine = Cluster(1, 1e12, 1e12, 1e15, 1e11, 1e10, efficiency=1)
    result = estimate(SMALL, machine, Plan(micro_batch=2), 4)
    used = {part for part, seconds in result.seconds.items() if seconds}
    assert used == {"computation", "update"}
    exact = flops.step_flops(SMALL, 4) / 1e12
    assert result.step_seconds == pytest.approx(exact, rel=0.01), "memory is nearly free here"
    assert result.mfu == pytest.approx(1, rel=0.01)
    assert result.tokens_per_second == pytest.approx(4 * 64 / result.step_seconds)
    state = memory.training_state(parameters.parameters(SMALL)).total
    layers = SMALL.layers * memory.activations(SMALL, 2)
    ends = memory.end_activations(SMALL, 2) + memory.temporary(SMALL, 2)
    assert result.memory_bytes == pytest.approx(state + layers + ends)


def test_slow_memory_sets_the_pace() -> None:
    machine = Cluster(1, 1e18, 1e12, 1e9, 1e11, 1e10)
    slow, slower = (
        estimate(SMALL, replace(machine, bandwidth=bandwidth), Plan(), 1).step_seconds
        for bandwidth in (1e9, 5e8)
    )
    assert slower == pytest.approx(2 * slow, rel=1e-3)


def every_plan(count: int, batch: int) -> list[Plan]:
    """All plans of the search's space, enumerated without any of its shortcuts."""
    sizes = range(1, count + 1)
    return [
        Plan(d, t, p, b, v, z, r)
        for d in sizes for t in sizes for p in sizes if d * t * p == count
        for b in (1, 2, 4, 8, 16, 32) for v in (1, 2, 4, 8)
        for z in range(4 if d > 1 else 1) for r in flops.RECOMPUTE
    ]  # fmt: skip


@pytest.mark.parametrize("machines", [EIGHT, replace(EIGHT, memory=5e7), replace(EIGHT, count=6)])
def test_search_equals_brute_force(machines: Cluster) -> None:
    batch = 24
    found = search(SMALL, machines, batch, keep=10**6)
    fits = {}
    for plan in every_plan(machines.count, batch):
        if not indivisible(SMALL, machines, plan, batch):
            result = estimate(SMALL, machines, plan, batch)
            if not misfit(machines, result):
                fits[plan] = result.step_seconds
    assert {result.plan: result.step_seconds for result in found.best} == fits
    times = [result.step_seconds for result in found.best]
    assert times == sorted(times)
    assert found.complete and found.feasible == len(fits) > 0


def test_a_rejected_plan_breaks_what_is_said() -> None:
    machines = replace(EIGHT, memory=5e7)
    found = search(SMALL, machines, 24)
    assert len({r.plan for r in found.rejected}) == len(found.rejected) > 10
    assert found.tried == found.feasible + len(found.rejected)
    assert sum(found.constraints.values()) == len(found.rejected)
    assert {"memory", "chunks"} <= set(found.constraints)
    for rejection in found.rejected:
        broken = indivisible(SMALL, machines, rejection.plan, 24)
        if not broken:
            broken = misfit(machines, estimate(SMALL, machines, rejection.plan, 24))
        assert broken == rejection.constraint
        assert "\n" not in broken and len(broken) < 120


def test_nothing_fits() -> None:
    found = search(GPT3, cluster(find("t4"), 8), 8)
    assert found.best == [] and found.feasible == 0
    assert found.constraints["memory"] > 0


@pytest.mark.parametrize("count", [1, 7, 96, 1024, 4096, 131072])
def test_search_is_bounded(count: int) -> None:
    found = search(GPT3, cluster(find("h100 sxm"), count), 12288)
    assert found.tried <= 20_000, "at about 5 µs each"
    assert found.complete
    cut = search(GPT3, cluster(find("h100 sxm"), 1024), 1536, limit=100)
    assert cut.tried == 100 and not cut.complete


def test_a_batch_of_more_sequences_than_a_plan_takes_is_searched() -> None:
    assert search(SMALL, cluster(find("t4"), 1), 2**20).complete


@pytest.mark.parametrize("device", devices(), ids=lambda device: device.name)
def test_every_device_of_the_catalogue_can_be_planned_with(device: Any) -> None:
    found = search(SMALL, cluster(device, 16), 64, keep=1)
    assert found.feasible
    best = found.best[0]
    assert 0 < best.mfu <= cluster(device, 16).efficiency
    assert all(seconds >= 0 for seconds in best.seconds.values())


plans = st.builds(
    Plan,
    st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2]), st.sampled_from([1, 2]), st.integers(0, 3),
    st.sampled_from(flops.RECOMPUTE),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(plans, st.floats(1, 100))
def test_better_machines_are_never_slower(plan: Plan, factor: float) -> None:
    count = plan.data * plan.tensor * plan.pipeline
    machines = replace(EIGHT, count=count)
    if indivisible(SMALL, machines, plan, 64):
        return
    result = estimate(SMALL, machines, plan, 64)
    for name in ("peak", "bandwidth", "inside", "network"):
        better = replace(machines, **{name: getattr(machines, name) * factor})
        assert estimate(SMALL, better, plan, 64).step_seconds <= result.step_seconds * (1 + 1e-9)
    shown = estimate(SMALL, replace(machines, overlap=False), plan, 64)
    assert shown.step_seconds >= result.step_seconds * (1 - 1e-9)
    assert result.mfu <= machines.efficiency
    done = result.seconds["computation"] * count * machines.peak * machines.efficiency
    assert done >= flops.step_flops(SMALL, 64) * (1 - 1e-9), "all work is somebody's"


def test_zero_and_recompute_buy_memory_with_time() -> None:
    machines = cluster(find("a100 80gb"), 64)
    model = Transformer(48, 6144, 48, 51200, 2048)
    stages = [estimate(model, machines, Plan(64, 1, 1, 1, 1, z), 512) for z in range(4)]
    sizes = [result.memory_bytes for result in stages]
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3]
    times = [
        estimate(model, replace(machines, overlap=False), Plan(64, 1, 1, 1, 1, z), 512).step_seconds
        for z in range(4)
    ]
    assert times[1] < times[2] < times[3]
    again = [estimate(model, machines, Plan(8, 8, 1, 1, 1, 1, r), 512) for r in flops.RECOMPUTE]
    assert again[0].memory_bytes > again[1].memory_bytes > again[2].memory_bytes
    assert again[0].step_seconds < again[1].step_seconds < again[2].step_seconds


def test_pipelines() -> None:
    machines = replace(EIGHT, memory=1e12)
    plain = estimate(SMALL, machines, Plan(1, 1, 8), 16)
    assert plain.seconds["pipeline bubble"] == pytest.approx(plain.seconds["computation"] * 7 / 16)
    chunked = estimate(SMALL, replace(machines, count=4), Plan(1, 1, 4, 1, 2), 16)
    straight = estimate(SMALL, replace(machines, count=4), Plan(1, 1, 4), 16)
    ratio = chunked.seconds["pipeline bubble"] / straight.seconds["pipeline bubble"]
    assert ratio == pytest.approx(0.5)
    assert chunked.memory["activations"] == pytest.approx(
        straight.memory["activations"] * (1 + 3 / 8)
    )


def test_tensor_parallel_beyond_a_node_is_slow() -> None:
    machines = replace(EIGHT, latency=0.0)
    near, far = (
        estimate(SMALL, replace(machines, node=node), Plan(1, 8), 8).seconds["tensor parallel"]
        for node in (8, 4)
    )
    assert far == pytest.approx(near * machines.inside / machines.network)


# Korthikanti et al., arXiv 2205.05198, tables 3 and 5: A100 80 GB, selective recompute, sequence
# parallel; layers, hidden, heads, devices, batch, plan, seconds an iteration. Each device's share
# of the network there: 8 × 200 Gb/s a node of 8.
MEASURED = [
    (48, 6144, 64, 8, 4, Plan(1, 8, 1, 4, 1, 0, "selective"), 1.10),
    (96, 12288, 96, 64, 64, Plan(1, 8, 8, 1, 3, 0, "selective"), 13.75),
    (105, 20480, 128, 280, 280, Plan(1, 8, 35, 1, 3, 0, "selective"), 37.83),
    (128, 25600, 160, 512, 512, Plan(1, 8, 64, 1, 1, 0, "selective"), 71.49),
]


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "count", "batch", "plan", "seconds"),
    MEASURED, ids=["22B", "175B", "530B", "1T"],
)  # fmt: skip
def test_a_measured_step_takes_longer_but_not_much(
    layers: int, hidden: int, heads: int, count: int, batch: int, plan: Plan, seconds: float
) -> None:
    model = Transformer(layers, hidden, heads, 51200, 2048)
    machines = cluster(find("a100 80gb"), count, network=25e9)
    result = estimate(model, machines, plan, batch)
    assert 0.8 * seconds < result.step_seconds < seconds
    assert not misfit(machines, result), "it ran"
    without = estimate(model, machines, replace(plan, recompute="none"), batch)
    assert misfit(machines, without), "which is why they recomputed"


IMPOSSIBLE: dict[str, Callable[[], Any]] = {
    "devices: 2 data × 2 tensor × 1 pipeline is 4, there are 8": lambda: estimate(
        SMALL, EIGHT, Plan(2, 2), 8
    ),
    "heads: 8 don't divide over 3": lambda: estimate(SMALL, replace(EIGHT, count=3), Plan(1, 3), 8),
    "key-value heads: 2 don't divide over 4": lambda: estimate(
        Transformer(2, 64, 8, 10, 8, kv_heads=2), replace(EIGHT, count=4), Plan(1, 4), 8
    ),
    "layers: 8 don't divide into 3 stages": lambda: estimate(
        SMALL, replace(EIGHT, count=3), Plan(1, 1, 3), 8
    ),
    "batch: 7 sequences": lambda: estimate(SMALL, EIGHT, Plan(8), 7),
    "chunks: 2 chunks need a pipeline": lambda: estimate(SMALL, EIGHT, Plan(8, chunks=2), 8),
    "chunks: 6 micro-batches aren't a multiple of 4": lambda: estimate(
        SMALL, EIGHT, Plan(2, 1, 4, 1, 2), 12
    ),
    "batch is 0": lambda: search(SMALL, EIGHT, 0),
    "device count is 0": lambda: replace(EIGHT, count=0),
    "device count is 1,000,000": lambda: cluster(find("t4"), 10**6),
    "efficiency is 2": lambda: replace(EIGHT, efficiency=2),
    "ZeRO stage is 4": lambda: Plan(zero=4),
    "tensor is -1": lambda: Plan(tensor=-1),
    "recompute is 'maybe'": lambda: Plan(recompute="maybe"),
    "no peak for 'fp4'": lambda: cluster(find("t4"), 8, dtype="fp4"),
    "latency is nan": lambda: replace(EIGHT, latency=math.nan),
    "device is 't4'; give a Device": lambda: cluster("t4", 8),  # type: ignore[arg-type]
    "model is 'gpt'; give a Transformer": lambda: search("gpt", EIGHT, 8),  # type: ignore[arg-type]
    "plan is (8, 1, 1); give a Plan": lambda: estimate(SMALL, EIGHT, (8, 1, 1), 8),  # type: ignore[arg-type]
    "network is 0": lambda: cluster(find("t4"), 8, network=0),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_the_impossible_is_one_line(what: str) -> None:
    with pytest.raises(ValueError) as caught:
        IMPOSSIBLE[what]()
    message = str(caught.value)
    assert what in message and "\n" not in message and len(message) < 160


def test_the_search_adds_up_what_an_estimate_says() -> None:
    """The quick sums that plans are compared by, against the parts that are shown."""
    machines = replace(EIGHT, memory=1e12)
    step = Step(SMALL, machines, 24)
    for shape in (Plan(8), Plan(2, 2, 2), Plan(1, 1, 8), Plan(4, 2)):
        for micro_batch, chunks in ((1, 1), (3, 1)):
            zeros = range(4 if shape.data > 1 else 1)
            for zero, recompute, seconds, size in step.totals(shape, micro_batch, chunks, zeros):
                plan = replace(shape, micro_batch=micro_batch, zero=zero, recompute=recompute)
                whole = step.estimate(plan)
                assert seconds == pytest.approx(whole.step_seconds, rel=1e-12)
                assert size == pytest.approx(whole.memory_bytes, rel=1e-12)


def test_rejected_plans_are_a_sequence() -> None:
    found = search(SMALL, replace(EIGHT, memory=5e7), 24)
    some = found.rejected[3:6]
    assert [r.plan for r in some] == [found.rejected[k].plan for k in (3, 4, 5)]
    assert found.rejected[-1].constraint and len(list(found.rejected)) == len(found.rejected)
