"""What a training step is spread over, how, and what that costs: cluster, plan, estimate."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.hardware.cost.checks import flag, not_negative, one_of, positive, whole
from roofline.hardware.cost.flops import RECOMPUTE

MOST_DEVICES = 2**17
LATENCY = 5e-6  # seconds a message: of the order that nccl-tests prints for its smallest sizes


@dataclass(frozen=True)
class Cluster:
    """``count`` devices, ``node`` of them side by side.

    ``peak`` FLOP/s, ``memory`` bytes and ``bandwidth`` bytes a second of one device. ``inside`` and
    ``network``: bytes a second and direction of a device, to its node and beyond. ``efficiency``:
    share of the peak that large products reach. ``usable``: share of the memory a program gets.
    ``overlap``: whether communication hides behind arithmetic wherever a schedule lets it.
    ``units``: multiprocessors of one device, 0 if not known: then products fill all waves.
    """

    count: int
    peak: float
    memory: float
    bandwidth: float
    inside: float
    network: float
    node: int = 8
    efficiency: float = 0.75
    usable: float = 0.9
    latency: float = LATENCY
    overlap: bool = True
    units: int = 0

    def __post_init__(self) -> None:
        whole("device count", self.count, most=MOST_DEVICES)
        whole("devices in a node", self.node, most=MOST_DEVICES)
        for name in ("peak", "memory", "bandwidth", "inside", "network"):
            positive(name, getattr(self, name))
        positive("efficiency", self.efficiency, most=1)
        positive("usable", self.usable, most=1)
        not_negative("latency", self.latency)
        flag("overlap", self.overlap)
        whole("multiprocessors", self.units, least=0, most=10**6)


@dataclass(frozen=True)
class Plan:
    """How a step is spread: ``data`` × ``tensor`` × ``pipeline`` devices.

    ``micro_batch`` sequences at a time, ``chunks`` of layers interleaved on each stage, ``zero``
    stage 0 to 3, ``recompute`` none, selective or full. Tensor parallel implies sequence parallel.
    """

    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    micro_batch: int = 1
    chunks: int = 1
    zero: int = 1
    recompute: str = "none"

    def __post_init__(self) -> None:
        for name in ("data", "tensor", "pipeline", "micro_batch", "chunks"):
            whole(name, getattr(self, name), most=MOST_DEVICES)
        whole("ZeRO stage", self.zero, least=0, most=3)
        one_of("recompute", self.recompute, RECOMPUTE)


@dataclass(frozen=True)
class Estimate:
    """Modelled seconds of one step and bytes of the fullest device, both by part."""

    plan: Plan
    seconds: dict[str, float]
    memory: dict[str, float]
    mfu: float
    tokens_per_second: float

    @property
    def step_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def memory_bytes(self) -> float:
        return sum(self.memory.values())
