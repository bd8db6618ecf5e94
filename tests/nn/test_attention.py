"""Multi-head attention, Transformer blocks and positions against torch and against formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from devices import DEVICES, float_type
from roofline import autograd, nn
from roofline.autograd import Tensor
from twins import agree, compare, twins

N, T, S, D, HEADS = 2, 5, 4, 8, 2
LATER = torch.ones(T, T, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False] * T, [False] * 3 + [True] * 2])
MEMORY_PADDING = torch.tensor([[False] * S, [False, True, True, True]])


def draw(*shape: int, device: str = "cpu") -> torch.Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape, dtype=float_type(device)).to(device)


def moved(options: dict[str, Any], device: str) -> dict[str, Any]:
    def move(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(device, float_type(device) if value.is_floating_point() else None)

    return {name: move(value) for name, value in options.items()}


MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "causal": {"attn_mask": LATER, "is_causal": True},
    "padding": {"key_padding_mask": PADDING},
    "both": {"attn_mask": LATER, "key_padding_mask": PADDING},
    "numbers": {"attn_mask": torch.linspace(-3, 3, T * T).view(T, T)},
    "minus infinity": {"attn_mask": torch.zeros(T, T).masked_fill(LATER, -torch.inf)},
    "by head": {"attn_mask": (torch.arange(N * HEADS * T * T) % 3 == 1).view(-1, T, T)},
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("masks", MASKS)
def test_self_attention_equals_torchs(masks: str, weights: bool, device: str) -> None:
    our, their = twins(
        lambda: nn.MultiheadAttention(D, HEADS, batch_first=True),
        lambda: torch.nn.MultiheadAttention(D, HEADS, batch_first=True),
        device,
    )
    x = draw(N, T, D, device=device)
    compare(our, their, x, x, x, need_weights=weights, **moved(MASKS[masks], device))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_attention_to_another_sequence(average: bool, bias: bool) -> None:
    our, their = twins(
        lambda: nn.MultiheadAttention(D, HEADS, bias=bias),
        lambda: torch.nn.MultiheadAttention(D, HEADS, bias=bias),
    )
    options = {"key_padding_mask": MEMORY_PADDING, "average_attn_weights": average}
    compare(our, their, draw(T, N, D), draw(S, N, D), draw(S, N, D) + 1, **options)
    memory = draw(S, N, D)
    compare(our, their, draw(T, N, D), memory, memory, need_weights=False)


def test_what_is_fixed_takes_the_dtype_of_what_flows() -> None:
    """Mixed precision hands 16-bit values to layers whose tables and masks are float32."""
    x = draw(N, T, D).to(torch.bfloat16)
    for layer in (nn.SinusoidalPositions(T, D), nn.RotaryPositions(T, D)):
        assert layer(Tensor(x)).dtype == torch.bfloat16
    attention = nn.MultiheadAttention(D, HEADS, batch_first=True).to(torch.bfloat16)
    for weights in (True, False):
        y, _ = attention(x, x, x, need_weights=weights, attn_mask=torch.zeros(T, T))
        assert y.dtype == torch.bfloat16


def test_causal_needs_no_mask() -> None:
    attention = nn.MultiheadAttention(D, HEADS, batch_first=True).to(torch.float64)
    x = draw(N, T, D)
    for weights in (True, False):
        with_mask, _ = attention(x, x, x, need_weights=weights, attn_mask=LATER)
        without, _ = attention(x, x, x, need_weights=weights, is_causal=True)
        agree(without, with_mask.data)


@pytest.mark.parametrize("weights", [True, False])
def test_a_query_that_may_look_at_nothing_gets_the_bias(weights: bool) -> None:
    attention = nn.MultiheadAttention(D, HEADS, batch_first=True).to(torch.float64)
    attention.out_proj.bias.data.copy_(torch.arange(D))
    x = Tensor(draw(N, T, D), True)
    all_padding = torch.tensor([[False] * T, [True] * T])
    y, p = attention(x, x, x, all_padding, need_weights=weights)
    agree(y[1], torch.arange(D, dtype=torch.float64).expand(T, D))
    assert p is None or not p.data[1].any()
    y.sum().backward()
    assert x.grad[0].any() and not x.grad[1].any() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("weights", [True, False])
def test_grouped_heads_equal_repeated_ones(kv_heads: int, weights: bool) -> None:
    """Four query heads on fewer key heads: torch's attention with the key rows written out."""
    grouped = nn.MultiheadAttention(D, 4, batch_first=True, kv_heads=kv_heads).to(torch.float64)
    width, share = D // 4, 4 // kv_heads
    full = torch.nn.MultiheadAttention(D, 4, batch_first=True).double()
    q, k, v = grouped.in_proj_weight.data.split([D, kv_heads * width, kv_heads * width])
    rows = [x.view(kv_heads, width, D).repeat_interleave(share, 0).reshape(D, D) for x in (k, v)]
    state = {**grouped.state_dict(), "in_proj_weight": torch.cat([q, *rows])}
    full.load_state_dict({**state, "in_proj_bias": torch.zeros(3 * D)})
    x = draw(N, T, D)
    y, p = grouped(x, x, x, PADDING, weights, LATER)
    expected, p_expected = full(x, x, x, PADDING, weights, LATER)
    agree(y, expected)
    agree(p, p_expected)


def test_dropped_attention_keeps_its_mean() -> None:
    attention = nn.MultiheadAttention(D, HEADS, 0.5, batch_first=True).to(torch.float64)
    x = draw(N, T, D)
    expected = attention.eval()(x, x, x, need_weights=False)[0].data
    attention.train()
    torch.manual_seed(0)
    drawn = [attention(x, x, x, need_weights=False)[0].data for _ in range(2000)]
    assert (drawn[0] - drawn[1]).abs().max() > 0.01
    torch.testing.assert_close(torch.stack(drawn).mean(0), expected, atol=0.05, rtol=0)


LAYER_MASKS: list[dict[str, Any]] = [
    {},
    {"src_mask": LATER, "is_causal": True},
    {"src_key_padding_mask": PADDING},
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("masks", LAYER_MASKS)
def test_encoder_layer_equals_torchs(masks: Any, norm_first: bool, device: str) -> None:
    our, their = twins(
        lambda: nn.TransformerEncoderLayer(D, HEADS, 16, 0.0, "gelu", 1e-4, True, norm_first),
        lambda: torch.nn.TransformerEncoderLayer(D, HEADS, 16, 0.0, "gelu", 1e-4, True, norm_first),
        device,
    )
    compare(our, their, draw(N, T, D, device=device), **moved(masks, device))


DECODER_MASKS: list[dict[str, Any]] = [
    {},
    {
        "tgt_mask": LATER,
        "tgt_is_causal": True,
        "tgt_key_padding_mask": PADDING,
        "memory_key_padding_mask": MEMORY_PADDING,
    },
    {"memory_mask": torch.ones(T, S, dtype=torch.bool).triu(1)},
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("masks", DECODER_MASKS)
def test_decoder_layer_equals_torchs(masks: Any, norm_first: bool, device: str) -> None:
    settings = {"norm_first": norm_first, "bias": norm_first}
    our, their = twins(
        lambda: nn.TransformerDecoderLayer(D, HEADS, 16, 0.0, **settings),
        lambda: torch.nn.TransformerDecoderLayer(D, HEADS, 16, 0.0, **settings),
        device,
    )
    target, memory = draw(T, N, D, device=device), draw(S, N, D, device=device)
    compare(our, their, target, memory, **moved(masks, device))


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_stacks_equal_torchs(final: bool) -> None:
    def encoder(nn: Any) -> Any:
        layer = nn.TransformerEncoderLayer(D, HEADS, 16, 0.0, batch_first=True)
        return nn.TransformerEncoder(layer, 2, nn.LayerNorm(D) if final else None)

    def decoder(nn: Any) -> Any:
        layer = nn.TransformerDecoderLayer(D, HEADS, 16, 0.0, batch_first=True)
        return nn.TransformerDecoder(layer, 2, nn.LayerNorm(D) if final else None)

    our, their = twins(lambda: encoder(nn), lambda: encoder(torch.nn))
    compare(our, their, draw(N, T, D), mask=LATER, src_key_padding_mask=PADDING)
    our, their = twins(lambda: decoder(nn), lambda: decoder(torch.nn))
    compare(our, their, draw(N, T, D), draw(N, S, D), tgt_mask=LATER, tgt_is_causal=True)


@pytest.mark.parametrize("weights", [True, False])
def test_a_mask_of_zeros_and_ones_is_not_added_to_the_scores(weights: bool) -> None:
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True), Tensor(torch.randn(1, 3, 8))
    with pytest.raises(ValueError, match="not torch.int64"):
        layer(x, x, x, need_weights=weights, attn_mask=torch.ones(3, 3).triu(1).long())
    with pytest.raises(ValueError, match="not torch.int64"):
        autograd.attention(x, x, x, torch.ones(3, 3).tril().long())
    with pytest.raises(ValueError, match="heads, t, d"):
        autograd.attention(*[Tensor(torch.zeros(3, 8))] * 3)


@pytest.mark.parametrize("shape", [(3, 2, 9), (3, 8)])
def test_a_wrong_width_is_named(shape: tuple[int, ...]) -> None:
    x = Tensor(torch.zeros(shape))
    with pytest.raises(ValueError, match="takes 3 dimensions, 8 in the last, got"):
        nn.TransformerEncoderLayer(8, 2)(x)


def test_a_stack_copies_its_layer() -> None:
    layer = nn.TransformerEncoderLayer(D, HEADS, 16)
    stack = nn.TransformerEncoder(layer, 2)
    first, second = (layer.linear1.weight for layer in stack.layers)
    assert torch.equal(first.data, second.data)
    first.data.zero_()
    assert second.data.any() and layer.linear1.weight.data.any()
    assert len(list(stack.parameters())) == 2 * len(list(layer.parameters()))


def test_sinusoids_are_the_papers() -> None:
    layer = nn.SinusoidalPositions(50, 6).to(torch.float64)
    added = layer(torch.zeros(1, 20, 6, dtype=torch.float64)).data[0]
    for position in (0, 1, 19):
        for pair in range(3):
            angle = position / 10_000 ** (2 * pair / 6)
            assert added[position, 2 * pair] == pytest.approx(math.sin(angle), abs=1e-6)
            assert added[position, 2 * pair + 1] == pytest.approx(math.cos(angle), abs=1e-6)
    assert layer.state_dict() == {}


def test_learned_positions_are_added_and_learn() -> None:
    layer = nn.LearnedPositions(7, 4)
    x = torch.randn(2, 5, 4)
    y = layer(x)
    torch.testing.assert_close(y.data, x + layer.weight.data[:5])
    y.backward(torch.ones(2, 5, 4))
    assert torch.equal(layer.weight.grad[:5], torch.full((5, 4), 2.0))
    assert not layer.weight.grad[5:].any()


def test_rotation_is_by_complex_numbers() -> None:
    """The second oracle: features 2i and 2i + 1 as one complex number times e^(i·angle)."""
    layer = nn.RotaryPositions(20, 6).to(torch.float64)
    x = draw(2, 3, 20, 6)
    rates = 10_000 ** (-torch.arange(0, 6, 2, dtype=torch.float64) / 6)
    angles = torch.arange(20, dtype=torch.float64)[:, None] * rates
    turned = torch.view_as_complex(x.reshape(2, 3, 20, 3, 2)) * torch.polar(
        torch.ones_like(angles), angles
    )
    agree(layer(Tensor(x)), torch.view_as_real(turned).reshape(x.shape), 1e-6)


def test_rotated_products_know_only_the_distance() -> None:
    layer = nn.RotaryPositions(30, 8).to(torch.float64)
    q, k = (draw(8, seed)[:, :1].T.expand(30, 8) for seed in (1, 2))
    scores = layer(Tensor(q)).data @ layer(Tensor(k)).data.T
    for distance in (0, 3, -5):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-6, rtol=0)
    assert scores.diagonal(0)[0] != pytest.approx(float(scores.diagonal(3)[0]), abs=1e-3)


def test_attention_turns_queries_and_keys() -> None:
    rotate = nn.RotaryPositions(T, D // HEADS)
    attention = nn.MultiheadAttention(D, HEADS, batch_first=True, rotate=rotate).to(torch.float64)
    x = draw(N, T, D)
    y, _ = attention(x, x, x, need_weights=False)
    weight = attention.in_proj_weight.data
    q, k, v = (part.view(N, T, HEADS, -1).transpose(1, 2) for part in (x @ weight.T).split(D, -1))
    q, k = rotate(Tensor(q)).data, rotate(Tensor(k)).data
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    agree(y, expected.transpose(1, 2).reshape(N, T, D) @ attention.out_proj.weight.data.T)


@pytest.mark.parametrize(
    "layer", [nn.SinusoidalPositions(4, 6), nn.LearnedPositions(4, 6), nn.RotaryPositions(4, 6)]
)
def test_too_long_a_sequence_is_named(layer: Any) -> None:
    with pytest.raises(ValueError, match="knows 4 positions, got a sequence of 5"):
        layer(Tensor(torch.zeros(1, 5, 6)))
