"""Experiments: a pure model, its picture, and controls, shown in a notebook or alone.

``lab.remembered()`` displays one in a notebook; ``lab.remembered.model(batch=64)`` computes it, and
``.draw`` and ``.describe`` turn the result into a picture and into a line of text. A new experiment
is a module in ``roofline.lab.experiments`` and a line below.

Some are timed on the machine: their pictures fill while they measure, and can be stopped. See
``measuring`` for how, ``record`` for what their saved pictures show.
"""

from roofline.lab import style
from roofline.lab.alone import listing, open_alone
from roofline.lab.controls import Choices, ControlError, Range, bounded, controls
from roofline.lab.experiment import Experiment, Question, find, names
from roofline.lab.experiments.batching import batching
from roofline.lab.experiments.checkpointing import checkpointing
from roofline.lab.experiments.convnet import convnet
from roofline.lab.experiments.device_choice import device_choice
from roofline.lab.experiments.planner import planner
from roofline.lab.experiments.remembered import remembered
from roofline.lab.experiments.roofline import roofline
from roofline.lab.experiments.sequence import sequence
from roofline.lab.experiments.training_memory import training_memory
from roofline.lab.panel import Panel, show

__all__ = [
    "Choices",
    "ControlError",
    "Experiment",
    "Panel",
    "Question",
    "Range",
    "batching",
    "bounded",
    "checkpointing",
    "controls",
    "convnet",
    "device_choice",
    "find",
    "listing",
    "names",
    "open_alone",
    "planner",
    "remembered",
    "roofline",
    "sequence",
    "show",
    "style",
    "training_memory",
]
