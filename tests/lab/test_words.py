"""Words whose pixels are kept look as matplotlib's own, wherever and whenever they are drawn."""

from __future__ import annotations

import numpy
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from roofline.lab import style, words


def written(x: float, y: float, said: str, **look: object) -> Figure:
    figure = style.figure(3.0, 1.0)
    figure.text(x, y, said, **look)
    return figure


def by_matplotlib(picture: Figure) -> numpy.ndarray:
    canvas = FigureCanvasAgg(picture)
    picture.set_dpi(144)
    canvas.draw()
    return numpy.asarray(canvas.buffer_rgba())[:, :, :3]


LOOKS = [
    {},
    {"color": style.VERMILION, "fontsize": 8.5},
    {"weight": "bold", "ha": "right", "va": "top", "x": 0.9},
    {"alpha": 0.5},
    {"rotation": 90, "y": 0.1},
    {"said": "two lines,\none gÄpfel jqy", "va": "center"},
    {"said": r"$x^2$ is mathematics"},
]


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_words_stand_where_matplotlib_puts_them(look):
    setting = {"x": 0.1, "y": 0.4, "said": "12.5 GB (modelled)", **look}
    with style.applied():
        ours = words.drawn(written(**setting), 144)
        again = words.drawn(written(**setting), 144)
        theirs = by_matplotlib(written(**setting))
    assert (ours == again).all()
    ink, other = 255 - ours.astype(float), 255 - theirs.astype(float)
    assert ink.sum() == pytest.approx(other.sum(), rel=0.01)
    for axis in (0, 1):  # the middle of the ink, less than a pixel away
        weights = ink.sum((1 - axis, 2)), other.sum((1 - axis, 2))
        places = [numpy.average(numpy.arange(len(w)), weights=w) for w in weights]
        assert abs(places[0] - places[1]) <= 0.6


def test_the_same_words_in_another_size_or_colour_are_drawn_anew():
    with style.applied():
        pictures = [
            words.drawn(written(0.1, 0.4, "twice", **look), dpi).tobytes()
            for look in ({}, {"color": "red"}, {"fontsize": 12}, {"weight": "bold"})
            for dpi in (100, 144)
        ]
    assert len(set(pictures)) == len(pictures)


def test_words_that_reach_over_the_edge_are_cut_off():
    with style.applied():
        for x, y in ((-0.05, 0.5), (0.95, 0.5), (0.5, -0.05), (0.5, 0.97)):
            assert words.drawn(written(x, y, "half of it"), 144).min() < 128
