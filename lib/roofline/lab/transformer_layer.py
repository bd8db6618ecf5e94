"""One Transformer layer, and what its tape keeps, as the experiment ``training_memory`` counts it.

*Modelled* by the formula of Korthikanti et al. (arXiv 2205.05198, equation 2), and *measured* on
torch's meta device, where a layer of 100 GB can be counted.
"""

from __future__ import annotations

import functools

import torch

from roofline import autograd
from roofline.autograd import Tensor, checkpoint, kept
from roofline.hardware.cost import Transformer, memory

VOCABULARY = 51200
DROPOUT = 0.1
DTYPES = {"fp32": torch.float32, "mixed": torch.bfloat16, "bf16": torch.bfloat16}
"""What activations are in."""


def one_layer(x: Tensor, weights: dict[str, Tensor], heads: int, selective: bool) -> Tensor:
    """The layer whose stock the paper takes, its figure 2: (b, s, h) to (b, s, h).

    ``selective``: the square matrices are dropped and made again on the way back.
    """
    b, s, h = x.shape

    def split(name: str) -> Tensor:
        y = autograd.linear(normed, weights[name])
        return autograd.transpose(autograd.reshape(y, (b, s, heads, h // heads)), 1, 2)

    def core(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = autograd.matmul(q, autograd.transpose(k, 2, 3)) * (h // heads) ** -0.5
        return autograd.matmul(autograd.dropout(autograd.softmax(scores, -1), DROPOUT), v)

    normed = autograd.layer_norm(x, weights["norm1"], weights["norm1"])
    q, k, v = split("query"), split("key"), split("value")
    y = checkpoint(core, q, k, v) if selective else core(q, k, v)
    y = autograd.reshape(autograd.transpose(y, 1, 2), (b, s, h))
    x = x + autograd.dropout(autograd.linear(y, weights["projection"]), DROPOUT)
    normed = autograd.layer_norm(x, weights["norm2"], weights["norm2"])
    y = autograd.gelu(autograd.linear(normed, weights["up"]))
    return x + autograd.dropout(autograd.linear(y, weights["down"]), DROPOUT)


@functools.lru_cache(maxsize=4096)
def measured_bytes(
    batch: int, sequence: int, hidden: int, heads: int, precision: str, recompute: str,
    device: str = "meta",
) -> int:  # fmt: skip
    """What the tape of one layer keeps, its weights not counted.

    On a device with numbers they are zeros: what is kept doesn't depend on them.
    """
    dtype, h = DTYPES[precision], hidden
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("query", "key", "value", "projection"), (h, h)),
        **dict.fromkeys(("norm1", "norm2"), (h,)),
        "up": (4 * h, h),
        "down": (h, 4 * h),
    }
    weights = {
        name: Tensor(torch.empty(shape, dtype=dtype, device=device).fill_(0), requires_grad=True)
        for name, shape in shapes.items()
    }
    x = Tensor(torch.empty(batch, sequence, h, dtype=dtype, device=device).fill_(0), True)

    def run(x: Tensor) -> Tensor:
        return one_layer(x, weights, heads, recompute == "selective")

    y = checkpoint(run, x) if recompute == "full" else run(x)
    return kept(y, besides=weights.values()).total


def modelled_bytes(
    batch: int, sequence: int, hidden: int, heads: int, precision: str, recompute: str
) -> float:
    """What one layer keeps by the paper's inventory: sbh(34 + 5as/h) in 16 bits, none recomputed.

    Dropout's masks are of one byte there, as on CUDA.
    """
    model = Transformer(1, hidden, heads, VOCABULARY, sequence)
    return memory.activations(
        model, batch, recompute=recompute, element_bytes=DTYPES[precision].itemsize
    )
