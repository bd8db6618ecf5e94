"""A machine's profile for people: a table, a roofline drawn with characters, and a picture.

:func:`report_machine` is the command ``roofline machine``.
"""

from __future__ import annotations

import io
import json
import math
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from roofline.hardware.machine import OUT_OF_MEMORY, home, reason, write_whole
from roofline.hardware.probe import UNSTEADY, probe
from roofline.hardware.profile import Profile, ProfileError, Rate, save_profile
from roofline.hardware.recordings import duration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ITEM_BYTES = {"float64": 8, "float32": 4, "tfloat32": 4, "bfloat16": 2, "float16": 2}
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def report_machine(
    as_json: bool = False,
    device: str | None = None,
    seconds: float = 16.0,
    picture: Path | None = None,
    out: TextIO | None = None,
    progress: Callable[[str], None] | None = None,
) -> int:
    """Probe the machine, print what came out, save the profile and the picture.

    ``as_json`` prints the profile as JSON and nothing else. ``picture`` is where the PNG goes,
    beside the profile if None. Returns the command's exit status. A probe that is interrupted, or
    has not the memory, prints one line to stderr and saves nothing.
    """
    out = out or sys.stdout
    show = progress or (lambda step: print(f"measuring {step} ...", file=sys.stderr))
    try:
        profile = probe(device, seconds, show)
        image = b"" if as_json else png(profile)
        path = save_profile(profile)
    except KeyboardInterrupt:
        return _fail("interrupted: nothing was saved", 130)
    except ProfileError as error:
        return _fail(str(error), 2)
    except (MemoryError, RuntimeError) as error:
        why = reason(error)
        advice = "; close other programs and try again" if why == OUT_OF_MEMORY else ""
        return _fail(f"the probe stopped, nothing was saved: {why}{advice}", 1)
    except OSError as error:
        return _fail(f"the profile can't be written to {home()}: {error.strerror or error}", 1)
    if as_json:
        json.dump(profile.as_dict(), out, indent=1, sort_keys=True)
        out.write("\n")
        return 0
    picture = picture or path.with_suffix(".png")
    try:
        write_whole(picture, image)
    except OSError as error:
        return _fail(
            f"saved {path}, but the picture can't be written to {picture}: "
            f"{error.strerror or error}; choose another place with --picture", 1,
        )  # fmt: skip
    out.write(f"{table(profile)}\n\n{terminal_roofline(profile)}\n\n")
    out.write(f"saved {path}\nsaved {picture}\n")
    return 0


def _fail(line: str, status: int) -> int:
    print(f"roofline machine: {line}", file=sys.stderr)
    return status


def si(value: float, unit: str) -> str:
    """A number with three digits and a decimal prefix: si(1.5e9, "B/s") is "1.5 GB/s"."""
    for size, prefix in _PREFIXES:
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def binary(size: int) -> str:
    """Bytes of a working set, in powers of two: binary(65536) is "64 KiB"."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << power:
            return f"{size / (1 << power):.4g} {unit}"
    return f"{size} B"


def table(profile: Profile) -> str:
    """What was measured, in plain text of at most 100 columns. A ~ marks an unsteady figure."""
    here = profile.machine
    lines = [
        f"{'processor':<12}{here['cpu']}, {here['cores']} cores, {here['instructions']}",
        f"{'memory':<12}{here['memory_bytes'] / 1e9:.0f} GB",
    ]
    for gpu in here["gpus"]:
        lines.append(f"{'GPU':<12}{gpu}, {here['gpu_memory_bytes'] / 1e9:.0f} GB, {here['driver']}")
    if not here["gpus"]:
        lines.append(f"{'GPU':<12}none")
    lines += [
        f"{'software':<12}{here['system']}, Python {here['python']}, PyTorch {here['torch']}",
        "",
        profile.label,
        "",
        *_gemm_rows(profile),
        "",
        *_rate_rows(
            "copy within a working set of", profile.bandwidth, lambda rate: binary(rate.size)
        ),
    ]
    if profile.copies:
        way = _rate_rows("copy", profile.copies, lambda rate: f"{rate.what}, {binary(rate.size)}")
        lines += ["", *way]
    lines += [
        "",
        f"one operator on one element: {duration(profile.overhead)} queued, "
        f"{duration(profile.latency)} waited for",
    ]
    for dtype in reversed(profile.dtypes):
        lines.append(
            f"{dtype}: peak {si(profile.peak(dtype), 'FLOP/s')}, ridge at "
            f"{profile.ridge(dtype):.0f} FLOPs per byte of memory"
        )
    lines += [f"note: {note}" for note in profile.notes]
    return "\n".join(lines)


def _gemm_rows(profile: Profile) -> list[str]:
    dtypes = list(reversed(profile.dtypes))
    sizes = sorted({rate.size for rate in profile.gemm})
    found = {(rate.what, rate.size): rate for rate in profile.gemm}
    head = f"{'square product of':<20}" + "".join(f"{dtype:>17}" for dtype in dtypes)
    rows = [head]
    for size in sizes:
        cells = [_cell(found.get((dtype, size)), "FLOP/s") for dtype in dtypes]
        rows.append(f"{size:>12} rows   " + "".join(f"{cell:>17}" for cell in cells))
    return rows


def _rate_rows(title: str, rates: tuple[Rate, ...], name: Callable[[Rate], str]) -> list[str]:
    return [title] + [f"{name(rate):>32}{_cell(rate, 'B/s'):>17}" for rate in rates]


def _cell(rate: Rate | None, unit: str) -> str:
    if rate is None:
        return "-"
    return f"{'~' if rate.spread > UNSTEADY else ''}{si(rate.per_second, unit)}"


def square_intensity(rate: Rate) -> float:
    """FLOPs per byte of a square product that reads its factors and writes its result once."""
    return 2 * rate.size**3 / (3 * rate.size**2 * ITEM_BYTES[rate.what])


def attainable(intensity: float, peak: float, bandwidth: float) -> float:
    """The roofline: FLOP/s at an arithmetic intensity (Williams et al., 2009, equation 1)."""
    return min(peak, intensity * bandwidth)


def terminal_roofline(profile: Profile, width: int = 72, height: int = 16) -> str:
    """The float32 roofline in characters, with the measured products as o on it."""
    dtype = "float32"
    peak, memory, cache = profile.peak(dtype), profile.memory_bandwidth, profile.cache_bandwidth
    points = [rate for rate in profile.gemm if rate.what == dtype]
    left, right = math.log10(0.1), math.log10(1000.0)
    top = math.log10(2 * max(peak, *(rate.per_second for rate in points)))
    bottom = min(
        math.log10(attainable(0.1, peak, memory)), *(math.log10(r.per_second) for r in points)
    )
    grid = [[" "] * width for _ in range(height)]

    def put(intensity: float, rate: float, mark: str) -> None:
        column = round((math.log10(intensity) - left) / (right - left) * (width - 1))
        row = round((top - math.log10(rate)) / (top - bottom) * (height - 1))
        if 0 <= column < width and 0 <= row < height:
            grid[row][column] = mark

    for column in range(width):
        intensity = 10 ** (left + (right - left) * column / (width - 1))
        put(intensity, attainable(intensity, peak, cache), "·")
        put(
            intensity,
            attainable(intensity, peak, memory),
            "_" if intensity > peak / memory else "/",
        )
    for rate in points:
        put(square_intensity(rate), rate.per_second, "o")
    lines = [f"{'FLOP/s':>11}"]
    for row, cells in enumerate(grid):
        value = 10 ** (top - (top - bottom) * row / (height - 1))
        axis = f"{si(value, ''):>9} |" if row % 5 == 0 else f"{'|':>11}"
        lines.append(axis + "".join(cells).rstrip())
    ruler = [" "] * (width + 4)
    for tick in range(-1, 4):
        column, text = round((tick - left) / (right - left) * (width - 1)), f"{10**tick:g}"
        ruler[column : column + len(text)] = text
    lines.append(f"{'+':>11}" + "-" * width)
    lines.append(" " * 11 + "".join(ruler).rstrip() + " FLOPs/byte")
    lines.append(
        f"{dtype}: / memory {si(memory, 'B/s')}   · cache {si(cache, 'B/s')}   "
        f"_ peak {si(peak, 'FLOP/s')}   o measured product"
    )
    return "\n".join(lines)


def picture(profile: Profile) -> Figure:
    """The slopes of memory and cache, a ceiling for each dtype, and the measured products."""
    from matplotlib.figure import Figure

    memory, cache = profile.memory_bandwidth, profile.cache_bandwidth
    highest = max(map(profile.peak, profile.dtypes))
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for bandwidth, style, name in ((memory, "-", "memory"), (cache, ":", "fastest cache")):
        end = highest / bandwidth
        label = f"{name}, {si(bandwidth, 'B/s')}"
        axes.plot([0.1, end], [0.1 * bandwidth, highest], f"k{style}", label=label)
    for number, dtype in enumerate(reversed(profile.dtypes)):
        peak, color = profile.peak(dtype), f"C{number}"
        points = [rate for rate in profile.gemm if rate.what == dtype]
        label = f"{dtype}, {si(peak, 'FLOP/s')}"
        axes.plot([peak / cache, 3000], [peak, peak], color=color, label=label)
        axes.plot(
            [square_intensity(rate) for rate in points], [rate.per_second for rate in points],
            color=color, marker="o", markersize=4, linestyle="none",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", ylabel="FLOP/s")
    axes.set_xlabel("arithmetic intensity, FLOPs per byte (dots: measured square products)")
    axes.set_title("\n".join(textwrap.wrap(profile.label, 90)), fontsize=10)
    axes.grid(which="major", alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
    return figure


def png(profile: Profile) -> bytes:
    """The picture's file."""
    file = io.BytesIO()
    picture(profile).savefig(file, format="png", dpi=120)
    return file.getvalue()
