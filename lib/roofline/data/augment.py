"""Changes to pictures that keep what they show, and normalising: on whole batches, (N, C, H, W).

Every random change takes a ``torch.Generator``, so that a seed decides it. Pass one to a loader as
``transform=augment(...)`` and it gets a generator of its own for each batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each picture left to right with probability 1/2."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def shift(pixels: int) -> Change:
    """Move each picture by up to ``pixels`` each way; its edge fills the gap."""

    def change(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        count, _, height, width = images.shape
        offsets = torch.randint(-pixels, pixels + 1, (count, 2), generator=generator)
        rows = (offsets[:, :1] + torch.arange(height)).clamp(0, height - 1)
        columns = (offsets[:, 1:] + torch.arange(width)).clamp(0, width - 1)
        picture = torch.arange(count)[:, None, None]
        channels_last = images.permute(0, 2, 3, 1)
        moved = channels_last[picture, rows[:, :, None], columns[:, None, :]]
        return moved.permute(0, 3, 1, 2)

    return change


def brightness(strength: float) -> Change:
    """Multiply each picture by a random factor in ``1 ± strength``, and clip to [0, 1]."""

    def change(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        factor = 1 + strength * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)
        return (images * factor).clamp(0, 1)

    return change


def contrast(strength: float) -> Change:
    """Scale each picture's distance from its own mean by ``1 ± strength``, and clip to [0, 1]."""

    def change(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        factor = 1 + strength * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)
        mean = images.mean((1, 2, 3), keepdim=True)
        return (mean + (images - mean) * factor).clamp(0, 1)

    return change


def augment(*changes: Change) -> Callable[[tuple, torch.Generator], tuple]:
    """A loader's transform that makes ``changes`` to the pictures of a batch, one after another."""

    def transform(batch: tuple, generator: torch.Generator) -> tuple:
        images, *rest = batch
        for change in changes:
            images = change(images, generator)
        return (images, *rest)

    return transform


def normalise(
    images: torch.Tensor, mean: torch.Tensor | None = None, deviation: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Subtract ``mean`` and divide by ``deviation`` channel by channel; give back both as well.

    A channel that is constant up to rounding is divided by 1, which is then its ``deviation``.

    Args:
        mean, deviation: (channels,); by default taken from ``images`` over all but the channels.
            Normalise a test set with the training set's.
    """
    if mean is None:
        mean = images.mean((0, 2, 3))
    if deviation is None:
        deviation = images.std((0, 2, 3))
    # The mean of many equal numbers may be a neighbour of theirs: a deviation of some last places.
    rounding = 8 * torch.finfo(deviation.dtype).eps * mean.abs()
    deviation = torch.where(deviation > rounding, deviation, torch.ones_like(deviation))
    return (images - mean[:, None, None]) / deviation[:, None, None], mean, deviation
