"""How fast: the roofline, reading and writing tokens, training days, checkpoints."""

from __future__ import annotations

import math

from roofline.hardware.cost.checks import not_negative, positive, whole

SECONDS_A_DAY = 86_400


def roofline(intensity: float, peak: float, bandwidth: float) -> float:
    """``min(peak, AI·bandwidth)`` FLOP/s at ``intensity`` FLOPs a byte.

    Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.
    """
    ceiling = positive("intensity", intensity) * positive("bandwidth", bandwidth)
    return min(positive("peak", peak), ceiling)


def ridge_point(peak: float, bandwidth: float) -> float:
    """``peak/bandwidth`` FLOPs a byte: below it memory limits, above it arithmetic.

    Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009.
    """
    return positive("peak", peak) / positive("bandwidth", bandwidth)


def matmul_intensity(rows: int, inner: int, columns: int, element_bytes: float = 2) -> float:
    """``2mkn / (bytes·(mk + kn + mn))``: FLOPs a byte of a product that reads and writes once."""
    m, k = whole("rows", rows), whole("inner", inner)
    n = whole("columns", columns)
    moved = positive("element_bytes", element_bytes, 16) * (m * k + k * n + m * n)
    return 2 * m * k * n / moved


def decode_rate(
    weight_bytes: float, bandwidth: float, batch: int = 1, cache_bytes: float = 0
) -> float:
    """At most ``batch·bandwidth/(weights + batch·cache)`` tokens a second, of all sequences.

    Each step reads every weight once and each sequence's ``cache_bytes``. Pope et al., arXiv
    2211.05102, section 2. A ceiling: no device reads its memory at its full rate.
    """
    b = whole("batch", batch, most=10**9)
    read = positive("weight_bytes", weight_bytes) + b * not_negative("cache_bytes", cache_bytes)
    return b * positive("bandwidth", bandwidth) / read


def prefill_rate(parameters: float, peak: float, utilisation: float = 1) -> float:
    """``peak·utilisation/2N`` prompt tokens a second. Pope et al., arXiv 2211.05102, section 2."""
    used = positive("peak", peak) * positive("utilisation", utilisation, 1)
    return used / (2 * positive("parameters", parameters))


def training_days(flops: float, devices: int, flops_per_second: float) -> float:
    """Days for ``flops`` on ``devices`` that each achieve ``flops_per_second``."""
    fleet = whole("devices", devices) * positive("flops_per_second", flops_per_second)
    return positive("flops", flops) / fleet / SECONDS_A_DAY


def recomputed_training_days(
    parameters: float, tokens: float, devices: int, flops_per_second: float
) -> float:
    """``8TP/(nX)`` in days: full recompute makes 8 of the 6.

    Narayanan et al., arXiv 2104.04473, equation 4.
    """
    flops = 8 * positive("parameters", parameters) * positive("tokens", tokens)
    return training_days(flops, devices, flops_per_second)


def checkpoint_interval(save_seconds: float, seconds_between_failures: float) -> float:
    """``√(2δM)`` seconds between checkpoints. Young, CACM 17(9), 1974."""
    save = positive("save_seconds", save_seconds)
    return math.sqrt(2 * save * positive("seconds_between_failures", seconds_between_failures))


def daly_interval(save_seconds: float, seconds_between_failures: float) -> float:
    """``√(2δM)·(1 + √(δ/2M)/3 + δ/18M) − δ`` where δ < 2M, else M seconds.

    Daly, "A higher order estimate of the optimum checkpoint interval", FGCS 22(3), 2006, eq. 37.
    """
    save = positive("save_seconds", save_seconds)
    failures = positive("seconds_between_failures", seconds_between_failures)
    if save >= 2 * failures:
        return failures
    ratio = save / (2 * failures)
    first = checkpoint_interval(save, failures)
    return first * (1 + math.sqrt(ratio) / 3 + ratio / 9) - save


def failure_interval(seconds_between_failures: float, devices: int) -> float:
    """Mean seconds between failures of ``devices`` that fail each on its own."""
    return positive("seconds", seconds_between_failures) / whole("devices", devices)
