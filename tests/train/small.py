"""Small models and data for the tests of training."""

from __future__ import annotations

import torch
from roofline import nn
from roofline.data import Images, loader


class Net(nn.Module):
    """Two layers with dropout between them."""

    def __init__(self, inputs: int = 6, hidden: int = 8, classes: int = 3, dropout: float = 0.0):
        self.first = nn.Linear(inputs, hidden)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.last(self.dropout(self.relu(self.first(x))))


def net(seed: int = 0, dtype: torch.dtype = torch.float32, **options) -> Net:
    torch.manual_seed(seed)
    return Net(**options).to(dtype)


def points(count: int = 60, dtype: torch.dtype = torch.float32, seed: int = 0) -> Images:
    """Three clouds of points in six dimensions, labelled; the network can learn them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = 2 * torch.eye(3, 6, dtype=dtype)
    noise = torch.randn(count, 6, generator=generator, dtype=dtype)
    return Images(centres[labels] + 0.5 * noise, labels, ("a", "b", "c"))


def batches(count: int = 60, batch_size: int = 20, dtype: torch.dtype = torch.float32, **options):
    return loader(points(count, dtype), batch_size, **{"shuffle": True, "seed": 1, **options})


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Equal to the last bit."""
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], atol: float) -> None:
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=atol, rtol=0)
