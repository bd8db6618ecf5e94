"""Descriptions of models: the few numbers that every formula of the cost model needs.

A description computes nothing. It refuses what no model can be, and :mod:`.parameters`,
:mod:`.flops` and :mod:`.memory` read it.
"""

from __future__ import annotations

from dataclasses import dataclass

from roofline.hardware.cost.checks import flag, of_kind, one_of, whole, wholes

POSITIONS = ("learned", "rotary", "relative", "transformer-xl", "none")
NORMS = ("layer", "rms")
RECURRENT_GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@dataclass(frozen=True)
class Transformer:
    """A decoder or an encoder of equal layers.

    The defaults are GPT-2's: learned positions, biases, LayerNorm, tied embeddings, an MLP of four
    times the width. Llama's family sets ``positions="rotary"``, ``norm="rms"``, ``bias=False``,
    ``gated=True``, its own ``mlp_width`` and ``kv_heads``.

    ``layers`` l, ``hidden`` h, ``heads`` a, ``vocabulary`` V, ``sequence`` s of the formulas.
    ``head_dim`` hidden // heads unless given; ``kv_heads`` as many as heads unless given.
    ``positions`` learned: a table of sequence × hidden; relative: T5's 32 buckets a head;
    transformer-xl: a matrix of hidden × heads for them in each layer (Dai et al., arXiv 1901.02860,
    as in Gopher and Chinchilla); rotary and none (sines, ALiBi) have no parameters.
    ``qkv_bias`` as ``bias`` unless given (Qwen has one there and nowhere else).
    ``norms`` a layer: 2, or 1 where attention and MLP stand side by side.
    ``segments`` and ``pooler``: BERT's. ``head_bias``: a bias at the output over the vocabulary.
    ``qk_norm``: a scale of head_dim for queries and one for keys in each layer (Qwen3).
    ``experts`` of each layer's MLP, of which a token goes through ``experts_per_token``, and
    through ``shared_experts`` beside these, all of mlp_width. ``dense_layers`` have no experts but
    one MLP of ``dense_width``, mlp_width unless given.
    ``latent``: the width to which attention compresses keys and values, ``query_latent`` queries;
    ``rotary_dim``: of each head beside head_dim, its key the same for all (DeepSeek-V2, arXiv
    2405.04434, section 2.1).

    Of images (Dosovitskiy et al., arXiv 2010.11929): ``vocabulary`` the values of a patch, tied;
    ``sequence`` one more than the patches. The head over classes comes on top.

    Raises ValueError, one line, for what can't be.
    """

    layers: int
    hidden: int
    heads: int
    vocabulary: int
    sequence: int
    mlp_width: int = None  # type: ignore[assignment]
    kv_heads: int = None  # type: ignore[assignment]
    head_dim: int = None  # type: ignore[assignment]
    gated: bool = False
    tied: bool = True
    positions: str = "learned"
    bias: bool = True
    qkv_bias: bool = None  # type: ignore[assignment]
    head_bias: bool = False
    norm: str = "layer"
    norms: int = 2
    final_norm: bool = True
    embedding_norm: bool = False
    segments: int = 0
    pooler: bool = False
    experts: int = 1
    experts_per_token: int = 1
    shared_experts: int = 0
    dense_layers: int = 0
    dense_width: int = None  # type: ignore[assignment]
    latent: int = 0
    query_latent: int = 0
    rotary_dim: int = 0
    qk_norm: bool = False

    def __post_init__(self) -> None:
        whole("layers", self.layers, most=100_000)
        whole("hidden", self.hidden, most=10**7)
        whole("heads", self.heads, most=10**6)
        wholes(10**9, vocabulary=self.vocabulary, sequence=self.sequence)
        if self.head_dim is None:
            if self.hidden % self.heads:
                raise ValueError(
                    f"{self.heads} heads don't divide a width of {self.hidden}; "
                    f"choose heads that do, or give head_dim"
                )
            self._set("head_dim", self.hidden // self.heads)
        if self.kv_heads is None:
            self._set("kv_heads", self.heads)
        if self.mlp_width is None:
            self._set("mlp_width", 4 * self.hidden)
        if self.qkv_bias is None:
            self._set("qkv_bias", self.bias and not self.latent)
        if self.dense_width is None:
            self._set("dense_width", self.mlp_width)
        wholes(10**6, head_dim=self.head_dim, kv_heads=self.kv_heads)
        wholes(10**8, mlp_width=self.mlp_width, dense_width=self.dense_width)
        whole("norms", self.norms, least=1, most=8)
        whole("segments", self.segments, least=0, most=10**6)
        wholes(10**6, experts=self.experts, experts_per_token=self.experts_per_token)
        whole("shared_experts", self.shared_experts, least=0, most=10**6)
        whole("dense_layers", self.dense_layers, least=0, most=self.layers)
        for name in ("latent", "query_latent", "rotary_dim"):
            whole(name, getattr(self, name), least=0, most=10**6)
        switches = ("gated", "tied", "bias", "qkv_bias", "head_bias", "final_norm")
        for name in (*switches, "embedding_norm", "pooler", "qk_norm"):
            flag(name, getattr(self, name))
        one_of("positions", self.positions, POSITIONS)
        one_of("norm", self.norm, NORMS)
        if self.heads % self.kv_heads:
            raise ValueError(
                f"{self.kv_heads} key-value heads don't divide {self.heads} heads; "
                f"each must serve an equal group"
            )
        if self.latent and (self.kv_heads < self.heads or self.qkv_bias):
            raise ValueError("a latent serves every head, without biases; drop kv_heads, qkv_bias")
        if (self.query_latent or self.rotary_dim) and not self.latent:
            raise ValueError("query_latent and rotary_dim belong to a latent; give latent too")
        if self.experts_per_token > self.experts:
            raise ValueError(
                f"a token can't go through {self.experts_per_token} of {self.experts} experts; "
                f"give at most {self.experts}"
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def attention_width(self) -> int:
        """Of all query heads together, a·d; h unless head_dim says otherwise."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Of all key heads together, or of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def score_width(self) -> int:
        """Of all query heads together as they meet keys, rotary_dim included."""
        return self.heads * (self.head_dim + self.rotary_dim)

    @property
    def expert_layers(self) -> int:
        """Layers whose MLP is one of the experts', all but the dense ones."""
        return self.layers - self.dense_layers

    @property
    def active_widths(self) -> int:
        """Widths of all the MLPs that a token goes through on its way, summed over the layers."""
        routed = (self.experts_per_token + self.shared_experts) * self.mlp_width
        return self.expert_layers * routed + self.dense_layers * self.dense_width


@dataclass(frozen=True)
class Conv:
    """``filters`` of kernel × kernel over square pixels; ``norm``: a batch norm behind it."""

    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = True
    norm: bool = False

    def __post_init__(self) -> None:
        whole("filters", self.filters, most=10**7)
        wholes(10**5, kernel=self.kernel, stride=self.stride)
        whole("padding", self.padding, least=0, most=10**5)
        whole("groups", self.groups, most=10**7)
        flag("bias", self.bias)
        flag("norm", self.norm)


@dataclass(frozen=True)
class Pool:
    """The largest or mean of size × size; ``stride`` as ``size`` unless given; 0: all there is."""

    size: int
    stride: int = None  # type: ignore[assignment]
    padding: int = 0

    def __post_init__(self) -> None:
        if self.stride is None:
            object.__setattr__(self, "stride", max(1, self.size))
        whole("pool size", self.size, least=0, most=10**5)
        whole("pool stride", self.stride, most=10**5)
        whole("pool padding", self.padding, least=0, most=10**5)


@dataclass(frozen=True)
class Dense:
    """A fully connected layer of ``width``, over all that comes in."""

    width: int
    bias: bool = True

    def __post_init__(self) -> None:
        whole("dense width", self.width, most=10**9)
        flag("bias", self.bias)


@dataclass(frozen=True)
class Residual:
    """``body`` added to ``shortcut``: the input itself where that is empty."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        _layers("body", self.body)
        _layers("shortcut", self.shortcut)


Layer = Conv | Pool | Dense | Residual


def _layers(name: str, value: object) -> None:
    of_kind(name, value, tuple, list)
    for number, layer in enumerate(value, 1):  # type: ignore[arg-type, var-annotated]
        of_kind(f"{name}: layer {number}", layer, Conv, Pool, Dense, Residual)


@dataclass(frozen=True)
class CNN:
    """A convolutional network over images of ``channels`` × ``height`` × ``width``."""

    channels: int
    height: int
    width: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        wholes(10**6, channels=self.channels, height=self.height, width=self.width)
        _layers("layers", self.layers)
        if not self.layers:
            raise ValueError("a network of no layers; give at least one Conv or Dense")


@dataclass(frozen=True)
class RNN:
    """``layers`` of ``kind`` rnn, gru or lstm over vectors of ``inputs``.

    ``biases`` for each gate: 2 as torch and cuDNN keep them, 1 as the papers write them, or 0.
    ``vocabulary``: with an embedding of ``inputs`` in front and an output over it behind.
    """

    kind: str
    inputs: int
    hidden: int
    layers: int = 1
    directions: int = 1
    biases: int = 2
    vocabulary: int = 0

    def __post_init__(self) -> None:
        one_of("kind", self.kind, RECURRENT_GATES)
        wholes(10**7, inputs=self.inputs, hidden=self.hidden)
        whole("layers", self.layers, most=10**5)
        whole("directions", self.directions, most=2)
        whole("biases", self.biases, least=0, most=2)
        whole("vocabulary", self.vocabulary, least=0, most=10**9)

    @property
    def gates(self) -> int:
        """Matrices side by side: 1, 3 or 4."""
        return RECURRENT_GATES[self.kind]


Model = Transformer | CNN | RNN
