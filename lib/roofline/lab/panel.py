"""An experiment in a notebook: the question, then controls, picture, line of text and trials.

Only ipywidgets of the plain kind, which the browser operates from the keyboard: sliders,
buttons, text fields. What is displayed is one bundle of a widget view, a PNG and a line of text, so
a notebook that was saved with it reads without a kernel.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets
from IPython import get_ipython
from IPython.display import display

from roofline.lab import predictions, style, trials
from roofline.lab.controls import Choices, Control, ControlError
from roofline.lab.experiment import WIDGET_VIEW, Experiment

_shown = itertools.count(1)


def show(experiment: Experiment, *, folder: str | Path = ".", **settings: Any) -> None:
    """Display ``experiment`` in a notebook; elsewhere print the line that says the same.

    Args:
        experiment: one of the experiments of ``roofline.lab``.
        folder: where the trials are saved, the notebook's own by default.
        settings: where the controls stand at first.
    """
    if get_ipython() is None:
        print(experiment.describe(experiment.model(**settings)))
        return
    panel = Panel(experiment, folder=Path(folder), **settings)
    view = {"version_major": 2, "version_minor": 0, "model_id": panel.widget.model_id}
    saved = experiment.saved(panel.result)
    line = saved["text/plain"]
    display(
        {WIDGET_VIEW: view, **saved},
        raw=True,
        metadata={"image/png": {"width": panel.width, "alt": line}},
    )


FEW = 6


def control_widget(control: Control, value: Any) -> ipywidgets.ValueWidget:
    """The plain widget for one control, standing at ``value``: buttons for a few choices, else a
    slider.

    Not a list: JupyterLab takes the arrow keys of a list in a cell's output for its own.
    """
    look = {
        "description": control.label,
        "style": {"description_width": "5.5em"},
        "layout": ipywidgets.Layout(width="20em"),
    }
    if isinstance(control.kind, Choices):
        options = [(choice, choice) for choice in control.kind.options]
        if len(options) <= FEW:
            look["style"] |= {"button_width": "auto"}
            look["layout"] = ipywidgets.Layout(width="auto", margin="2px 24px 2px 2px")
            return ipywidgets.ToggleButtons(options=options, value=value, **look)
    else:
        stops = [control.check(stop) for stop in control.kind.stops(value)]
        options = [(f"{stop:,}", stop) for stop in stops]
    return ipywidgets.SelectionSlider(options=options, value=value, **look)


class Picture(ipywidgets.Image):
    """An image that says what it shows: its tooltip is what a screen reader reads.

    The browser's side of ipywidgets looks for a description before it shows a tooltip, and an Image
    of its own has none.
    """

    description = traitlets.Unicode("").tag(sync=True)


class Panel:
    """The widgets of one experiment and what the learner has done with them."""

    def __init__(self, experiment: Experiment, folder: Path = Path("."), **settings: Any):
        self.experiment = experiment
        self.folder = folder
        self.rows: list[trials.Row] = []
        self.result = experiment.model(**settings)
        self.control_widgets = {
            name: control_widget(control, control.check(settings.get(name, control.default)))
            for name, control in experiment.controls.items()
        }
        self.picture = Picture(format="png", layout=ipywidgets.Layout(max_width="100%"))
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
        self.asked = _asked(experiment, self.settings())
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
        return problem

    def redraw(self) -> None:
        """Compute, draw, and say it again; the line of text comes last."""
        self.result = self.experiment.model(**self.settings())
        self._show()

    def keep(self) -> str:
        """Add what is on screen to the trials."""
        row = {**self.settings(), **self.experiment.row(self.result)}
        if row in self.rows:
            raise ControlError("this trial is in the table already: move a control first")
        self.rows.append(row)
        self.table.value = trials.as_html(self.rows, "Your trials")
        return f"{len(self.rows)} kept"

    def save(self) -> str:
        """Write the trials where ``file`` says."""
        path = trials.save(self.rows, self.folder / self.file.value.strip())
        return f"{len(self.rows)} saved in {path}"

    def _ask(self) -> None:
        question = self.experiment.question
        number = ipywidgets.Text(
            description=f"Your prediction, in {question.unit}",
            placeholder="a number",
            style={"description_width": "initial"},
            layout={"width": "20em"},
            continuous_update=False,  # or a quick click on Commit overtakes the last digits typed
        )
        button = ipywidgets.Button(description="Commit", button_style="primary")
        button.on_click(lambda _: self._told(lambda: self.commit(number.value)))
        self.widget.children = (
            ipywidgets.HTML(_paragraph(question.text(self.result))),
            ipywidgets.HBox((number, button)),
            self.notice,
        )

    def _open(self) -> None:
        keep = ipywidgets.Button(description="Keep this trial")
        keep.on_click(lambda _: self._told(self.keep))
        save = ipywidgets.Button(description="Save trials")
        save.on_click(lambda _: self._told(self.save))
        first = self.experiment.question
        reckoning = _reckoning(self.predicted, first.truth(self.result), first.unit, first.kind)
        for widget in self.control_widgets.values():
            widget.observe(lambda _: self.redraw(), names="value")
        row = ipywidgets.Layout(flex_flow="row wrap")
        self._show()
        self.widget.children = (
            ipywidgets.HTML(_paragraph(reckoning)),
            ipywidgets.HBox(tuple(self.control_widgets.values()), layout=row),
            self.picture,
            self.line,
            ipywidgets.HBox((keep, self.file, save), layout=row),
            self.notice,
            self.table,
        )

    def _show(self) -> None:
        figure = self.experiment.draw(self.result)
        line = self.experiment.describe(self.result)
        self.picture.width = str(int(figure.get_figwidth() * 100))
        self.picture.tooltip = line
        self.picture.value = style.png(figure)
        self.line.value = _paragraph(line)

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


def _reckoning(predicted: float | None, truth: float, unit: str, kind: str) -> str:
    if predicted is None:
        return ""
    return (
        f"You predicted {predicted:.3g} {unit}. It is {truth:.3g} {unit} ({kind}): "
        f"your prediction is {predicted / truth:.3g} times that."
    )


def _paragraph(text: str) -> str:
    """Text that a screen reader speaks when it changes."""
    if not text:
        return ""
    look = "margin:2px 0;line-height:1.5"
    return f'<p role="status" aria-live="polite" style="{look}">{html.escape(text)}</p>'
