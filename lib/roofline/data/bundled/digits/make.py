"""Copy digits.csv.gz from scikit-learn 1.9.1, byte for byte.

Run: pip download --no-deps scikit-learn==1.9.1, then python make.py scikit_learn-*.whl.
A row a picture: 64 counts of 0 to 16, row by row, then the digit.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from roofline.data.sources import write_source

HERE = Path(__file__).parent


def main(wheel: Path) -> None:
    data = zipfile.ZipFile(wheel).read("sklearn/datasets/data/digits.csv.gz")
    (HERE / "digits.csv.gz").write_bytes(data)
    write_source(
        HERE,
        title="Handwritten digits, 8×8",
        licence="BSD 3-Clause (scikit-learn)",
        attribution=(
            "E. Alpaydin and C. Kaynak, 1998, Optical Recognition of Handwritten Digits, "
            "UCI Machine Learning Repository; copyright (c) the scikit-learn developers"
        ),
        origin="Python package scikit-learn 1.9.1, sklearn/datasets/data/digits.csv.gz",
        files=("digits.csv.gz",),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
