"""Make images.png and labels.txt from Debian's package dataset-fashion-mnist.

Run: apt-get install dataset-fashion-mnist, then python make.py.
The first 1,200 training and the first 200 test pictures of each class, in their original order,
tiled 100 to a row. The first 12,000 tiles are the training set, the last 2,000 the test set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from roofline.data.pictures import read_idx
from roofline.data.sources import write_source

ORIGIN = Path("/usr/share/datasets/fashion-mnist")
HERE = Path(__file__).parent
COLUMNS = 100


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the first ``count`` pictures of each class, in ascending order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))


def main() -> None:
    images, lines = [], []
    for part, count in (("train", 1200), ("t10k", 200)):
        labels = read_idx(ORIGIN / f"{part}-labels-idx1-ubyte.gz")
        chosen = first_of_each_class(labels, count)
        images.append(read_idx(ORIGIN / f"{part}-images-idx3-ubyte.gz")[chosen])
        lines.append("".join(str(label) for label in labels[chosen]))
    tiles = np.concatenate(images).reshape(-1, COLUMNS, 28, 28)
    sheet = tiles.transpose(0, 2, 1, 3).reshape(-1, COLUMNS * 28)
    Image.fromarray(sheet).save(HERE / "images.png", optimize=True)
    (HERE / "labels.txt").write_text("\n".join(lines) + "\n", encoding="ascii")
    write_source(
        HERE,
        title="Fashion-MNIST, 12,000 + 2,000 of its 70,000 pictures",
        licence="MIT",
        attribution="Copyright (c) 2017 Zalando SE; Xiao, Rasul and Vollgraf, arXiv 1708.07747",
        origin="Debian package dataset-fashion-mnist 0.0~git20200523.55506a9-1",
        files=("images.png", "labels.txt"),
    )


if __name__ == "__main__":
    main()
