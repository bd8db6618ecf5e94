"""The torch twins of the models: the same parts under the same names."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoids(length: int, width: int) -> Tensor:
    """Vaswani et al., 3.5, element by element."""
    table = torch.empty(length, width)
    for position in range(length):
        for i in range(width // 2):
            angle = position / 10_000 ** (2 * i / width)
            table[position, 2 * i], table[position, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return table


def encoder(
    width: int, heads: int, layers: int, norm: bool, activation: Any, **options: Any
) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, 0.0, activation, batch_first=True, **options
    )
    final = nn.LayerNorm(width) if norm else None
    return nn.TransformerEncoder(layer, layers, final, enable_nested_tensor=False)


def later(t: int, device: Any) -> Tensor:
    return torch.ones(t, t, dtype=torch.bool, device=device).triu(1)


class MLP(nn.Module):
    def __init__(self, sizes: list[int]):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes, sizes[1:]))  # noqa: B905

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


class TwoConvNet(nn.Module):
    def __init__(self, channels: int, features: int, hidden: int | None):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        if hidden:
            self.dense = nn.Linear(features, hidden)
        self.head = nn.Linear(hidden or features, 10)
        self.hidden = hidden

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x).relu(), 2)  # relu first: the same numbers
        x = F.max_pool2d(self.conv2(x).relu(), 2).flatten(1)
        return self.head(self.dense(x).relu() if self.hidden else x)


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x).relu(), 2)
        x = F.max_pool2d(self.conv2(x).relu(), 2).flatten(1)
        return self.fc3(self.fc2(self.fc1(x).relu()).relu())


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu()


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        shapes = [(4, 4, 1), (4, 4, 1), (4, 8, 2), (8, 8, 1), (8, 16, 2), (16, 16, 1)]
        self.blocks = nn.Sequential(*[ResidualBlock(*shape) for shape in shapes])
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.bn(self.conv(x)).relu()).mean((2, 3)))


class GPT(nn.Module):
    def __init__(
        self, vocabulary: int, context: int, width: int, heads: int, layers: int, tied: bool
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        act = lambda x: F.gelu(x, approximate="tanh")  # noqa: E731
        self.blocks = encoder(width, heads, layers, True, act, norm_first=True)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        t = tokens.shape[1]
        x = self.embedding(tokens) + self.positions.weight[:t]
        return self.head(self.blocks(x, later(t, tokens.device)))


class BERT(nn.Module):
    def __init__(self, vocabulary: int, context: int, width: int, heads: int, layers: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, 1e-12)
        self.blocks = encoder(width, heads, layers, False, "gelu", layer_norm_eps=1e-12)
        self.transform = nn.Linear(width, width)
        self.transform_norm = nn.LayerNorm(width, 1e-12)
        self.head = nn.Linear(width, vocabulary)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor, padding: Tensor, segments: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.segments(segments)
        x = self.norm(x + self.positions.weight[: tokens.shape[1]])
        x = self.blocks(x, src_key_padding_mask=padding)
        return self.head(self.transform_norm(F.gelu(self.transform(x))))


class TransformerClassifier(nn.Module):
    def __init__(self, vocabulary: int, width: int, heads: int, layers: int, classes: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.encoder = encoder(width, heads, layers, True, "gelu", norm_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """One row at a time, without padding: nothing to get wrong."""
        rows = []
        for row, length in zip(tokens, lengths.tolist(), strict=True):
            x = self.embedding(row[None, :length])
            x = x + sinusoids(length, x.shape[-1]).to(x)
            rows.append(self.encoder(x).mean(1))
        return self.head(torch.cat(rows))


class EncoderDecoder(nn.Module):
    def __init__(self, source: int, target: int, width: int, heads: int, layers: int):
        super().__init__()
        self.source = nn.Embedding(source, width)
        self.target = nn.Embedding(target, width)
        self.encoder = encoder(width, heads, layers, False, "relu")
        layer = nn.TransformerDecoderLayer(width, heads, 4 * width, 0.0, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, layers)
        self.head = nn.Linear(width, target, bias=False)
        self.head.weight = self.target.weight

    def forward(self, source: Tensor, target: Tensor, padding: Tensor) -> Tensor:
        def embed(table: nn.Embedding, tokens: Tensor) -> Tensor:
            x = table(tokens) * math.sqrt(table.embedding_dim)
            return x + sinusoids(*x.shape[1:]).to(x)

        memory = self.encoder(embed(self.source, source), src_key_padding_mask=padding)
        x = self.decoder(
            embed(self.target, target),
            memory,
            later(target.shape[1], target.device),
            memory_key_padding_mask=padding,
        )
        return self.head(x)


class RecurrentClassifier(nn.Module):
    def __init__(
        self, kind: str, vocabulary: int, width: int, hidden: int, classes: int, layers: int
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.recurrent = getattr(nn, kind.upper())(width, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """One row at a time, without padding."""
        rows = []
        for row, length in zip(tokens, lengths.tolist(), strict=True):
            y, _ = self.recurrent(self.embedding(row[None, :length]))
            rows.append(y[:, -1])
        return self.head(torch.cat(rows))


class RecurrentLM(nn.Module):
    def __init__(
        self, kind: str, vocabulary: int, width: int, hidden: int, layers: int, tied: bool
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.recurrent = getattr(nn, kind.upper())(width, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.recurrent(self.embedding(tokens))[0])
