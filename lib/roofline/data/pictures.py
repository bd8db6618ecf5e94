"""The picture sets that come with the course."""

from __future__ import annotations

import gzip
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .dataset import Images
from .sources import read, source, verify

FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")
# sha256 of the four files of the full set, uncompressed.
FASHION_FULL = {
    "t10k-images-idx3": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    "train-images-idx3": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
}


def fashion_mnist(
    full: bool = False, standardise: bool = False, folder: str | Path = FASHION_FOLDER
) -> tuple[Images, Images]:
    """Fashion-MNIST: grey 28×28 pictures of clothes in ten classes, to train on and to test on.

    Images are (N, 1, 28, 28), float32 in [0, 1]; labels (N,), int64. The bundled subset has the
    first 1,200 training and 200 test pictures of each class, 12,000 and 2,000 in all.
    Source: Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747.

    Args:
        full: all 60,000 and 10,000, from ``folder``, where the Debian package
            ``dataset-fashion-mnist`` puts them.
        standardise: subtract the training pixels' mean and divide by their standard deviation.

    Raises:
        FileNotFoundError: the full set was asked for and is not there.
        ValueError: a file is damaged.
    """
    train, test = _fashion_full(Path(folder)) if full else _fashion_bundled()
    if standardise:
        mean, deviation = float(train.images.mean()), float(train.images.std())
        train, test = train.standardise(mean, deviation), test.standardise(mean, deviation)
    return train, test


def digits() -> tuple[Images, Images]:
    """Handwritten digits, grey 8×8: 1,347 to train on and 450 to test on, a quarter of each digit.

    Images are (N, 1, 8, 8), float32 in [0, 1] (the source counts 0 to 16). The split is random:
    a writer may be on both sides. Source: Alpaydin and Kaynak 1998.
    """
    text = gzip.decompress(read("digits", "digits.csv.gz")).decode("ascii")
    rows = np.loadtxt(io.StringIO(text), dtype=np.float32, delimiter=",")
    images = torch.from_numpy(rows[:, :64] / 16).reshape(-1, 1, 8, 8)
    classes = tuple(str(digit) for digit in range(10))
    return Images(images, torch.from_numpy(rows[:, 64]).long(), classes, source("digits")).split(
        0.25
    )


def textures(count: int = 600, size: int = 32, seed: int = 0) -> tuple[Images, Images]:
    """Grey crops of photographs of brick, grass and gravel, to train on and to test on.

    Images are (N, 1, size, size), float32 in [0, 1]: ``count`` crops of each photograph's left
    half, and a third as many of its right half, at random places, turned by a random multiple of
    90° and perhaps mirrored. Each crop is brought to mean 0.5 and standard deviation 0.2, so that
    brightness tells nothing: what differs is the pattern, and the pattern may lie anywhere.

    Args:
        count: training crops of each class.
        size: pixels a side, at most 256.
    """
    if not 2 <= size <= 256:
        raise ValueError(f"size is {size}, expected 2 to 256 pixels")
    classes = ("brick", "grass", "gravel")
    photographs = [torch.from_numpy(_grey("textures", f"{name}.png")) for name in classes]
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for number, start in ((count, 0), (count // 3, 256)):
        crops = [
            _crop(photograph[:, start : start + 256], size, generator)
            for photograph in photographs
            for _ in range(number)
        ]
        labels = torch.arange(len(classes)).repeat_interleave(number)
        order = torch.randperm(len(crops), generator=generator)
        parts.append(Images(torch.stack(crops)[order], labels[order], classes, source("textures")))
    return parts[0], parts[1]


def _crop(photograph: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """A random, turned, evened out square of ``photograph``: (1, size, size)."""
    top, left, turns, mirror = (
        int(torch.randint(high, (), generator=generator))
        for high in (photograph.shape[0] - size + 1, photograph.shape[1] - size + 1, 4, 2)
    )
    crop = photograph[top : top + size, left : left + size].float().rot90(turns)
    if mirror:
        crop = crop.flip(1)
    even = (crop - crop.mean()) / crop.std().clamp_min(1)
    return (0.5 + 0.2 * even).clamp(0, 1)[None]


def _fashion_bundled() -> tuple[Images, Images]:
    tiles = _tiles("fashion_mnist", "images.png", 28)
    lines = read("fashion_mnist", "labels.txt").split()
    labels = np.frombuffer(b"".join(lines), np.uint8) - ord("0")
    count = len(lines[0])
    return _fashion(tiles[:count], labels[:count]), _fashion(tiles[count:], labels[count:])


def _fashion_full(folder: Path) -> tuple[Images, Images]:
    whole = replace(source("fashion_mnist"), title="Fashion-MNIST", files=FASHION_FULL)
    train, test = (
        _fashion(
            read_idx(folder / f"{part}-images-idx3-ubyte.gz"),
            read_idx(folder / f"{part}-labels-idx1-ubyte.gz"),
        )
        for part in ("train", "t10k")
    )
    return replace(train, source=whole), replace(test, source=whole)


def _fashion(images: np.ndarray, labels: np.ndarray) -> Images:
    return _images(images, labels, FASHION_CLASSES, "fashion_mnist")


def _images(pixels: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], name: str) -> Images:
    """Images from (N, height, width) bytes."""
    values = torch.tensor(pixels)[:, None].float().div_(255)
    return Images(values, torch.from_numpy(labels.astype(np.int64)), classes, source(name))


def _tiles(name: str, file: str, size: int) -> np.ndarray:
    """The square tiles of a bundled sheet, row by row: (N, size, size) bytes."""
    pixels = _grey(name, file)
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    return pixels.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(-1, size, size)


def _grey(name: str, file: str) -> np.ndarray:
    """A bundled grey picture: (height, width) bytes."""
    from PIL import Image  # 50 ms that only those who load pictures should pay

    with Image.open(io.BytesIO(read(name, file))) as picture:
        return np.array(picture.convert("L"))


def read_idx(path: Path) -> np.ndarray:
    """A gzipped IDX file of bytes: two zeros, 8 for "bytes", the number of dimensions, each one's
    size as a big-endian 32-bit number, then the values (the format of the MNIST files)."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: install the Debian package dataset-fashion-mnist, name the "
            f"folder that has it, or leave out full=True for the bundled subset"
        )
    data = gzip.decompress(path.read_bytes())
    verify(data, FASHION_FULL[path.name.removesuffix("-ubyte.gz")], str(path))
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of bytes")
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape.astype(int))
