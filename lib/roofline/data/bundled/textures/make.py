"""Copy brick.png, grass.png and gravel.png from scikit-image 0.26.0, byte for byte.

Run: pip download --no-deps scikit-image==0.26.0, then python make.py scikit_image-*.whl.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from roofline.data.sources import write_source

HERE = Path(__file__).parent
FILES = ("brick.png", "grass.png", "gravel.png")


def main(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            (HERE / name).write_bytes(archive.read(f"skimage/data/{name}"))
    write_source(
        HERE,
        title="Photographs of brick, grass and gravel, 512×512",
        licence="CC0 1.0",
        attribution=(
            "CC0Textures (Bricks25, Gravel04) and linolafett on DeviantArt (Grass-01); "
            "prepared by the scikit-image team"
        ),
        origin="Python package scikit-image 0.26.0, skimage/data",
        files=FILES,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
