"""The devices that this machine has, for tests that run on each."""

from __future__ import annotations

import torch

DEVICES = [
    "cpu",
    *(["cuda"] if torch.cuda.is_available() else []),
    *(["mps"] if torch.backends.mps.is_available() else []),
]


def float_type(device: str) -> torch.dtype:
    """The most exact float of the device: MPS has no float64."""
    return torch.float32 if device == "mps" else torch.float64
