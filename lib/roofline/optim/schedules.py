"""Learning rates that change: each schedule is a factor for the step, applied by :class:`Schedule`.

A factor function takes the number of steps done and returns what to multiply the optimizer's
``lr`` by. Nothing else has a state, so a resumed run needs only the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .flat import Optimizer, set_rate

Factor = Callable[[int], float]


def constant() -> Factor:
    return lambda step: 1.0


def step_decay(every: int, factor: float = 0.1) -> Factor:
    """Multiply by ``factor`` each time ``every`` steps are done."""
    if every < 1:
        raise ValueError(f"step_decay's every is {every}, expected 1 step or more")
    return lambda step: factor ** (step // every)


def cosine(steps: int, final: float = 0.0) -> Factor:
    """From 1 to ``final`` along half a cosine. Loshchilov, Hutter, 1608.03983, equation 5."""
    if steps < 1:
        raise ValueError(f"cosine's steps is {steps}, expected 1 or more")
    return lambda step: final + (1 - final) * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2


def warmup_cosine(warmup: int, steps: int, final: float = 0.0) -> Factor:
    """Linear from 1/``warmup`` to 1 over ``warmup`` steps, then a cosine to ``final`` at ``steps``.

    The warm-up is that of Goyal et al., 1706.02677, 2.2; with the cosine it is GPT-3's schedule
    (2005.14165, appendix B).
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"warm-up must be shorter than the {steps} steps, got {warmup}")
    decay = cosine(steps - warmup, final)
    return lambda step: (step + 1) / warmup if step < warmup else decay(step - warmup)


def one_cycle(
    steps: int, rise: float = 0.3, start: float = 1 / 25, final: float = 1 / 250_000
) -> Factor:
    """Up from ``start`` to 1 in the first ``rise`` of the steps, then down to ``final``.

    Both ways along half a cosine; ``lr`` is the highest rate. Smith, Topin, 1708.07120; the shape
    and the defaults are torch's ``OneCycleLR``, without its change of momentum.
    """
    top, end = rise * steps - 1, steps - 1
    if not 0 < top < end:
        raise ValueError(f"{steps} steps with rise {rise} leave no step on one side of the top")

    def factor(step: int) -> float:
        if step <= top:
            low, high, part = start, 1.0, step / top
        else:
            low, high, part = 1.0, final, min((step - top) / (end - top), 1.0)
        return high + (low - high) * (1 + math.cos(math.pi * part)) / 2

    return factor


class Schedule:
    """Sets the learning rate of every group to its own rate times ``factor(steps done)``.

    Call :meth:`step` after each ``optimizer.step()``.
    """

    def __init__(self, optimizer: Optimizer, factor: Factor):
        self.optimizer = optimizer
        self.factor = factor
        self.rates = [float(group["lr"]) for group in optimizer.groups]
        self.steps = 0
        self._apply()

    def step(self) -> None:
        self.steps += 1
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "rates": self.rates}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.steps, self.rates = saved["steps"], list(saved["rates"])
        self._apply()

    def _apply(self) -> None:
        for group, rate in zip(self.optimizer.groups, self.rates, strict=True):
            set_rate(group, rate * self.factor(self.steps))
