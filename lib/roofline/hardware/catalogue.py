"""Devices that you may not have: what their makers and others print, each figure with its source.

The data is catalogue.json. Nothing in it was measured here: a figure is what somebody says, dense
and per device, and ``confidence`` says who:

- vendor: the maker's document, or a table that links to it;
- secondary: another page;
- recalled: the maker's document or a price list from memory, not looked up again;
- computed: units · operations a clock · clock, or bus width · rate;
- disputed: sources contradict each other, so the figure is a range and is shown as one. What
  several providers ask for an hour is such a range too.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

CONFIDENCES = ("vendor", "secondary", "recalled", "computed", "disputed")
UNITS = {
    "TFLOP/s": 1e12, "TOP/s": 1e12, "GB": 1e9, "GB/s": 1e9, "W": 1.0, "USD": 1.0, "USD/h": 1.0
}  # fmt: skip
_HALF = ("bf16", "fp16")


@dataclass(frozen=True)
class Figure:
    """One printed figure, from ``low`` to ``high`` of ``unit``; equal unless disputed.

    ``date``: of the source. ``dense``: without counting zeros that a device may skip.
    ``check``: what the figure can be computed from, if that is known.
    """

    low: float
    high: float
    unit: str
    source: str
    url: str
    date: str
    confidence: str
    dtype: str | None = None
    dense: bool | None = None
    note: str = ""
    check: Mapping[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """In FLOP/s, bytes, bytes a second, watts or dollars; of a range the geometric middle.

        Show the figure itself, which prints as a range, beside what you compute from this.
        """
        return math.sqrt(self.low * self.high) * UNITS[self.unit]

    @property
    def bounds(self) -> tuple[float, float]:
        """Low and high, in the units of :attr:`value`."""
        return self.low * UNITS[self.unit], self.high * UNITS[self.unit]

    @property
    def disputed(self) -> bool:
        return self.confidence == "disputed"

    @property
    def computed(self) -> float | None:
        """The figure from its parts, in its own unit; None where they aren't known."""
        if "units" in self.check:
            return self.check["units"] * self.check["operations"] * self.check["ghz"] / 1000
        if "bus_bits" in self.check:
            return self.check["bus_bits"] / 8 * self.check["gbit"]
        return None

    def __str__(self) -> str:
        amount = f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"
        return f"{amount} {self.unit} ({self.confidence})"


@dataclass(frozen=True)
class Device:
    """One device. ``peaks`` and ``achieved`` by dtype, ``links`` by name, a direction each.

    ``prices``: "rent" of an hour, "buy" of one. They move by the week, and between those who ask.
    """

    name: str
    vendor: str
    year: int
    kind: str
    aliases: tuple[str, ...]
    note: str
    peaks: Mapping[str, Figure]
    memory: Figure
    bandwidth: Figure
    links: Mapping[str, Figure]
    power: Figure | None
    achieved: Mapping[str, Figure]
    prices: Mapping[str, Figure]

    @property
    def full_name(self) -> str:
        return f"{self.vendor} {self.name}"

    @property
    def multiprocessors(self) -> int:
        """Of an NVIDIA GPU, from its tensor cores: 8 in each until 2018, then 4. 0 if not known."""
        peaks = self.peaks.values() if self.vendor == "NVIDIA" else ()
        cores = min((int(f.check["units"]) for f in peaks if "units" in f.check), default=0)
        return cores // (8 if self.year < 2020 else 4)

    @property
    def training_dtype(self) -> str:
        """bf16 where there is one, else fp16, else fp32."""
        return next(dtype for dtype in (*_HALF, "fp32") if dtype in self.peaks)

    def peak(self, dtype: str | None = None) -> Figure:
        """Of ``dtype``, of :attr:`training_dtype` unless given. ValueError if there is none."""
        wanted = dtype or self.training_dtype
        if str(wanted) not in self.peaks:
            shown, there = repr(str(wanted)[:20]), ", ".join(self.peaks)
            raise ValueError(f"{self.full_name} has no peak for {shown}; give one of {there}")
        return self.peaks[wanted]

    def ridge(self, dtype: str | None = None) -> tuple[float, float]:
        """FLOPs a byte where the roofline bends, least and most; equal unless disputed.

        Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.
        """
        peak, bandwidth = self.peak(dtype).bounds, self.bandwidth.bounds
        return peak[0] / bandwidth[1], peak[1] / bandwidth[0]

    @property
    def link(self) -> Figure | None:
        """The fastest way to another device, if one is known."""
        return max(self.links.values(), key=lambda figure: figure.value, default=None)

    @property
    def figures(self) -> list[Figure]:
        """All there are."""
        single = [self.memory, self.bandwidth] + ([self.power] if self.power else [])
        tables = (self.peaks, self.links, self.achieved, self.prices)
        return single + [figure for table in tables for figure in table.values()]


@cache
def devices() -> tuple[Device, ...]:
    """The whole catalogue, in its order."""
    data = _data()
    return tuple(_device(entry, data["sources"]) for entry in data["devices"])


def recorded() -> str:
    """The month in which the catalogue was put together."""
    return str(_data()["recorded"])


@cache
def _data() -> dict[str, Any]:
    path = Path(__file__).with_name("catalogue.json")
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def find(name: str) -> Device:
    """The device that ``name`` means: "h100 sxm", "RTX4090", "nvidia t4".

    Raises ValueError, one line, with near matches for a name that means none or several.
    """
    name = str(name)
    words = _words(name)
    if not words:
        raise ValueError("no device named; give one such as 'h100 sxm'")
    compact = "".join(words)
    tests = (
        lambda names: any(compact == "".join(_words(n)) for n in names),
        lambda names: any(set(words) <= set(_words(n)) for n in names),
        lambda names: any(all(w in "".join(_words(n)) for w in words) for n in names),
    )
    for fits in tests:
        found = [device for device in devices() if fits(_names(device))]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(device.name for device in found[:8])
            raise ValueError(f"{name.strip()[:40]!r} could be {listed}; say which")
    raise ValueError(f"no device {name.strip()[:40]!r} in the catalogue; {_nearest(compact)}")


def _nearest(compact: str) -> str:
    by_name = {"".join(_words(n)): device.name for device in devices() for n in _names(device)}
    close = difflib.get_close_matches(compact, by_name, n=6, cutoff=0.5)
    names = list(dict.fromkeys(by_name[key] for key in close))[:3]
    if names:
        return f"near it are {', '.join(names)}"
    return f"there are {len(devices())}, {devices()[0].name} and {devices()[-1].name} among them"


def _names(device: Device) -> list[str]:
    named = [device.name, *device.aliases]
    return named + [f"{device.vendor} {name}" for name in named]


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def _device(entry: dict[str, Any], sources: dict[str, dict[str, str]]) -> Device:
    tables: dict[str, dict[str, Figure]] = {"peak": {}, "achieved": {}, "link": {}, "price": {}}
    single: dict[str, Figure] = {}
    for raw in entry["figures"]:
        what, _, name = raw["what"].partition(": ")
        figure = _figure(raw, sources[raw["source"]])
        if what in tables:
            tables[what][name or raw["dtype"]] = figure
        else:
            single[what] = figure
    return Device(
        name=entry["name"],
        vendor=entry["vendor"],
        year=entry["year"],
        kind=entry["kind"],
        aliases=tuple(entry["aliases"]),
        note=entry.get("note", ""),
        peaks=tables["peak"],
        memory=single["memory"],
        bandwidth=single["bandwidth"],
        links=tables["link"],
        power=single.get("power"),
        achieved=tables["achieved"],
        prices=tables["price"],
    )


def _figure(raw: dict[str, Any], source: dict[str, str]) -> Figure:
    value = raw["value"]
    low, high = value if isinstance(value, list) else (value, value)
    return Figure(
        low=float(low),
        high=float(high),
        unit=raw["unit"],
        source=source["title"],
        url=source["url"],
        date=source["date"],
        confidence=raw["confidence"],
        dtype=raw.get("dtype"),
        dense=raw.get("dense"),
        note=raw.get("note", ""),
        check=raw.get("check", {}),
    )
