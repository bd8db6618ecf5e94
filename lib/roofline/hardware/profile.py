"""The profile of a machine: what a probe measured, kept as JSON for later commands and chapters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from roofline.hardware.machine import best_device, home, machine, write_whole

SCHEMA = 1


class ProfileError(ValueError):
    """A profile that is damaged or of a later roofline, or a probe that could not go on."""


@dataclass(frozen=True)
class Rate:
    """One measured rate.

    ``what``: the dtype, or the way of a copy. ``size``: rows of the square matrices, or bytes
    touched. ``per_second``: FLOPs or bytes in a second, by the median sample. ``spread``: from
    quartile to quartile of the samples, as a share of the median.
    """

    what: str
    size: int
    per_second: float
    spread: float


@dataclass(frozen=True)
class Profile:
    """What was measured of one device.

    ``gemm``: FLOP/s of square matrix products by dtype and size. ``bandwidth``: bytes/s of a copy
    by working set, source and target together, each byte read or written counted once, the launch
    subtracted. ``copies``: bytes/s between main memory and the device; empty for the processor.
    ``overhead``: seconds that one operator takes when there is nothing to do, queued behind
    others; ``latency``: the same, waited for. ``kernels``: further seconds and rates by name, for
    :mod:`roofline.hardware.predict`.
    """

    machine: dict[str, Any]
    device: str
    threads: int
    date: str
    code: str
    took: float
    overhead: float
    latency: float
    gemm: tuple[Rate, ...]
    bandwidth: tuple[Rate, ...]
    copies: tuple[Rate, ...] = ()
    kernels: dict[str, float] = field(default_factory=dict)
    busy: str = ""
    replayed: bool = False
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def name(self) -> str:
        """The device in words."""
        if self.device == "cpu":
            return f"{self.machine['cpu']}, {self.threads} thread{'s' if self.threads > 1 else ''}"
        return str(self.machine["name"])

    @property
    def label(self) -> str:
        """Where these numbers are from, in words."""
        said = f"{'replayed: ' if self.replayed else ''}measured on {self.name}, {self.date}"
        return f"{said} (machine busy: {self.busy})" if self.busy else said

    @property
    def dtypes(self) -> list[str]:
        """The dtypes that were measured, fastest last."""
        return sorted({rate.what for rate in self.gemm}, key=self.peak)

    def peak(self, dtype: str = "float32") -> float:
        """FLOP/s of the fastest matrix product of a dtype."""
        rates = [rate.per_second for rate in self.gemm if rate.what == dtype]
        if not rates:
            raise ProfileError(f"{dtype} was not measured: choose one of {', '.join(self.dtypes)}")
        return max(rates)

    @property
    def memory_bandwidth(self) -> float:
        """Bytes/s of the largest working set: main memory, or the device's own."""
        return max(self.bandwidth, key=lambda rate: rate.size).per_second

    @property
    def cache_bandwidth(self) -> float:
        """Bytes/s of the fastest working set."""
        return max(rate.per_second for rate in self.bandwidth)

    def ridge(self, dtype: str = "float32") -> float:
        """FLOPs per byte above which matrix products are bound by arithmetic, not by memory."""
        return self.peak(dtype) / self.memory_bandwidth

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def profile_path(device: str) -> Path:
    return home() / f"profile-{device}.json"


def save_profile(profile: Profile) -> Path:
    """Write a profile where :func:`load_profile` finds it, whole or not at all."""
    path = profile_path(profile.device)
    write_whole(path, json.dumps(profile.as_dict(), indent=1, sort_keys=True) + "\n")
    return path


def load_profile(device: str | None = None) -> Profile | None:
    """This machine's profile of ``device`` (the best one if None), or None if there is none.

    A profile of another machine, as a home folder on the network may hold, counts as none.
    """
    path = profile_path(device or best_device().type)
    if not path.exists():
        return None
    try:
        profile = profile_from(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise ProfileError(
            f"{path.name} can't be used, delete it and run `roofline machine` again: "
            f"{' '.join(str(error).split())}"
        ) from None
    return profile if profile.machine.get("name") == machine().name else None


def profile_from(data: Mapping[str, Any]) -> Profile:
    """A profile from what :meth:`Profile.as_dict` gave, checked."""
    if not isinstance(data, Mapping) or type(data.get("schema")) is not int or data["schema"] < 1:
        raise ProfileError("it has no schema version")
    if data["schema"] > SCHEMA:
        raise ProfileError(
            f"it has schema {data['schema']}, this roofline reads up to {SCHEMA}: update roofline"
        )
    try:
        rates = {
            key: tuple(Rate(**rate) for rate in data[key])
            for key in ("gemm", "bandwidth", "copies")
        }
        profile = Profile(**{**data, **rates, "notes": tuple(data["notes"])})
    except (KeyError, TypeError) as error:
        raise ProfileError(f"it is damaged: {error}") from None
    numbers = [rate.per_second for group in rates.values() for rate in group]
    numbers += [profile.overhead, profile.latency]
    if not all(isinstance(each, (int, float)) and each >= 0 for each in profile.kernels.values()):
        raise ProfileError("it is damaged: a kernel's cost is not a number")
    if not (rates["gemm"] and rates["bandwidth"]) or not all(map(_is_positive, numbers)):
        raise ProfileError("it is damaged: a rate is missing or not a positive number")
    return profile


def _is_positive(number: Any) -> bool:
    return isinstance(number, (int, float)) and math.isfinite(number) and number > 0
