"""What a job asks of a number of devices: memory of each, and how fast they do it together.

Three jobs on one Transformer. *train* all its weights, in 16 bits with Adam. *fine-tune* adapters
beside weights that stay as they are (LoRA, Hu et al., arXiv 2106.09685), which may be quantised
(QLoRA, Dettmers et al., arXiv 2305.14314). *infer*: continue many sequences at once.
To train, the devices of a node may share every layer (tensor parallel), and all of them share
weights and optimizer as in ZeRO's stage 3 (arXiv 1910.02054); to infer, groups of tensor parallel
devices each hold the model. Everything is modelled, from the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from roofline.hardware.catalogue import Device
from roofline.hardware.cost import (
    Transformer,
    communication,
    flops,
    memory,
    parameters,
    rates,
    traffic,
    waves,
)
from roofline.hardware.cost.checks import of_kind, one_of, positive, whole
from roofline.hardware.planner import PAYLOAD, cluster
from roofline.hardware.planner_step import ELEMENT, Step
from roofline.hardware.plans import Cluster, Estimate, Plan

TASKS = ("train", "fine-tune", "infer")
NETWORK = 25e9
"""Bytes a second of a device to those of other nodes: 8 links of 200 Gb/s for 8 devices, as in
Korthikanti et al., arXiv 2205.05198, section 6."""
RANK = 16
"""Of the adapters, on the four matrices of every attention."""
RECOMPUTE = "selective"  # attention's squares, as in Korthikanti et al.
LARGEST_GROUP = 8
"""Devices that infer as one: those of a node."""


@dataclass(frozen=True)
class Job:
    """``tokens`` to be read in training, or written to infer; ``batch`` sequences on each device
    at once, or on each group of devices that infer as one; ``bits`` of a weight, where the weights
    stay as they are."""

    task: str
    model: Transformer
    tokens: float
    batch: int = 1
    bits: float = 16

    def __post_init__(self) -> None:
        one_of("task", self.task, TASKS)
        of_kind("model", self.model, Transformer)
        positive("tokens", self.tokens)
        whole("batch", self.batch, most=10**6)
        positive("bits", self.bits, most=32)


@dataclass(frozen=True)
class Demand:
    """Bytes by part on one device, of ``group`` that share a model; seconds at best and at worst,
    which differ where a figure of the catalogue is a range."""

    memory: dict[str, float]
    group: int
    fastest: float
    slowest: float

    @property
    def memory_bytes(self) -> float:
        return sum(self.memory.values())


def demand(job: Job, device: Device, count: int) -> Demand:
    """What ``job`` needs of each of ``count`` devices, and how long they take."""
    of_kind("job", job, Job)
    of_kind("device", device, Device, how=", such as catalogue.find('h100 sxm')")
    whole("device count", count, most=100_000)
    slow, fast = (_machines(device, count, end) for end in (0, 1))
    if job.task == "infer":
        group = _group(job, usable(device), count)
        parts = _inference_memory(job, group)
        times = [job.tokens / _inference_rate(job, each, count, group) for each in (fast, slow)]
        return Demand(parts, group, *times)
    steps = job.tokens / (job.batch * count * job.model.sequence)
    if job.task == "train":
        best, worst = (_training(job, each, usable(device)) for each in (fast, slow))
        times = [steps * each.step_seconds for each in (best, worst)]
        return Demand(worst.memory, count, *times)
    times = [steps * _tuning_seconds(job, each) for each in (fast, slow)]
    return Demand(_tuning_memory(job, count), count, *times)


def usable(device: Device) -> float:
    """Bytes that a program gets: of a disputed memory the least."""
    return device.memory.bounds[0] * Cluster.usable


def _machines(device: Device, count: int, end: int) -> Cluster:
    """The worst (0) or best (1) of what the catalogue says."""
    middle = cluster(device, count, network=NETWORK)
    factor = device.peak().bounds[end] / device.peak().value
    return replace(
        middle,
        peak=middle.peak * factor,
        bandwidth=device.bandwidth.bounds[end],
        inside=PAYLOAD * device.link.bounds[end] if device.link else NETWORK,
    )


def _training(job: Job, machines: Cluster, room: float) -> Estimate:
    """The fastest way that fits of sharing layers within a node and state over all nodes.

    Where nothing fits, the way that needs the least.
    """
    step = Step(job.model, machines, job.batch * machines.count)
    ways = []
    tensor = 1
    while tensor <= min(machines.node, machines.count) and machines.count % tensor == 0:
        if not (job.model.heads % tensor or job.model.kv_heads % tensor):
            data, sequences = machines.count // tensor, job.batch * tensor
            zero = 3 if data > 1 else 0
            ways.append(step.estimate(Plan(data, tensor, 1, sequences, 1, zero, RECOMPUTE)))
        tensor *= 2
    fits = [way for way in ways if way.memory_bytes <= room]
    if fits:
        return min(fits, key=lambda way: way.step_seconds)
    return min(ways, key=lambda way: way.memory_bytes)


def _tuning_memory(job: Job, count: int) -> dict[str, float]:
    """Frozen weights shared out, two layers of them gathered; adapters with all that Adam keeps."""
    model = job.model
    weights = memory.weight_bytes(parameters.parameters(model), job.bits)
    layer = memory.activations(model, job.batch, recompute=RECOMPUTE, dropout=False)
    whole_layer = memory.activations(model, job.batch, dropout=False)
    state = memory.training_state(_adapters(model))
    ends = memory.end_activations(model, job.batch) + memory.temporary(model, job.batch)
    return {
        "weights": weights / count,
        "gathered layers": 2 * weights / model.layers if count > 1 else 0.0,
        "adapters": state.total,
        "activations": model.layers * layer + whole_layer + ends,
    }


def _tuning_seconds(job: Job, machines: Cluster) -> float:
    """A step computes no gradient of the weights, a third of their work; it gathers them twice."""
    model = job.model
    work = flops.step_flops(model, job.batch, recompute=RECOMPUTE)
    work -= 2 * parameters.matrix_parameters(model) * job.batch * model.sequence
    moved = model.layers * traffic.layer_traffic(
        model, job.batch, recompute=RECOMPUTE, dropout=False
    )
    weights = memory.weight_bytes(parameters.parameters(model), job.bits)
    rate = machines.peak * machines.efficiency
    if machines.units:
        rate *= waves.layer_share(model, job.batch, 1, machines.units)
    products = max(work / rate, 2 * weights / machines.bandwidth)
    link = machines.inside if machines.count <= machines.node else machines.network
    gathers = 2 * communication.all_gather_seconds(weights, machines.count, link, machines.latency)
    return max(products + moved / machines.bandwidth, gathers)


def _adapters(model: Transformer) -> int:
    return parameters.lora_parameters(
        model.hidden, model.attention_width, min(RANK, model.hidden), 4 * model.layers
    )


def _group(job: Job, room: float, count: int) -> int:
    """The fewest devices that hold the model together, or as many as can share its heads."""
    model, group = job.model, 1
    while sum(_inference_memory(job, group).values()) > room:
        twice = 2 * group
        if twice > min(count, LARGEST_GROUP) or model.heads % twice or model.kv_heads % twice:
            break
        group = twice
    return group


def _inference_memory(job: Job, group: int) -> dict[str, float]:
    parts = memory.inference_parts(job.model, job.model.sequence, job.batch, job.bits)
    return {name: size / group for name, size in parts.items()}


def _share_read(job: Job) -> float:
    """Of all weights, those that one step reads: of experts, those that any sequence goes through,
    if each chooses by lot."""
    model, count = job.model, parameters.parameters(job.model)
    asleep = count - parameters.active_parameters(model)
    others = (1 - model.experts_per_token / model.experts) ** (job.batch - 1)
    return 1 - asleep * others / count


def _inference_rate(job: Job, machines: Cluster, count: int, group: int) -> float:
    """Tokens a second of all groups: what is read or what is computed, and two all-reduces a layer.

    The caches are full, which is the worst case.
    """
    parts = _inference_memory(job, group)
    read = parts["weights"] * _share_read(job)
    reading = job.batch / rates.decode_rate(
        read, machines.bandwidth, job.batch, parts["KV cache"] / job.batch
    )
    work = 2 * parameters.active_parameters(job.model) * job.batch / group
    computing = work / (machines.peak * machines.efficiency)
    size = ELEMENT * job.batch * job.model.hidden
    sharing = communication.all_reduce_seconds(size, group, machines.inside, machines.latency)
    seconds = max(reading, computing) + 2 * job.model.layers * sharing
    return count // group * job.batch / seconds
