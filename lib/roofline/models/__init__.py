"""The models of the chapters, one file a family."""

from .bert import BERT, mask_tokens
from .convolutional import LeNet, TwoConvNet
from .gpt import GPT
from .mlp import MLP
from .recurrent import RecurrentClassifier, RecurrentLM
from .resnet import ResidualBlock, ResNet
from .sampling import sample
from .summary import Summary, summary
from .transformers import EncoderDecoder, TransformerClassifier

# fmt: off
__all__ = [
    "BERT", "GPT", "MLP", "EncoderDecoder", "LeNet", "RecurrentClassifier", "RecurrentLM", "ResNet",
    "ResidualBlock", "Summary", "TransformerClassifier", "TwoConvNet", "mask_tokens", "sample",
    "summary",
]
