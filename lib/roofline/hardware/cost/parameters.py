"""How many numbers a model learns, counted part by part."""

from __future__ import annotations

from dataclasses import replace

from roofline.hardware.cost.checks import of_kind, whole, wholes
from roofline.hardware.cost.convolution import layers_of
from roofline.hardware.cost.model import CNN, RNN, Model, Transformer

RELATIVE_BUCKETS = 32  # T5, arXiv 1910.10683, section 2.1


def gpt_parameters(layers: int, hidden: int, vocabulary: int, sequence: int) -> float:
    """``12 l h² (1 + 13/(12h) + (V+s)/(12 l h))``: a GPT's parameters.

    Narayanan et al., arXiv 2104.04473, equation 2. Leaves out the last LayerNorm, 2h.
    """
    wholes(10**9, layers=layers, hidden=hidden, vocabulary=vocabulary, sequence=sequence)
    tables = (vocabulary + sequence) / (12 * layers * hidden)
    return 12 * layers * hidden**2 * (1 + 13 / (12 * hidden) + tables)


def parameters(model: Model) -> int:
    """All parameters of a model, exactly; those shared by input and output count once."""
    return sum(parameters_by_part(model).values())


def parameters_by_part(model: Model) -> dict[str, int]:
    """Parameters by part, in the order in which data meets them.

    Transformer: Vaswani et al., arXiv 1706.03762; grouped heads, Ainslie et al., arXiv 2305.13245;
    gated MLP, Shazeer, arXiv 2002.05202; shared experts, Dai et al., arXiv 2401.06066. CNN: one
    part a layer. RNN: Elman 1990, Hochreiter and Schmidhuber 1997, Cho et al., arXiv 1406.1078.
    """
    of_kind("model", model, Transformer, CNN, RNN)
    if isinstance(model, Transformer):
        return _transformer(model)
    if isinstance(model, CNN):
        return {layer.name: layer.parameters for layer in layers_of(model)}
    return _recurrent(model)


def active_parameters(model: Transformer) -> int:
    """Parameters that one token meets: of the experts, only those that it goes through.

    Tables count, as in Jiang et al., arXiv 2401.04088, section 2; others leave out the input's.
    """
    of_kind("model", model, Transformer)
    asleep = model.experts - model.experts_per_token
    return parameters(model) - model.expert_layers * asleep * _mlp(model, model.mlp_width)


def non_embedding_parameters(model: Transformer) -> int:
    """Parameters without tables and output matrix: Kaplan et al.'s N, arXiv 2001.08361, table 1."""
    of_kind("model", model, Transformer)
    tables = ("tokens", "learned positions", "segments", "output")
    return sum(count for name, count in _transformer(model).items() if name not in tables)


def matrix_parameters(model: Transformer) -> int:
    """Weights that a token is multiplied by: the output matrix, but no norm, bias or table."""
    of_kind("model", model, Transformer)
    h = model.hidden
    mlp = (3 if model.gated else 2) * h * model.active_widths
    attention = model.layers * _attention_matrices(model)
    return attention + mlp + _router(model) + model.vocabulary * h


def encoder_decoder_parameters(model: Transformer, decoder_layers: int | None = None) -> int:
    """``model`` as encoder, and as decoder with cross-attention, one embedding for both.

    Each has its own positions and its own norms at the ends. Raffel et al., arXiv 1910.10683,
    section 2.1; Lewis et al. (BART), arXiv 1910.13461, section 2.1. ``decoder_layers``: as many as
    the encoder's unless given, as large a share of them dense.
    """
    of_kind("model", model, Transformer)
    count = model.layers if decoder_layers is None else decoder_layers
    whole("decoder_layers", count, most=100_000)
    dense = model.dense_layers * count // model.layers
    decoder = _transformer(replace(model, layers=count, dense_layers=dense))
    once = ("tokens", "segments", "pooler", "output")
    own = sum(count for name, count in decoder.items() if name not in once)
    return parameters(model) + own + count * (_attention(model) + _norm(model))


def lora_parameters(inputs: int, outputs: int, rank: int, matrices: int) -> int:
    """``r·(inputs + outputs)`` for each adapted matrix. Hu et al., arXiv 2106.09685, section 4."""
    wholes(10**9, inputs=inputs, outputs=outputs, matrices=matrices)
    whole("rank", rank, most=min(inputs, outputs))
    return matrices * rank * (inputs + outputs)


def _norm(model: Transformer) -> int:
    return model.hidden * (2 if model.norm == "layer" else 1)


def _attention_matrices(model: Transformer) -> int:
    """Those that tokens are multiplied by, of one layer.

    With a latent c: h → c and the shared rotary key, c → keys and values of all heads; queries
    through their own latent, if there is one. DeepSeek-V2, arXiv 2405.04434, equations 37 to 47.
    """
    h, a, c, q = model.hidden, model.attention_width, model.latent, model.query_latent
    if not c:
        return 2 * h * a + 2 * h * model.kv_width
    queries = (h + model.score_width) * q if q else h * model.score_width
    return queries + h * (c + model.rotary_dim) + c * 2 * a + a * h


def _attention(model: Transformer) -> int:
    h = model.hidden
    matrices = _attention_matrices(model)
    if model.positions == "transformer-xl":
        matrices += h * model.attention_width
    biases = (model.attention_width + 2 * model.kv_width) * model.qkv_bias + h * model.bias
    return matrices + biases


def _mlp(model: Transformer, width: int) -> int:
    """Of one expert, or of a dense layer."""
    h = model.hidden
    inward = 2 if model.gated else 1
    return (inward + 1) * h * width + (inward * width + h) * model.bias


def _mlps(model: Transformer) -> int:
    experts = (model.experts + model.shared_experts) * _mlp(model, model.mlp_width)
    dense = _mlp(model, model.dense_width)
    return model.expert_layers * experts + model.dense_layers * dense


def _router(model: Transformer) -> int:
    return model.expert_layers * model.hidden * model.experts if model.experts > 1 else 0


def _norms(model: Transformer) -> int:
    """Of one layer: of its blocks, of queries and keys, of latents."""
    heads = 2 * model.head_dim * model.qk_norm
    return model.norms * _norm(model) + heads + model.latent + model.query_latent


def _transformer(model: Transformer) -> dict[str, int]:
    h, v = model.hidden, model.vocabulary
    return {
        "tokens": v * h,
        "learned positions": model.sequence * h if model.positions == "learned" else 0,
        "relative positions": RELATIVE_BUCKETS * model.heads * (model.positions == "relative"),
        "segments": model.segments * h,
        "embedding norm": _norm(model) * model.embedding_norm,
        "attention": model.layers * _attention(model),
        "mlp": _mlps(model),
        "router": _router(model),
        "norms": model.layers * _norms(model),
        "final norm": _norm(model) * model.final_norm,
        "pooler": (h * h + h) * model.pooler,
        "output": (0 if model.tied else v * h) + v * model.head_bias,
    }


def _recurrent(model: RNN) -> dict[str, int]:
    parts = {"tokens": model.vocabulary * model.inputs}
    width = model.inputs
    for layer in range(model.layers):
        one = model.gates * model.hidden * (width + model.hidden + model.biases)
        parts[f"{model.kind} {layer + 1}"] = model.directions * one
        width = model.directions * model.hidden
    parts["output"] = model.vocabulary * (width + 1)
    return parts
