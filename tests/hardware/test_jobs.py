"""What a job asks of devices: against sums by hand, ceilings, and rates that others measured."""

from __future__ import annotations

import math
from typing import Any

import pytest
from roofline.hardware.catalogue import devices, find
from roofline.hardware.choice import candidate
from roofline.hardware.cost import Transformer, memory, parameters
from roofline.hardware.jobs import RANK, TASKS, Job, demand, usable

LLAMA: dict[str, Any] = {
    "gated": True, "tied": False, "positions": "rotary", "bias": False, "norm": "rms"
}  # fmt: skip
SEVEN = Transformer(32, 4096, 32, 32000, 2048, 11008, **LLAMA)
SIXTY_FIVE = Transformer(80, 8192, 64, 32000, 2048, 22016, **LLAMA)


def test_training_keeps_sixteen_bytes_a_parameter_shared_out():
    one = demand(Job("train", SEVEN, 1e9), find("h200"), 1).memory
    state = sum(one[part] for part in ("weights", "gradients", "optimizer"))
    assert state == 16 * parameters.parameters(SEVEN)
    shared = demand(Job("train", SEVEN, 1e9), find("h200"), 8).memory
    assert sum(shared[part] for part in ("weights", "gradients", "optimizer")) == state / 8


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_adapters_stand_beside_frozen_weights(bits: float):
    found = demand(Job("fine-tune", SEVEN, 1e9, 2, bits), find("h200"), 1).memory
    assert found["weights"] == parameters.parameters(SEVEN) * bits / 8
    # two thin matrices beside each of query, key, value and output
    adapters = 32 * 4 * RANK * (4096 + 4096)
    assert found["adapters"] == 16 * adapters < 0.05 * found["weights"] * 16 / bits
    twice = demand(Job("fine-tune", SEVEN, 1e9, 4, bits), find("h200"), 1).memory
    assert twice["activations"] == 2 * found["activations"]


def test_adapters_cost_a_third_less_than_all_weights():
    # The gradient of the weights is one of three products; attention's own are all there. The
    # batch is large, so that the update of all weights weighs little.
    whole, thin = (
        demand(Job(task, SEVEN, 1e9, 64), find("a100 80gb"), 1) for task in ("train", "fine-tune")
    )
    assert 0.6 < thin.fastest / whole.fastest < 0.75


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("device", devices(), ids=lambda device: device.name)
def test_no_device_writes_faster_than_it_reads(device: Any, count: int):
    job = Job("infer", SEVEN, 1e6, 4, 8)
    found = demand(job, device, count)
    cache = memory.kv_cache(32, 32, 128, 2048)
    read = parameters.parameters(SEVEN) + 4 * cache
    ceiling = count * 4 * device.bandwidth.bounds[1] / read
    assert 0 < 1e6 / found.slowest <= 1e6 / found.fastest <= ceiling * (1 + 1e-9)


def test_the_fewest_devices_that_hold_a_model_share_it():
    job = Job("infer", SIXTY_FIVE, 1e6)
    for name, count, group in (
        ("mi300x", 8, 1),
        ("h200", 8, 2),
        ("a100 80gb", 8, 2),
        ("rtx 4090", 8, 8),
    ):
        found = demand(job, find(name), count)
        assert found.group == group
        assert (found.memory_bytes <= usable(find(name))) is True
    too_few = demand(job, find("rtx 4090"), 4)
    assert too_few.group == 4 and too_few.memory_bytes > usable(find("rtx 4090"))


@pytest.mark.parametrize("task", TASKS)
def test_twice_the_devices_are_faster_and_need_no_more(task: str):
    job = Job(task, SEVEN, 1e9)
    times, sizes = [], []
    for count in (1, 2, 4, 8):
        found = demand(job, find("h200"), count)
        times.append(found.slowest)
        sizes.append(found.memory_bytes)
    assert times == sorted(times, reverse=True)
    assert task == "fine-tune" or sizes == sorted(sizes, reverse=True)


def test_a_disputed_device_has_a_range_and_is_trusted_with_its_least_memory():
    ascend = find("ascend 910b")
    found = demand(Job("infer", SEVEN, 1e9), ascend, 1)
    assert found.slowest > 2 * found.fastest
    assert usable(ascend) == 0.9 * 32e9
    sure = demand(Job("infer", SEVEN, 1e9), find("h200"), 1)
    assert sure.slowest == sure.fastest


def test_what_others_measured_is_slower_but_not_much():
    # Touvron et al., arXiv 2302.13971, section 2.4: 65B on 2,048 A100 of 80 GB, around 380 tokens
    # a second and GPU, batches of 4M tokens: one sequence on each.
    found = demand(Job("train", SIXTY_FIVE, 1.4e12), find("a100 80gb"), 2048)
    assert 380 < 1.4e12 / found.slowest / 2048 < 1.5 * 380


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Job("dance", SEVEN, 1e9),
        lambda: Job("train", SEVEN, 0),
        lambda: Job("train", SEVEN, 1e9, batch=0),
        lambda: Job("infer", SEVEN, 1e9, bits=-4),
        lambda: demand(Job("train", SEVEN, 1e9), find("t4"), 0),
        lambda: demand(Job("train", SEVEN, 1e9), find("nosuch"), 1),
        lambda: demand(Job("train", SEVEN, 1e9), "t4", 1),  # type: ignore[arg-type]
        lambda: Job("train", "gpt", 1e9),  # type: ignore[arg-type]
        lambda: candidate(Job("train", SEVEN, 1e9), find("t4"), 1, math.nan, 10, 10),
        lambda: candidate(Job("train", SEVEN, 1e9), find("t4"), 1, 1e6, 10, -1),
    ],
)
def test_the_impossible_is_one_line(wrong: Any):
    with pytest.raises(ValueError) as caught:
        wrong()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 160


def test_a_mixture_reads_the_experts_that_its_sequences_choose():
    mixtral = Transformer(
        32, 4096, 32, 32000, 512, 14336, 8, experts=8, experts_per_token=2, **LLAMA
    )
    device = find("h200")
    cache = memory.inference_parts(mixtral, 512)["KV cache"]
    rates = {}
    for batch in (1, 2, 256):
        seconds = demand(Job("infer", mixtral, 1e6, batch), device, 1).fastest
        rates[batch] = 1e6 / seconds / batch
    one = device.bandwidth.value / (2 * parameters.active_parameters(mixtral) + cache)
    assert rates[1] == pytest.approx(one)
    asleep = parameters.parameters(mixtral) - parameters.active_parameters(mixtral)
    read = 2 * (parameters.parameters(mixtral) - asleep * 0.75) + 2 * cache
    assert rates[2] == pytest.approx(device.bandwidth.value / read)
    whole = device.bandwidth.value / (2 * parameters.parameters(mixtral) + 256 * cache)
    assert rates[256] == pytest.approx(whole)
