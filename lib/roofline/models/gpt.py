"""GPT: a Transformer that looks back only, and predicts the next token."""

from __future__ import annotations

from typing import Any

import torch

from roofline import nn
from roofline.autograd import Tensor, no_grad

from .sampling import sample


class GPT(nn.Module):
    """The network of GPT-2: (n, t) token numbers to (n, t, vocabulary) scores of the next token.

    Args:
        vocabulary: number of tokens.
        context: the longest sequence.
        width, heads, layers: GPT-2's sizes are (768, 12, 12) for 124,439,808 parameters,
            (1024, 16, 24), (1280, 20, 36) and (1600, 25, 48), with vocabulary 50257, context 1024.
        tied: the scores are products with the token embeddings themselves.

    Normalisation comes first in each block, the hidden layer is 4·width, GELU is the tanh form.
    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        width: int,
        heads: int,
        layers: int,
        dropout: float = 0.0,
        tied: bool = True,
    ):
        self.context = context
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.LearnedPositions(context, width)
        self.dropout = nn.Dropout(dropout)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, "gelu_tanh", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width))
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        self.initialise(layers)

    def initialise(self, layers: int) -> None:
        """Weights of standard deviation 0.02, biases 0; into the residual stream 1/√(2·layers)."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.data.zero_()
            elif "norm" not in name:
                into_residual = name.endswith(("out_proj.weight", "linear2.weight"))
                parameter.data.normal_(0, 0.02 / (2 * layers) ** 0.5 if into_residual else 0.02)

    def features(self, tokens: torch.Tensor) -> Tensor:
        """(n, t) to (n, t, width): what the scores are made from."""
        x = self.dropout(self.positions(self.embedding(tokens)))
        return self.blocks(x, is_causal=True)

    def forward(self, tokens: torch.Tensor) -> Tensor:
        return self.head(self.features(tokens))

    def generate(self, tokens: torch.Tensor, new: int, **options: Any) -> torch.Tensor:
        """Write on: (n, t) to (n, t + new).

        ``options`` are ``temperature``, ``top_k``, ``top_p`` and ``generator`` of
        :func:`~roofline.models.sampling.sample`. Only the last ``context`` tokens are seen.
        """
        training = self.training
        self.eval()
        with no_grad():
            for _ in range(new):
                last = self.features(tokens[:, -self.context :])[:, -1]
                tokens = torch.cat([tokens, sample(self.head(last).data, **options)], 1)
        self.train(training)
        return tokens
