"""Images: agreement of inputs and labels, taking, splitting, standardising."""

from __future__ import annotations

import pytest
import torch
from roofline.data import Images, stratified


def toy(count: int = 12) -> Images:
    images = torch.arange(count, dtype=torch.float32).reshape(count, 1, 1, 1).expand(-1, 1, 2, 2)
    return Images(images, torch.arange(count) % 3, ("a", "b", "c"))


def test_labels_must_match_images_and_classes():
    with pytest.raises(ValueError, match="2 images but 3 labels"):
        Images(torch.zeros(2, 1, 2, 2), torch.zeros(3, dtype=torch.int64), ("a",))
    with pytest.raises(ValueError, match="labels run from 0 to 1, expected 0 to 0 for 1 classes"):
        Images(torch.zeros(2, 1, 2, 2), torch.tensor([0, 1]), ("a",))


@pytest.mark.parametrize("labels", [[0, 1], torch.tensor([0.0, 1.0]), torch.eye(2).long()])
def test_what_is_no_class_number_is_named(labels):
    with pytest.raises(ValueError, match="the labels are a .*, expected one class number for each"):
        Images(torch.zeros(2, 1, 2, 2), labels, ("a", "b"))


def test_split_keeps_the_shares_of_classes_and_loses_nothing():
    big, small = toy(120).split(0.25, seed=3)
    assert big.labels.bincount().tolist() == [30] * 3
    assert small.labels.bincount().tolist() == [10] * 3
    both = torch.cat([big.images, small.images])[:, 0, 0, 0].sort().values
    assert torch.equal(both, torch.arange(120.0))


def test_split_depends_on_the_seed_only():
    labels = torch.arange(90) % 3
    assert torch.equal(stratified(labels, 0.5, 1)[1], stratified(labels, 0.5, 1)[1])
    assert not torch.equal(stratified(labels, 0.5, 1)[1], stratified(labels, 0.5, 2)[1])
    with pytest.raises(ValueError, match="fraction is 1"):
        stratified(labels, 1)
    with pytest.raises(ValueError, match="leaves one part empty"):
        stratified(torch.arange(4), 0.25)


def test_standardise():
    done = toy().standardise()
    assert abs(float(done.images.mean())) < 1e-6 and abs(float(done.images.std()) - 1) < 1e-6
    assert torch.allclose(toy().standardise(2, 4).images, (toy().images - 2) / 4)
