"""Transformers that classify a sequence, or turn one sequence into another."""

from __future__ import annotations

import math

import torch

from roofline import nn
from roofline.autograd import Tensor, no_grad
from roofline.nn import init


def _initialise(model: nn.Module) -> None:
    """Glorot for matrices, which draws every layer anew; 1/√width for embeddings."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            init.glorot_uniform_(parameter.data)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.weight.data.normal_(0, module.embedding_dim**-0.5)


class TransformerClassifier(nn.Module):
    """(n, t) token numbers to (n, classes): an encoder, and the mean over what is no padding."""

    def __init__(
        self,
        vocabulary: int,
        context: int,
        width: int,
        heads: int,
        layers: int,
        classes: int,
        dropout: float = 0.1,
    ):
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.SinusoidalPositions(context, width)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(block, layers, nn.LayerNorm(width))
        self.head = nn.Linear(width, classes)
        _initialise(self)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor | None = None) -> Tensor:
        """``lengths`` (n,) says how many tokens of each row are real; all by default."""
        x = self.positions(self.embedding(tokens))
        if lengths is None:
            return self.head(self.encoder(x).mean(1))
        place = torch.arange(tokens.shape[1], device=tokens.device)
        padding = place >= torch.as_tensor(lengths, device=tokens.device)[:, None]
        x = self.encoder(x, src_key_padding_mask=padding)
        real = (~padding).to(x.dtype)[..., None]
        return self.head((x * real).sum(1) / real.sum(1))


class EncoderDecoder(nn.Module):
    """The Transformer of Vaswani et al., 1706.03762: a source sequence to a target sequence.

    ``model(source, target)`` gives (n, t, target_vocabulary) scores for the token after each
    target token. Embeddings are scaled by √width and share their table with the scores (3.4).
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        context: int,
        width: int,
        heads: int,
        layers: int,
        dropout: float = 0.1,
    ):
        self.source = nn.Embedding(source_vocabulary, width)
        self.target = nn.Embedding(target_vocabulary, width)
        self.positions = nn.SinusoidalPositions(context, width)
        self.dropout = nn.Dropout(dropout)
        sizes = (width, heads, 4 * width, dropout)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(*sizes, batch_first=True), layers
        )
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(*sizes, batch_first=True), layers
        )
        self.head = nn.Linear(width, target_vocabulary, bias=False)
        self.head.weight = self.target.weight
        self.scale = math.sqrt(width)
        _initialise(self)

    def encode(self, source: torch.Tensor, padding: torch.Tensor | None = None) -> Tensor:
        """(n, s) to (n, s, width); ``padding`` (n, s) is True where a token is padding."""
        x = self.dropout(self.positions(self.source(source) * self.scale))
        return self.encoder(x, src_key_padding_mask=padding)

    def decode(
        self, target: torch.Tensor, memory: Tensor, padding: torch.Tensor | None = None
    ) -> Tensor:
        """(n, t) and the encoded source to scores (n, t, vocabulary); ``padding`` the source's."""
        x = self.dropout(self.positions(self.target(target) * self.scale))
        x = self.decoder(x, memory, memory_key_padding_mask=padding, tgt_is_causal=True)
        return self.head(x)

    def forward(
        self, source: torch.Tensor, target: torch.Tensor, padding: torch.Tensor | None = None
    ) -> Tensor:
        return self.decode(target, self.encode(source, padding), padding)

    def translate(
        self,
        source: torch.Tensor,
        start: int,
        end: int,
        longest: int,
        padding: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The likeliest token one after another, (n, up to longest), until every row had ``end``.

        What follows a row's first ``end`` is ``end``.
        """
        training = self.training
        self.eval()
        with no_grad():
            memory = self.encode(source, padding)
            target = source.new_full((len(source), 1), start)
            done = torch.zeros(len(source), dtype=torch.bool, device=source.device)
            while target.shape[1] <= longest and not done.all():
                token = self.decode(target, memory, padding).data[:, -1].argmax(-1)
                token = token.where(~done, end)
                done = done | (token == end)
                target = torch.cat([target, token[:, None]], 1)
        self.train(training)
        return target[:, 1:]
