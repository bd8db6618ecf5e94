"""Will it fit, and which device should you choose: every device of the catalogue, for one job.

All of it is modelled: memory and time by :mod:`roofline.hardware.jobs`, figures and prices from the
catalogue, which says of each where it is from. Where a figure is disputed, or providers ask
different prices, the result is a range; it is ranked by its geometric middle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from matplotlib.figure import Figure

from roofline.hardware import jobs
from roofline.hardware.catalogue import Device, devices, recorded
from roofline.hardware.choice import KWH_PRICE, Candidate, candidate, digits
from roofline.hardware.cost import Transformer, parameters
from roofline.hardware.planner import Cluster
from roofline.lab import style
from roofline.lab.controls import Choices, ControlError, Range, bounded
from roofline.lab.experiment import Experiment, Question, register
from roofline.lab.frames import Scale, exponents, frame, legend

_LLAMA: dict[str, Any] = {
    "gated": True, "tied": False, "positions": "rotary", "bias": False, "norm": "rms"
}  # fmt: skip
NETWORKS = {
    "GPT-2": Transformer(12, 768, 12, 50257, 1024),
    "GPT-2 XL": Transformer(48, 1600, 25, 50257, 1024),
    "Llama 7B": Transformer(32, 4096, 32, 32000, 2048, 11008, **_LLAMA),
    "Llama 3 8B": Transformer(32, 4096, 32, 128256, 2048, 14336, 8, **_LLAMA),
    "Llama 3 70B": Transformer(80, 8192, 64, 128256, 2048, 28672, 8, **_LLAMA),
    "Llama 3 405B": Transformer(126, 16384, 128, 128256, 2048, 53248, 8, **_LLAMA),
}
"""Shapes as published (Radford et al. 2019; arXiv 2302.13971, table 2; arXiv 2407.21783, table 3),
all over 2,048 tokens, GPT-2 over its 1,024."""

TOKENS = {"train": 20.0, "fine-tune": 1e8, "infer": 1e9}
"""What the job is. To train: 20 tokens for each parameter (Hoffmann et al., arXiv 2203.15556)."""

SHOWN = 8


@dataclass(frozen=True)
class Ranking:
    """A job, what limits it, and every device: ``ranked`` ones cheapest first, then the others."""

    task: str
    network: str
    devices: int
    batch: int
    bits: str
    budget_usd: float
    power_kw: float
    days: float
    ranked: tuple[Candidate, ...]
    rejected: tuple[Candidate, ...]

    @property
    def reasons(self) -> dict[str, list[Candidate]]:
        """The rejected ones by the kind of constraint that they broke, most first."""
        found: dict[str, list[Candidate]] = {}
        for each in self.rejected:
            found.setdefault(each.reason.split(":")[0], []).append(each)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))


@bounded
def model(
    task: Annotated[str, Choices(*jobs.TASKS)] = "fine-tune",
    network: Annotated[str, Choices(*NETWORKS)] = "Llama 3 8B",
    bits: Annotated[str, Choices("16", "8", "4")] = "16",
    devices: Annotated[int, Range(1, 1024, doubling=True)] = 1,
    batch: Annotated[int, Range(1, 256, doubling=True)] = 1,
    budget_usd: Annotated[float, Range(1, 2**24, doubling=True)] = 1024,
    power_kw: Annotated[float, Range(0.125, 1024, doubling=True)] = 1,
    days: Annotated[float, Range(0.25, 512, doubling=True)] = 32,
) -> Ranking:
    """Every device of the catalogue, ``devices`` of each, against the budget, power and time.

    ``batch`` sequences at once, on each device in training, for each copy of the model to infer.
    ``bits`` of a weight that isn't trained, which in "train" there is none of.
    """
    try:
        job = _job(task, network, batch, float(bits))
        found = [candidate(job, each, devices, budget_usd, power_kw, days) for each in _catalogue()]
    except ValueError as problem:
        raise ControlError(str(problem)) from None
    return Ranking(
        task, network, devices, batch, bits, budget_usd, power_kw, days,
        ranked=tuple(sorted((c for c in found if not c.reason), key=lambda c: c.price)),
        rejected=tuple(c for c in found if c.reason),
    )  # fmt: skip


@cache
def _catalogue() -> tuple[Device, ...]:
    return devices()


def _job(task: str, network: str, batch: int, bits: float) -> jobs.Job:
    shape = NETWORKS[network]
    tokens = TOKENS[task]
    if task == "train":
        tokens *= parameters.parameters(shape)
        bits = 16
    return jobs.Job(task, shape, tokens, batch, bits)


def draw(result: Ranking) -> Figure:
    """The cheapest that do it: price, share of memory; and the others, by what they broke."""
    best = result.ranked[:SHOWN]
    more = f", the cheapest {SHOWN}" if len(result.ranked) > SHOWN else ""
    rows = {float(place): each.device.name for place, each in enumerate(best)}
    with style.applied():
        figure = style.figure(8.4, 3.4)
        axis = frame(
            figure,
            (0.14, 0.225, 0.48, 0.9),
            Scale.powers("USD for the job", _DOLLARS, 0.03),
            Scale(f"{len(result.ranked)} can{more}", SHOWN - 0.4, -0.6, rows),
        )
        _prices(axis, best)
        axis.axvline(math.log10(result.budget_usd), **_BUDGET)
        axis = frame(
            figure,
            (0.505, 0.225, 0.63, 0.9),
            Scale("% of usable memory", 0, 100, {0: "0", 50: "50", 100: "100"}),
            Scale("", SHOWN - 0.4, -0.6, dict.fromkeys(rows, "")),
        )
        axis.barh(list(rows), [each.share for each in best], height=0.6, color=style.SKY)
        axis = figure.add_axes((0.65, 0.225, 0.34, 0.675), frameon=False)
        axis.set(xticks=(), yticks=(), xlabel="by the first limit that each breaks")
        axis.set_title(f"{len(result.rejected)} rejected")
        axis.text(0, 0.99, _rejections(result), va="top", fontsize=8.5, linespacing=1.3)
        entries = {
            f"middle of the price's range, modelled from the catalogue of {recorded()}": _MIDDLE,
            "budget": _BUDGET,
        }
        legend(figure, entries, (0.02, 0.65), 0.05)
    return figure


def _prices(axis: Any, best: tuple[Candidate, ...]) -> None:
    """A bar from the lowest to the highest price of each, a mark at the middle, and how long."""
    middles = []
    for place, each in enumerate(best):
        assert each.dollars is not None
        low, high = exponents(each.dollars)
        axis.plot([low, high], [place, place], color=style.BLUE, linewidth=5, alpha=0.35)
        middles.append((low + high) / 2)
        left = high > 4.5
        end = low - 0.3 if left else high + 0.3
        side = "right" if left else "left"
        axis.text(end, place, _time(each), va="center", ha=side, fontsize=8.5, bbox=_OVER)
    if not best:
        axis.text(3, SHOWN / 2, "none within these limits", ha="center")
    axis.plot(middles, range(len(best)), **_MIDDLE)


_OVER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
"""Behind words that the budget's line would run through."""
_MIDDLE: dict[str, Any] = {"color": style.BLUE, "linestyle": "none", "marker": "D", "markersize": 5}
_BUDGET: dict[str, Any] = {"color": style.VERMILION, "linestyle": ":", "linewidth": 2}
_DOLLARS = {10.0**k: style.amount(10**k) if k % 2 == 0 else "" for k in range(-1, 8)}
"""The marks of the axis of prices."""


def _rejections(result: Ranking, width: int = 44) -> str:
    """What was rejected, by reason, in lines that fit beside the other panels."""
    lines = []
    for kind, found in result.reasons.items():
        line = f"{kind}:"
        for each in found:
            name = f" {each.device.name}" + ("" if each is found[-1] else ",")
            if len(line) + len(name) > width:
                lines.append(line)
                line = "   "
            line += name
        lines.append(line)
    return "\n".join(lines)


def _time(found: Candidate) -> str:
    """From the least to the most, in the unit that suits the most."""
    for unit, size in (("days", 1.0), ("h", 1 / 24), ("min", 1 / 1440)):
        if found.days[1] >= 2 * size or unit == "min":
            break
    low, high = (digits(days / size) for days in found.days)
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _dollars(found: Candidate) -> str:
    assert found.dollars is not None
    low, high = (digits(price) for price in found.dollars)
    return f"{low} USD" if low == high else f"{low} to {high} USD"


def _whose(result: Ranking) -> str:
    """Which devices the sequences of a batch are on."""
    if result.devices == 1:
        return "on 1 of a kind"
    if result.task == "infer":
        return f"for each copy of the network on {result.devices:,} of a kind"
    return f"on each of {result.devices:,} of a kind"


def _sequences(count: int) -> str:
    return f"{count:,} sequence{'s' if count > 1 else ''}"


def describe(result: Ranking) -> str:
    """The picture in one line, with the reason for every rejection."""
    ranked = "; ".join(
        f"{place}. {each.device.name}, {_dollars(each)}, {_time(each)}, "
        f"{style.size(each.demand.memory_bytes)} ({each.share:.0f}% of usable memory), "
        + (f"{digits(each.kilowatts)} kW" if each.kilowatts else "power not published")
        + ("" if each.demand.group == 1 else f", {each.demand.group:,} share the model")
        for place, each in enumerate(result.ranked, start=1)
    )
    rejected = "; ".join(f"{each.device.name}, {each.reason}" for each in result.rejected)
    job = _job(result.task, result.network, result.batch, float(result.bits))
    bits = "" if result.task == "train" else f", weights of {result.bits} bits"
    return (
        f"To {result.task} {result.network} with {style.amount(job.tokens)} tokens{bits}, "
        f"{_sequences(result.batch)} at once {_whose(result)}, for at most "
        f"{digits(result.budget_usd)} USD, {digits(result.power_kw)} kW and "
        f"{digits(result.days)} days: {len(result.ranked)} can, cheapest first: "
        f"{ranked or 'none'}. Rejected: {rejected or 'none'}. All modelled from the catalogue of "
        f"{recorded()}, {Cluster.usable:.0%} of a memory for the program (assumed), products at "
        f"{Cluster.efficiency:.0%} of the peak where no rate is known; "
        f"what isn't let is bought, and its power paid at {KWH_PRICE} USD a kWh (assumed)."
    )


def row(result: Ranking) -> dict[str, Any]:
    """What the table of trials says of a result."""
    best = result.ranked[0] if result.ranked else None
    return {
        "devices that can (modelled)": len(result.ranked),
        "cheapest": best.device.name if best else "none",
        "its price, USD (modelled)": round(best.price, 2) if best else "",
        "its days (modelled)": round(best.days[1], 3) if best else "",
    }


def ask(result: Ranking) -> str:
    """What to predict, about the controls as they stand at first."""
    job = _job(result.task, result.network, result.batch, float(result.bits))
    doing = {
        "train": "learns, all its weights in mixed precision with Adam",
        "fine-tune": f"learns, its weights as they are in {result.bits} bits beside adapters that "
        f"Adam trains",
        "infer": f"continues texts, its weights in {result.bits} bits",
    }[result.task]
    shared = f", shared out over {result.devices:,}" if result.devices > 1 else ""
    return (
        f"Before you look: {result.network} {doing}, {_sequences(result.batch)} of "
        f"{job.model.sequence:,} tokens at a time{shared}. How many GB of memory does it need on a "
        f"device, at least?"
    )


def least_memory(result: Ranking) -> float:
    """GB that the job needs on a device, on the device where it needs least."""
    everyone = (*result.ranked, *result.rejected)
    return min(each.demand.memory_bytes for each in everyone) / 1e9


device_choice = register(
    Experiment(
        name="device_choice",
        title="Will it fit, and which device should you choose",
        model=model,
        draw=draw,
        describe=describe,
        row=row,
        question=Question(text=ask, unit="GB", truth=least_memory, kind="modelled"),
    )
)
