"""Make sunspots.csv from the file sunspots_monthly.dat in statsmodels 0.15.0.

Run: pip install statsmodels==0.15.0, then python make.py.
Monthly mean sunspot numbers, January 1749 to June 2009: a line a month, "1749-01,58.0". February
1824 was not observed; the source interpolated it. The months after December 2008 are preliminary.
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from roofline.data.sources import write_source

HERE = Path(__file__).parent


def main() -> None:
    path = distribution("statsmodels").locate_file(
        "statsmodels/datasets/sunspots/src/sunspots_monthly.dat"
    )
    months = ["month,sunspots"]
    for line in Path(str(path)).read_text("ascii").splitlines():
        fields = line.split()
        if fields and fields[0].isdigit() and len(fields[0]) == 4:
            year = fields[0]
            months += [f"{year}-{i:02},{float(x)}" for i, x in enumerate(fields[1:], 1)]
    (HERE / "sunspots.csv").write_text("\n".join(months) + "\n", encoding="ascii")
    write_source(
        HERE,
        title="Monthly mean sunspot numbers, 1749 to 2009",
        licence="Public domain",
        attribution="National Geophysical Data Center, NOAA",
        origin="Python package statsmodels 0.15.0, datasets/sunspots/src/sunspots_monthly.dat",
        files=("sunspots.csv",),
    )


if __name__ == "__main__":
    main()
