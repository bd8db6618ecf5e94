"""Predicting times: work from shapes, distances, costs from equations, and their sum."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hardware.profiles import made_up
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline.hardware import calibrate as calibration
from roofline.hardware import samples
from roofline.hardware.count import Counter
from roofline.hardware.kernels import LANES, describe, loops, padded
from roofline.hardware.predict import Trace, predict, price, trace, traffic_cost
from roofline.hardware.profile import ProfileError
from roofline.hardware.reuse import FAR, Reuse
from roofline.hardware.stopwatch import fixed_threads, python_calls

aten = torch.ops.aten
F = torch.nn.functional


def kernels_of(function):
    found = []

    class Listener(Counter):
        def kernel(self, call):
            found.append(describe(call))

    with Listener():
        function()
    return found


def test_work_of_products_by_hand():
    x, w, b = torch.ones(3, 5), torch.ones(7, 5), torch.ones(7)
    columns = padded(7)
    assert columns % LANES == 0 and 0 <= columns - 7 < LANES
    [(family, work)] = kernels_of(lambda: torch.addmm(b, x, w.t()))
    assert family == "gemm"
    assert work["flop"] == 2 * 3 * 5 * columns
    assert (work["left"], work["turned"], work["result"]) == (15, 35, 2 * 21)
    [(_, work)] = kernels_of(lambda: x @ w.t().contiguous())[1:]
    assert (work["turned"], work["result"]) == (0, 21)
    [(family, work)] = kernels_of(lambda: torch.bmm(x.expand(4, 3, 5), w.t().expand(4, 5, 7)))
    assert family == "bmm"
    assert (work["matrix"], work["entry"]) == (4, 4 * (15 + 35 + 21))


def test_work_of_convolutions_by_hand():
    x, layer = torch.ones(2, 4, 6, 6, requires_grad=True), torch.nn.Conv2d(4, LANES, 3)
    kernels = dict(kernels_of(lambda: layer(x).sum().backward()))
    flops = 2 * 2 * 16 * 9 * 4 * LANES
    assert kernels["convolution"]["flop"] == flops
    assert kernels["convolution"]["read"] == 2 * 4 * 36
    assert kernels["convolution"]["write"] == 2 * LANES * 16
    backward = kernels["convolution_backward"]
    assert backward["flop"] == backward["x_flop"] == flops / 4 * padded(4)
    x.requires_grad_(False)
    backward = dict(kernels_of(lambda: layer(x).sum().backward()))["convolution_backward"]
    assert "x_flop" not in backward


def test_a_convolution_pads_channels_that_fill_a_register():
    def flops(channels):
        x, layer = torch.ones(2, channels, 6, 6), torch.nn.Conv2d(channels, LANES, 3)
        return dict(kernels_of(lambda: layer(x)))["convolution"]["flop"]

    assert flops(LANES + 1) == flops(2 * LANES) == 2 * flops(LANES)
    assert flops(3) == 3 * flops(1)


def test_work_of_attention_leaves_out_what_a_causal_mask_hides():
    q = torch.ones(2, 3, 64, 8)
    full = dict(kernels_of(lambda: F.scaled_dot_product_attention(q, q, q)))["attention"]
    half = dict(kernels_of(lambda: F.scaled_dot_product_attention(q, q, q, is_causal=True)))
    assert full["pair"] == 2 * 3 * 64 * 64
    assert half["attention"]["pair"] == full["pair"] * (64 + 32) / 128


def test_work_of_recurrent_layers():
    layer = torch.nn.LSTM(5, 6)
    work = dict(kernels_of(lambda: layer(torch.ones(7, 2, 5))))["recurrent"]
    assert work == {"launch": 1, "step": 7, "flop": 2 * 14 * 4 * 6 * (5 + 6), "cell": 14 * 6}


@pytest.mark.parametrize(
    ("function", "family", "work"),
    [
        (lambda x: x + x, "plain", {"element": 24}),
        (lambda x: x.exp(), "exp", {"element": 24}),
        (lambda x: x > 0, "compare", {"element": 24}),
        (lambda x: torch.gt(x, 0, out=x.clone()), "mask", {"element": 24}),
        (lambda x: x.sum(-1), "reduce", {"element": 24, "row": 4}),
        (lambda x: x.sum(0), "reduce_columns", {"element": 24, "row": 0}),
        (lambda x: x.max(1), "arg", {"element": 24, "row": 4}),
        (lambda x: torch.softmax(x, -1), "softmax", {"element": 24, "row": 4}),
        (lambda x: torch.softmax(x, -1, out=x.clone()), "softmax", {"element": 24, "row": 4}),
        (lambda x: x.t().contiguous(), "turn", {"element": 24, "row": 6}),
        (lambda x: x[:, :3].contiguous(), "copy", {"element": 12, "row": 4, "block": 1}),
        (lambda x: x[:, ::2] * 2, "strided", {"element": 12}),
        (lambda x: x[torch.tensor([1, 2])], "gather", {"element": 12}),
    ],
)
def test_families_of_streaming_kernels(function, family, work):
    found, amounts = kernels_of(lambda: function(torch.ones(4, 6)))[-1]
    assert found == family
    assert {unit: amounts[unit] for unit in work} == work


def test_loops_merge_what_lies_together():
    x = torch.ones(2, 3, 8, 8)
    assert loops([x]) == (1, 1)
    assert loops([x[..., :4]]) == (48, 1)  # rows lie 8 apart: they merge into one dimension
    windows = x.unfold(2, 2, 2).unfold(3, 2, 2)  # (2, 3, 4, 4, 2, 2)
    assert loops([windows]) == (windows.numel() // 2, windows.numel() // 4)
    assert loops([torch.ones(())]) == (1, 1)


def test_every_family_of_samples_runs_its_kernel_and_only_one():
    for family, functions in samples.samples().items():
        for function in functions:
            assert calibration.work_of(function, family)["launch"] >= 1


def test_every_family_that_is_named_has_samples():
    x = torch.randn(4, 4, requires_grad=True)
    layer = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.LayerNorm(8))
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)

    def step():
        y = layer(x).tanh().sigmoid().log().sqrt().masked_fill(x.sum() > 0, 0.0)
        F.cross_entropy(y, torch.tensor([1, 2, 3, 0])).backward()
        optimizer.step()

    known = set(samples.samples())
    assert {family for family, _ in kernels_of(step)} <= known


def distances(function, reuse):
    found = []

    class Listener(Counter):
        def kernel(self, call):
            found.append(reuse.traffic(call))

    with Listener():
        function()
    return found


def test_distance_is_what_was_touched_in_between():
    size = 1 << 18  # bytes of each: whole blocks, or nearly
    a, b, c = (torch.ones(size // 4) for _ in range(3))
    reuse = Reuse()

    def run():
        a.mul_(1)  # read and written where it was read
        b.mul_(1)
        c.mul_(1)
        a.mul_(1)

    first = distances(run, reuse)
    assert sum(count for count, _ in first[0]) == pytest.approx(size)
    assert all(distance >= FAR / 2 for _, distance in first[0])  # never touched before
    # From a to a: b and c, and all of a itself, part of it then and part of it now.
    assert [distance for _, distance in first[3]] == pytest.approx(
        [3 * size] * len(first[3]), rel=0.2
    )


def test_a_large_tensor_is_its_own_distance():
    size = 1 << 20
    x = torch.ones(size // 4)
    reuse = Reuse()
    distances(lambda: x.mul_(1), reuse)
    [moves] = distances(lambda: x.mul_(1), reuse)
    assert {round(distance / size, 1) for _, distance in moves} == {1.0}


def test_each_tensor_counts_once_read_or_written_or_both():
    x, y = torch.ones(1000), torch.ones(1000)
    moved = distances(lambda: (x + y, x.copy_(y), x.add_(y)), Reuse())
    assert [sum(count for count, _ in moves) for moves in moved] == [12000, 8000, 8000]


def code_of(function, reuse):
    """How far the code of each kernel of a call is, when nothing else moves the clock."""
    found = []

    class Listener(Counter):
        def kernel(self, call):
            found.append(reuse.code(call))

    with Listener():
        function()
    return found


def test_code_is_as_far_as_what_was_touched_since():
    reuse, x, y = Reuse(), torch.ones(3, 3), torch.ones(4, 4)
    assert code_of(lambda: x @ x, reuse)[0] >= FAR
    reuse.clock += 5000
    assert code_of(lambda: (x @ x, y @ y), reuse) == [5000, 0]


def test_a_convolution_of_another_shape_is_other_code():
    reuse, layer = Reuse(), torch.nn.Conv2d(2, 3, 3)
    small, large = torch.ones(1, 2, 5, 5), torch.ones(1, 2, 9, 9)
    code_of(lambda: layer(small), reuse)
    reuse.clock += 5000
    again, other = code_of(lambda: (layer(small), layer(large)), reuse)
    assert again == 5000 and other >= FAR


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1e-9, 1e-3), min_size=2, max_size=4), st.integers(0, 1000))
def test_solve_finds_the_costs_that_made_the_times(costs, seed):
    units = [f"unit{number}" for number in range(len(costs))]
    generator = torch.Generator().manual_seed(seed)
    amounts = torch.rand(12, len(costs), generator=generator, dtype=torch.float64) + 0.01
    equations = [
        (dict(zip(units, row, strict=True)), sum(a * c for a, c in zip(row, costs, strict=True)))
        for row in amounts.tolist()
    ]
    found = calibration.solve("kind", equations)
    predicted = [sum(work[unit] * found.get(f"kind.{unit}", 0.0) for unit in units)
                 for work, _ in equations]  # fmt: skip
    assert predicted == pytest.approx([taken for _, taken in equations], rel=1e-3)


def test_solve_never_charges_less_than_nothing():
    equations = [
        ({"a": 1.0, "b": 1.0}, 1.0),
        ({"a": 2.0, "b": 1.0}, 3.0),
        ({"a": 3.0, "b": 1.0}, 5.0),
    ]
    found = calibration.solve("kind", equations)  # exact: a costs 2 and b costs -1
    assert found["kind.b"] == 0.0
    assert 1.0 < found["kind.a"] < 2.0


def test_calibration_gives_up_where_it_would_take_for_ever():
    assert calibration.calibrate(0.0) == {}


NUMBERS = {
    "reference": 2.0,
    "plain.launch": 1.0,
    "plain.element": 0.5,
    "exp.launch": 4.0,
    "exp.element": 1.0,
    "gemm.launch": 1.0,
    "gemm.flop": 0.25,
    "traffic.100": 0.01,
    "traffic.10000": 0.03,
    "launch.near": 10.0,
    "launch.far": 20.0,
    "view.near": 5.0,
    "view.far": 5.0,
    "recorded.near": 7.0,
    "recorded.far": 0.0,
    "interpreter": 0.125,
    "page": 100.0,
}


def test_price_adds_up_by_hand():
    plain = ("plain", {"launch": 1, "element": 8.0}, [(100.0, 50.0)], 0.0)
    assert price(Trace([plain], 0, False, 0, 0), NUMBERS).parts["plain"] == 8 * 0.5
    # Data from far away takes longer than the arithmetic: it decides.
    far = ("plain", {"launch": 1, "element": 8.0}, [(1000.0, 1e9)], 0.0)
    assert price(Trace([far], 0, False, 0, 0), NUMBERS).parts["plain"] == pytest.approx(1000 * 0.03)
    # A blocked kernel pays for distance besides its arithmetic.
    gemm = ("gemm", {"launch": 1, "flop": 40.0}, [(1000.0, 1e9)], 0.0)
    parts = price(Trace([gemm], 0, False, 0, 0), NUMBERS).parts
    assert parts["gemm"] == pytest.approx(40 * 0.25 + 1000 * 0.02)
    # A slower launch than the plain one is charged besides what every operator takes.
    exp = ("exp", {"launch": 1, "element": 2.0}, [], 0.0)
    whole = price(Trace([plain, exp], views=3, recorded=True, calls=16, pages=2), NUMBERS)
    assert whole.parts["exp"] == 2 + (4 - 1)
    assert whole.parts["dispatch"] == 2 * 10 + 3 * 5 + 5 * 7
    assert whole.parts["interpreter"] == 2.0
    assert whole.parts["pages"] == 200.0
    assert whole.seconds == pytest.approx(sum(whole.parts.values()))
    assert whole.references == whole.seconds / 2


def test_code_from_far_away_costs_more():
    near = ("plain", {"launch": 1, "element": 0.0}, [], 0.0)
    far = (*near[:3], FAR)
    cost = [price(Trace([each], 0, False, 0, 0), NUMBERS).parts["dispatch"] for each in (near, far)]
    assert cost == [10.0, pytest.approx(20.0)]


def test_traffic_costs_are_interpolated():
    cost = traffic_cost(NUMBERS)
    assert cost(1.0) == cost(100.0) == 0.01
    assert cost(1000.0) == pytest.approx(0.02)  # half way, on a scale of powers
    assert cost(1e12) == 0.03


def test_python_calls_counts_functions():
    def inner():
        return 1

    def outer():
        return inner() + inner()

    assert python_calls(outer) == 3


@pytest.fixture(scope="module")
def profile():
    """This machine's profile, from as few samples as can be."""
    with fixed_threads(1):
        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(calibration.Reference, "ratio", quick_ratio)
        kernels = calibration.calibrate(1000.0)
        monkeypatch.undo()
        yield dataclasses.replace(made_up(), threads=1, kernels=kernels)


def quick_ratio(self, function, rounds=1):
    function()
    return self.time(function) / self.now()


def step(width, layers=2):
    model = torch.nn.Sequential(*[torch.nn.Linear(width, width) for _ in range(layers)])
    x = torch.randn(64, width)
    return lambda: model(x).square().sum().backward()


def test_calibration_has_a_cost_for_every_number_that_a_price_needs(profile):
    assert profile.kernels["reference"] > 0
    assert all(cost >= 0 and math.isfinite(cost) for cost in profile.kernels.values())
    assert set(NUMBERS) - set(profile.kernels) == {"traffic.100", "traffic.10000"}


def test_larger_steps_are_predicted_to_take_longer(profile):
    times = [predict(step(width), profile).seconds for width in (64, 256, 1024)]
    assert times == sorted(times)


def test_predictions_need_the_profile_of_this_processor(profile):
    with pytest.raises(ProfileError, match="roofline machine --device cpu"):
        predict(step(8), dataclasses.replace(profile, kernels={}))
    with pytest.raises(ProfileError, match="of 99 threads"):
        predict(step(8), dataclasses.replace(profile, threads=99))


def test_a_trace_of_a_step_under_autograd_says_so():
    assert trace(step(8)).recorded
    x = torch.ones(4, 4)
    plain = trace(lambda: x.view(16).view(4, 4) @ x)
    assert not plain.recorded
    assert (len(plain.kernels), plain.views) == (1, 2)
