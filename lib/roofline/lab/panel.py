"""An experiment in a notebook: the question, then controls, picture, line of text and trials.

Only ipywidgets of the plain kind, which the browser operates from the keyboard: sliders,
buttons, text fields. What is displayed is one bundle of a widget view, a PNG and a line of text, so
a notebook that was saved with it reads without a kernel: on a page, in a diff, in JupyterLab before
it is trusted. Of a trusted one that a learner saved, JupyterLab prefers the widget, which says that
its model is gone until the cell is run again; a committed one keeps the picture and the text alone.
"""

from __future__ import annotations

import gc
import html
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
from IPython import get_ipython
from IPython.display import display

from roofline.hardware import trace
from roofline.lab import predictions, trials
from roofline.lab.controls import ControlError
from roofline.lab.experiment import WIDGET_VIEW, Experiment, Question
from roofline.lab.measuring import LIVE, Follower, Step
from roofline.lab.widgets import WIDER, Picture, control_widget

_shown = itertools.count(1)


def show(experiment: Experiment, *, folder: str | Path = ".", **settings: Any) -> None:
    """Display ``experiment`` in a notebook; elsewhere print the line that says the same.

    Args:
        experiment: one of the experiments of ``roofline.lab``.
        folder: where the trials are saved, the notebook's own by default.
        settings: where the controls stand at first.
    """
    if get_ipython() is None:
        print(experiment.describe(experiment.measured(experiment.model(**settings))))
        return
    panel = Panel(experiment, folder=Path(folder), **settings)
    view = {"version_major": 2, "version_minor": 0, "model_id": panel.widget.model_id}
    saved = experiment.saved(experiment.model(**settings))
    line = saved["text/plain"]
    display(
        {WIDGET_VIEW: view, **saved},
        raw=True,
        metadata={"image/png": {"width": panel.width, "alt": line}},
    )
    gc.collect()  # all that was loaded is looked through now, not while a control moves


class Panel:
    """The widgets of one experiment and what the learner has done with them."""

    def __init__(self, experiment: Experiment, folder: Path = Path("."), **settings: Any):
        self.experiment = experiment
        self.folder = folder
        self.rows: list[trials.Row] = []
        self.written: set[Path] = set()
        self.result = experiment.model(**settings)
        self.control_widgets = {
            name: control_widget(control, control.check(settings.get(name, control.default)))
            for name, control in experiment.controls.items()
        }
        self.picture = Picture(format="png", layout=ipywidgets.Layout(max_width="100%", margin="0"))
        self.line = ipywidgets.HTML()
        self.table = ipywidgets.HTML()
        self.notice = ipywidgets.HTML()
        self.file = ipywidgets.Text(
            value=f"{experiment.name}_trials.csv",
            description="file",
            style={"description_width": "3em"},
            continuous_update=False,
        )
        # The id is all of a widget that a saved notebook holds; counted, it is the same each time.
        self.widget = ipywidgets.VBox(model_id=f"roofline-lab-{experiment.name}-{next(_shown)}")
        self.widget.add_class("roofline-lab")
        self.line.add_class("roofline-lab-line")
        self.first = self.settings()
        self.measured: dict[tuple[Any, ...], Any] = {}  # by settings, what was measured there
        self.follower = Follower(self._step, self._ended)
        self.follows = False  # whether a moved control is measured at once
        self.meter = ipywidgets.IntProgress(description="measured", value=0, max=1)
        self.switch = ipywidgets.Button(description="Measure")
        self.switch.on_click(lambda _: self._switched())
        self.progress = ipywidgets.HTML()
        self.reckoning = ipywidgets.HTML()
        self.asked = _asked(experiment, self.first)
        self.predicted = predictions.recall(self.asked)
        if self.predicted is None:
            self._ask()
        else:
            self._open()

    @property
    def width(self) -> int:
        """Of the picture on a page, in CSS pixels."""
        return int(self.experiment.draw(self.result).get_figwidth() * 100)

    def settings(self) -> dict[str, Any]:
        return {name: widget.value for name, widget in self.control_widgets.items()}

    def commit(self, typed: str) -> str:
        """Keep the learner's prediction, then show the picture; refuses what isn't a number."""
        if re.fullmatch(r"[1-9]\d{0,2},\d{3}", typed.strip()):
            raise ControlError(f"{typed.strip()!r} could mean two numbers: type it without a comma")
        try:
            number = float(typed.replace(",", "."))
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            raise ControlError(
                f"{typed!r} is not a number above 0: type one such as 1.5, "
                f"in {self.experiment.question.unit}"
            )
        problem = predictions.keep(self.asked, number)
        self.predicted = number
        self._open()
        if self.experiment.measure and not self.replays:
            self.measure()
        return problem

    def redraw(self) -> None:
        """Compute, draw, and say it again; the line of text comes last.

        What is being measured is dropped, and measured at the new settings instead.
        """
        self.follower.stop()
        self.switch.description = "Measure"
        try:
            self.result = self.experiment.model(**self.settings())
        except ControlError as problem:
            self.result = None
            self.progress.value = ""
            self.line.value = _paragraph(f"{problem}. The picture is the one from before.")
            return
        known = self.measured.get(tuple(self.settings().values()))
        if known is not None:
            self.result = known
            self.progress.value = ""
            self._show()
        elif self.follows or self.replays:
            self.measure()
        else:
            self.meter.value, self.progress.value = 0, ""
            self._show()

    @property
    def replays(self) -> bool:
        """Whether measurements are read from a recording, and so take no time."""
        return trace.mode() == "replay"

    def measure(self) -> None:
        """Measure at the settings as they are, from the beginning."""
        if self.experiment.measure is None:
            self._show()
            return
        self.follows = True
        self.switch.description = "Stop"
        steps = self.experiment.measure(self.experiment.model(**self.settings()), LIVE)
        self.follower.start(steps, at_once=self.replays)

    def stop(self) -> None:
        """Measure no further; what has been measured stays."""
        self.follower.stop()
        self.follows = False
        self._ended("stopped: what was measured so far is kept")

    def keep(self) -> str:
        """Add what is on screen to the trials."""
        if self.result is None:
            raise ControlError("these settings have no result to keep: move a control first")
        row = {**self.settings(), **self.experiment.row(self.result)}
        if row in self.rows:
            raise ControlError("this trial is in the table already: move a control first")
        self.rows.append(row)
        self.table.value = trials.as_html(self.rows, "Your trials")
        return f"{len(self.rows)} kept"

    def save(self) -> str:
        """Write the trials where ``file`` says; over none but this panel's own."""
        target = self.folder / os.path.expanduser(self.file.value.strip())
        path = trials.save(self.rows, target, self.written)
        self.written.add(path)
        return f"{len(self.rows)} saved in {path}"

    def _ask(self) -> None:
        question = self.experiment.question
        number = ipywidgets.Text(
            description=f"Your prediction, in {question.unit}",
            placeholder="a number",
            style={"description_width": "initial"},
            layout={"width": "28em"},  # room for a long unit and the number
            continuous_update=False,  # or a quick click on Commit overtakes the last digits typed
        )
        button = ipywidgets.Button(description="Commit", button_style="primary")
        button.on_click(lambda _: self._told(lambda: self.commit(number.value)))
        self.widget.children = (
            ipywidgets.HTML(_paragraph(question.text(self.result))),
            ipywidgets.HBox((number, button), layout={"flex_flow": "row wrap"}),
            self.notice,
        )

    def _open(self) -> None:
        keep = ipywidgets.Button(description="Keep this trial")
        keep.on_click(lambda _: self._told(self.keep))
        save = ipywidgets.Button(description="Save trials")
        save.on_click(lambda _: self._told(self.save))
        for widget in self.control_widgets.values():
            widget.observe(lambda _: self.redraw(), names="value")
        row = ipywidgets.Layout(flex_flow="row wrap")
        self.redraw()
        measuring: tuple[ipywidgets.Widget, ...] = ()
        if self.experiment.measure is not None:
            switches = () if self.replays else (self.switch, self.meter)
            measuring = (ipywidgets.HBox((*switches, self.progress), layout=row),)
        self.widget.children = (
            self.reckoning,
            ipywidgets.HBox(tuple(self.control_widgets.values()), layout=row),
            *measuring,
            self.picture,
            self.line,
            ipywidgets.HBox((keep, self.file, save), layout=row),
            self.notice,
            self.table,
            ipywidgets.HTML(WIDER),
        )

    def _switched(self) -> None:
        """The one button that starts and stops: it keeps the focus, whatever it says."""
        self.stop() if self.follower.running else self.measure()

    def _step(self, step: Step) -> None:
        self.result = step.result
        self.meter.max, self.meter.value = max(1, step.total), step.done
        self.progress.value = html.escape(step.next and f"{step.next}, {step.done} of {step.total}")
        self._show(spoken=not step.next)  # there may be several steps in a second

    def _ended(self, reason: str) -> None:
        """Of a measurement: ``reason`` if it was not at its end."""
        self.switch.description = "Measure"
        if self.result is not None:
            self.measured[tuple(self.settings().values())] = self.result
        self.progress.value = _paragraph(reason)

    def _show(self, spoken: bool = True) -> None:
        question = self.experiment.question
        if self.settings() == self.first:
            truth = question.truth(self.result)
            self.reckoning.value = _paragraph(_reckoning(self.predicted, truth, question))
        shown = self.experiment.shown(self.result)
        self.picture.width = str(shown.width)
        self.picture.tooltip = shown.line
        self.picture.value = shown.png
        self.line.value = _paragraph(shown.line, spoken)

    def _told(self, action: Callable[[], str]) -> None:
        """Do it, and tell what came of it where the learner looks."""
        try:
            self.notice.value = _paragraph(action())
        except ControlError as problem:
            self.notice.value = _paragraph(str(problem))


def _asked(experiment: Experiment, first: dict[str, Any]) -> str:
    """What the prediction is kept under: another first setting is another question."""
    moved = [
        f"{name}={first[name]!r}"
        for name, control in experiment.controls.items()
        if first[name] != control.default
    ]
    return f"lab.{experiment.name}" + (f"({', '.join(moved)})" if moved else "")


def _reckoning(predicted: float | None, truth: float | None, question: Question) -> str:
    unit, kind = question.unit, question.kind
    if predicted is None:
        return ""
    if truth is None:
        modelled = kind == "modelled"
        why = "There is none at these settings" if modelled else "It has not been measured here yet"
        return f"You predicted {predicted:.3g} {unit}. {why}."
    return (
        f"You predicted {predicted:.3g} {unit}. It is {truth:.3g} {unit} ({kind}): "
        f"your prediction is {predicted / truth:.3g} times that."
    )


def _paragraph(text: str, spoken: bool = True) -> str:
    """Text that a screen reader speaks when it changes, if it is to be ``spoken``."""
    if not text:
        return ""
    live = ' role="status" aria-live="polite"' if spoken else ""
    return f'<p{live} style="margin:2px 0;line-height:1.5">{html.escape(text)}</p>'
