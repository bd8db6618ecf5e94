"""Loaders: every item once, in an order that the seed decides."""

from __future__ import annotations

import pytest
import torch
from roofline.data import Images, loader


def toy(count: int = 10) -> Images:
    return Images(
        torch.arange(float(count))[:, None, None, None], torch.zeros(count).long(), ("a",)
    )


def values(batches) -> list[list[int]]:
    return [images.flatten().int().tolist() for images, _ in batches]


def test_in_order_without_shuffling():
    batches = loader(toy(), 4)
    assert values(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and len(batches) == 3


def test_drop_last():
    batches = loader(toy(), 4, drop_last=True)
    assert values(batches) == [[0, 1, 2, 3], [4, 5, 6, 7]] and len(batches) == 2


def test_shuffled_each_epoch_anew_and_alike_for_the_same_seed():
    first, again, other = (
        loader(toy(), 4, True, 7),
        loader(toy(), 4, True, 7),
        loader(toy(), 4, True, 8),
    )
    epochs = [values(first) for _ in range(3)]
    assert epochs == [values(again) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] and values(other) != epochs[0]
    for epoch in epochs:
        assert sorted(sum(epoch, [])) == list(range(10))


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="batch_size is 0"):
        loader(toy(), 0)
    with pytest.raises(ValueError, match="empty"):
        loader(toy(0), 2)
