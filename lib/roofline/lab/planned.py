"""What there is to plan, and all plans for it, as the experiment ``planner`` shows them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from roofline.hardware.catalogue import find
from roofline.hardware.cost import Transformer
from roofline.hardware.planner import Cluster, Estimate, Plan, Search, cluster, search

NETWORKS = {
    "GPT 1.7B": Transformer(24, 2304, 24, 51200, 2048),
    "GPT 22B": Transformer(48, 6144, 64, 51200, 2048),
    "GPT 175B": Transformer(96, 12288, 96, 51200, 2048),
    "GPT 530B": Transformer(105, 20480, 128, 51200, 2048),
    "GPT 1T": Transformer(128, 25600, 160, 51200, 2048),
}
"""Shapes of Narayanan et al., arXiv 2104.04473, table 1, and Korthikanti et al., arXiv 2205.05198,
table 3; sequences of 2,048 tokens."""

DEVICES = ("RTX 4090", "A100 80GB SXM", "H100 SXM", "B200 SXM", "MI300X", "TPU v5p")
NETWORK = 25e9
"""Bytes a second of each device to other nodes, as in arXiv 2205.05198: 8 × 200 Gb/s for eight."""
SHOWN = 4


@dataclass(frozen=True)
class Planned:
    """What there is to train on, all plans for it, and the learner's own.

    ``own`` is None where it doesn't divide; ``broken`` says what breaks it, "" if nothing does.
    """

    network: str
    device: str
    machines: Cluster
    batch: int
    plan: Plan
    own: Estimate | None
    broken: str
    found: Search

    @property
    def best(self) -> Estimate | None:
        return self.found.best[0] if self.found.best else None

    @property
    def splits(self) -> list[Estimate]:
        """The fastest plans, each of another split into tensor and pipeline parallel devices."""
        fits = [each for each in self.found.shapes.values() if isinstance(each, Estimate)]
        return sorted(fits, key=lambda each: each.step_seconds)[:SHOWN]


@functools.lru_cache(maxsize=64)
def searched(network: str, device: str, devices: int, batch: int) -> Search:
    """All plans, once for each setting that they depend on."""
    return search(NETWORKS[network], machines(device, devices), batch, keep=1)


def machines(device: str, devices: int) -> Cluster:
    return cluster(find(device), devices, network=NETWORK)
