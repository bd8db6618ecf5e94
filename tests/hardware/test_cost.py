"""The cost model against torch's own counts, brute force, and what can't be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline.hardware.cost import (
    CNN,
    RNN,
    Conv,
    Dense,
    Pool,
    Residual,
    Transformer,
    communication,
    flops,
    memory,
    money,
    parameters,
    rates,
    scaling,
)
from roofline.hardware.cost.convolution import layers_of
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import dropout, gelu, scaled_dot_product_attention, silu
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


class Remembering(nn.Module):
    """The layer that Korthikanti et al. take stock of, with its dropouts and its square matrix."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.a = a
        self.norms = nn.ModuleList([nn.LayerNorm(h), nn.LayerNorm(h)])
        self.qkvo = nn.ModuleList(nn.Linear(h, h) for _ in range(4))
        self.up, self.down = nn.Linear(h, 4 * h), nn.Linear(4 * h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, s, h = x.shape
        y = self.norms[0](x)
        q, k, v = (
            layer(y).view(b, s, self.a, -1).transpose(1, 2).reshape(b * self.a, s, -1)
            for layer in self.qkvo[:3]
        )
        square = dropout(torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1), 0.1)
        y = torch.bmm(square, v).view(b, self.a, s, -1).transpose(1, 2).reshape(b, s, h)
        x = x + dropout(self.qkvo[3](y), 0.1)
        y = self.down(gelu(self.up(self.norms[1](x))))
        return x + dropout(y, 0.1)


@pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 2), (torch.float32, 4)])
def test_activations_equal_what_torch_keeps(dtype: torch.dtype, size: int) -> None:
    """On a CPU dropout keeps masks of an element's size: in 16 bits sbh(36 + 6as/h)."""
    b, s, h, a = 2, 32, 64, 4
    layer = Remembering(h, a).to(dtype)
    own = {parameter.data_ptr() for parameter in layer.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = layer(torch.randn(b, s, h, dtype=dtype, requires_grad=True))
    statistics = 4 * b * s  # mean and deviation of a row, of which the formula takes no notice
    total = sum(held for held in kept.values() if held > statistics)
    model = Transformer(1, h, a, 100, s)
    modelled = memory.activations(model, b, mask_bytes=size, element_bytes=size)
    assert total == modelled == s * b * (18 * h + 3 * a * s) * size
    assert result.shape == (b, s, h)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 8), st.integers(1, 256), st.integers(1, 16), st.integers(1, 64),
    st.sampled_from([1, 2, 4, 8]), st.booleans(), st.sampled_from(flops.RECOMPUTE),
)  # fmt: skip
def test_activations_equal_the_paper(
    batch: int, sequence: int, heads: int, head_dim: int, tensor: int, parallel: bool, again: str
) -> None:
    model = Transformer(1, heads * head_dim, heads, 100, sequence)
    assert memory.activations(model, batch, tensor, parallel, again) == pytest.approx(
        memory.layer_activations(batch, sequence, model.hidden, heads, tensor, parallel, again)
    )


def test_activations_shrink_as_they_should() -> None:
    sizes = [memory.layer_activations(1, 2048, 12288, 96, recompute=r) for r in flops.RECOMPUTE]
    assert sizes == sorted(sizes, reverse=True)
    shared = memory.layer_activations(1, 2048, 12288, 96, 8, True)
    assert shared == memory.layer_activations(1, 2048, 12288, 96) / 8
    assert shared < memory.layer_activations(1, 2048, 12288, 96, 8)
    grouped = Transformer(1, 64, 8, 100, 16, kv_heads=2)
    saved = memory.activations(Transformer(1, 64, 8, 100, 16)) - memory.activations(grouped)
    assert saved == 16 * 2 * 2 * (64 - 16), "keys and values of 6 of 8 heads, 2 bytes each"
    assert memory.end_activations(grouped, 2) == 4 * 16 * 2 * (64 + 100)
    assert memory.temporary(grouped, 2) == 4 * 16 * 2 * 100


def test_memory_by_part() -> None:
    model = GPT2["small"]
    n = parameters.parameters(model)
    parts = memory.training_parts(model, 4)
    assert parts["weights"] + parts["gradients"] + parts["optimizer"] == 16 * n
    assert parts["activations"] > model.layers * memory.activations(model, 4)
    assert parts["temporary"] == 4 * 4 * 1024 * 50257
    by_recompute = [
        memory.training_parts(model, 4, recompute=r)["activations"] for r in flops.RECOMPUTE
    ]
    assert by_recompute == sorted(by_recompute, reverse=True)
    single = memory.training_parts(model, 4, "sgd", "fp32", dropout=False)
    half = memory.training_parts(model, 4, "sgd", "bf16", dropout=False)
    assert single["weights"] == 2 * half["weights"] == 4 * n
    logits = 4 * 4 * 1024 * 50257
    assert single["activations"] - logits == 2 * (half["activations"] - logits)
    served = memory.inference_parts(model, 1000, 3, bits=4.5)
    assert served["weights"] == n * 4.5 / 8
    assert served["KV cache"] == 3 * 1000 * 2 * 12 * 768 * 2
    assert served["temporary"] == 3 * 4 * 50257


def test_training_state() -> None:
    assert memory.training_state(1, "adam").total == 16
    assert memory.training_state(1, "adam", gradient_bytes=4).total == 18
    assert memory.training_state(1, "adam", "fp32").total == 16
    assert memory.training_state(1, "sgd", "fp32").total == 8
    assert memory.training_state(1, "momentum", "bf16").total == 8
    state = memory.training_state(1e9)
    sizes = [memory.zero(state, stage, 8).total for stage in range(4)]
    assert sizes == [16e9, 5.5e9, 3.75e9, 2e9]


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


def test_the_replication_agrees_with_twenty_tokens_a_parameter() -> None:
    """At Chinchilla's budget; the first fit's rounded numbers don't (2404.10102, section 4)."""
    budget = 6 * 70e9 * 1.4e12
    ratios = [
        best.tokens / best.parameters
        for best in (scaling.optimum(budget, law) for law in (scaling.BESIROGLU, scaling.HOFFMANN))
    ]
    assert 15 < ratios[0] < 25 < 60 < ratios[1]


IMPOSSIBLE: dict[str, Callable[[], Any]] = {
    "heads don't divide": lambda: Transformer(2, 100, 3, 50, 8),
    "layers is 0; give a whole number from 1": lambda: Transformer(0, 64, 4, 50, 8),
    "layers is -3": lambda: Transformer(-3, 64, 4, 50, 8),
    "hidden is 0": lambda: Transformer(2, 0, 4, 50, 8),
    "kv_heads is 0": lambda: Transformer(2, 64, 4, 50, 8, kv_heads=0),
    "3 key-value heads": lambda: Transformer(2, 64, 4, 50, 8, kv_heads=3),
    "vocabulary is a number of over 24 digits": lambda: Transformer(2, 64, 4, 10**30, 8),
    "sequence is 2.5": lambda: Transformer(2, 64, 4, 50, 2.5),  # type: ignore[arg-type]
    "layers is True": lambda: Transformer(True, 64, 4, 50, 8),
    "9 of 8 experts": lambda: Transformer(2, 64, 4, 50, 8, experts=8, experts_per_token=9),
    "positions is 'magic'": lambda: Transformer(2, 64, 4, 50, 8, positions="magic"),
    "kind is 'mgu'": lambda: RNN("mgu", 2, 3),
    "directions is 3": lambda: RNN("lstm", 2, 3, directions=3),
    "lays 5×5 over 3": lambda: layers_of(CNN(1, 3, 3, (Conv(2, 5),))),
    "2 groups don't divide 3": lambda: layers_of(CNN(3, 8, 8, (Conv(4, 3, groups=2),))),
    "wants an image": lambda: layers_of(CNN(3, 8, 8, (Dense(4), Conv(4, 3)))),
    "shortcut": lambda: layers_of(CNN(3, 8, 8, (Residual((Conv(4, 1),)),))),
    "no layers": lambda: CNN(3, 8, 8, ()),
    "stage is 4": lambda: memory.zero(memory.training_state(1), 4, 2),
    "optimizer is 'lion'": lambda: memory.training_state(1, "lion"),
    "parameters is -1": lambda: flops.training_flops(-1, 5),
    "tokens is nan": lambda: flops.training_flops(1, math.nan),
    "tokens is beyond all measure": lambda: flops.training_flops(1, math.inf),
    "beyond all measure": lambda: flops.training_flops(10**400, 1),
    "recompute is 'some'": lambda: flops.step_flops(LLAMA, recompute="some"),
    "pue is 0.5": lambda: money.energy_kwh(1, 1, 0.5),
    "bandwidth is 0": lambda: rates.decode_rate(1, 0),
    "utilisation is 1.5": lambda: rates.prefill_rate(1, 1, 1.5),
    "devices is 0": lambda: communication.bus_factor(0),
    "rank is 9": lambda: parameters.lora_parameters(8, 100, 9, 1),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_the_impossible_is_one_line(what: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        IMPOSSIBLE[what]()
    message = str(caught.value)
    assert what in message
    assert "\n" not in message and len(message) < 160
