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
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images but {len(self.labels)} labels")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(
            self.classes
        ):
            raise ValueError(
                f"labels run from {int(self.labels.min())} to {int(self.labels.max())}, "
                f"expected 0 to {len(self.classes) - 1} for {len(self.classes)} classes"
            )

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
        return tuple(self.take(part) for part in stratified(self.labels, fraction, seed))  # type: ignore[return-value]

    def standardise(self, mean: float | None = None, deviation: float | None = None) -> Images:
        """Subtract ``mean`` and divide by ``deviation``, by default this set's own.

        Both are taken over all pixels. Standardise a test set with the training set's two numbers.
        """
        mean = float(self.images.mean()) if mean is None else mean
        deviation = float(self.images.std()) if deviation is None else deviation
        return replace(self, images=(self.images - mean) / deviation)


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
    return (~second).nonzero()[:, 0], second.nonzero()[:, 0]
