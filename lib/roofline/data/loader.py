"""Batches of a data set, in an order that a seed decides, read ahead by worker threads.

Workers are threads, not processes: Pillow lets go of Python's lock while it decodes and resizes,
and nothing has to be copied between processes. The batches and their order are the same for any
number of workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

POOL = 50  # batches by length are cut from this many batches' worth of items, sorted


class LoadingError(RuntimeError):
    """A batch could not be read; the message names its items and what went wrong."""


@dataclass
class Loader:
    """Iterate over ``dataset`` in batches; see :func:`loader`. ``epoch`` numbers the next one."""

    dataset: Any
    batch_size: int
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False
    workers: int = 0
    transform: Callable[[Any, torch.Generator], Any] | None = None
    collate: Callable[[list], Any] | None = None
    lengths: torch.Tensor | None = None
    epoch: int = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def __iter__(self) -> Iterator[Any]:
        self.epoch += 1
        return self.batches(self.epoch - 1)

    def order(self, epoch: int) -> list[torch.Tensor]:
        """The indices of each batch of an epoch: decided by the seed and the epoch alone."""
        generator = self._generator(epoch, 0)
        order = torch.arange(len(self.dataset))
        if self.shuffle:
            order = torch.randperm(len(self.dataset), generator=generator)
        if self.lengths is None:
            return list(order.split(self.batch_size)[: len(self)])
        pools = [pool[self.lengths[pool].argsort(stable=True)] for pool in order.split(self._pool)]
        batches = list(torch.cat(pools).split(self.batch_size)[: len(self)])
        if not self.shuffle:
            return batches
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch from number ``start`` on; those before it are not read."""
        chosen = list(enumerate(self.order(epoch)))[start:]
        if not self.workers:
            for number, indices in chosen:
                yield self._fetch(epoch, number, indices)
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        waiting: deque[Future] = deque()
        try:
            for number, indices in chosen:
                waiting.append(pool.submit(self._fetch, epoch, number, indices))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def _pool(self) -> int:
        return POOL * self.batch_size if self.shuffle else max(len(self.dataset), 1)

    def _generator(self, epoch: int, use: int) -> torch.Generator:
        """Random numbers for one use: 0 for the order, 1 + n for the transform of batch n."""
        mixed = (self.seed * 1_000_003 + epoch) * 1_000_003 + use
        return torch.Generator().manual_seed(mixed % (1 << 63))

    def _fetch(self, epoch: int, number: int, indices: torch.Tensor) -> Any:
        try:
            if self.collate is None:
                batch = self.dataset[indices]
            else:
                batch = self.collate([self.dataset[i] for i in indices.tolist()])
            if self.transform is not None:
                batch = self.transform(batch, self._generator(epoch, 1 + number))
        except Exception as error:
            items = ", ".join(str(i) for i in indices[:4].tolist())
            more = ", ..." if len(indices) > 4 else ""
            raise LoadingError(
                f"batch {number} of epoch {epoch} (items {items}{more}) can't be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error
        return batch


def loader(
    dataset: Any,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    drop_last: bool = False,
    workers: int = 0,
    transform: Callable[[Any, torch.Generator], Any] | None = None,
    collate: Callable[[list], Any] | None = None,
    lengths: Sequence[int] | torch.Tensor | None = None,
) -> Loader:
    """Batches of ``dataset``: each is ``dataset[indices]``, such as (images, labels).

    Every time it is iterated over is a new epoch with a new order, which the seed decides.

    Args:
        dataset: has a length; indexed by a tensor of indices, it gives a batch.
        drop_last: leave out the last batch if it is smaller than the others.
        workers: threads that read ahead, two batches each; 0 reads when asked.
        transform: changes a batch; gets a generator that the seed, epoch and batch decide.
        collate: makes a batch from a list of items, for data sets that only give single items.
        lengths: of each item; batches are then made of items of similar length.

    Iterating raises :class:`LoadingError` where a batch can't be read, whatever the workers.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1")
    if workers < 0:
        raise ValueError(f"workers is {workers}, expected 0 or more threads")
    if len(dataset) == 0:
        raise ValueError("the data set is empty")
    if lengths is not None:
        lengths = torch.as_tensor(lengths)
        if len(lengths) != len(dataset):
            raise ValueError(f"{len(lengths)} lengths for {len(dataset)} items")
    return Loader(
        dataset, batch_size, shuffle, seed, drop_last, workers, transform, collate, lengths
    )
