"""Bytes: of training's state, of activations, of a KV cache, of quantised weights."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.hardware.cost.checks import not_negative, of_kind, one_of, positive, whole, wholes
from roofline.hardware.cost.flops import RECOMPUTE
from roofline.hardware.cost.model import Transformer
from roofline.hardware.cost.parameters import parameters as count

DTYPE_BYTES = {
    "fp64": 8.0, "fp32": 4.0, "tf32": 4.0, "bf16": 2.0, "fp16": 2.0,
    "fp8": 1.0, "int8": 1.0, "fp4": 0.5, "int4": 0.5,
}  # fmt: skip

# Bytes a parameter of what the optimizer remembers. Adam: two moments in fp32 (arXiv 1412.6980).
# adam8bit: two of one byte and an fp32 scale for each block of 2,048 (arXiv 2110.02861).
OPTIMIZER_BYTES = {"sgd": 0.0, "momentum": 4.0, "adam": 8.0, "adam8bit": 2 * (1 + 4 / 2048)}


@dataclass(frozen=True)
class TrainingState:
    """Bytes that stay from step to step, by part."""

    weights: float
    gradients: float
    master: float
    optimizer: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.master + self.optimizer


def training_state(
    parameters: float,
    optimizer: str = "adam",
    precision: str = "mixed",
    gradient_bytes: float | None = None,
) -> TrainingState:
    """State of training ``parameters``: weights, gradients, fp32 master weights, optimizer.

    ``precision`` fp32: 4 + 4 bytes and no master. mixed: 2 + 2 and a master of 4, with Adam 16 in
    all (Rajbhandari et al., ZeRO, arXiv 1910.02054, section 3.1; Micikevicius et al., arXiv
    1710.03740). bf16: 2 + 2 and no master. ``gradient_bytes`` 4 under mixed: 18, as Megatron-LM
    keeps fp32 gradients.
    """
    positive("parameters", parameters)
    one_of("precision", precision, ("fp32", "mixed", "bf16"))
    one_of("optimizer", optimizer, OPTIMIZER_BYTES)
    each = 4.0 if precision == "fp32" else 2.0
    gradient = each if gradient_bytes is None else not_negative("gradient_bytes", gradient_bytes, 8)
    return TrainingState(
        weights=each * parameters,
        gradients=gradient * parameters,
        master=4.0 * parameters if precision == "mixed" else 0.0,
        optimizer=OPTIMIZER_BYTES[optimizer] * parameters,
    )


def zero(state: TrainingState, stage: int, data_parallel: int) -> TrainingState:
    """What one of ``data_parallel`` devices keeps of ``state`` under ZeRO.

    Stage 0 all; 1 shares optimizer and master, 2 gradients too, 3 weights too. Rajbhandari et al.,
    arXiv 1910.02054, figure 1 and section 5.
    """
    of_kind("state", state, TrainingState)
    whole("ZeRO stage", stage, least=0, most=3)
    d = whole("data_parallel", data_parallel)
    return TrainingState(
        weights=state.weights / (d if stage >= 3 else 1),
        gradients=state.gradients / (d if stage >= 2 else 1),
        master=state.master / (d if stage >= 1 else 1),
        optimizer=state.optimizer / (d if stage >= 1 else 1),
    )


def layer_activations(
    batch: int,
    sequence: int,
    hidden: int,
    heads: int,
    tensor: int = 1,
    sequence_parallel: bool = False,
    recompute: str = "none",
) -> float:
    """Bytes that one GPT layer keeps for backward on each device, 16-bit with dropout.

    ``sbh(34 + 5as/h)``; tensor parallel ``sbh(10 + 24/t + 5as/ht)``; sequence parallel too
    ``sbh/t (34 + 5as/h)``; selective recompute drops the 5as/h; full keeps the input, ``2sbh``.
    Korthikanti et al., arXiv 2205.05198, equations 1, 2 and 4 and table 2.
    """
    one_of("recompute", recompute, RECOMPUTE)
    wholes(10**9, batch=batch, sequence=sequence, hidden=hidden)
    whole("heads", heads, most=10**6)
    t = whole("tensor", tensor, most=10**6)
    sbh = float(sequence * batch * hidden)
    if recompute == "full":
        return 2 * sbh / (t if sequence_parallel else 1)
    shared = 10 / t if sequence_parallel else 10
    square = 5 * heads * sequence / (hidden * t) if recompute == "none" else 0
    return sbh * (shared + 24 / t + square)


def activations(
    model: Transformer,
    batch: int = 1,
    tensor: int = 1,
    sequence_parallel: bool = False,
    recompute: str = "none",
    dropout: bool = True,
    mask_bytes: int = 1,
    element_bytes: int = 2,
) -> float:
    """Bytes that one layer of ``model`` keeps, from its real shapes.

    The inventory of Korthikanti et al., arXiv 2205.05198, section 4.1, element by element: inputs
    of both blocks and of both norms; queries, keys, values; softmax and its dropped copy; what the
    projection and the second matrix of the MLP read; the activation's input. Equals
    :func:`layer_activations` for a GPT. Grouped heads keep less, a gated MLP keeps four widths
    (gate, its activation, the other half, their product), each expert that a token takes its own;
    of dense layers and others the mean. Latents are kept before and behind their norm.
    ``dropout`` False leaves out masks and the dropped copy. ``mask_bytes``: PyTorch keeps 1 on CUDA
    and on a CPU as many as an element has, which makes ``sbh(36 + 6as/h)`` of 16 bits there
    (measured).
    """
    of_kind("model", model, Transformer)
    one_of("recompute", recompute, RECOMPUTE)
    b, t = whole("batch", batch, most=10**9), whole("tensor", tensor, most=10**6)
    tokens = float(b * model.sequence)
    h, a, s = model.hidden, model.heads, model.sequence
    whole("mask_bytes", mask_bytes, least=1, most=8)
    e = whole("element_bytes", element_bytes, least=1, most=8)
    shared = t if sequence_parallel else 1
    if recompute == "full":
        return e * tokens * h / shared
    masks = 2 * mask_bytes * h if dropout else 0  # behind the projection and behind the MLP
    outside = e * (model.norms + min(2, model.norms)) * h + masks  # inputs of norms and blocks
    # Queries and the projection's input; keys and values; rotary parts; latents.
    projections = e * 2 * (model.attention_width + model.kv_width + model.heads * model.rotary_dim)
    projections += e * 2 * (model.latent + model.query_latent)
    mlp = e * (4 if model.gated else 2) * model.active_widths / model.layers
    square = (e + (e + mask_bytes if dropout else 0)) * a * s if recompute == "none" else 0
    return tokens * (outside / shared + (projections + mlp + square) / t)


def end_activations(
    model: Transformer, batch: int = 1, tensor: int = 1, element_bytes: int = 2
) -> float:
    """Bytes kept outside the layers: ``4sbh/t (1 + V/h)`` of last norm, output and fp32 logits.

    Korthikanti et al., arXiv 2205.05198, section 4.3, without the input's dropout mask, sbh/t.
    """
    of_kind("model", model, Transformer)
    tokens = float(whole("batch", batch, most=10**9) * model.sequence)
    inputs = 2 * whole("element_bytes", element_bytes, least=1, most=8) * model.hidden
    return tokens * (inputs + 4 * model.vocabulary) / whole("tensor", tensor, most=10**6)


def temporary(model: Transformer, batch: int = 1, tensor: int = 1) -> float:
    """Bytes of the largest passing tensor: the gradient of the fp32 logits, ``4sbV/t``."""
    of_kind("model", model, Transformer)
    tokens = float(whole("batch", batch, most=10**9) * model.sequence)
    return 4 * tokens * model.vocabulary / whole("tensor", tensor, most=10**6)


def training_parts(
    model: Transformer,
    batch: int = 1,
    optimizer: str = "adam",
    precision: str = "mixed",
    recompute: str = "none",
    dropout: bool = True,
) -> dict[str, float]:
    """Bytes that training on one device holds at its peak, part by part.

    The sum of the functions of this module. Recomputed layers come back whole, one at a time.
    """
    of_kind("model", model, Transformer)
    state = training_state(count(model), optimizer, precision)
    size = 4 if precision == "fp32" else 2
    layer = activations(model, batch, recompute=recompute, dropout=dropout, element_bytes=size)
    kept = model.layers * layer + end_activations(model, batch, element_bytes=size)
    if recompute != "none":
        kept += activations(model, batch, dropout=dropout, element_bytes=size)
    return {
        "weights": state.weights,
        "gradients": state.gradients,
        "optimizer": state.master + state.optimizer,
        "activations": kept,
        "temporary": temporary(model, batch),
    }


def inference_parts(
    model: Transformer, tokens: int, batch: int = 1, bits: float = 16, cache_bytes: float = 2
) -> dict[str, float]:
    """Bytes that ``batch`` sequences of ``tokens`` hold while they are continued, part by part."""
    of_kind("model", model, Transformer)
    whole("batch", batch, most=10**9)
    if model.latent:
        cache = latent_cache(model.layers, model.latent, model.rotary_dim, tokens, cache_bytes)
    else:
        cache = kv_cache(model.layers, model.kv_heads, model.head_dim, tokens, cache_bytes)
    return {
        "weights": weight_bytes(count(model), bits),
        "KV cache": batch * cache,
        "temporary": 4.0 * batch * model.vocabulary,  # the logits of each last token
    }


def kv_cache(
    layers: int, kv_heads: int, head_dim: int, tokens: int = 1, element_bytes: float = 2
) -> float:
    """``2·l·kv_heads·head_dim·bytes`` a token: keys and values of all that was read.

    Kwon et al., arXiv 2309.06180, section 3; grouped heads, Ainslie et al., arXiv 2305.13245.
    """
    wholes(10**6, layers=layers, kv_heads=kv_heads, head_dim=head_dim)
    size = positive("element_bytes", element_bytes, 16)
    return 2.0 * layers * kv_heads * head_dim * size * whole("tokens", tokens)


def latent_cache(
    layers: int, latent: int, rotary: int, tokens: int = 1, element_bytes: float = 2
) -> float:
    """``l·(latent + rotary)·bytes`` a token: one compressed vector serves every head.

    DeepSeek-V2, arXiv 2405.04434, section 2.1.3 and table 1.
    """
    whole("layers", layers, most=10**6)
    width = whole("latent", latent, most=10**6) + whole("rotary", rotary, least=0, most=10**6)
    return layers * width * positive("element_bytes", element_bytes, 16) * whole("tokens", tokens)


def weight_bytes(parameters: float, bits: float = 16) -> float:
    """``N·bits/8`` bytes of weights; ``bits`` with the scales' share, where there are scales."""
    return positive("parameters", parameters) * positive("bits", bits, 64) / 8


def quantised_bits(
    bits: float, block: int, scale_bits: float = 16, offset_bits: float = 0
) -> float:
    """Bits a weight with its share of the block's scale and offset: Q4_0 is 4 + 16/32 = 4.5.

    Block formats of ggml (``ggml-common.h``, block_q4_0 and its kin).
    """
    whole("block", block, most=10**9)
    overhead = not_negative("scale_bits", scale_bits, 1024)
    overhead += not_negative("offset_bits", offset_bits, 1024)
    return positive("bits", bits, 64) + overhead / block


def double_quantised_bits(block: int = 64, outer: int = 256, inner_bits: float = 8) -> float:
    """Overhead a weight where the scales are quantised too: ``8/64 + 32/(64·256)`` = 0.127 bits.

    Dettmers et al. (QLoRA), arXiv 2305.14314, section 3.
    """
    wholes(10**9, block=block, outer=outer)
    return positive("inner_bits", inner_bits, 32) / block + 32 / (block * outer)
