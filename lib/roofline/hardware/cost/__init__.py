"""What a model costs, computed from its description: every formula once, each with its source.

Start with a description, :class:`Transformer`, :class:`CNN` or :class:`RNN`, and ask:

- :mod:`.parameters` how many numbers it learns, :mod:`.convolution` in which layer of a CNN;
- :mod:`.flops` what a step computes, and how well a machine was used (MFU, HFU);
- :mod:`.memory` what it holds: state, activations, cache, quantised weights; :mod:`.convolution`
  and :mod:`.recurrent` have the activations of the others;
- :mod:`.traffic` what passes through memory between its products, :mod:`.waves` how much of a GPU
  these keep busy;
- :mod:`.communication` what devices send each other, and how long a pipeline stands still;
- :mod:`.rates` how fast: roofline, decode and prefill, days, checkpoints;
- :mod:`.money` energy, carbon, price; :mod:`.scaling` how large a model a budget is best spent on.

Every result is modelled, never measured. Impossible input is a ValueError of one line.
"""

from roofline.hardware.cost import (
    communication,
    convolution,
    flops,
    memory,
    money,
    parameters,
    rates,
    recurrent,
    scaling,
    traffic,
    waves,
)
from roofline.hardware.cost.model import CNN, RNN, Conv, Dense, Model, Pool, Residual, Transformer

__all__ = [
    "CNN",
    "RNN",
    "Conv",
    "Dense",
    "Model",
    "Pool",
    "Residual",
    "Transformer",
    "communication",
    "convolution",
    "flops",
    "memory",
    "money",
    "parameters",
    "rates",
    "recurrent",
    "scaling",
    "traffic",
    "waves",
]
