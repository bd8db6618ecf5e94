"""The bundled picture sets: what they hold, and that damage is noticed."""

from __future__ import annotations

import gzip

import pytest
import torch
from roofline.data import fashion_mnist, pictures


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


@pytest.mark.skipif(not pictures.FASHION_FOLDER.is_dir(), reason="the full set is optional")
def test_the_subset_is_the_first_of_each_class_of_the_full_set():
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
