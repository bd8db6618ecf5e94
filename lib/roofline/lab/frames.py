"""Axes that are drawn in half the time: grid, marks and labels, and nothing that moves.

matplotlib makes five artists for each tick, and measures their labels several times to find out
which of them would collide. A picture that is drawn anew at each move of a slider has marks that
its author has chosen, so a few lines and words do.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from roofline.lab import style


@dataclass(frozen=True)
class Scale:
    """One side of a picture.

    ``label``: what it counts, and its unit. ``marks``: the words at each place, empty for a line of
    the grid without words. What grows by factors is drawn at its exponents: :meth:`powers`.
    """

    label: str
    low: float
    high: float
    marks: Mapping[float, str] | Mapping[int, str]

    @staticmethod
    def even(label: str, high: float, words: Callable[[float], str]) -> Scale:
        """From 0, with two to five marks at round numbers."""
        power = 10.0 ** math.floor(math.log10(high))
        step = next(power * k for k in (0.2, 0.5, 1, 2, 5) if high / (power * k) < 6)
        marks = [step * k for k in range(int(high / step) + 1)]
        return Scale(label, 0, high, {at: words(at) if at else "0" for at in marks})

    @staticmethod
    def powers(label: str, marks: Mapping[float, str], margin: float = 0.0) -> Scale:
        """From the least mark to the greatest and ``margin`` of it beyond, by factors."""
        places = {math.log10(value): words for value, words in marks.items()}
        low, high = min(places), max(places)
        beyond = margin * (high - low)
        return Scale(label, low - beyond, high + beyond, places)


def exponents(values: Iterable[float]) -> list[float]:
    """Where numbers stand on a scale of :meth:`Scale.powers`."""
    return [math.log10(value) for value in values]


def frame(figure: Figure, place: tuple[float, float, float, float], x: Scale, y: Scale) -> Axes:
    """Axes at ``place``: left, bottom, right, top, as shares of the figure.

    The label of ``x`` stands below, that of ``y`` above, at the left, where it can be read.
    """
    left, bottom, right, top = place
    axis = figure.add_axes((left, bottom, right - left, top - bottom))
    axis.set(xlim=(x.low, x.high), ylim=(y.low, y.high), xlabel=x.label)
    axis.set_title(y.label)
    axis.xaxis.set_visible(False)
    axis.yaxis.set_visible(False)
    segments = [[(at, y.low), (at, y.high)] for at in x.marks]
    segments += [[(x.low, at), (x.high, at)] for at in y.marks]
    axis.add_collection(
        LineCollection(segments, colors=style.GRID, linewidths=0.6, zorder=0), autolim=False
    )
    point = 1 / 72
    below = axis.get_xaxis_transform() + ScaledTranslation(0, -5 * point, figure.dpi_scale_trans)
    for at, words in x.marks.items():
        if words:
            axis.text(at, 0, words, ha="center", va="top", fontsize=9, transform=below)
    beside = axis.get_yaxis_transform() + ScaledTranslation(-5 * point, 0, figure.dpi_scale_trans)
    for at, words in y.marks.items():
        if words:
            axis.text(0, at, words, ha="right", va="center_baseline", fontsize=9, transform=beside)
    under = axis.transAxes + ScaledTranslation(0, -20 * point, figure.dpi_scale_trans)
    axis.text(0.5, 0, x.label, ha="center", va="top", fontsize=10, transform=under)
    return axis


Look = Mapping[str, Any]


def stands(axis: Axes, place: float) -> None:
    """A dotted line from bottom to top where the control stands."""
    axis.axvline(place, color=style.GREY, linewidth=1, linestyle=":")


def curves(
    axis: Axes,
    here: float,
    along: Sequence[float],
    modelled: Iterable[tuple[Iterable[float], Look]],
    measured: Mapping[float, Iterable[float]],
) -> None:
    """What grows by factors along a control: lines that are modelled, points that are measured.

    The control stands at ``here``. ``modelled``: each line's values at the places ``along``, and
    its look. ``measured``: the values at some places.
    """
    stands(axis, here)
    for values, look in modelled:
        axis.plot(along, exponents(values), **look)
    points = [(place, value) for place, values in measured.items() for value in values]
    axis.plot(
        [place for place, _ in points], exponents(value for _, value in points), **style.MEASURED
    )


def source(figure: Figure, label: str) -> None:
    """At the bottom: of which machine the figures are, and when. A very long line is cut short."""
    said = textwrap.shorten(label, 140, placeholder=" …")
    figure.text(0.01, 0.004, said, fontsize=7.5, color=style.GREY, va="bottom")


def legend(figure: Figure, entries: Mapping[str, Look], lefts: Sequence[float], top: float) -> None:
    """What the lines, points and bars look like, and what they are, row by row.

    ``entries``: the look of each by its words; a bar is one with a ``hatch``, or None. ``lefts``:
    where each column begins; ``top``: the middle of the first row; as shares of the figure.
    matplotlib's own measures every word to find a place, a fifth of a picture's time.
    """
    inches = figure.get_figheight()
    for number, (words, look) in enumerate(entries.items()):
        left = lefts[number % len(lefts)]
        height = top - 0.19 / inches * (number // len(lefts))
        right = left + 0.28 / figure.get_figwidth()
        if "hatch" in look:
            size = (right - left, 0.1 / inches)
            corner = (left, height - size[1] / 2)
            bar = {"edgecolor": "white", "linewidth": 0, **look}
            figure.add_artist(Rectangle(corner, *size, transform=figure.transFigure, **bar))
        else:
            point = look.get("linestyle") == "none"
            along = [(left + right) / 2] if point else [left, right]
            figure.add_artist(Line2D(along, [height] * len(along), **look))
        figure.text(right + 0.008, height, words, fontsize=9, va="center_baseline")
