"""One device for one job: what it takes of memory, time, power and money, and what limit it breaks.

Memory and time are those of :mod:`roofline.hardware.jobs`, prices those of the catalogue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from roofline.hardware import jobs
from roofline.hardware.catalogue import Device
from roofline.hardware.cost import money
from roofline.hardware.cost.checks import positive

KWH_PRICE = 0.15
"""Dollars for a kWh, which who buys a device pays too. Assumed."""


@dataclass(frozen=True)
class Candidate:
    """One device with what the job needs of it, and why it is rejected; "" if it isn't.

    Pairs are from best to worst. ``dollars`` is None if no price is known, ``kilowatts`` of all of
    them if no power is.
    """

    device: Device
    demand: jobs.Demand
    days: tuple[float, float]
    dollars: tuple[float, float] | None
    kilowatts: float | None
    reason: str

    @property
    def price(self) -> float:
        """The middle of its range; without end where none is known."""
        return math.sqrt(self.dollars[0] * self.dollars[1]) if self.dollars else math.inf

    @property
    def share(self) -> float:
        """Of the memory that a program gets, in percent."""
        return 100 * self.demand.memory_bytes / jobs.usable(self.device)


def dollars(device: Device, count: int, hours: tuple[float, float]) -> tuple[float, float] | None:
    """What is paid until the job is done: the rent, or the devices themselves and their power."""
    if "rent" in device.prices:
        low, high = device.prices["rent"].bounds
        return money.rent(count * hours[0], low), money.rent(count * hours[1], high)
    if "buy" not in device.prices:
        return None
    low, high = (count * price for price in device.prices["buy"].bounds)
    if device.power:
        least, most = device.power.bounds
        low += KWH_PRICE * money.energy_kwh(count * hours[0], least)
        high += KWH_PRICE * money.energy_kwh(count * hours[1], most)
    return low, high


def candidate(
    job: jobs.Job, device: Device, count: int, budget: float, kilowatts: float, days: float
) -> Candidate:
    """What ``job`` takes on ``count`` of ``device``, against the limits."""
    limits = {"budget": budget, "kilowatts": kilowatts, "days": days}
    for name, limit in limits.items():
        positive(name, limit)
    found = jobs.demand(job, device, count)
    hours = found.fastest / 3600, found.slowest / 3600
    draw = count * device.power.bounds[1] / 1000 if device.power else None
    paid = dollars(device, count, hours)
    result = Candidate(device, found, (hours[0] / 24, hours[1] / 24), paid, draw, reason="")
    return replace(result, reason=reject(result, budget, kilowatts, days))


def reject(found: Candidate, budget: float, kilowatts: float, days: float) -> str:
    """The first limit that is broken, in one line; "" if none is.

    Of a range its middle counts, of memory the least, of power the most.
    """
    room = jobs.usable(found.device)
    if found.demand.memory_bytes > room:
        parts = found.demand.memory
        largest = max(parts, key=lambda part: parts[part])
        needed = digits(found.demand.memory_bytes / 1e9)
        return f"memory: {needed} of {digits(room / 1e9)} GB, above all {largest}"
    middle = math.sqrt(found.days[0] * found.days[1])
    if middle > days:
        return f"time: {digits(middle)} of {digits(days)} days"
    if found.kilowatts is not None and found.kilowatts > kilowatts:
        return f"power: {digits(found.kilowatts)} of {digits(kilowatts)} kW"
    if found.dollars is None:
        return "price: none is known"
    if found.price > budget:
        return f"price: {digits(found.price)} of {digits(budget)} USD"
    return ""


def digits(value: float) -> str:
    """Three digits, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1g}"
