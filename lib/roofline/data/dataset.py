"""Data sets: inputs and labels side by side, indexable by a number, a slice or a tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from .sources import Source


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures with a class each.

    ``images``: (N, channels, height, width), float32 in [0, 1] unless standardised.
    ``labels``: (N,), int64, indices into ``classes``.
    ``source`` says where they come from, ``files`` names each picture's file where there is one.
    ``skipped`` names the files that could not be used, where skipping was asked for.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    source: Source | None = None
    files: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_labels(len(self.images), "images", self.labels, self.classes)

    @property
    def generated(self) -> bool:
        """True where a program drew the pictures."""
        return self.source is not None and self.source.generated

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.labels[index]

    def __repr__(self) -> str:
        shape = "×".join(str(size) for size in self.images.shape)
        name = self.source.title if self.source else "Images"
        made = ", generated" if self.generated else ""
        return f"{name}: {shape}, {len(self.classes)} classes{made}"

    def take(self, index: torch.Tensor | slice) -> Images:
        """The data set of the pictures at ``index``."""
        files = self.files
        if files:
            chosen = torch.arange(len(self))[index].tolist()
            files = tuple(files[i] for i in chosen)
        return replace(self, images=self.images[index], labels=self.labels[index], files=files)

    def split(self, fraction: float, seed: int = 0) -> tuple[Images, Images]:
        """Two data sets, each class divided alike: ``1 - fraction`` of it, and ``fraction``.

        Each class's share is rounded to the nearest picture; the order within each is kept.
        """
        first, second = stratified(self.labels, fraction, seed)
        return self.take(first), self.take(second)

    def standardise(self, mean: float | None = None, deviation: float | None = None) -> Images:
        """Subtract ``mean`` and divide by ``deviation``, by default this set's own.

        Both are taken over all pixels. Standardise a test set with the training set's two numbers.
        """
        mean = float(self.images.mean()) if mean is None else mean
        deviation = float(self.images.std()) if deviation is None else deviation
        return replace(self, images=(self.images - mean) / deviation)


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts, with a class each where there are classes.

    ``labels``: (N,), int64, indices into ``classes``; all 0 where there is one class.
    ``skipped`` names the files that could not be used, where skipping was asked for.
    """

    texts: tuple[str, ...]
    labels: torch.Tensor
    classes: tuple[str, ...]
    source: Source | None = None
    files: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_labels(len(self.texts), "texts", self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.texts[index], int(self.labels[index])

    def __repr__(self) -> str:
        name = self.source.title if self.source else "Texts"
        return f"{name}: {len(self)} texts, {len(self.classes)} classes"

    def take(self, index: torch.Tensor | slice) -> Texts:
        """The data set of the texts at ``index``."""
        chosen = torch.arange(len(self))[index].tolist()
        return replace(
            self,
            texts=tuple(self.texts[i] for i in chosen),
            labels=self.labels[index],
            files=tuple(self.files[i] for i in chosen) if self.files else (),
        )

    def split(self, fraction: float, seed: int = 0) -> tuple[Texts, Texts]:
        """Two data sets, each class divided alike: ``1 - fraction`` of it, and ``fraction``."""
        first, second = stratified(self.labels, fraction, seed)
        return self.take(first), self.take(second)


def check_labels(count: int, what: str, labels: torch.Tensor, classes: tuple[str, ...]) -> None:
    """Raise ValueError unless there are ``count`` labels and each is an index into ``classes``."""
    if not isinstance(labels, torch.Tensor) or labels.dim() != 1 or labels.is_floating_point():
        found = type(labels).__name__
        if isinstance(labels, torch.Tensor):
            found = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(
            f"the labels are a {found}, expected one class number for each of the {what}, such as "
            f"torch.tensor([0, 1, 0])"
        )
    if count != len(labels):
        raise ValueError(f"{count} {what} but {len(labels)} labels")
    if count == 0:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise ValueError(
            f"labels run from {low} to {high}, "
            f"expected 0 to {len(classes) - 1} for {len(classes)} classes"
        )


def stratified(
    labels: torch.Tensor, fraction: float, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of two parts, ``1 - fraction`` and ``fraction`` of every class, each in order."""
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}, expected more than 0 and less than 1")
    generator = torch.Generator().manual_seed(seed)
    second = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        chosen = torch.randperm(len(members), generator=generator)
        second[members[chosen[: round(fraction * len(members))]]] = True
    if second.all() or not second.any():
        raise ValueError(
            f"{fraction} of {len(labels)} items in {len(labels.unique())} classes leaves one part "
            "empty: each class's share is rounded, so give it more items, or another fraction"
        )
    return (~second).nonzero()[:, 0], second.nonzero()[:, 0]
