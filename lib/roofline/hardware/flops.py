"""FLOPs of the kernels that multiply matrices, by the shapes they are called with.

A multiply-add counts as 2, as the literature and ``torch.utils.flop_counter`` have it. Only matrix
products, convolutions, attention and recurrent kernels are here: the work that is elementwise is
counted apart, in :mod:`roofline.hardware.count`.

Each formula takes a call's arguments by their names in PyTorch's own operator schema, with what the
call returned under "result", and returns the FLOPs. What PyTorch's table has and this one does not
is taken from PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

Arguments = dict[str, Any]
Formula = Callable[[Arguments], int]


def product(first: torch.Tensor, second: torch.Tensor) -> int:
    """A (batched) matrix product, (..., m, k) by (..., k, n): 2·batch·m·k·n."""
    return 2 * first.numel() * second.shape[-1]


def convolution(call: Arguments) -> int:
    """Every point of the output meets every weight that makes it, once for each image.

    For a transposed convolution the points are those of the input. ``weight`` is
    (out, in / groups, *kernel), so groups need no term of their own. The kernels that "convolution"
    chooses from can be called by name too; those don't transpose.
    """
    moving = call["input"] if call.get("transposed") else call["result"]
    return 2 * moving.shape[0] * prod(moving.shape[2:]) * call["weight"].numel()


def convolution_backward(call: Arguments) -> int:
    """The gradients of input and weight cost one forward each, if they are asked for.

    PyTorch's counter multiplies the weight's share by ``groups``, which is wrong for groups > 1.
    """
    moving = call["input"] if call["transposed"] else call["grad_output"]
    once = 2 * moving.shape[0] * prod(moving.shape[2:]) * call["weight"].numel()
    return once * sum(call["output_mask"][:2])


def attention(call: Arguments) -> int:
    """Scores and values: 2·b·a·s_q·s_k·(d + d_v). A causal mask is not subtracted."""
    query, key, value = call["query"], call["key"], call["value"]
    pairs = prod(query.shape[:-1]) * key.shape[-2]
    return 2 * pairs * (query.shape[-1] + value.shape[-1])


def attention_backward(call: Arguments) -> int:
    """Five products: the scores again, and the gradients of value, scores, query and key."""
    query, key, value = call["query"], call["key"], call["value"]
    pairs = prod(query.shape[:-1]) * key.shape[-2]
    return 2 * pairs * (3 * query.shape[-1] + 2 * value.shape[-1])


def recurrent(call: Arguments) -> int:
    """Each weight matrix of each layer and direction meets each token once.

    Tokens are all but the last dimension of the input, packed or padded.
    """
    tokens = call["input"].numel() // call["input"].shape[-1]
    matrices = [call[f"weight{number}"] for number in (0, 1) if f"weight{number}" in call]
    matrices += [each for each in call.get("weight", ()) if each.dim() == 2]  # cuDNN, MIOpen
    matrices += [each for each in call.get("params", ()) if each.dim() == 2]  # MPS
    return 2 * tokens * sum(each.numel() for each in matrices)


def recurrent_backward(call: Arguments) -> int:
    """Gradients of what came in and of the weights: twice the forward pass.

    mkldnn's backward kernel calls its weights weight1 to weight4.
    """
    if "weight4" in call:
        call = {**call, "weight0": call["weight1"], "weight1": call["weight2"]}
    return 2 * recurrent(call)


def _pair(first: str, second: str) -> Formula:
    return lambda call: product(call[first], call[second])


CONVOLUTIONS = (
    *("convolution", "mkldnn_convolution", "cudnn_convolution", "miopen_convolution"),
    *("_slow_conv2d_forward", "slow_conv_dilated2d", "slow_conv3d_forward", "slow_conv_dilated3d"),
    *("thnn_conv2d", "_conv_depthwise2d", "conv_depthwise3d", "_nnpack_spatial_convolution"),
)

FORMULAS: dict[str, Formula] = {
    "mm": _pair("self", "mat2"),
    "bmm": _pair("self", "mat2"),
    "_int_mm": _pair("self", "mat2"),
    "addmm": _pair("mat1", "mat2"),
    "_addmm_activation": _pair("mat1", "mat2"),
    "baddbmm": _pair("batch1", "batch2"),
    "addbmm": _pair("batch1", "batch2"),
    "mv": lambda call: 2 * call["self"].numel(),
    "addmv": lambda call: 2 * call["mat"].numel(),
    "dot": lambda call: 2 * call["self"].numel(),
    "vdot": lambda call: 2 * call["self"].numel(),
    "addr": lambda call: 2 * call["vec1"].numel() * call["vec2"].numel(),
    **dict.fromkeys(CONVOLUTIONS, convolution),
    "convolution_backward": convolution_backward,
    "mkldnn_rnn_layer": recurrent,
    "mkldnn_rnn_layer_backward": recurrent_backward,
    "_cudnn_rnn": recurrent,
    "_cudnn_rnn_backward": recurrent_backward,
    "miopen_rnn": recurrent,
    "miopen_rnn_backward": recurrent_backward,
    "_lstm_mps": recurrent,
    "lstm_mps_backward": recurrent_backward,
}


def flop_formula(function: torch._ops.OpOverload) -> Callable[[tuple, dict, Any], int] | None:
    """For an operator of PyTorch: the FLOPs of one call, from its arguments and its result.

    None for an operator that multiplies no matrices.
    """
    namespace, name = function._schema.name.split("::")
    ours = _ours(name) if namespace == "aten" else None
    if ours is None:
        theirs = flop_registry.get(function._overloadpacket)
        if theirs is None:
            return None
        return lambda args, kwargs, result: int(theirs(*args, **kwargs, out_val=result))
    names = [argument.name for argument in function._schema.arguments]
    return lambda args, kwargs, result: ours(
        {**dict(zip(names, args, strict=False)), **kwargs, "result": result}
    )


def _ours(name: str) -> Formula | None:
    if name.startswith("_scaled_dot_product_"):
        return attention_backward if name.endswith("_backward") else attention
    return FORMULAS.get(name) or FORMULAS.get(name.rstrip("_"))  # addmm_ is addmm, in place
