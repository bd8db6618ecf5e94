"""Layers under torch.nn's names, with its argument order and state_dict keys."""

from . import init
from .attention import MultiheadAttention
from .basic import (
    GELU,
    Dropout,
    Embedding,
    Flatten,
    Linear,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from .containers import ModuleList, Sequential
from .convolution import AdaptiveAvgPool2d, AvgPool2d, Conv1d, Conv2d, MaxPool2d
from .module import Module, Parameter
from .normalisation import BatchNorm1d, BatchNorm2d, LayerNorm, RMSNorm
from .positions import LearnedPositions, RotaryPositions, SinusoidalPositions
from .recurrent import GRU, LSTM, RNN
from .transformer import (
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)

# fmt: off
__all__ = [
    "GELU", "GRU", "LSTM", "RNN", "AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d",
    "Conv1d", "Conv2d", "Dropout", "Embedding", "Flatten", "LayerNorm", "LearnedPositions",
    "Linear", "MaxPool2d", "Module", "ModuleList", "MultiheadAttention", "Parameter", "RMSNorm",
    "ReLU", "RotaryPositions", "Sequential", "SiLU", "Sigmoid", "SinusoidalPositions", "Softmax",
    "Tanh", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder",
    "TransformerEncoderLayer", "init",
]
