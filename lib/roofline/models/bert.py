"""BERT: a Transformer that looks both ways, and fills in masked tokens."""

from __future__ import annotations

import torch

from roofline import nn
from roofline.autograd import Tensor, gelu


class BERT(nn.Module):
    """BERT's encoder and its masked-token head: (n, t) numbers to (n, t, vocabulary) scores.

    BERT-base is ``BERT(30522, 512, 768, 12, 12)``, 109,514,298 parameters. The scores are products
    with the token embeddings. Devlin et al., 1810.04805; next-sentence prediction is left out.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        width: int,
        heads: int,
        layers: int,
        dropout: float = 0.1,
        segments: int = 2,
    ):
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.LearnedPositions(context, width)
        self.segments = nn.Embedding(segments, width)
        self.norm = nn.LayerNorm(width, 1e-12)
        self.dropout = nn.Dropout(dropout)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, "gelu", 1e-12, batch_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers)
        self.transform = nn.Linear(width, width)
        self.transform_norm = nn.LayerNorm(width, 1e-12)
        self.head = nn.Linear(width, vocabulary)
        self.head.weight = self.embedding.weight
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.data.zero_()
            elif "norm" not in name:
                parameter.data.normal_(0, 0.02)

    def forward(
        self,
        tokens: torch.Tensor,
        padding: torch.Tensor | None = None,
        segments: torch.Tensor | None = None,
    ) -> Tensor:
        """``padding`` (n, t) is True where a token is padding; ``segments`` (n, t) are 0 and 1."""
        segments = torch.zeros_like(tokens) if segments is None else segments
        x = self.positions(self.embedding(tokens) + self.segments(segments))
        x = self.blocks(self.dropout(self.norm(x)), src_key_padding_mask=padding)
        return self.head(self.transform_norm(gelu(self.transform(x))))


def mask_tokens(
    tokens: torch.Tensor,
    mask: int,
    vocabulary: int,
    share: float = 0.15,
    special: tuple[int, ...] = (),
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide some tokens; return what the model sees and the targets, both (n, t).

    Of the ``share`` of tokens that are chosen 80% become ``mask``, 10% a random token and 10% stay.
    Targets are -100 elsewhere, which losses ignore. Tokens in ``special`` are never chosen.
    Devlin et al., 1810.04805, section 3.1, task 1.
    """

    def draw() -> torch.Tensor:
        return torch.rand(tokens.shape, generator=generator).to(tokens.device)

    chosen = draw() < share
    for token in special:
        chosen &= tokens != token
    fate = draw()
    random = (draw() * vocabulary).long()
    seen = tokens.where(~chosen | (fate >= 0.8), mask)
    seen = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), random, seen)
    return seen, tokens.where(chosen, -100)
