"""What the cost model says is kept, against what torch keeps."""

from __future__ import annotations

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
    flops,
    memory,
    parameters,
)
from roofline.hardware.cost.convolution import convolutional_activations, layers_of
from roofline.hardware.cost.recurrent import recurrent_activations
from torch import nn
from torch.nn.functional import dropout, gelu

SMALL_GPT2 = Transformer(12, 768, 12, 50257, 1024)


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


def bytes_kept(module: nn.Module, run: Callable[[], Any]) -> int:
    """Of all distinct storages that torch saves for backward, the parameters' left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    assert result is not None
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_convolutional_activations_equal_torch(dtype: torch.dtype) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 64, 20), nn.ReLU(), nn.Linear(20, 5),
    ).to(dtype)  # fmt: skip
    model = CNN(3, 32, 34, (Conv(8, 3), Pool(2), Conv(6, 3, 2, 1), Dense(20), Dense(5)))
    assert layers_of(model)[2].output == (6, 8, 8)
    x = torch.randn(3, 3, 32, 34, dtype=dtype)
    size = torch.finfo(dtype).bits // 8
    assert bytes_kept(module, lambda: module(x)) == convolutional_activations(model, 3, size)


def test_activations_of_a_residual_block_equal_torch() -> None:
    one, two, side = (
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.Conv2d(4, 6, 1),
    )
    norm, end = nn.BatchNorm2d(6), nn.Linear(6 * 64, 3)
    module = nn.ModuleList([one, two, side, norm, end])
    x = torch.randn(2, 4, 8, 8)

    def run() -> torch.Tensor:
        y = two(torch.relu(norm(one(x))))
        return end(torch.relu(y + side(x)).flatten(1))

    body = (Conv(6, 3, padding=1, norm=True), Conv(6, 3, padding=1))
    model = CNN(4, 8, 8, (Residual(body, (Conv(6, 1),)), Dense(3)))
    statistics = 4 * (6 + 6) + 4 * (6 + 6) + 8  # a batch norm's own and running, and its count
    torch_keeps = bytes_kept(module, run)
    assert 0 <= torch_keeps - convolutional_activations(model, 2) <= statistics


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_activations_equal_torch(kind: str, layers: int) -> None:
    s, b, inputs, h = 5, 3, 12, 20
    widths = [inputs, *[h] * (layers - 1)]
    cells = nn.ModuleList(getattr(nn, f"{kind.upper()}Cell")(width, h) for width in widths)
    steps = [torch.randn(b, inputs) for _ in range(s)]

    def run() -> torch.Tensor:
        states: list[Any] = [
            (torch.zeros(b, h), torch.zeros(b, h)) if kind == "lstm" else torch.zeros(b, h)
            for _ in cells
        ]
        for x in steps:
            for layer, cell in enumerate(cells):
                states[layer] = cell(x, states[layer])
                x = states[layer][0] if kind == "lstm" else states[layer]
        return x.sum()

    modelled = recurrent_activations(RNN(kind, inputs, h, layers), s, b)
    assert bytes_kept(cells, run) == modelled


def test_recurrent_activations_grow_with_the_steps() -> None:
    model = RNN("lstm", 12, 20, 2, directions=2)
    short, long = (recurrent_activations(model, s) for s in (100, 200))
    assert long == 2 * short
    assert recurrent_activations(RNN("lstm", 12, 20, 1, 2), 9) == 4 * 9 * (12 + 2 * 7 * 20)


def test_memory_by_part() -> None:
    model = SMALL_GPT2
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
