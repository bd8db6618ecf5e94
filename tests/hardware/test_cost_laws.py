"""Communication, rates, money and scaling, against simulation and search."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline.hardware.cost import (
    communication,
    money,
    rates,
    scaling,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 1000), st.floats(1, 1e12), st.floats(1e6, 1e12), st.floats(0, 1e-3))
def test_collectives(devices: int, size: float, bandwidth: float, latency: float) -> None:
    gather = communication.all_gather_seconds(size, devices, bandwidth, latency)
    scatter = communication.reduce_scatter_seconds(size, devices, bandwidth, latency)
    reduce = communication.all_reduce_seconds(size, devices, bandwidth, latency)
    assert reduce == pytest.approx(gather + scatter)
    bare = communication.all_reduce_seconds(size, devices, bandwidth)
    assert bare == pytest.approx(communication.bus_factor(devices) * size / bandwidth)
    assert reduce - bare == pytest.approx(2 * (devices - 1) * latency, abs=1e-9 + 1e-9 * reduce)


def simulated_bubble(stages: int, micro_batches: int) -> tuple[float, float]:
    """A GPipe schedule drawn step by step: idle steps over work, and over all, forward alone."""
    steps = 0
    done = [0] * stages
    while done[-1] < micro_batches:
        before = list(done)
        for stage in range(stages):
            ready = before[stage - 1] if stage else micro_batches
            if done[stage] < ready:
                done[stage] += 1
        steps += 1
    idle = steps - micro_batches
    return idle / micro_batches, idle / steps


@pytest.mark.parametrize(("stages", "micro_batches"), [(1, 5), (4, 1), (4, 8), (7, 3)])
def test_bubbles_equal_a_drawn_schedule(stages: int, micro_batches: int) -> None:
    ideal, total = simulated_bubble(stages, micro_batches)
    assert communication.bubble_of_ideal(stages, micro_batches) == pytest.approx(ideal)
    assert communication.bubble_of_total(stages, micro_batches) == pytest.approx(total)
    assert communication.bubble_of_ideal(stages, micro_batches, 2) == pytest.approx(ideal / 2)


def test_volumes() -> None:
    assert communication.tensor_parallel_elements(1, 10, 6, 1) == 0
    assert communication.tensor_parallel_elements(1, 10, 6, 4) == 8 * 60 * 3 / 4
    four = 4 * communication.bus_factor(4) * 60
    assert communication.tensor_parallel_elements(1, 10, 6, 4) == four
    assert communication.pipeline_elements(2, 10, 6, 3) == 360
    volumes = [communication.zero_elements(100, stage, 4) for stage in range(4)]
    assert volumes == [150, 150, 150, 225]
    assert communication.send_seconds(100, 50, 1) == 3
    assert communication.all_to_all_seconds(100, 4, 25) == 3


def test_rates() -> None:
    ridge = rates.ridge_point(312e12, 2.039e12)
    assert rates.roofline(ridge, 312e12, 2.039e12) == pytest.approx(312e12)
    assert rates.roofline(ridge / 2, 312e12, 2.039e12) == pytest.approx(156e12)
    assert rates.roofline(ridge * 2, 312e12, 2.039e12) == 312e12
    assert rates.matmul_intensity(1, 4096, 4096) == pytest.approx(1, rel=1e-3)
    assert rates.matmul_intensity(512, 512, 512) == pytest.approx(512 / 3)
    assert rates.decode_rate(14e9, 3.5e12) == 250
    assert rates.decode_rate(14e9, 3.5e12, 4, 3.5e9) == 500
    assert rates.prefill_rate(7e9, 140e12, 0.5) == 5000
    assert rates.training_days(86400e15, 10, 1e14) == 1
    assert rates.failure_interval(3600e3, 1000) == 3600


def expected_run(interval: float, save: float, failures: float) -> float:
    """Seconds a second of work, exact for failures without memory (Daly 2006, eq. 13)."""
    return failures * math.expm1((interval + save) / failures) / interval


@pytest.mark.parametrize(("save", "failures"), [(60.0, 86400.0), (300.0, 7200.0), (10.0, 600.0)])
def test_checkpoint_intervals_are_nearly_best(save: float, failures: float) -> None:
    candidates = [expected_run(t, save, failures) for t in range(1, int(failures), 1)]
    best = min(candidates)
    daly = expected_run(rates.daly_interval(save, failures), save, failures)
    young = expected_run(rates.checkpoint_interval(save, failures), save, failures)
    assert daly <= best * 1.0005
    assert best <= daly * (1 + 1e-6) and daly <= young <= best * 1.02
    assert rates.daly_interval(10, 4) == 4


def test_money() -> None:
    assert money.energy_kwh(1000, 500, 1.2) == 600
    assert money.carbon_kg(600, 0.4) == pytest.approx(240)
    assert money.rent(100, 2.5) == 250
    assert money.ownership(8760, 1, 1000, 0.2, 1.5) == pytest.approx(1.3)


@pytest.mark.parametrize("law", [scaling.HOFFMANN, scaling.BESIROGLU], ids=["2203", "2404"])
@pytest.mark.parametrize("budget", [1e18, 5.76e23, 1e26])
def test_optimum_is_the_least_loss(law: scaling.ScalingLaw, budget: float) -> None:
    best = scaling.optimum(budget, law)
    assert 6 * best.parameters * best.tokens == pytest.approx(budget)
    around = [best.parameters * 1.01**k for k in range(-300, 301)]
    losses = [scaling.loss(n, budget / (6 * n), law) for n in around]
    assert losses.index(min(losses)) == 300
    assert scaling.tokens_for(best.parameters, law) == pytest.approx(best.tokens)
    larger = scaling.optimum(budget * 100, law)
    exponent = math.log(larger.parameters / best.parameters, 100)
    assert exponent == pytest.approx(scaling.parameter_exponent(law))


def test_the_unrounded_fit_is_what_the_paper_says() -> None:
    """Table 2 prints exponents .46 and .54, section 3.3 40B parameters for Gopher's budget."""
    law = scaling.HOFFMANN_UNROUNDED
    assert round(scaling.parameter_exponent(law), 2) == 0.46
    assert round(scaling.optimum(5.76e23, law).parameters / 1e9) == 40
    for one, other in zip(vars(law).values(), vars(scaling.HOFFMANN).values(), strict=True):
        assert isinstance(one, str) or round(one, 2) == other or one == other


def test_the_replication_agrees_with_twenty_tokens_a_parameter() -> None:
    """At Chinchilla's budget; the first fit's rounded numbers don't (2404.10102, section 4)."""
    budget = 6 * 70e9 * 1.4e12
    ratios = [
        best.tokens / best.parameters
        for best in (scaling.optimum(budget, law) for law in (scaling.BESIROGLU, scaling.HOFFMANN))
    ]
    assert 15 < ratios[0] < 25 < 60 < ratios[1]
