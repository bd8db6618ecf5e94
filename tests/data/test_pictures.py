"""The bundled picture sets: what they hold, and that damage is noticed."""

from __future__ import annotations

import gzip

import pytest
import torch
from needs import need
from roofline.data import (
    cats_and_dogs,
    digits,
    fashion_mnist,
    pictures,
    textures,
    write_cats_and_dogs,
)


def test_fashion_mnist_is_stratified_bytes_over_255():
    train, test = fashion_mnist()
    assert train.images.shape == (12_000, 1, 28, 28) and test.images.shape == (2_000, 1, 28, 28)
    assert train.images.dtype == torch.float32 and train.labels.dtype == torch.int64
    assert train.labels.bincount().tolist() == [1200] * 10
    assert test.labels.bincount().tolist() == [200] * 10
    assert len(train.classes) == 10 and train.classes[9] == "ankle boot"
    levels = (train.images * 255).round()
    assert torch.equal(levels / 255, train.images) and levels.max() == 255 and levels.min() == 0
    assert not train.generated


def test_the_subset_is_not_sorted_by_class():
    train, _ = fashion_mnist()
    assert train.labels[:200].bincount(minlength=10).min() > 5


def test_standardised_with_the_training_pixels_moments():
    train, test = fashion_mnist(standardise=True)
    raw, raw_test = fashion_mnist()
    assert abs(float(train.images.mean())) < 1e-4 and abs(float(train.images.std()) - 1) < 1e-4
    expected = (raw_test.images - raw.images.mean()) / raw.images.std()
    assert torch.allclose(test.images, expected, atol=1e-5)


def test_the_subset_is_the_first_of_each_class_of_the_full_set():
    need(pictures.FASHION_FOLDER.is_dir(), "the Debian package dataset-fashion-mnist")
    train, test = fashion_mnist()
    for subset, full in zip((train, test), fashion_mnist(full=True), strict=True):
        count = len(subset) // 10
        first = torch.cat([(full.labels == c).nonzero()[:count, 0] for c in range(10)])
        first = first.sort().values
        assert torch.equal(full.images[first], subset.images)
        assert torch.equal(full.labels[first], subset.labels)
    assert len(fashion_mnist(full=True)[0]) == 60_000


def test_full_set_missing_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="install the Debian package"):
        fashion_mnist(full=True, folder=tmp_path)


def test_full_set_damaged(tmp_path):
    name = "train-images-idx3-ubyte.gz"
    (tmp_path / name).write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\0" * 12))
    with pytest.raises(ValueError, match="damaged"):
        fashion_mnist(full=True, folder=tmp_path)


def test_digits_are_sixteenths_split_by_class():
    train, test = digits()
    assert train.images.shape[1:] == (1, 8, 8) and len(train) + len(test) == 1797
    assert torch.equal((train.images * 16).round() / 16, train.images)
    assert train.images.max() == 1 and train.images.min() == 0
    shares = test.labels.bincount() / (test.labels.bincount() + train.labels.bincount())
    assert torch.allclose(shares, torch.full((10,), 0.25), atol=0.01)


def test_textures_differ_in_pattern_and_not_in_brightness():
    train, test = textures(count=60, size=32)
    assert train.images.shape == (180, 1, 32, 32) and test.images.shape == (60, 1, 32, 32)
    assert train.labels.bincount().tolist() == [60] * 3
    means, deviations = train.images.mean((1, 2, 3)), train.images.std((1, 2, 3))
    assert (means - 0.5).abs().max() < 0.03 and (deviations - 0.2).abs().quantile(0.9) < 0.03
    # Grass has more power at the finest scale than brick: a difference that no average shows.
    fine = (train.images.diff(dim=3) ** 2).mean((1, 2, 3))
    assert fine[train.labels == 1].mean() > 1.5 * fine[train.labels == 0].mean()


def test_textures_depend_on_the_seed_and_refuse_large_crops():
    first, again, other = (textures(9, 16, seed)[0].images for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    with pytest.raises(ValueError, match="size is 300"):
        textures(size=300)


def test_drawings_say_that_they_are_generated():
    train, test = cats_and_dogs(count=16, size=64, seed=3)
    assert train.generated and test.generated and "generated" in repr(train)
    assert "not photographed" in str(train.source)
    assert train.images.shape == (12, 3, 64, 64) and test.images.shape == (4, 3, 64, 64)
    assert train.labels.bincount().tolist() == [6, 6] and test.labels.bincount().tolist() == [2, 2]
    assert train.images.min() >= 0 and train.images.max() <= 1
    assert cats_and_dogs(count=8, size=32, grey=True)[0].images.shape == (6, 1, 32, 32)


def test_drawings_depend_on_the_seed_only():
    first, again, other = (cats_and_dogs(8, 32, seed)[0].images for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_average_colour_does_not_tell_cats_from_dogs():
    train, _ = cats_and_dogs(count=200, size=24, seed=0)
    pixels = train.images.mean((2, 3))
    cats, dogs = pixels[train.labels == 0], pixels[train.labels == 1]
    error = ((cats.var(0) + dogs.var(0)) / len(cats)).sqrt()
    assert ((cats.mean(0) - dogs.mean(0)).abs() < 4 * error).all()


def test_drawings_as_files(tmp_path):
    write_cats_and_dogs(tmp_path, count=4, size=32)
    assert sorted(p.parent.name for p in tmp_path.rglob("*.png")) == ["cat", "cat", "dog", "dog"]
