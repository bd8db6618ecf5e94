"""What a run costs beside time: energy, carbon, price."""

from __future__ import annotations

from roofline.hardware.cost.checks import not_negative, positive


def energy_kwh(device_hours: float, watts: float, pue: float = 1.0) -> float:
    """``hours·W/1000·PUE`` kWh; ``pue`` power usage effectiveness of the building, at least 1.

    Patterson et al., arXiv 2104.10350, section 2.
    """
    if positive("pue", pue, 10) < 1:
        raise ValueError(
            f"pue is {pue:g}; a building uses at least what is in it, so give 1 or more"
        )
    return positive("device_hours", device_hours) * positive("watts", watts, 1e9) / 1000 * pue


def carbon_kg(kwh: float, kg_per_kwh: float) -> float:
    """Kilograms of CO₂ equivalents of ``kwh``. Patterson et al., arXiv 2104.10350, section 2."""
    return positive("kwh", kwh) * not_negative("kg_per_kwh", kg_per_kwh, 10)


def rent(device_hours: float, price_per_hour: float) -> float:
    """Hours times their price, in the price's currency."""
    return positive("device_hours", device_hours) * not_negative("price_per_hour", price_per_hour)


def ownership(
    purchase: float, years: float, watts: float, price_per_kwh: float, pue: float = 1.0
) -> float:
    """Price of one device for an hour: purchase over its years, and the power that it draws."""
    hours = positive("years", years, 100) * 365 * 24
    power = energy_kwh(1, watts, pue) * not_negative("price_per_kwh", price_per_kwh)
    return not_negative("purchase", purchase) / hours + power
