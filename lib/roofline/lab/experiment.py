"""What an experiment is, and where to find one by its name."""

from __future__ import annotations

import base64
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from roofline.hardware.stopwatch import no_garbage_collection
from roofline.lab import style
from roofline.lab.controls import Control, ControlError, controls
from roofline.lab.measuring import LIVE, RECORDED, Door, Step, finish

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Question:
    """What a learner commits to before the first picture.

    ``text`` asks, about the controls as they stand at first; ``unit`` is what the number is in;
    ``truth`` reads that number off the result, None while it has not been measured; ``kind`` says
    whether it was measured or modelled.
    """

    text: Callable[[Any], str]
    unit: str
    truth: Callable[[Any], float | None]
    kind: str = "measured"


@dataclass(frozen=True)
class Shown:
    """A picture as PNG, the line of text that says the same, its width on a page in CSS pixels."""

    png: bytes
    line: str
    width: int


@dataclass(frozen=True)
class Experiment:
    """A pure model with its picture, its sentence and its question.

    Attributes:
        name: what it is called by, ``lab.<name>()`` and ``roofline lab <name>``.
        title: one line, for lists and headings.
        model: the pure function; its arguments declare the controls (``roofline.lab.controls``).
        draw: the picture of a result.
        describe: one line of text that says the same as the picture.
        row: a result as one row of the table of trials, column name to value. A column's name
            carries its unit, and ``modelled`` or ``measured``.
        question: what is predicted before the first picture.
        measure: for what is timed on the machine: from the model's result and a door, the steps
            that fill its measurements in (``roofline.lab.measuring``). None if nothing is timed.
            Their names begin with ``lab_<name>.``.
        recorded: the settings at which ``roofline.lab.record`` records it, the first ones by
            default. A saved picture at other settings has no measurements.
    """

    name: str
    title: str
    model: Callable[..., Any]
    draw: Callable[[Any], Figure]
    describe: Callable[[Any], str]
    row: Callable[[Any], dict[str, Any]]
    question: Question
    measure: Callable[[Any, Door], Iterator[Step]] | None = None
    recorded: tuple[dict[str, Any], ...] = ({},)

    @property
    def controls(self) -> dict[str, Control]:
        return controls(self.model)

    def measured(self, result: Any, door: Door = LIVE) -> Any:
        """``result`` with its measurements, as far as they can be had, all taken now."""
        last, _ = finish(self.measure(result, door)) if self.measure else (None, "")
        return result if last is None else last.result

    def shown(self, result: Any) -> Shown:
        """What is on screen of ``result``.

        Python collects no garbage meanwhile: to look through all that PyTorch and matplotlib have
        made takes longer than to draw. The figure, which nothing else frees, is collected at its
        end while it is among the newest things: ten of them later take a tenth of a second at once.
        """
        with no_garbage_collection():
            figure = self.draw(result)
            width = int(figure.get_figwidth() * 100)
            shown = Shown(style.png(figure), self.describe(result), width)
            del figure
            gc.collect(0)
            return shown

    def saved(self, result: Any) -> dict[str, str]:
        """The form that reads without a kernel: the picture and its line, by mime type.

        Its measurements are those that were recorded, and it says so: it comes out the same on
        every machine.
        """
        shown = self.shown(self.measured(result, RECORDED))
        picture = base64.b64encode(shown.png).decode("ascii")
        return {"image/png": picture, "text/plain": shown.line}

    def __call__(self, **settings: Any) -> None:
        """Show it in a notebook, with the controls at ``settings`` to begin with."""
        from roofline.lab.panel import show

        show(self, **settings)


_experiments: dict[str, Experiment] = {}


def register(experiment: Experiment) -> Experiment:
    """Make an experiment known to ``find`` and to ``roofline lab``."""
    _experiments[experiment.name] = experiment
    return experiment


def names() -> list[str]:
    """The names of all experiments, in alphabetical order."""
    return sorted(_experiments)


def find(name: str) -> Experiment:
    """The experiment called ``name``; an unknown one is a one-line error."""
    if name not in _experiments:
        raise ControlError(f"there is no experiment {name!r}: choose one of {', '.join(names())}")
    return _experiments[name]
