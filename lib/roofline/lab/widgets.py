"""The plain widgets that a panel is made of: a control, and a picture that says what it shows."""

from __future__ import annotations

from typing import Any

import ipywidgets
import traitlets

from roofline.lab.controls import Choices, Control

FEW = 6
NAMED = "roofline-lab-named"
WIDER = f"<style>.{NAMED} .widget-readout {{ min-width: 9em; text-align: left }}</style>"
"""Room for the name that a slider stands at, which ipywidgets would cut off."""


def control_widget(control: Control, value: Any) -> ipywidgets.ValueWidget:
    """The plain widget for one control, standing at ``value``: buttons for a few choices, else a
    slider.

    Not a list: JupyterLab takes the arrow keys of a list in a cell's output for its own.
    """
    look = {
        "description": control.label,
        "style": {"description_width": "6.5em"},
        "layout": ipywidgets.Layout(width="21em"),
    }
    if isinstance(control.kind, Choices):
        options = [(choice, choice) for choice in control.kind.options]
        if len(options) <= FEW:
            look["style"] |= {"button_width": "auto"}
            look["layout"] = ipywidgets.Layout(width="auto", margin="2px 24px 2px 2px")
            return ipywidgets.ToggleButtons(options=options, value=value, **look)
        look["layout"] = ipywidgets.Layout(width="28em")
        named = ipywidgets.SelectionSlider(options=options, value=value, **look)
        named.add_class(NAMED)
        return named
    stops = [control.check(stop) for stop in control.kind.stops(value)]
    options = [(f"{stop:,.10g}", stop) for stop in stops]
    return ipywidgets.SelectionSlider(options=options, value=value, **look)


class Picture(ipywidgets.Image):
    """An image that says what it shows: its tooltip is what a screen reader reads.

    The browser's side of ipywidgets looks for a description before it shows a tooltip, and an Image
    of its own has none.
    """

    description = traitlets.Unicode("").tag(sync=True)
