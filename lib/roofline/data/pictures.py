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
    from PIL import Image  # 50 ms that only those who load pictures should pay

    with Image.open(io.BytesIO(read(name, file))) as sheet:
        pixels = np.asarray(sheet)
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    return pixels.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(-1, size, size)


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
