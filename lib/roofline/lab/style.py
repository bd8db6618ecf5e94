"""How every picture of the course looks, and how numbers with units are written.

Chapters call ``style.use()`` once; experiments draw on :func:`figure`, which needs no pyplot and
leaves nothing behind. Pictures keep a white ground on purpose: a saved picture is read in light and
in dark themes, and only a ground of its own keeps its ink legible in both.

Colours: Okabe and Ito, "Color Universal Design" (2008), told apart by readers of any colour vision.
A picture never says something with colour alone: lines differ in dash, points in shape.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
import numpy
from cycler import cycler
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from roofline.lab.words import drawn

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#595959"
"""Not of the palette: for what stands in the background, 7:1 against white."""

GRID = "#D9D9D9"

CYCLE = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK)
"""The order in which a plot uses the colours; yellow is left out, it is too pale for a line."""

MODELLED: dict[str, Any] = {"color": BLUE, "linestyle": "-", "linewidth": 2.0}
"""How a line computed from a formula looks, in every picture."""
MEASURED: dict[str, Any] = {"color": BLACK, "linestyle": "none", "marker": "o", "markersize": 4.5}
"""How points that were counted or timed look, in every picture."""

_SETTINGS: Any = {
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.02,  # set, or matplotlib measures every label to find it, a tenth of the time
    "axes.labelsize": 10,
    "axes.prop_cycle": cycler(color=CYCLE),
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "image.cmap": "cividis",
    "legend.frameon": True,  # white behind the words, or grid lines and curves run through them
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "legend.fontsize": 9,
    "lines.linewidth": 2.0,
    "text.color": BLACK,
    "text.hinting": "none",  # shapes as designed; matplotlib's default costs an eighth of the time
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "svg.hashsalt": "roofline",
}


def use() -> None:
    """Set the course's style for every matplotlib picture from here on."""
    matplotlib.rcParams.update(_SETTINGS)


def applied() -> AbstractContextManager[None]:
    """The course's style inside a ``with`` block, and the settings from before after it."""
    return matplotlib.rc_context(_SETTINGS)


def figure(width: float = 8.4, height: float = 3.0) -> Figure:
    """An empty figure of ``width`` by ``height`` inches, unknown to pyplot: it needs no closing.

    Call it, and draw on it, inside ``with style.applied():``.
    """
    return Figure(figsize=(width, height))


def plain_ticks(axis: Axis) -> None:
    """Mark a logarithmic axis at 1, 2 and 5 of each decade, in plain numbers.

    For axes of a few decades: ``plain_ticks(axes.yaxis)``. Matplotlib writes 4 × 10⁰ there.
    """
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def png(picture: Figure, dpi: int = 144) -> bytes:
    """The picture as PNG, the same bytes whenever the same picture is drawn.

    ``dpi`` is dots per inch: 144 stays sharp on a screen that shows a picture at 96 and zooms.
    """
    with applied():
        return _encoded(drawn(picture, dpi), dpi)


def _encoded(pixels: numpy.ndarray, dpi: int) -> bytes:
    """(height, width, 3) bytes as PNG, its rows unfiltered (W3C, "Portable Network Graphics").

    A library tries the filters on each row. On drawings, mostly white, none of them saves anything,
    and trying takes as long as compressing.
    """
    height, width, _ = pixels.shape
    rows = numpy.zeros((height, 1 + 3 * width), numpy.uint8)  # each begins with its filter, 0
    rows[:, 1:] = pixels.reshape(height, -1)
    a_metre = round(dpi / 0.0254)
    chunks = {
        b"IHDR": struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0),  # 8 bits; red, green, blue
        b"pHYs": struct.pack(">2IB", a_metre, a_metre, 1),
        b"IDAT": zlib.compress(rows.tobytes(), 1),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def size(count: float) -> str:
    """Bytes as a reader says them, three digits and a unit: ``664 kB``, ``3.06 MB``.

    Each unit is 1,000 of the one before (SI), as on the data sheets of memories and links.
    """
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.5 or unit == "TB":
            break
        value /= 1000
    if value == int(value):
        return f"{value:,.0f} {unit}"
    digits = max(0, 3 - len(f"{abs(value):.0f}"))
    return f"{value:,.{digits}f} {unit}"


def several(count: int, noun: str) -> str:
    """``1 layer``, ``2,048 layers``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def amount(count: float, unit: str = "") -> str:
    """A count as a reader says it, three digits and an SI prefix: ``1.89 M``, ``527 MFLOP``."""
    value, prefix = float(count), ""
    for prefix in ("", "k", "M", "G", "T", "P", "E"):
        if abs(value) < 999.5 or prefix == "E":
            break
        value /= 1000
    digits = 0 if value == int(value) else max(0, 3 - len(f"{abs(value):.0f}"))
    return f"{value:,.{digits}f} {prefix}{unit}".rstrip()
