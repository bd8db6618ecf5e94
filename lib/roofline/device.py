"""The one choice of a device: CUDA where there is a card, else MPS, else the CPU.

The environment variable ``ROOFLINE_DEVICE`` overrides it: cpu, cuda, cuda:1, mps.
"""

from __future__ import annotations

import os
import re

import torch

KNOWN = re.compile(r"(cpu|mps|cuda(:\d+)?)")


def devices() -> list[str]:
    """The devices of this machine, the one to prefer first."""
    cards = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [*cards, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def device(name: str | torch.device | None = None) -> torch.device:
    """The device to compute on: ``name``, else ``ROOFLINE_DEVICE``, else the best there is.

    Raises:
        ValueError: no such device, or none of that kind on this machine.
    """
    asker = "device"
    if name is None and os.environ.get("ROOFLINE_DEVICE"):
        asker, name = "ROOFLINE_DEVICE", os.environ["ROOFLINE_DEVICE"]
    there = devices()
    if name is None:
        return torch.device(there[0])
    wanted = str(name).strip().lower()
    if not KNOWN.fullmatch(wanted):
        raise ValueError(f"{asker} is {str(name)!r}, expected cpu, cuda, cuda:0 or mps")
    if (f"{wanted}:0" if wanted == "cuda" else wanted) not in there:
        raise ValueError(
            f"{asker} is {str(name)!r}, but this machine has {', '.join(there)}: choose one of "
            f"these, or leave the choice to the course"
        )
    return torch.device(wanted)
