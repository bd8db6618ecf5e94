"""Bytes between devices, the time they take, and the time that a pipeline stands still.

Ring collectives in the alpha-beta model: α seconds a message, β bytes a second a direction.
Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH",
2005; Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", 2009.
"""

from __future__ import annotations

from roofline.hardware.cost.checks import not_negative, positive, whole, wholes

LARGEST_GROUP = 10**7


def all_reduce_seconds(size: float, devices: int, bandwidth: float, latency: float = 0) -> float:
    """``2(n−1)α + 2(n−1)/n · S/β``: a ring reduce-scatter, then a ring all-gather."""
    return 2 * all_gather_seconds(size, devices, bandwidth, latency)


def all_gather_seconds(size: float, devices: int, bandwidth: float, latency: float = 0) -> float:
    """``(n−1)α + (n−1)/n · S/β``, S bytes of the gathered whole."""
    n = whole("devices", devices, most=LARGEST_GROUP)
    moved = not_negative("size", size) * (n - 1) / n
    return (n - 1) * not_negative("latency", latency) + moved / positive("bandwidth", bandwidth)


def reduce_scatter_seconds(
    size: float, devices: int, bandwidth: float, latency: float = 0
) -> float:
    """As an all-gather backwards: ``(n−1)α + (n−1)/n · S/β``."""
    return all_gather_seconds(size, devices, bandwidth, latency)


def all_to_all_seconds(size: float, devices: int, bandwidth: float, latency: float = 0) -> float:
    """``(n−1)α + (n−1)/n · S/β``, S bytes that each device holds: what a mixture's tokens do."""
    return all_gather_seconds(size, devices, bandwidth, latency)


def send_seconds(size: float, bandwidth: float, latency: float = 0) -> float:
    """``α + S/β``: one message from one device to one other."""
    moved = not_negative("size", size) / positive("bandwidth", bandwidth)
    return not_negative("latency", latency) + moved


def bus_factor(devices: int) -> float:
    """``2(n−1)/n``: bytes on a link for each byte reduced. nccl-tests, doc/PERFORMANCE.md."""
    n = whole("devices", devices, most=LARGEST_GROUP)
    return 2 * (n - 1) / n


def tensor_parallel_elements(batch: int, sequence: int, hidden: int, tensor: int) -> float:
    """``8bsh(t−1)/t`` elements a layer, device and micro-batch, forward and backward.

    Four all-reduces of bsh, two forward and two backward. Narayanan et al., arXiv 2104.04473,
    section 3.2. Sequence parallelism moves as much (arXiv 2205.05198, section 4.2.2).
    """
    wholes(10**9, batch=batch, sequence=sequence, hidden=hidden)
    t = whole("tensor", tensor, most=LARGEST_GROUP)
    return 8 * batch * sequence * hidden * (t - 1) / t


def pipeline_elements(batch: int, sequence: int, hidden: int, chunks: int = 1) -> float:
    """``bsh·v`` elements that a stage sends on, a micro-batch and direction; v chunks interleaved.

    Narayanan et al., arXiv 2104.04473, section 3.2.
    """
    wholes(10**9, batch=batch, sequence=sequence, hidden=hidden)
    return float(batch * sequence * hidden * whole("chunks", chunks, most=10**5))


def zero_elements(parameters: float, stage: int, devices: int) -> float:
    """Elements that each device sends a step: ``2Ψ(n−1)/n``, half as much again in stage 3.

    Rajbhandari et al., arXiv 1910.02054, section 7.
    """
    whole("ZeRO stage", stage, least=0, most=3)
    n = whole("devices", devices, most=LARGEST_GROUP)
    return (3 if stage == 3 else 2) * positive("parameters", parameters) * (n - 1) / n


def bubble_of_ideal(stages: int, micro_batches: int, chunks: int = 1) -> float:
    """``(p−1)/(m·v)``: time that a pipeline idles, over the time of its work.

    Narayanan et al., arXiv 2104.04473, sections 2.2.1 and 2.2.2.
    """
    p = whole("stages", stages, most=LARGEST_GROUP)
    m, v = whole("micro_batches", micro_batches), whole("chunks", chunks, most=10**5)
    return (p - 1) / (m * v)


def bubble_of_total(stages: int, micro_batches: int, chunks: int = 1) -> float:
    """``(p−1)/(m·v+p−1)``: the same idle time, over all time, as GPipe counts it.

    Huang et al., arXiv 1811.06965, section 2.3: O((K−1)/(M+K−1)).
    """
    p = whole("stages", stages, most=LARGEST_GROUP)
    m, v = whole("micro_batches", micro_batches), whole("chunks", chunks, most=10**5)
    return (p - 1) / (m * v + p - 1)
