"""One door for everything that is measured: live on this machine, or replayed from a recording.

A chapter measures through it, and says on screen what came through::

    forward = measure("backprop.forward", lambda: model(images))
    print(f"{forward.median * 1e3:.2f} ms, {forward.label}")

``ROOFLINE_MEASURE`` chooses: ``live`` (the default) runs the function; ``replay`` runs nothing and
reads the recording, so that a notebook comes out the same each time; ``record`` runs it and
writes the recording. Recordings are one JSON file for each chapter, in ``ROOFLINE_TRACES`` or in
``traces/`` beside this file. ``backprop@h100.json`` holds what another machine measured, tagged
h100: ``recorded("backprop.forward", on="h100")`` reads it on any machine.

A number always says what it is: ``label`` begins with "measured on" or "replayed: measured on".
What comes from a formula is to be labelled :data:`MODELLED`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import torch

from roofline.hardware.load import Watch, spread_reason
from roofline.hardware.machine import machine
from roofline.hardware.recordings import (
    Measurement,
    Reading,
    TraceError,
    read_trace,
    trace_path,
    write_reading,
)
from roofline.hardware.stopwatch import fixed_threads, spread, time_in_turn

__all__ = [
    "MODELLED",
    "Measurement",
    "Reading",
    "TraceError",
    "measure",
    "measure_in_turn",
    "mode",
    "observe",
    "recorded",
]

MODELLED = "modelled"
MODES = ("live", "replay", "record")
_NAME = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_=+-]+)+")


def measure(
    name: str,
    function: Callable[[], Any],
    *,
    seconds: float = 0.5,
    threads: int | None = None,
    device: torch.device | str = "cpu",
) -> Measurement:
    """Time ``function()``, or read how long it took when it was recorded under ``name``.

    Args:
        name: "chapter.what", with more parts after dots for variants: "batching.step.batch=32".
        seconds: how long to go on measuring, after two calls to warm up; at least five samples.
        threads: how many threads PyTorch may use meanwhile; as many as it does already if None.
        device: where the function computes, for the label.
    """
    return measure_in_turn({name: function}, seconds=seconds, threads=threads, device=device)[name]


def measure_in_turn(
    functions: Mapping[str, Callable[[], Any]],
    *,
    seconds: float = 0.5,
    threads: int | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, Measurement]:
    """Time several functions, turn by turn, so that their ratios outlive a machine that drifts.

    Takes a name and a function for each; ``seconds`` is for each. See :func:`measure`.
    """
    if mode() == "replay":
        return {name: _replayed(name, Measurement) for name in functions}
    for name in functions:
        _check_name(name)
    device = torch.device(device)
    with fixed_threads(threads) as used, Watch(used if device.type == "cpu" else 0) as watch:
        samples = time_in_turn(list(functions.values()), seconds)
    result = {}
    for name, times in zip(functions, samples, strict=True):
        reasons = [reason for reason in (watch.busy, spread_reason(spread(times))) if reason]
        result[name] = Measurement(
            name, times, place(device, used), date.today().isoformat(), "; ".join(reasons)
        )
        _keep(result[name])
    return result


def observe(
    name: str, function: Callable[[], Any], *, device: torch.device | str = "cpu"
) -> Reading:
    """Take ``function()``'s value, which JSON can hold, or what it was when it was recorded.

    For whatever comes out differently each time and is not a time of one call: bytes on a GPU,
    a curve of a probe. See :func:`measure` for ``name`` and ``device``.
    """
    if mode() == "replay":
        return _replayed(name, Reading)
    _check_name(name)
    device = torch.device(device)
    with Watch() as watch:
        value = json.loads(json.dumps(function()))  # the same live as replayed: lists, text keys
    where = place(device, torch.get_num_threads())
    reading = Reading(name, value, where, date.today().isoformat(), watch.busy)
    _keep(reading)
    return reading


def recorded(name: str, on: str = "") -> Reading:
    """What was recorded under ``name``, on the machine tagged ``on`` or the one without a tag."""
    _check_name(name)
    path = trace_path(name.split(".")[0], on)
    if not path.exists():
        raise TraceError(f"nothing was recorded for {name!r}: there is no {path.name}; {_advice()}")
    readings = read_trace(path)
    if name not in readings:
        raise TraceError(f"{path.name} has no {name!r}; {_advice()}")
    return readings[name]


def mode() -> str:
    """live, replay or record, from ``ROOFLINE_MEASURE``."""
    chosen = os.environ.get("ROOFLINE_MEASURE") or "live"
    if chosen not in MODES:
        raise TraceError(f"ROOFLINE_MEASURE is {chosen!r}: set it to one of {', '.join(MODES)}")
    return chosen


def place(device: torch.device, threads: int) -> str:
    """The machine's name as labels say it: the GPU, or the processor with the threads in use."""
    if device.type == "cpu":
        return f"{machine().cpu}, {threads} thread{'s' if threads > 1 else ''}"
    return machine().name


def _replayed(name: str, kind: type[Any]) -> Any:
    reading = recorded(name)
    if isinstance(reading, Measurement) != (kind is Measurement):
        raise TraceError(f"{name!r} was recorded by another function than the one that asks for it")
    return reading


def _keep(reading: Reading) -> None:
    if mode() == "record":
        write_reading(reading)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise TraceError(
            f"a measurement is named chapter.what, as in 'backprop.step': not {name!r}"
        )


def _advice() -> str:
    return "measure it with ROOFLINE_MEASURE=live, or record it with ROOFLINE_MEASURE=record"
