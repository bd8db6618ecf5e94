"""Loaders: every item once, in an order that the seed decides, whatever the workers."""

from __future__ import annotations

import time

import pytest
import torch
from roofline.data import Images, LoadingError, loader


def toy(count: int = 10) -> Images:
    images = torch.arange(float(count))[:, None, None, None]
    return Images(images, torch.zeros(count).long(), ("a",))


class Slow:
    """Single items; the first ones take longest, so that threads finish out of order."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> int:
        time.sleep(0.0005 * (23 - index))
        if index == self.bad:
            raise ValueError(f"photos/{index}.jpg can't be read")
        return index

    bad = -1


def values(batches) -> list[list[int]]:
    return [images.flatten().int().tolist() for images, _ in batches]


def test_in_order_without_shuffling():
    batches = loader(toy(), 4)
    assert values(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and len(batches) == 3


def test_drop_last():
    batches = loader(toy(), 4, drop_last=True)
    assert values(batches) == [[0, 1, 2, 3], [4, 5, 6, 7]] and len(batches) == 2


def test_shuffled_each_epoch_anew_and_alike_for_the_same_seed():
    first, again, other = (loader(toy(), 4, True, seed) for seed in (7, 7, 8))
    epochs = [values(first) for _ in range(3)]
    assert epochs == [values(again) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] and values(other) != epochs[0]
    for epoch in epochs:
        assert sorted(sum(epoch, [])) == list(range(10))


def test_an_epoch_can_be_taken_up_in_the_middle():
    batches = loader(toy(), 3, True, 5)
    whole = values(batches.batches(epoch=4))
    assert values(batches.batches(epoch=4, start=2)) == whole[2:] and batches.epoch == 0


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_workers_change_neither_batches_nor_their_order(workers):
    def noisy(batch, generator):
        return batch + torch.rand(len(batch), generator=generator)

    options = {"shuffle": True, "seed": 3, "collate": torch.tensor, "transform": noisy}
    alone, many = loader(Slow(), 4, **options), loader(Slow(), 4, workers=workers, **options)
    for _ in range(2):
        for one, other in zip(alone, many, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_batch_items_and_cause(workers):
    data = Slow()
    data.bad = 9
    seen = []
    with pytest.raises(
        LoadingError,
        match=r"batch 2 of epoch 0 \(items 8, 9, 10, 11\) can't be loaded: ValueError: "
        r"photos/9.jpg can't be read",
    ) as error:
        for batch in loader(data, 4, workers=workers, collate=list):
            seen.append(batch)
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert isinstance(error.value.__cause__, ValueError)


def test_leaving_early_stops_the_workers():
    batches = iter(loader(Slow(), 1, workers=2, collate=list))
    assert next(batches) == [0]
    batches.close()  # returns only when the threads have ended


def test_by_length_wastes_less_and_loses_nothing():
    lengths = torch.randint(1, 100, (1000,), generator=torch.Generator().manual_seed(0))
    waste = {}
    for name, option in (("mixed", None), ("sorted", lengths)):
        batches = loader(range(1000), 10, True, 1, lengths=option).order(0)
        assert sorted(torch.cat(batches).tolist()) == list(range(1000))
        waste[name] = sum(int((lengths[b].max() - lengths[b]).sum()) for b in batches)
    assert waste["sorted"] < 0.1 * waste["mixed"]
    batches = loader(range(1000), 10, True, 1, lengths=lengths)
    longest = [int(lengths[b].max()) for b in batches.order(0)]
    assert longest != sorted(longest)
    assert not torch.equal(torch.cat(batches.order(0)), torch.cat(batches.order(1)))


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="batch_size is 0"):
        loader(toy(), 0)
    with pytest.raises(ValueError, match="empty"):
        loader(toy(0), 2)
    with pytest.raises(ValueError, match="workers is -1"):
        loader(toy(), 2, workers=-1)
    with pytest.raises(ValueError, match="3 lengths for 10 items"):
        loader(toy(), 2, lengths=[1, 2, 3])
