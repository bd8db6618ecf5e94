"""Augmentation: what a change may do to a picture, and that a seed decides it."""

from __future__ import annotations

import pytest
import torch
from roofline.data import loader
from roofline.data.augment import augment, brightness, contrast, flip, normalise, shift
from roofline.data.dataset import Images


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


IMAGES = torch.rand(64, 3, 6, 8, generator=seeded(1))


def test_flip_mirrors_about_half_of_them():
    flipped = flip(IMAGES, seeded())
    same = (flipped == IMAGES).flatten(1).all(1)
    mirrored = (flipped == IMAGES.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all() and 16 < int(same.sum()) < 48


def test_shift_moves_every_picture_by_at_most_so_many_pixels():
    moved = shift(2)(IMAGES, seeded())
    padded = torch.nn.functional.pad(IMAGES, (2,) * 4, mode="replicate")
    offsets = []
    for i in range(len(IMAGES)):
        found = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.equal(padded[i, :, dy : dy + 6, dx : dx + 8], moved[i])
        ]
        assert len(found) == 1
        offsets += found
    assert len(set(offsets)) > 15
    assert torch.equal(shift(0)(IMAGES, seeded()), IMAGES)


def test_brightness_and_contrast_stay_in_range():
    for change in (brightness(0.5), contrast(0.5)):
        changed = change(IMAGES, seeded())
        assert changed.min() >= 0 and changed.max() <= 1 and not torch.equal(changed, IMAGES)
    assert torch.allclose(brightness(0.0)(IMAGES, seeded()), IMAGES)
    narrow = 0.4 + 0.2 * IMAGES
    changed = contrast(0.5)(narrow, seeded())
    assert torch.allclose(changed.mean((1, 2, 3)), narrow.mean((1, 2, 3)), atol=1e-5)
    ratio = changed.std((1, 2, 3)) / narrow.std((1, 2, 3))
    assert ratio.min() > 0.5 and ratio.max() < 1.5 and ratio.std() > 0.1


def test_as_a_loaders_transform_the_seed_decides():
    data = Images(IMAGES, torch.zeros(64).long(), ("a",))
    change = augment(flip, shift(1), brightness(0.2))
    runs = [list(loader(data, 16, seed=s, transform=change)) for s in (1, 1, 2)]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(runs[0], runs[1], strict=True))
    assert not torch.equal(runs[0][0][0], runs[2][0][0])
    assert all(torch.equal(labels, torch.zeros(16).long()) for _, labels in runs[0])


def test_normalise_by_channel():
    done, mean, deviation = normalise(IMAGES * torch.tensor([1.0, 2, 3])[:, None, None])
    assert torch.allclose(done.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(done.std((0, 2, 3)), torch.ones(3), atol=1e-5)
    again, _, _ = normalise(IMAGES, mean, deviation)
    assert torch.allclose(again[:, 1], (IMAGES[:, 1] - mean[1]) / deviation[1])


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 0.9])
@pytest.mark.parametrize("shape", [(12, 1, 9, 9), (100, 1, 24, 24), (12, 3, 9, 9)])
def test_normalise_leaves_a_constant_channel_at_zero(value, shape):
    """The deviation of equal numbers is 0 or some last places of theirs, as their mean rounds."""
    done, mean, deviation = normalise(torch.full(shape, value))
    assert done.abs().max() < 1e-5 and torch.equal(deviation, torch.ones(shape[1]))
    new, _, _ = normalise(torch.full(shape, 0.25), mean, deviation)
    assert torch.allclose(new, torch.full(shape, 0.25 - value), atol=1e-5)


def test_normalise_with_a_deviation_of_zero():
    done, _, _ = normalise(IMAGES, torch.zeros(3), torch.tensor([1.0, 0.0, 2.0]))
    assert torch.equal(done[:, 1], IMAGES[:, 1]) and torch.equal(done[:, 2], IMAGES[:, 2] / 2)
