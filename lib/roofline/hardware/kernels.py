"""Kernels sorted into families, with the units of work that their time is made of.

A family is a kind of kernel whose time is a sum of amounts of work times seconds for each unit:
``gemm`` takes so long to launch, so long for each FLOP, so long for each element that it must
turn around on the way. The amounts follow from a call's shapes, here. The seconds are measured,
in :mod:`roofline.hardware.calibrate`. Together they predict, in :mod:`roofline.hardware.predict`.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from roofline.hardware.count import Call

Work = dict[str, float]

# Numbers that a vector register holds: libraries pad channels and columns to it.
LANES = {"AVX512": 16, "AVX2": 8}.get(torch.backends.cpu.get_cpu_capability(), 4)

# Families whose kernels keep their data in the cache while they compute: what is fetched from
# further away comes on top. In all others arithmetic hides behind the data, or the data behind it.
BLOCKED = frozenset(
    "gemm bmm convolution convolution_backward attention attention_backward recurrent "
    "recurrent_backward pool pool_backward".split()
)

_NAMES = {
    "exp": "exp exp_",
    "log": "log log_ log1p sin cos pow softplus",
    "erf": "erf erf_",
    "sigmoid": "sigmoid sigmoid_ silu silu_backward",
    "tanh": "tanh tanh_",
    "gelu": "gelu",
    "gelu_backward": "gelu_backward",
    "compare": "gt lt ge le eq ne logical_not bitwise_not logical_and bitwise_and isnan isinf",
    "select": "where masked_fill masked_fill_",
    "reduce": "sum mean amax amin linalg_vector_norm norm prod cumsum logsumexp",
    "moments": "var_mean var std",
    "arg": "max min argmax argmin topk sort",
    "softmax": "softmax _softmax _log_softmax",
    "softmax_backward": "_softmax_backward_data _log_softmax_backward_data",
    "layer_norm": "native_layer_norm",
    "layer_norm_backward": "native_layer_norm_backward",
    "root": "sqrt sqrt_ rsqrt",
    "gather": "index embedding index_select",
    "scatter": "index_add_ index_put_ _index_put_impl_ embedding_dense_backward index_copy_",
    "pick": "gather take",
    "place": "scatter_ scatter_add_",
    "adam": "_fused_adamw_ _fused_adam_",
    "pool": "max_pool2d_with_indices",
    "pool_backward": "max_pool2d_with_indices_backward",
    "copy": "clone copy_ _to_copy cat stack",
}
_FAMILY = {name: family for family, names in _NAMES.items() for name in names.split()}
_ROWS = {"softmax", "softmax_backward", "layer_norm", "layer_norm_backward"}


def describe(call: Call) -> tuple[str, Work]:
    """The family of a kernel, and its amounts of work by unit. Every kernel has one "launch"."""
    name, args = call.operator.name, call.args
    plain = name.removesuffix("_")
    if plain in ("mm", "bmm"):
        return product(args[0], args[1], False)
    if plain in ("addmm", "baddbmm"):
        return product(args[1], args[2], args[0].dim() == 1)
    if name == "convolution":
        return convolution(args[0], args[1], call.result)
    if name == "convolution_backward":
        return convolution_backward(args[1], args[2], args[0], args[10])
    if name.startswith("_scaled_dot_product_"):
        return attention(name, args)
    if name.startswith("mkldnn_rnn_layer"):
        return recurrent(name, args)
    return streaming(call)


def product(left: torch.Tensor, right: torch.Tensor, bias: bool) -> tuple[str, Work]:
    """A matrix product, or a batch of them. Columns are padded to whole registers."""
    rows, inner, columns = left.shape[-2], left.shape[-1], right.shape[-1]
    batch = prod(left.shape[:-2])
    flops = 2.0 * batch * rows * inner * padded(columns)
    if left.dim() == 3:
        entries = batch * (rows * inner + inner * columns + rows * columns)
        return "bmm", {"launch": 1, "matrix": batch, "flop": flops, "entry": entries}
    turned = right.stride(-1) != 1 and right.stride(-2) == 1
    return "gemm", {
        "launch": 1,
        "flop": flops,
        "left": rows * inner,
        "turned": inner * columns if turned else 0,
        "result": rows * columns * (2 if bias else 1),
    }


def convolution(x: torch.Tensor, weight: torch.Tensor, y: torch.Tensor) -> tuple[str, Work]:
    """Channels are padded to whole registers, but for inputs that don't fill one."""
    outputs, channels = weight.shape[:2]
    macs = y.numel() / outputs * weight[0, 0].numel() * padded(outputs)
    return "convolution", {
        "launch": 1,
        "flop": 2 * macs * (channels if channels < LANES else padded(channels)),
        "read": x.numel(),
        "write": y.numel(),
    }


def convolution_backward(
    x: torch.Tensor, weight: torch.Tensor, dy: torch.Tensor, mask: list[bool]
) -> tuple[str, Work]:
    """Two kernels in one: the gradient of the weight, and of x if something asks for it."""
    outputs, channels = weight.shape[:2]
    window = weight[0, 0].numel()
    macs = dy.numel() / outputs * window * padded(outputs)
    work: Work = {
        "launch": 1,
        "flop": 2 * macs * (channels if channels < 4 else padded(channels)),
        "read": x.numel(),
        "write": dy.numel(),
    }
    if mask[0]:
        work |= {
            "x_launch": 1,
            "x_flop": 2 * macs * padded(channels),
            "x_read": x.numel(),
            "x_write": dy.numel(),
        }
    return "convolution_backward", work


def attention(name: str, args: tuple) -> tuple[str, Work]:
    """PyTorch's fused kernel works in blocks of queries, and skips keys that a causal mask hides.

    The block sizes are those of aten/src/ATen/native/cpu/FlashAttentionKernel.cpp.
    """
    backward = name.endswith("_backward")
    query, key = (args[1], args[2]) if backward else (args[0], args[1])
    length, keys, width = query.shape[-2], key.shape[-2], query.shape[-1]
    block = 256 if length >= 768 else 64 if length >= 192 else 32
    heads = prod(query.shape[:-2])
    pairs = heads * length * keys
    if any(each is True for each in args):  # is_causal
        pairs *= min(1.0, (length + min(block, length)) / (2 * length))
    family = "attention_backward" if backward else "attention"
    return family, {"launch": 1, "head": heads, "pair": pairs, "flop": 4.0 * pairs * width}


def recurrent(name: str, args: tuple) -> tuple[str, Work]:
    x, hidden = args[0], args[2].shape[-1]
    tokens = x.shape[0] * x.shape[1]
    flops = 2.0 * tokens * (args[1].numel() + args[2].numel())
    work: Work = {"launch": 1, "step": x.shape[0], "flop": flops, "cell": tokens * hidden}
    return "recurrent_backward" if name.endswith("_backward") else "recurrent", work


def streaming(call: Call) -> tuple[str, Work]:
    """Everything that goes through its tensors once: elementwise, reductions, copies, tables."""
    name, args = call.operator.name, call.args
    tensors = [*call.inputs, *call.made, *call.written]
    elements = max((each.numel() for each in tensors), default=0)
    family = _FAMILY.get(name, "plain")
    if name.startswith("_foreach_"):
        return "plain", {"launch": len(args[0]), "element": sum(t.numel() for t in args[0])}
    work: Work = {"launch": 1, "element": elements}
    if family == "adam":
        return family, {"launch": len(args[0]), "element": sum(t.numel() for t in args[0])}
    if family in ("gather", "scatter", "pick", "place"):
        moved = call.result if family in ("gather", "pick") else _floats(call.inputs[1:])
        work["element"] = moved.numel() if isinstance(moved, torch.Tensor) else elements
    elif family in _ROWS:
        work["row"] = elements / max(1, call.inputs[0].shape[-1])
    elif family in ("reduce", "moments", "arg"):
        along_last = _reduces_last(args, call.inputs[0])
        family = family if along_last else f"{family}_columns"
        work["row"] = (*call.made, *call.written)[0].numel() if along_last else 0
    elif family == "pool":
        work["element"] = call.made[0].numel()
    elif family == "pool_backward":
        work["element"] = args[0].numel()
    elif family == "copy":
        source = call.inputs[-1]
        rows, blocks = loops([source, *call.made, *call.written])
        if source.dim() > 1 and source.stride(-1) > source.stride(-2) and source.shape[-1] > 1:
            family = "turn"
        work |= {"row": rows, "block": blocks}
    elif family == "compare" and any(each.is_floating_point() for each in call.written):
        family = "mask"  # a comparison that writes numbers
    elif family == "plain" and any(each.dtype is torch.bool for each in call.inputs):
        family = "compare"
    elif family == "plain" and any(_strided(each) for each in tensors):
        family = "strided"
        work |= dict(zip(("row", "block"), loops(tensors), strict=True))
    return family, work


def padded(count: int) -> int:
    """``count`` rounded up to whole vector registers."""
    return -(-count // LANES) * LANES


def loops(tensors: list[torch.Tensor]) -> tuple[int, int]:
    """How often an elementwise kernel starts its innermost loop, and the two innermost together.

    PyTorch merges neighbouring dimensions that lie in memory as one, in all tensors alike
    (TensorIterator, aten/src/ATen/TensorIterator.cpp, coalesce_dimensions).
    """
    shape = max((each.shape for each in tensors), key=lambda each: each.numel())
    operands = [each.stride() for each in tensors if each.shape == shape]
    sizes: list[int] = []
    steps: list[tuple[int, ...]] = []
    for axis in reversed(range(len(shape))):
        strides = tuple(each[axis] for each in operands)
        if shape[axis] == 1:
            continue
        if sizes and strides == tuple(step * sizes[-1] for step in steps[-1]):
            sizes[-1] *= shape[axis]
        else:
            sizes.append(shape[axis])
            steps.append(strides)
    return prod(sizes[1:]), prod(sizes[2:])


def _strided(tensor: torch.Tensor) -> bool:
    """Whether neighbours along the last dimension lie apart in memory."""
    return tensor.dim() > 0 and tensor.shape[-1] > 1 and tensor.stride(-1) > 1


def _floats(tensors: list[torch.Tensor]) -> Any:
    return next((each for each in reversed(tensors) if each.is_floating_point()), None)


def _reduces_last(args: tuple, source: torch.Tensor) -> bool:
    """Whether a reduction runs along the dimension that is contiguous in memory."""
    if source.dim() == 0:
        return True
    axes: list[Any] = []
    for each in args[1:]:
        if isinstance(each, int) and not isinstance(each, bool):
            axes = [each]
        elif isinstance(each, (list, tuple)):
            axes = list(each)
        if axes:
            break
    last = source.dim() - 1
    return not axes or any(axis % source.dim() == last for axis in axes)
