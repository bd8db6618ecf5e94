"""Your own pictures: read with Pillow, turned upright, resized, cropped, made grey, normalised.

Pictures stay on the disk until they are asked for: 2,000 photographs at 224×224 would take 1.2 GB.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .dataset import Images, check_labels, stratified
from .reading import scan

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Picture files with a class each, read when they are asked for.

    ``dataset[7]`` is one picture, (channels, size, size), and its label; ``dataset[tensor]`` and
    ``dataset[2:5]`` are batches. ``skipped`` names files that could not be read.
    """

    files: tuple[str, ...]
    labels: torch.Tensor
    classes: tuple[str, ...]
    size: int
    grey: bool = False
    crop: bool = True
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_labels(len(self.files), "files", self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int | slice | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(index, int):
            return self.picture(index), self.labels[index]
        chosen = torch.arange(len(self))[index]
        if chosen.dim() == 0:
            return self.picture(int(chosen)), self.labels[chosen]
        return torch.stack([self.picture(i) for i in chosen.tolist()]), self.labels[chosen]

    def picture(self, index: int) -> torch.Tensor:
        """One picture, (channels, size, size), float32 in [0, 1]."""
        return read_picture(self.files[index], self.size, self.grey, self.crop)

    def load(self, workers: int = 4) -> Images:
        """Read all pictures into memory, with ``workers`` threads."""
        with ThreadPoolExecutor(workers) as pool:
            pictures = list(pool.map(self.picture, range(len(self))))
        images = torch.stack(pictures)
        return Images(images, self.labels, self.classes, None, self.files, self.skipped)

    def take(self, index: torch.Tensor | slice) -> Pictures:
        """The data set of the pictures at ``index``."""
        chosen = torch.arange(len(self))[index].tolist()
        return replace(self, files=tuple(self.files[i] for i in chosen), labels=self.labels[index])

    def split(self, fraction: float, seed: int = 0) -> tuple[Pictures, Pictures]:
        """Two data sets, each class divided alike: ``1 - fraction`` of it, and ``fraction``."""
        first, second = stratified(self.labels, fraction, seed)
        return self.take(first), self.take(second)


def picture_folder(
    folder: str | Path,
    size: int = 224,
    grey: bool = False,
    crop: bool = True,
    classes: tuple[str, ...] | None = None,
    labels: str | Path | None = None,
    skip_unreadable: bool = False,
    skip_unlabelled: bool = False,
) -> Pictures:
    """The pictures of ``folder``, one sub-folder for each class.

    Args:
        size: pixels a side.
        grey: one channel instead of three.
        crop: resize so that the shorter side fits and cut out the middle; False squeezes.
        classes: the class names to expect, in order, such as those of the training set.
        labels: a CSV file of lines "file,class", instead of sub-folders.
        skip_unreadable: read every file once now, leave out those that can't be read and name
            them in ``skipped``. Otherwise such a file is an error when it is asked for.
        skip_unlabelled: leave out files whose label is missing or not among ``classes``, labels
            without a file, and empty sub-folders, and name them in ``skipped`` too.

    Raises:
        FileNotFoundError: no folder, or no pictures; ValueError: labels that don't match.
    """
    if size < 1:
        raise ValueError(f"size is {size}, expected at least 1 pixel")
    skipped: list[str] = []
    unmatched = skipped if skip_unlabelled else None
    paths, numbers, classes = scan(folder, KINDS, classes, labels, unmatched)
    files = tuple(str(path) for path in paths)
    if skip_unreadable:
        with ThreadPoolExecutor(4) as pool:
            readable = list(pool.map(_readable, files))
        skipped += [file for file, good in zip(files, readable, strict=True) if not good]
        numbers = numbers[torch.tensor(readable)]
        files = tuple(file for file, good in zip(files, readable, strict=True) if good)
        if not files:
            raise ValueError(f"none of the {len(skipped)} pictures in {folder} can be read")
    return Pictures(files, numbers, classes, size, grey, crop, tuple(skipped))


def _readable(file: str) -> bool:
    try:
        read_picture(file, 8)
    except ValueError:
        return False
    return True


def read_picture(
    file: str | Path, size: int = 224, grey: bool = False, crop: bool = True
) -> torch.Tensor:
    """One picture file as a tensor: (3, size, size) or (1, size, size), float32 in [0, 1].

    It is turned upright as its camera noted; transparent parts become white.

    Raises:
        ValueError: Pillow can't read it; the message names the file.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            # A JPEG can be decoded at a smaller scale, which is many times faster.
            opened.draft("L" if grey else "RGB", (2 * size, 2 * size))
            picture = ImageOps.exif_transpose(opened)
            if picture.mode[0] in "IF":  # 16 bits, which Pillow would clip to 8, not scale
                values = np.asarray(picture)
                if picture.mode == "F" or values.min() < 0 or values.max() >= 2**16:
                    raise ValueError("its pixels are numbers of neither 8 nor 16 bits")
                picture = Image.fromarray((values >> 8).astype(np.uint8))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture)
            picture = resize(picture.convert("L" if grey else "RGB"), size, crop)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{file} can't be read as a picture ({error}): remove it, or pass skip_unreadable=True"
        ) from None
    pixels = np.asarray(picture, np.float32) / 255
    return torch.from_numpy(pixels.reshape(size, size, -1).transpose(2, 0, 1).copy())


def resize(picture: Image, size: int, crop: bool = True) -> Image:
    """``size`` pixels square: the middle of the picture, or (``crop=False``) all of it squeezed."""
    from PIL import Image, ImageOps

    if crop:
        return ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
    return picture.resize((size, size), Image.Resampling.BILINEAR)
