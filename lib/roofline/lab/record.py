"""``python -m roofline.lab.record [NAME ...]``: record the measured experiments on this machine.

For saved pictures and for notebooks that are replayed. Run it when the machine has nothing else to
do; it says which figures are unsteady all the same.
"""

from __future__ import annotations

import os
import sys

from roofline import lab
from roofline.hardware import trace
from roofline.hardware.recordings import read_trace, trace_path
from roofline.lab import here
from roofline.lab.measuring import LIVE, finish


def record(name: str) -> str:
    """Record experiment ``name`` anew, at the settings that it names; one line on what came out."""
    experiment = lab.find(name)
    if experiment.measure is None:
        return f"{name}: nothing of it is timed"
    path = trace_path(f"lab_{name}")
    path.unlink(missing_ok=True)
    for settings in experiment.recorded:
        _, problem = finish(experiment.measure(experiment.model(**settings), LIVE))
        if problem:
            return f"{name}: {problem}"
    readings = read_trace(path)
    unsteady = [f"{key} ({reading.busy})" for key, reading in readings.items() if reading.busy]
    said = f"{name}: {len(readings)} readings, {len(unsteady)} of them unsteady"
    return "\n  ".join([said, *unsteady])


def main(chosen: list[str]) -> None:
    os.environ["ROOFLINE_MEASURE"] = "record"
    assert trace.mode() == "record"
    for _ in here.measured(LIVE):  # several experiments begin with the machine
        pass
    for name in chosen or lab.names():
        print(record(name), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
