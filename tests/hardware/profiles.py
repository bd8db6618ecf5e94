"""A profile that nobody measured, with round numbers."""

from __future__ import annotations

from roofline.hardware.machine import machine
from roofline.hardware.profile import Profile, Rate


def made_up() -> Profile:
    """10 GB/s of memory, 100 of cache, 200 GFLOP/s: ridge at 20."""
    return Profile(
        machine={"name": machine().name, **machine().as_dict()},
        device="cpu",
        threads=2,
        date="2025-01-02",
        code="roofline 0",
        took=1.0,
        overhead=1e-6,
        latency=2e-6,
        gemm=(
            Rate("float32", 32, 5e10, 0.01),
            Rate("float32", 256, 2e11, 0.3),
            Rate("bfloat16", 32, 1e9, 0.01),
        ),
        bandwidth=(Rate("copy", 2**16, 1e11, 0.01), Rate("copy", 2**29, 1e10, 0.01)),
        copies=(Rate("to device", 2**20, 3e9, 0.0),),
        notes=("float16 stopped at 32: no kernel",),
    )
