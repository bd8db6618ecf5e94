"""Floating-point operations: of a forward pass, a training step, a whole training run.

2 FLOPs a multiply-add throughout, matrix products and convolutions alone, as in the papers and as
torch's FlopCounterMode counts. Elementwise work is left out: it costs bytes, not FLOPs.
"""

from __future__ import annotations

from roofline.hardware.cost.checks import of_kind, one_of, positive, whole, wholes
from roofline.hardware.cost.convolution import layers_of
from roofline.hardware.cost.model import CNN, RNN, Model, Transformer
from roofline.hardware.cost.parameters import active_parameters, matrix_parameters

RECOMPUTE = ("none", "selective", "full")


def training_flops(parameters: float, tokens: float) -> float:
    """``C = 6 N D``: 2 forward and 4 backward for each parameter and token.

    Kaplan et al., arXiv 2001.08361, section 2.1. For a mixture, N active parameters.
    """
    return 6 * positive("parameters", parameters) * positive("tokens", tokens)


def inference_flops(parameters: float, tokens: float) -> float:
    """``2 N D``: the forward pass alone. Kaplan et al., arXiv 2001.08361, table 1."""
    return 2 * positive("parameters", parameters) * positive("tokens", tokens)


def attention_flops(model: Transformer, batch: int = 1, sequence: int | None = None) -> int:
    """Forward FLOPs of QKᵀ and of attention over values, ``4 l s² a d`` a sequence.

    QKᵀ is wider where rotary_dim stands beside head_dim. No head of a group is spared: sharing keys
    saves memory, not products. A causal mask saves none where the whole square is computed, as the
    papers count it.
    """
    s = _length(model, sequence)
    widths = model.score_width + model.attention_width
    return 2 * whole("batch", batch) * model.layers * s * s * widths


def forward_flops(model: Model, batch: int = 1, sequence: int | None = None) -> int:
    """Exact dense FLOPs of a forward pass, of a loss over every position.

    Transformer: ``2(12lh² + Vh)s + 4ls²h`` a sequence for a GPT (Narayanan et al., arXiv
    2104.04473, appendix), the same sum over the real shapes for grouped heads, gated MLP, experts.
    CNN: one image. RNN: ``sequence`` steps, 1 unless given, of 2·gates·hidden·(inputs + hidden).
    """
    of_kind("model", model, Transformer, CNN, RNN)
    if isinstance(model, Transformer):
        s = _length(model, sequence)
        matrices = 2 * matrix_parameters(model) * s
        pooler = 2 * model.hidden**2 * model.pooler
        return whole("batch", batch) * (matrices + pooler) + attention_flops(model, batch, s)
    if isinstance(model, CNN):
        return whole("batch", batch) * sum(layer.flops for layer in layers_of(model))
    steps = 1 if sequence is None else whole("sequence", sequence, most=10**9)
    width, total = model.inputs, 0
    for _ in range(model.layers):
        total += model.directions * model.gates * model.hidden * (width + model.hidden)
        width = model.directions * model.hidden
    return 2 * whole("batch", batch) * steps * (total + width * model.vocabulary)


def step_flops(
    model: Model, batch: int = 1, sequence: int | None = None, recompute: str = "none"
) -> int:
    """Exact dense FLOPs of forward and backward, and of what is computed again.

    Backward is twice the forward: one product for the gradient of each factor. ``recompute``:
    selective runs attention's products again, full runs every layer again, the output not
    (Korthikanti et al., arXiv 2205.05198, sections 4 and 5). The gradient of a CNN's images counts
    too, which a first layer skips.
    """
    one_of("recompute", recompute, RECOMPUTE)
    forward = forward_flops(model, batch, sequence)
    if recompute == "none":
        return 3 * forward
    if not isinstance(model, Transformer):
        return 4 * forward
    if recompute == "selective":
        return 3 * forward + attention_flops(model, batch, sequence)
    output = 2 * batch * _length(model, sequence) * model.vocabulary * model.hidden
    return 4 * forward - output


def iteration_flops(
    layers: int,
    hidden: int,
    sequence: int,
    vocabulary: int,
    batch: int,
    recompute: str = "none",
) -> float:
    """FLOPs of one iteration of a GPT over a global ``batch`` B, in the papers' closed forms.

    none: ``72 B s l h² (1 + s/6h + V/12lh)``, model FLOPs, Korthikanti et al., arXiv 2205.05198,
    equation 7; selective: ``72 B s l h² (1 + s/3h + V/12lh)``, their equation 8; full:
    ``96 B s l h² (1 + s/6h + V/16lh)``, Narayanan et al., arXiv 2104.04473, equation 3.
    Their selective form counts attention's products twice in all; running the forward ones again
    costs a third of that. :func:`step_flops` counts what runs.
    """
    one_of("recompute", recompute, RECOMPUTE)
    wholes(10**9, layers=layers, hidden=hidden, sequence=sequence)
    wholes(10**9, vocabulary=vocabulary, batch=batch)
    base = batch * sequence * layers * hidden**2
    attention, output = sequence / (6 * hidden), vocabulary / (12 * layers * hidden)
    if recompute == "full":
        return 96 * base * (1 + attention + vocabulary / (16 * layers * hidden))
    return 72 * base * (1 + (2 if recompute == "selective" else 1) * attention + output)


def token_flops(model: Transformer) -> float:
    """``6N + 12 l a d s``: training FLOPs a token, attention included; N active parameters.

    Chowdhery et al. (PaLM), arXiv 2204.02311, appendix B.
    """
    weights = active_parameters(model)
    widths = model.score_width + model.attention_width
    return 6 * weights + 6 * model.layers * widths * model.sequence


def mfu(flops_per_token: float, tokens_per_second: float, devices: int, peak_flops: float) -> float:
    """Model FLOPs utilisation, 0 to 1: tokens a second over those of all devices at their peak.

    ``peak_flops`` of one device, a second. Chowdhery et al., arXiv 2204.02311, appendix B.
    """
    useful = positive("flops_per_token", flops_per_token) * positive(
        "tokens_per_second", tokens_per_second
    )
    return useful / (whole("devices", devices) * positive("peak_flops", peak_flops))


def hfu(step_flops: float, seconds: float, devices: int, peak_flops: float) -> float:
    """Hardware FLOPs utilisation, 0 to 1: recomputed work counts as work done.

    ``step_flops`` of one step of all devices; with model FLOPs instead it gives the MFU.
    Chowdhery et al., arXiv 2204.02311, appendix B.
    """
    rate = positive("step_flops", step_flops) / positive("seconds", seconds)
    return rate / (whole("devices", devices) * positive("peak_flops", peak_flops))


def _length(model: Transformer, sequence: int | None) -> int:
    of_kind("model", model, Transformer)
    if sequence is None:
        return model.sequence
    return whole("sequence", sequence, most=10**9)
