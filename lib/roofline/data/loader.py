"""Batches of a data set, in an order that a seed decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Loader:
    """Iterate over ``dataset`` in batches; see :func:`loader`."""

    dataset: Any
    batch_size: int
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False
    epoch: int = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def order(self, epoch: int) -> torch.Tensor:
        """The order of epoch ``epoch``: a function of the seed and the epoch, nothing else."""
        if not self.shuffle:
            return torch.arange(len(self.dataset))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(len(self.dataset), generator=generator)

    def __iter__(self) -> Iterator[Any]:
        order, self.epoch = self.order(self.epoch), self.epoch + 1
        for batch in order.split(self.batch_size)[: len(self)]:
            yield self.dataset[batch]


def loader(
    dataset: Any,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    drop_last: bool = False,
) -> Loader:
    """Batches of ``dataset``: each is ``dataset[indices]``, such as (images, labels).

    Every time it is iterated over is a new epoch with a new order, which the seed decides.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1")
    if len(dataset) == 0:
        raise ValueError("the data set is empty")
    return Loader(dataset, batch_size, shuffle, seed, drop_last)
