"""How long an experiment takes to redraw after a control has moved, in milliseconds.

From the new settings to the bytes of the picture and the line of text, in the kernel. Settings are
drawn at random with a fixed seed, so that little is found in a cache; the limit is 150 ms. Of an
experiment that is timed, this is the modelled picture, before its measurements.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from typing import Any

from roofline import lab

MOVES = 40
LIMIT_MS = 150


def run() -> dict:
    return {name: redraw(lab.find(name)) for name in lab.names()}


def redraw(experiment: lab.Experiment) -> dict[str, float]:
    """Median, 90th percentile and worst of ``MOVES`` moves, one control at a time.

    On the clock, and of this thread's own computing: on a busy machine only the second is ours.
    """
    choose = random.Random(0)
    settings = {name: control.default for name, control in experiment.controls.items()}
    experiment.saved(experiment.model())  # as when it opens
    gc.collect()
    clock, computing = [], []
    for _ in range(MOVES):
        name, control = choose.choice(list(experiment.controls.items()))
        kind = control.kind
        settings[name] = choose.choice(
            list(kind.options) if isinstance(kind, lab.Choices) else kind.stops()
        )
        started, own = time.perf_counter(), time.thread_time()
        once(experiment, settings)
        clock.append(1000 * (time.perf_counter() - started))
        computing.append(1000 * (time.thread_time() - own))
    return {"limit_ms": LIMIT_MS, **spread("clock", clock), **spread("computing", computing)}


def spread(name: str, times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        f"{name}_median_ms": round(statistics.median(ordered), 1),
        f"{name}_p90_ms": round(ordered[int(0.9 * len(ordered))], 1),
        f"{name}_worst_ms": round(ordered[-1], 1),
    }


def once(experiment: lab.Experiment, settings: dict[str, Any]) -> None:
    experiment.shown(experiment.model(**settings))
