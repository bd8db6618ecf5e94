"""A renderer that keeps the pixels of words.

A picture that is drawn anew at each move of a slider says nearly the same each time, and matplotlib
lays every word out again and draws it letter by letter: two thirds of the time of a small picture.
Here a line of text is drawn once, and its pixels are put where it stands, at whole pixels.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

MARGIN = 4
"""Pixels around a line, for letters that reach beyond its box."""

Colour = tuple[float, float, float, float]


def drawn(picture: Figure, dpi: int) -> numpy.ndarray:
    """(height, width, 3) bytes: red, green and blue of a picture at ``dpi`` dots per inch."""
    picture.set_dpi(dpi)
    width, height = picture.bbox.size
    renderer = Renderer(int(width), int(height), dpi)
    picture.draw(renderer)
    return numpy.asarray(renderer.buffer_rgba())[:, :, :3]


class Renderer(RendererAgg):
    """matplotlib's own, but for lines of text that neither turn nor hold mathematics."""

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: FontProperties, angle: float,
        ismath: Any = False, mtext: Any = None,
    ) -> None:  # fmt: skip
        """Line ``s`` from ``x`` on, its baseline ``y`` pixels below the top."""
        if angle or ismath:
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        line, above = _line(s, prop.copy(), gc.get_rgb(), self.dpi)
        top = round(y) - above
        self.draw_image(gc, round(x) - MARGIN, self.height - top - len(line), line)

    def get_text_width_height_descent(
        self, s: str, prop: FontProperties, ismath: Any
    ) -> tuple[float, float, float]:
        """Pixels of line ``s``: its width, its height, and what of it is below the baseline."""
        if ismath:
            return super().get_text_width_height_descent(s, prop, ismath)
        return _extent(s, prop.copy(), self.dpi)


@functools.lru_cache(maxsize=2048)
def _extent(s: str, prop: FontProperties, dpi: float) -> tuple[float, float, float]:
    return RendererAgg(1, 1, dpi).get_text_width_height_descent(s, prop, False)


@functools.lru_cache(maxsize=1024)
def _line(s: str, prop: FontProperties, colour: Colour, dpi: float) -> tuple[numpy.ndarray, int]:
    """A line on a transparent ground, its lowest row first, and its rows above the baseline."""
    width, height, descent = _extent(s, prop, dpi)
    above = MARGIN + math.ceil(height - descent)
    below = MARGIN + math.ceil(descent)
    renderer = RendererAgg(math.ceil(width) + 2 * MARGIN, above + below, dpi)
    gc = renderer.new_gc()
    gc.set_foreground(colour, isRGBA=True)
    renderer.draw_text(gc, MARGIN, above, s, prop, 0)
    return numpy.asarray(renderer.buffer_rgba())[::-1].copy(), above
