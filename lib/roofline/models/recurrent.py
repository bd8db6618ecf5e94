"""Recurrent networks that classify sequences of tokens, or write them on."""

from __future__ import annotations

from typing import Any

import torch

from roofline import nn
from roofline.autograd import Tensor, no_grad

from .sampling import sample

KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def _recurrent(kind: str, width: int, hidden: int, layers: int, dropout: float) -> nn.Module:
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}, got {kind!r}")
    return KINDS[kind](width, hidden, layers, batch_first=True, dropout=dropout)


class RecurrentClassifier(nn.Module):
    """(n, t) token numbers to (n, classes), from the last layer's state after the last token.

    Args:
        kind: "rnn", "lstm" or "gru".
        vocabulary, width: size of the embedding.
        hidden, layers, dropout: of the recurrent layers.
    """

    def __init__(
        self,
        kind: str,
        vocabulary: int,
        width: int,
        hidden: int,
        classes: int,
        layers: int = 1,
        dropout: float = 0.0,
    ):
        self.embedding = nn.Embedding(vocabulary, width)
        self.recurrent = _recurrent(kind, width, hidden, layers, dropout)
        self.head = nn.Linear(hidden, classes)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor | None = None) -> Tensor:
        """``lengths`` (n,) says how many tokens of each row are real; all by default."""
        _, last = self.recurrent(self.embedding(tokens), None, lengths)
        h = last[0] if isinstance(last, tuple) else last
        return self.head(h[-1])


class RecurrentLM(nn.Module):
    """(n, t) token numbers to (n, t, vocabulary) scores of the next token.

    Arguments are those of :class:`RecurrentClassifier`; ``tied`` scores by products with the
    embeddings, which needs width equal to hidden. Press, Wolf, 1608.05859.
    """

    def __init__(
        self,
        kind: str,
        vocabulary: int,
        width: int,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        tied: bool = False,
    ):
        if tied and width != hidden:
            raise ValueError(f"tied needs width equal to hidden, got {width} and {hidden}")
        self.embedding = nn.Embedding(vocabulary, width)
        self.recurrent = _recurrent(kind, width, hidden, layers, dropout)
        self.head = nn.Linear(hidden, vocabulary)
        if tied:
            self.head.weight = self.embedding.weight
            self.embedding.weight.data.normal_(0, hidden**-0.5)

    def run(self, tokens: torch.Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Scores, and the state to go on from."""
        x, state = self.recurrent(self.embedding(tokens), state)
        return self.head(x), state

    def forward(self, tokens: torch.Tensor) -> Tensor:
        return self.run(tokens)[0]

    def generate(self, tokens: torch.Tensor, new: int, **options: Any) -> torch.Tensor:
        """Write on: (n, t) to (n, t + new). Each new token costs one step, not the whole text.

        ``options`` are those of :func:`~roofline.models.sampling.sample`.
        """
        training = self.training
        self.eval()
        with no_grad():
            seen, state = tokens, None
            for _ in range(new):
                logits, state = self.run(seen, state)
                seen = sample(logits.data[:, -1], **options)
                tokens = torch.cat([tokens, seen], 1)
        self.train(training)
        return tokens
