"""Parameters and FLOPs against torch's own counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from roofline.hardware.cost import (
    CNN,
    RNN,
    Conv,
    Dense,
    Pool,
    Residual,
    Transformer,
    flops,
    memory,
    parameters,
)
from roofline.hardware.cost.convolution import layers_of
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import gelu, scaled_dot_product_attention, silu
from torch.utils.flop_counter import FlopCounterMode

GPT2 = {
    "small": Transformer(12, 768, 12, 50257, 1024),
    "medium": Transformer(24, 1024, 16, 50257, 1024),
    "large": Transformer(36, 1280, 20, 50257, 1024),
    "xl": Transformer(48, 1600, 25, 50257, 1024),
}


LLAMA = Transformer(
    2, 96, 6, 500, 32, mlp_width=200, kv_heads=2, gated=True, tied=False,
    positions="rotary", bias=False, norm="rms",
)  # fmt: skip


class Layer(nn.Module):
    """One Transformer layer in plain torch.nn, of any description without experts."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        h, f = model.hidden, model.mlp_width
        self.model = model
        norm = nn.LayerNorm if model.norm == "layer" else nn.RMSNorm
        self.norms = nn.ModuleList(norm(h) for _ in range(2))
        self.q = nn.Linear(h, model.attention_width, bias=model.qkv_bias)
        self.k = nn.Linear(h, model.kv_width, bias=model.qkv_bias)
        self.v = nn.Linear(h, model.kv_width, bias=model.qkv_bias)
        self.o = nn.Linear(model.attention_width, h, bias=model.bias)
        self.up = nn.Linear(h, f, bias=model.bias)
        self.gate = nn.Linear(h, f, bias=model.bias) if model.gated else None
        self.down = nn.Linear(f, h, bias=model.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        m, (b, s, _) = self.model, x.shape
        y = self.norms[0](x)
        q = self.q(y).view(b, s, m.heads, m.head_dim).transpose(1, 2)
        k = self.k(y).view(b, s, m.kv_heads, m.head_dim).transpose(1, 2)
        v = self.v(y).view(b, s, m.kv_heads, m.head_dim).transpose(1, 2)
        k, v = (t.repeat_interleave(m.heads // m.kv_heads, 1) for t in (k, v))
        y = scaled_dot_product_attention(q, k, v)
        x = x + self.o(y.transpose(1, 2).reshape(b, s, m.attention_width))
        y = self.norms[1](x)
        y = gelu(self.up(y)) if self.gate is None else silu(self.gate(y)) * self.up(y)
        return x + self.down(y)


class Decoder(nn.Module):
    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.tokens = nn.Embedding(model.vocabulary, model.hidden)
        learned = model.positions == "learned"
        self.positions = nn.Embedding(model.sequence, model.hidden) if learned else None
        self.layers = nn.ModuleList(Layer(model) for _ in range(model.layers))
        norm = nn.LayerNorm if model.norm == "layer" else nn.RMSNorm
        self.norm = norm(model.hidden)
        self.output = nn.Linear(model.hidden, model.vocabulary, bias=False)
        if model.tied:
            self.output.weight = self.tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens)
        if self.positions is not None:
            x = x + self.positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.output(self.norm(x))


def counted(function: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        function()
    return counter.get_total_flops()


def learned(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("model", [*GPT2.values(), LLAMA], ids=[*GPT2, "llama"])
def test_transformer_equals_torch(model: Transformer) -> None:
    with torch.device("meta"):
        decoder = Decoder(model)
        tokens = torch.zeros(2, model.sequence, dtype=torch.long)
    assert parameters.parameters(model) == learned(decoder)
    forward = flops.forward_flops(model, batch=2)
    assert forward == counted(lambda: decoder(tokens))
    assert flops.step_flops(model, batch=2) == counted(lambda: decoder(tokens).sum().backward())


@pytest.mark.parametrize("model", GPT2.values(), ids=GPT2)
def test_gpt_closed_forms(model: Transformer) -> None:
    n, h, s, v = model.layers, model.hidden, model.sequence, model.vocabulary
    assert flops.forward_flops(model) == 2 * (12 * n * h * h + v * h) * s + 4 * n * s * s * h
    closed = parameters.gpt_parameters(n, h, v, s)
    assert parameters.parameters(model) == pytest.approx(closed + 2 * h, rel=1e-12)
    iteration = flops.iteration_flops(n, h, s, v, 8)
    assert iteration == pytest.approx(flops.step_flops(model, 8), rel=1e-12)
    full = flops.iteration_flops(n, h, s, v, 8, "full")
    assert full == pytest.approx(flops.step_flops(model, 8, recompute="full"), rel=1e-12)
    selective = flops.step_flops(model, 8, recompute="selective")
    assert iteration < selective < flops.iteration_flops(n, h, s, v, 8, "selective") < full
    assert flops.token_flops(model) == pytest.approx(flops.step_flops(model) / s, rel=0.02), (
        "6N counts the tables, the exact count the products"
    )


def test_experts() -> None:
    dense = Transformer(2, 64, 4, 100, 16, gated=True, bias=False, norm="rms")
    mixture = Transformer(
        2, 64, 4, 100, 16, gated=True, bias=False, norm="rms", experts=8, experts_per_token=2
    )
    mlp = 3 * 64 * 256
    extra = parameters.parameters(mixture) - parameters.parameters(dense)
    assert extra == 2 * (7 * mlp + 8 * 64)
    assert parameters.parameters(mixture) - parameters.active_parameters(mixture) == 2 * 6 * mlp
    more = flops.forward_flops(mixture) - flops.forward_flops(dense)
    assert more == 2 * 16 * 2 * (mlp + 8 * 64)
    assert parameters.active_parameters(dense) == parameters.parameters(dense)
    spared = flops.token_flops(mixture) - flops.token_flops(dense)
    assert spared == 6 * 2 * (mlp + 8 * 64), "a token pays for the experts that it meets"


def test_dense_layers_and_shared_experts() -> None:
    said: Any = {"gated": True, "bias": False, "norm": "rms", "positions": "rotary"}
    model = Transformer(
        5, 64, 4, 100, 16, mlp_width=24, experts=8, experts_per_token=2, shared_experts=1,
        dense_layers=2, dense_width=200, **said,
    )  # fmt: skip
    parts = parameters.parameters_by_part(model)
    assert parts["mlp"] == 3 * 64 * (3 * 9 * 24 + 2 * 200)
    assert parts["router"] == 3 * 64 * 8
    asleep = parameters.parameters(model) - parameters.active_parameters(model)
    assert asleep == 3 * 6 * 3 * 64 * 24
    routed = Transformer(3, 64, 4, 100, 16, 24, experts=8, experts_per_token=3, **said)
    dense = Transformer(2, 64, 4, 100, 16, 200, **said)
    output = 2 * 16 * 100 * 64  # once, not in both
    both = flops.forward_flops(routed) + flops.forward_flops(dense) - output
    assert flops.forward_flops(model) == both
    kept = memory.activations(model) * 5
    assert kept == pytest.approx(memory.activations(routed) * 3 + memory.activations(dense) * 2)


class Latent(nn.Module):
    """DeepSeek-V2's attention, arXiv 2405.04434, equations 37 to 47, without turning anything."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        h, a, d, r = model.hidden, model.heads, model.head_dim, model.rotary_dim
        c, q = model.latent, model.query_latent
        self.model = model
        self.down = nn.Linear(h, c + r, bias=False)
        self.norm = nn.RMSNorm(c)
        self.up = nn.Linear(c, 2 * a * d, bias=False)
        compressed = (nn.Linear(h, q, bias=False), nn.RMSNorm(q)) if q else ()
        self.q = nn.Sequential(*compressed, nn.Linear(q or h, a * (d + r), bias=False))
        self.o = nn.Linear(a * d, h, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        m, (b, s, _) = self.model, x.shape
        latent, turned = self.down(x).split([m.latent, m.rotary_dim], -1)
        q = self.q(x).view(b, s, m.heads, -1).transpose(1, 2)
        k, v = self.up(self.norm(latent)).view(b, s, m.heads, -1).transpose(1, 2).chunk(2, -1)
        k = torch.cat([k, turned[:, None].expand(-1, m.heads, -1, -1)], -1)
        y = (q @ k.mT).softmax(-1) @ v
        return self.o(y.transpose(1, 2).reshape(b, s, -1))


@pytest.mark.parametrize("query_latent", [0, 40])
def test_latent_attention_equals_torch(query_latent: int) -> None:
    model = Transformer(
        3, 96, 6, 500, 32, head_dim=8, latent=24, query_latent=query_latent, rotary_dim=4,
        gated=True, bias=False, norm="rms", positions="rotary",
    )  # fmt: skip
    plain = replace(model, latent=0, query_latent=0, rotary_dim=0)
    with torch.device("meta"):
        ours, x = Latent(model), torch.zeros(2, 32, 96)
    attention = 2 * 96 * 48 + 2 * 96 * 48  # of the plain one
    extra = parameters.parameters(model) - parameters.parameters(plain)
    assert extra == 3 * (learned(ours) - attention)
    work = 2 * 2 * 32 * attention + 2 * 2 * 2 * 32 * 32 * 48
    more = flops.forward_flops(model, 2) - flops.forward_flops(plain, 2)
    assert more == 3 * (counted(lambda: ours(x)) - work)
    kept = memory.inference_parts(model, 10, batch=2)["KV cache"]
    assert kept == 2 * 10 * 3 * (24 + 4) * 2


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_parameters_equal_torch(kind: str, directions: int) -> None:
    layer = getattr(nn, kind.upper())
    module = layer(12, 20, 3, bidirectional=directions == 2)
    model = RNN(kind, 12, 20, 3, directions)
    assert parameters.parameters(model) == learned(module)
    bare = layer(12, 20, 3, bidirectional=directions == 2, bias=False)
    assert parameters.parameters(RNN(kind, 12, 20, 3, directions, biases=0)) == learned(bare)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_recurrent_flops_equal_cells(kind: str) -> None:
    cells = [getattr(nn, f"{kind.upper()}Cell")(width, 20) for width in (12, 20)]

    def run() -> None:
        for _ in range(5):
            x = torch.zeros(3, 12)
            for cell in cells:
                state = cell(x)
                x = state[0] if kind == "lstm" else state

    assert flops.forward_flops(RNN(kind, 12, 20, 2), batch=3, sequence=5) == counted(run)


def test_convolutional_equals_torch() -> None:
    body = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 1)
    )
    shortcut = nn.Conv2d(8, 16, 1)
    module = nn.ModuleList(
        [nn.Conv2d(3, 8, 5, 2, 1), nn.MaxPool2d(2), body, shortcut, nn.Linear(16, 7)]
    )
    model = CNN(
        3, 33, 29,
        (
            Conv(8, 5, 2, 1), Pool(2),
            Residual(
                (Conv(8, 3, padding=1, groups=4, bias=False, norm=True), Conv(16, 1)),
                (Conv(16, 1),),
            ),
            Pool(0), Dense(7),
        ),
    )  # fmt: skip

    def run() -> torch.Tensor:
        x = module[1](module[0](torch.zeros(2, 3, 33, 29)))
        x = body(x) + shortcut(x)
        return module[4](x.mean((2, 3)))

    assert parameters.parameters(model) == learned(module)
    assert flops.forward_flops(model, 2) == counted(run)
    assert layers_of(model)[0].output == tuple(module[0](torch.zeros(1, 3, 33, 29)).shape[1:])


def test_where_the_article_network_lives() -> None:
    model = CNN(3, 224, 224, (Conv(32, 3), Pool(2), Conv(64, 3), Pool(2), Dense(10)))
    *convolutions, dense = layers_of(model)
    assert dense.parameters > 0.98 * parameters.parameters(model)
    assert sum(layer.flops for layer in convolutions) > 0.99 * flops.forward_flops(model)
