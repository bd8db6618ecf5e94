"""The machine underneath: its processor, memory, accelerator and driver, and where its files go."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import psutil
import torch


@dataclass(frozen=True)
class Machine:
    """Names and sizes. ``gpus`` and ``driver`` are empty where there is no accelerator.

    ``cores`` are those that this process may use; ``memory_bytes`` and ``gpu_memory_bytes`` are
    what it may fill, of main memory and of the first GPU.
    """

    cpu: str
    cores: int
    memory_bytes: int
    instructions: str
    gpus: tuple[str, ...]
    gpu_memory_bytes: int
    driver: str
    system: str
    python: str
    torch: str

    @property
    def name(self) -> str:
        """One short line: the GPU if there is one, else the processor and its cores."""
        if self.gpus:
            return self.gpus[0] if len(self.gpus) == 1 else f"{len(self.gpus)} × {self.gpus[0]}"
        return f"{self.cpu}, {self.cores} core{'s' if self.cores > 1 else ''}"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "gpus": list(self.gpus)}


@cache
def machine() -> Machine:
    """This machine, looked at once."""
    gpus, gpu_memory, driver = _gpus()
    return Machine(
        cpu=cpu_name(),
        cores=usable_cores(),
        memory_bytes=usable_memory(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        gpus=gpus,
        gpu_memory_bytes=gpu_memory,
        driver=driver,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
    )


def best_device() -> torch.device:
    """Where the heavy work goes: CUDA (or ROCm) if there is one, else MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def synchronize() -> None:
    """Wait until every accelerator in use has done what it was given."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    if torch.backends.mps.is_available():
        torch.mps.synchronize()


OUT_OF_MEMORY = "out of memory"
_SAID_OTHERWISE = re.compile(
    r"out of memory|not enough memory|(can.t|cannot|unable to) allocate|bad.alloc"
    r"|could not create a (primitive|memory object)(?! desc)",
    re.IGNORECASE,
)
"""How allocators say so; the last is oneDNN's word, where a kernel finds no room."""


def reason(problem: BaseException) -> str:
    """Why a measurement stopped, in one line: :data:`OUT_OF_MEMORY`, or what the problem says."""
    lines = str(problem).strip().splitlines()
    if isinstance(problem, MemoryError) or _SAID_OTHERWISE.search(str(problem)):
        return OUT_OF_MEMORY
    return lines[0] if lines else type(problem).__name__


def cpu_name() -> str:
    """The processor's marketing name, or its architecture where the system does not tell."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return " ".join(line.split(":", 1)[1].split())
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.SubprocessError):
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            named = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            return named.stdout.strip()
    return platform.processor() or platform.machine() or "unknown processor"


def usable_cores() -> int:
    """Cores that this process may run on, by its affinity and its container's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    quota = _first_line("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    return cores


def usable_memory() -> int:
    """Bytes of main memory, or of the container's share of it."""
    limit = _first_line("/sys/fs/cgroup/memory.max")
    total = int(psutil.virtual_memory().total)
    return min(total, int(limit)) if limit.isdigit() else total


def home() -> Path:
    """Where profiles and records go: ``ROOFLINE_HOME``, or the user's own folder for data."""
    if chosen := os.environ.get("ROOFLINE_HOME"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "roofline"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all: beside it first, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _gpus() -> tuple[tuple[str, ...], int, str]:
    """Names of the GPUs, bytes of the first one's memory, and the driver."""
    if torch.backends.mps.is_available():
        memory = torch.mps.recommended_max_memory()
        return (f"{cpu_name()} GPU",), int(memory), f"Metal, macOS {platform.mac_ver()[0]}"
    if not torch.cuda.is_available():
        return (), 0, ""
    count = torch.cuda.device_count()
    names = tuple(torch.cuda.get_device_name(index) for index in range(count))
    memory = torch.cuda.get_device_properties(0).total_memory
    return names, int(memory), _driver()


def _driver() -> str:
    """What lies between PyTorch and the card, with versions."""
    if torch.version.hip:
        return f"ROCm {torch.version.hip}"
    driver = f"CUDA {torch.version.cuda}"
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            driver = f"NVIDIA {pynvml.nvmlSystemGetDriverVersion()}, {driver}"
        finally:
            pynvml.nvmlShutdown()
    except Exception:  # the library, the card or a permission is missing: PyTorch's word is enough
        pass
    return driver
