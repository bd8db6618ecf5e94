"""What can't be is one line."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
from roofline.hardware.cost import (
    CNN,
    RNN,
    Conv,
    Dense,
    Residual,
    Transformer,
    communication,
    convolution,
    flops,
    memory,
    money,
    parameters,
    rates,
    recurrent,
    scaling,
    traffic,
    waves,
)
from roofline.hardware.cost.convolution import conv_parameters, layers_of

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
    "dense_layers is 3": lambda: Transformer(2, 64, 4, 50, 8, dense_layers=3),
    "a latent serves every head": lambda: Transformer(2, 64, 4, 50, 8, kv_heads=2, latent=16),
    "belong to a latent": lambda: Transformer(2, 64, 4, 50, 8, rotary_dim=8),
    "model is 'llama'; give a Transformer": lambda: memory.training_parts("llama", 1),  # type: ignore[arg-type]
    "model is CNN(": lambda: memory.activations(CNN(3, 8, 8, (Conv(2, 3),))),  # type: ignore[arg-type]
    "layers: layer 2 is 'relu'": lambda: CNN(3, 8, 8, (Conv(2, 3), "relu")),  # type: ignore[arg-type]
    "body: layer 1 is None": lambda: Residual((None,)),  # type: ignore[arg-type]
    "inputs is 'three'": lambda: conv_parameters("three", Conv(2, 3)),  # type: ignore[arg-type]
    "law is 'hoffmann'; give a ScalingLaw": lambda: scaling.optimum(1e20, "hoffmann"),  # type: ignore[arg-type]
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
    "recompute is 'some'": lambda: flops.step_flops(Transformer(2, 64, 4, 50, 8), recompute="some"),
    "pue is 0.5": lambda: money.energy_kwh(1, 1, 0.5),
    "bandwidth is 0": lambda: rates.decode_rate(1, 0),
    "utilisation is 1.5": lambda: rates.prefill_rate(1, 1, 1.5),
    "devices is 0": lambda: communication.bus_factor(0),
    "gated is 'no'; give True or False": lambda: Transformer(2, 64, 4, 50, 8, gated="no"),  # type: ignore[arg-type]
    "bias is 1; give True or False": lambda: Conv(2, 3, bias=1),  # type: ignore[arg-type]
    "optimizer is of type list": lambda: memory.training_state(1, []),  # type: ignore[arg-type]
    "recompute is of type int": lambda: flops.step_flops(
        Transformer(2, 64, 4, 50, 8), recompute=10**400
    ),  # type: ignore[arg-type]
    "bytes of a mask is 0": lambda: traffic.forward_traffic(Transformer(2, 64, 4, 50, 8), mask=0),
    "tensor is 0": lambda: waves.layer_share(Transformer(2, 64, 4, 50, 8), 1, 0, 108),
    "rank is 9": lambda: parameters.lora_parameters(8, 100, 9, 1),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_the_impossible_is_one_line(what: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        IMPOSSIBLE[what]()
    message = str(caught.value)
    assert what in message
    assert "\n" not in message and len(message) < 160


JUNK = (-1, 0, 2.5, math.nan, math.inf, 10**30, 10**400, "x", None, True, 1e308, [])
DESCRIPTIONS: dict[Callable[..., Any], dict[str, Any]] = {
    Transformer: {
        "layers": 2, "hidden": 64, "heads": 4, "vocabulary": 50, "sequence": 8, "mlp_width": 9,
        "kv_heads": 2, "head_dim": 16, "gated": False, "tied": True, "positions": "rotary",
        "bias": True, "qkv_bias": True, "head_bias": False, "norm": "rms", "norms": 2,
        "final_norm": True, "embedding_norm": False, "segments": 0, "pooler": False,
        "experts": 4, "experts_per_token": 2, "shared_experts": 1, "dense_layers": 1,
        "dense_width": 9, "qk_norm": True,
    },
    RNN: {
        "kind": "gru", "inputs": 3, "hidden": 4, "layers": 2, "directions": 2, "biases": 1,
        "vocabulary": 7,
    },
    Conv: {
        "filters": 4, "kernel": 3, "stride": 1, "padding": 1, "groups": 1, "bias": True,
        "norm": False,
    },
}  # fmt: skip


@pytest.mark.parametrize("describe", DESCRIPTIONS, ids=lambda each: each.__name__)
def test_junk_in_any_field_is_taken_or_refused_in_one_line(describe: Callable[..., Any]) -> None:
    refused = 0
    for field in DESCRIPTIONS[describe]:
        for junk in JUNK:
            try:
                describe(**{**DESCRIPTIONS[describe], field: junk})
            except ValueError as problem:
                assert "\n" not in str(problem) and len(str(problem)) < 160
                refused += 1
    assert refused > 6 * len(DESCRIPTIONS[describe])


FORMULAS = (
    communication, convolution, flops, memory, money, parameters, rates, recurrent, scaling,
    traffic, waves,
)  # fmt: skip
# What stands for an argument where 8 can't.
SOUND: dict[str, Any] = {
    "model": Transformer(2, 64, 4, 50, 8), "layer": Conv(4, 3), "law": scaling.HOFFMANN,
    "state": memory.training_state(1e6), "optimizer": "adam", "precision": "mixed",
    "recompute": "none", "stage": 1, "pue": 1.1, "utilisation": 0.5, "dropout": True,
    "sequence_parallel": False, "element_bytes": 2, "bits": 4,
}  # fmt: skip
MODELS = {convolution: CNN(3, 8, 8, (Conv(4, 3), Dense(2))), recurrent: RNN("gru", 3, 4)}


@pytest.mark.parametrize("room", FORMULAS, ids=lambda room: room.__name__.split(".")[-1])
def test_junk_in_any_argument_is_taken_or_refused_in_one_line(room: Any) -> None:
    tried = refused = 0
    for name, formula in inspect.getmembers(room, inspect.isfunction):
        if name.startswith("_") or formula.__module__ != room.__name__:
            continue
        sound = {name: SOUND.get(name, 8) for name in inspect.signature(formula).parameters}
        if "model" in sound:
            sound["model"] = MODELS.get(room, sound["model"])
        formula(**sound)
        for argument in sound:
            for junk in (*JUNK, "x" * 500, b"x", 1j, object()):
                tried += 1
                try:
                    formula(**{**sound, argument: junk})
                except ValueError as problem:
                    assert "\n" not in str(problem) and len(str(problem)) < 160
                    refused += 1
    assert refused > tried / 2
