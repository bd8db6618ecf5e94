"""Reverse-mode differentiation over plain torch tensors: start reading in tape.py."""

# ruff: noqa: F401
from .activation import gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from .attention import attention
from .checkpoint import checkpoint
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
from .pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from .recurrent import gru, lstm, rnn
from .reduce import cumsum, logsumexp, max, mean, min, sum, var
from .shape import cat, expand, getitem, narrow, pad, permute, reshape, split, stack, transpose
from .tape import Node, Tensor, backward, layer, no_grad, op, tape
