"""What passes between products, against kernels that are counted; waves, against a schedule."""

from __future__ import annotations

from heapq import heapreplace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline.hardware.catalogue import find
from roofline.hardware.cost import Transformer, traffic, waves
from roofline.hardware.count import count
from torch.nn import functional as f

LARGE = Transformer(1, 1024, 8, 1000, 512)
GATED = Transformer(1, 1024, 8, 1000, 512, gated=True, mlp_width=2816)


def moved(*kernels: object) -> int:
    """Bytes that kernels on empty tensors of 16 bits read and write."""
    return sum(count(kernel).bytes_moved for kernel in kernels)  # type: ignore[arg-type]


def half(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.bfloat16, device="meta")


def test_forward_and_backward_without_dropout_are_counted_kernels() -> None:
    tokens, h, heads = LARGE.sequence, LARGE.hidden, LARGE.heads
    x, wide, square = half(tokens, h), half(tokens, 4 * h), half(heads, tokens, tokens)
    ones = torch.ones(h, dtype=torch.bfloat16, device="meta")
    aten = torch.ops.aten
    ahead = traffic.forward_traffic(LARGE, dropout=False)
    norm = moved(lambda: f.layer_norm(x, (h,), ones, ones))
    assert ahead.outside == pytest.approx(2 * (norm + moved(lambda: x + x)), rel=0.01)
    assert ahead.inside == moved(lambda: f.gelu(wide))
    assert ahead.squares == moved(lambda: aten._softmax(square, -1, False))
    back = traffic.backward_traffic(LARGE, dropout=False)
    assert back.inside == moved(lambda: aten.gelu_backward(wide, wide))
    assert back.squares == moved(
        lambda: aten._softmax_backward_data(square, square, -1, torch.bfloat16)
    )
    sums = moved(lambda: x + x)
    assert back.outside == 2 * (3 * x.nbytes + sums), "a norm reads two and writes one"


def test_dropout_writes_a_mask_of_bytes() -> None:
    square = half(8, 512, 512)
    plain, masked = (traffic.forward_traffic(LARGE, dropout=d).squares for d in (False, True))
    dropped = moved(lambda: torch.ops.aten.native_dropout(square, 0.1, True))
    assert masked - plain == dropped == square.numel() * (2 + 2 + 1)


def test_a_gated_activation_is_two_kernels() -> None:
    gate, up = half(512, 2816), half(512, 2816)
    ahead = traffic.forward_traffic(GATED).inside
    assert ahead == moved(lambda: f.silu(gate), lambda: gate * up)
    # The product's way back reads three and writes two; the activation's reads two and writes one.
    assert traffic.backward_traffic(GATED).inside == (3 + 2 + 2 + 1) * gate.nbytes


def test_what_is_computed_again_passes_again() -> None:
    none, selective, full = (
        traffic.layer_traffic(LARGE, recompute=r) for r in ("none", "selective", "full")
    )
    ahead = traffic.forward_traffic(LARGE)
    assert selective - none == ahead.squares
    assert full - none == ahead.outside + ahead.inside + ahead.squares


@given(some.sampled_from([1, 2, 4, 8]), some.integers(1, 8), some.booleans())
def test_tensor_parallel_devices_share_what_they_can(tensor: int, batch: int, sequence: bool):
    one = traffic.layer_traffic(LARGE, batch)
    each = traffic.layer_traffic(LARGE, batch, tensor, sequence)
    assert one / tensor <= each <= one
    if sequence:
        assert each == pytest.approx(one / tensor)
    assert one == pytest.approx(batch * traffic.layer_traffic(LARGE))


def scheduled(rows: int, columns: int, units: int) -> float:
    """The share of busy time, by handing each tile to the multiprocessor that is free first."""
    best = 0.0
    for tall, wide in ((256, 128), (128, 256)):
        free = [0] * units
        for _ in range(0, rows, tall):
            for _ in range(0, columns, wide):
                heapreplace(free, free[0] + 1)
        best = max(best, rows * columns / (tall * wide * units * max(free)))
    return best


@settings(deadline=None, max_examples=60)
@given(some.integers(1, 5000), some.integers(1, 5000), some.sampled_from([1, 40, 108, 132]))
def test_waves_are_a_schedule_of_tiles(rows: int, columns: int, units: int) -> None:
    share = waves.wave_share(rows, columns, units)
    assert share == pytest.approx(scheduled(rows, columns, units))
    assert 0 < share <= 1


def test_full_waves_waste_nothing_and_one_tile_more_a_whole_wave() -> None:
    assert waves.wave_share(256 * 108, 128, 108) == 1
    assert waves.wave_share(256 * 109, 128, 108) == pytest.approx(109 / 216)


def test_a_layer_s_share_lies_between_those_of_its_products() -> None:
    model = Transformer(1, 4096, 32, 1000, 2048)
    share = waves.layer_share(model, 1, 1, 108)
    shapes = [
        (2048, 12288),
        (2048, 4096),
        (4096, 12288),
        (4096, 4096),
        (2048, 16384),
        (4096, 16384),
    ]
    each = [waves.wave_share(*shape, 108) for shape in shapes]
    assert min(each) <= share <= max(each)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("v100", 80), ("t4", 40), ("a100 80gb", 108), ("rtx 3090", 82), ("rtx 4090", 128),
        ("h100 sxm", 132), ("h100 pcie", 114), ("l40s", 142), ("mi300x", 0), ("b200", 0),
        ("tpu v4", 0),
    ],
)  # fmt: skip
def test_multiprocessors_are_those_of_the_data_sheets(name: str, count: int) -> None:
    assert find(name).multiprocessors == count


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, -1, 1), (1, 1, 0), (1.5, 1, 1)])
def test_the_impossible_is_one_line(wrong: tuple) -> None:
    with pytest.raises(ValueError) as caught:
        waves.wave_share(*wrong)
    assert "\n" not in str(caught.value)
