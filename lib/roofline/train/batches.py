"""What the loop needs of its data: batches of an epoch, from any place on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch


class Batches(Protocol):
    """A loader: a number of batches in each epoch, in an order that the epoch's number decides."""

    def __len__(self) -> int: ...

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch from number ``start`` on."""
        ...


class Fixed:
    """The same batches in the same order in every epoch."""

    def __init__(self, given: Sequence[Any]):
        self.given = given

    def __len__(self) -> int:
        return len(self.given)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        return islice(self.given, start, None)


def as_batches(given: Any) -> Batches:
    """``given`` if it is a loader; a list of batches becomes one.

    Raises:
        ValueError: it is neither, or has no batch.
    """
    batches = given if hasattr(given, "batches") else Fixed(given)
    items = isinstance(given, torch.Tensor) or (batches is not given and hasattr(given, "labels"))
    if not hasattr(given, "__len__") or items:
        raise ValueError(
            f"the batches are a {type(given).__name__}, expected roofline.data.loader(...) or a "
            f"list of tuples (inputs, target)"
        )
    if len(batches) == 0:
        raise ValueError("there is no batch: the data set is smaller than one batch")
    return batches


def moved(batch: Any, place: torch.device) -> tuple:
    """A batch on a device, as a tuple."""
    if not isinstance(batch, tuple | list):
        raise ValueError(f"a batch is a {type(batch).__name__}, expected a tuple")
    if any(isinstance(value, np.ndarray) for value in batch):
        raise ValueError("a batch has a NumPy array: torch.as_tensor makes a tensor of it")
    return tuple(
        value.to(place, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for value in batch
    )
