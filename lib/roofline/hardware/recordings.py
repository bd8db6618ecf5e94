"""Recordings of what was measured: readings, and the JSON files that they are kept in."""

from __future__ import annotations

import json
import math
import os
import statistics
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from roofline import __version__
from roofline.hardware.machine import Machine, machine, write_whole
from roofline.hardware.stopwatch import spread

SCHEMA = 1


class TraceError(ValueError):
    """A recording that is missing, damaged, of a later roofline or of another machine."""


@dataclass(frozen=True)
class Reading:
    """What came through the door: a value, and where and when it was measured.

    ``busy`` says in words what disturbed the measurement, or is "".
    """

    name: str
    value: Any
    on: str
    date: str
    busy: str = ""
    replayed: bool = False

    @property
    def label(self) -> str:
        """Where the number is from, in words."""
        said = f"{'replayed: ' if self.replayed else ''}measured on {self.on}, {self.date}"
        return f"{said} (machine busy: {self.busy})" if self.busy else said


@dataclass(frozen=True)
class Measurement(Reading):
    """Seconds of one call, sample by sample."""

    @property
    def seconds(self) -> list[float]:
        return list(self.value)

    @property
    def median(self) -> float:
        """Seconds of one call."""
        return statistics.median(self.value)

    @property
    def spread(self) -> float:
        """From the lower to the upper quartile, as a share of the median."""
        return spread(self.value)

    def __str__(self) -> str:
        return f"{duration(self.median)}, spread {self.spread:.0%}, {self.label}"


def duration(seconds: float) -> str:
    """Seconds with three digits, in the unit that suits them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def trace_path(chapter: str, tag: str = "") -> Path:
    """The file of a chapter's recordings, made by the machine tagged ``tag``."""
    folder = os.environ.get("ROOFLINE_TRACES") or str(Path(__file__).parent / "traces")
    return Path(folder) / f"{chapter}{'@' + tag if tag else ''}.json"


def read_trace(path: Path) -> dict[str, Reading]:
    """Every reading of a file, marked as replayed. Refuses what is damaged or from the future."""
    return _readings(_load(path), path)


def _load(path: Path) -> dict[str, Any]:
    try:
        trace = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TraceError(f"{path.name} can't be read: {' '.join(str(error).split())}") from None
    if not isinstance(trace, dict) or type(trace.get("schema")) is not int or trace["schema"] < 1:
        raise TraceError(f"{path.name} is not a recording: it has no schema version")
    if trace["schema"] > SCHEMA:
        raise TraceError(
            f"{path.name} has schema {trace['schema']} and this roofline reads up to {SCHEMA}: "
            "update roofline"
        )
    for key, kind in _HEADER.items():
        if not isinstance(trace.get(key), kind):
            raise TraceError(
                f"{path.name} is damaged: its {key!r} is missing or not a {kind.__name__}"
            )
    return trace


_HEADER = {"machine": dict, "driver": str, "date": str, "code": str, "readings": dict}


def _readings(trace: dict[str, Any], path: Path) -> dict[str, Reading]:
    readings: dict[str, Reading] = {}
    for name, entry in trace["readings"].items():
        try:
            kind = {"seconds": Measurement, "value": Reading}[entry["kind"]]
            value, on, when, busy = (entry[key] for key in ("value", "on", "date", "busy"))
            if not all(isinstance(each, str) for each in (on, when, busy)):
                raise TypeError("'on', 'date' and 'busy' are text")
            if kind is Measurement and not _are_times(value):
                raise ValueError("its seconds are not a list of positive numbers")
        except (KeyError, TypeError, ValueError) as error:
            raise TraceError(f"{path.name} is damaged at {name!r}: {error}") from None
        readings[name] = kind(name, value, on, when, busy, replayed=True)
    return readings


def _are_times(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(each, (int, float)) and each > 0 and math.isfinite(each) for each in value
        )
    )


def write_reading(reading: Reading) -> None:
    """Write a reading into its chapter's file, among those of the same machine."""
    path = trace_path(reading.name.split(".")[0])
    here = machine()
    if path.exists():
        trace = _load(path)
        if trace["machine"].get("name") != here.name:
            raise TraceError(
                f"{path.name} was recorded on {trace['machine'].get('name')}: delete it to record "
                f"it on {here.name}"
            )
    else:
        trace = {"readings": {}}
    kind = "seconds" if isinstance(reading, Measurement) else "value"
    value = [_short(each) for each in reading.value] if kind == "seconds" else reading.value
    entry = {"kind": kind, "value": value, "on": reading.on, "date": reading.date}
    trace["readings"][reading.name] = {**entry, "busy": reading.busy}
    write_whole(path, json.dumps({**_header(here), "readings": trace["readings"]}, **_STYLE) + "\n")


_STYLE: dict[str, Any] = {"indent": 1, "sort_keys": True, "ensure_ascii": False, "allow_nan": False}


def _header(here: Machine) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "machine": {"name": here.name, **here.as_dict()},
        "driver": here.driver,
        "date": date.today().isoformat(),
        "code": f"roofline {__version__}",
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")
