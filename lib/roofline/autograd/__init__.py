"""Reverse-mode differentiation over plain torch tensors: start reading in tape.py."""

from .activation import gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from .attention import attention
from .conv import conv1d, conv2d, readable_convolution
from .elementwise import (
    absolute,
    add,
    cast,
    clamp,
    cos,
    divide,
    exp,
    log,
    multiply,
    negative,
    power,
    sin,
    sqrt,
    subtract,
    where,
)
from .gradcheck import gradcheck
from .loss import binary_cross_entropy_with_logits, cross_entropy, log_softmax, mse, softmax
from .matrix import embedding, linear, matmul
from .memory import Kept, kept
from .methods import Methods
from .norm import batch_norm, dropout, layer_norm, rms_norm
from .pool import avg_pool2d, max_pool2d
from .reduce import cumsum, logsumexp, max, mean, min, sum, var
from .shape import cat, expand, getitem, narrow, pad, permute, reshape, split, stack, transpose
from .tape import Node, Tensor, backward, layer, no_grad, op, tape

__all__ = [
    "Kept",
    "Methods",
    "Node",
    "Tensor",
    "absolute",
    "add",
    "attention",
    "avg_pool2d",
    "backward",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "cast",
    "cat",
    "clamp",
    "conv1d",
    "conv2d",
    "cos",
    "cross_entropy",
    "cumsum",
    "divide",
    "dropout",
    "embedding",
    "exp",
    "expand",
    "gelu",
    "getitem",
    "gradcheck",
    "kept",
    "layer",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log",
    "log_softmax",
    "logsumexp",
    "matmul",
    "max",
    "max_pool2d",
    "mean",
    "min",
    "mse",
    "multiply",
    "narrow",
    "negative",
    "no_grad",
    "op",
    "pad",
    "permute",
    "power",
    "readable_convolution",
    "relu",
    "reshape",
    "rms_norm",
    "sigmoid",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "stack",
    "subtract",
    "sum",
    "tanh",
    "tape",
    "transpose",
    "var",
    "where",
]
