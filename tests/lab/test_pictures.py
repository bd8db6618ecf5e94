"""Pictures and lines of text: the same result gives the same bytes, and both say the same."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys

import matplotlib
import numpy
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from roofline import lab
from roofline.lab import style, words
from roofline.lab.measuring import RECORDED

EXPERIMENTS = [lab.find(name) for name in lab.names()]
each = pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lab.names())


@each
def test_the_picture_has_labelled_axes_and_says_measured_or_modelled(experiment):
    figure = experiment.draw(experiment.model())
    assert isinstance(figure, Figure)
    for axis in figure.axes:
        assert axis.get_xlabel() or axis.get_title()
    said = " ".join(text.get_text() for text in figure.findobj(Text))
    assert "measured" in said or "modelled" in said


@each
def test_no_word_leaves_the_picture(experiment, monkeypatch):
    cut = []

    def note(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        width, height, descent = self.get_text_width_height_descent(s, prop, ismath)
        across, down = -0.5 <= x <= self.width + 0.5 - width, y + descent <= self.height + 0.5
        if not (across and down and y - (height - descent) >= -0.5):
            cut.append(s)

    monkeypatch.setattr(words.Renderer, "draw_text", note)
    settings = [{}]
    for name, control in experiment.controls.items():
        kind = control.kind
        several = kind.options if isinstance(kind, lab.Choices) else (kind.low, kind.high)
        settings += [{name: value} for value in several[:4]]
    for setting in settings:
        with style.applied():
            words.drawn(experiment.draw(experiment.model(**setting)), 100)
        assert not cut, setting


@each
def test_text_is_one_line_with_every_number_labelled(experiment):
    line = experiment.describe(experiment.model())
    assert "\n" not in line and ("measured" in line or "modelled" in line)


@each
def test_bytes_do_not_depend_on_what_was_drawn_before(experiment):
    result = experiment.model()
    before = style.png(experiment.draw(result))
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        assert style.png(experiment.draw(experiment.model())) == before
    image = Image.open(io.BytesIO(before))
    assert image.format == "PNG" and not set(image.info) - {"dpi"}


@pytest.fixture(scope="module")
def elsewhere() -> list[dict[str, str]]:
    """What two other processes drew and said of each experiment, by its name."""
    program = (
        "import hashlib, json; from roofline import lab; "
        "shown = {n: lab.find(n).shown(lab.find(n).model()) for n in lab.names()}; "
        "print(json.dumps({n: hashlib.sha256(s.png).hexdigest() + s.line "
        "for n, s in shown.items()}))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    return [json.loads(output) for output in outputs]


@each
def test_bytes_are_the_same_in_another_process(experiment, elsewhere):
    one, other = (shown[experiment.name] for shown in elsewhere)
    assert one == other


@each
def test_another_setting_gives_another_picture_and_text(experiment):
    first = experiment.saved(experiment.model())
    for control in experiment.controls.values():
        kind = control.kind
        values = kind.options if isinstance(kind, lab.Choices) else kind.stops()
        other = next(value for value in values if value != control.default)
        moved = experiment.saved(experiment.model(**{control.name: other}))
        assert moved["image/png"] != first["image/png"], control.name
        assert moved["text/plain"] != first["text/plain"], control.name


@each
def test_the_saved_form_holds_a_png_and_the_line(experiment):
    result = experiment.model()
    saved = experiment.saved(result)
    assert saved["text/plain"] == experiment.describe(experiment.measured(result, RECORDED))
    image = Image.open(io.BytesIO(base64.b64decode(saved["image/png"])))
    assert image.getpixel((2, 2)) == (255, 255, 255)  # a ground of its own, for dark themes


@pytest.mark.parametrize("name", [n for n in lab.names() if lab.find(n).measure is not None])
def test_a_picture_of_what_was_timed_says_of_which_machine_and_when(name):
    experiment = lab.find(name)
    figure = experiment.draw(experiment.measured(experiment.model(), RECORDED))
    said = [text.get_text() for text in figure.texts]
    assert [words for words in said if re.search(r"replayed: measured on .+, 20\d\d-", words)]


def test_colours_of_the_cycle_differ_for_every_kind_of_vision():
    # Okabe and Ito's eight; here only that none is repeated and that all can be seen on white.
    assert len(set(style.CYCLE)) == len(style.CYCLE)
    assert all(_contrast(colour) >= 2 for colour in style.CYCLE)
    assert _contrast(style.GREY) >= 7


def _contrast(colour: str) -> float:
    """Against white, as in WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 1.05 / (0.05 + 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1024, "1.02 kB"),
        (663_552, "664 kB"),
        (999_499, "999 kB"),
        (999_501, "1.00 MB"),
        (20_500_000, "20.5 MB"),
        (5 * 10**12, "5 TB"),
        (5 * 10**15, "5,000 TB"),
        (5.7867 * 10**15, "5,787 TB"),
    ],
)
def test_sizes(count, text):
    assert style.size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 layers"), (1, "1 layer"), (2048, "2,048 layers")]
)
def test_several(count, text):
    assert style.several(count, "layer") == text


def test_the_file_holds_every_pixel_of_the_picture():
    pixels = numpy.random.default_rng(0).integers(0, 256, (5, 7, 3), numpy.uint8)
    image = Image.open(io.BytesIO(style._encoded(pixels, 144)))
    image.load()  # which checks the sums
    assert (image.mode, image.size) == ("RGB", (7, 5))
    assert (numpy.asarray(image) == pixels).all()
    assert image.info["dpi"] == pytest.approx((144, 144), rel=1e-3)
