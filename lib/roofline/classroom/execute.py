"""Run a notebook as the build does: one environment for every machine, and its memory taken."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipykernel.kernelspec
import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from traitlets import default

CELL_LIMIT = 600  # seconds; a chapter takes under 120 in all, on a machine with nothing else to do

# Variables that grading sets: the secret that sealed cases are drawn from, where answers go.
GRADING = ("ROOFLINE_SEED", "ROOFLINE_OUTBOX")

# A kernel's last printed line can come after the word that its cell has ended, or not at all, if
# the cell ends at once; ipykernel's own remedy is a pause, 0.5 ms by default.
KERNEL_CONFIG = "c.IPythonKernel._execute_sleep = 0.02\n"

# Prints the kernel's peak resident bytes. Linux tells it for the program that now runs (getrusage
# includes what the launcher had before exec), macOS through getrusage in bytes.
PEAK = """\
def _peak():
    import os, sys
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    if sys.platform == "win32":
        import psutil
        return psutil.Process().memory_info().peak_wset
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(_peak())
"""


class CellError(Exception):
    """A cell that failed: which one, what it raised, and where in the cell, counted from 1."""

    def __init__(self, cell: NotebookNode, message: str, line: int | None) -> None:
        super().__init__(message)
        self.cell, self.message, self.line = cell, message, line


@dataclass(frozen=True)
class Run:
    """What running a notebook took: wall-clock seconds and peak resident bytes of its kernel."""

    seconds: float
    peak_bytes: int


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """The environment variables that a built notebook runs under, with an empty home for its state.

    Measurements are replayed from recorded traces; threads are fixed and the GPU is left alone; on
    x86 the vector width is held to AVX2, so that sums are taken in the same order on most machines;
    neither the progress nor the IPython start-up files of whoever builds take part.
    """
    with tempfile.TemporaryDirectory(prefix="roofline-", ignore_cleanup_errors=True) as home:
        ipython = Path(home, "ipython")
        (ipython / "profile_default").mkdir(parents=True)
        config = ipython / "profile_default" / "ipython_kernel_config.py"
        config.write_text(KERNEL_CONFIG, encoding="utf-8")
        fixed = {
            "ROOFLINE_MEASURE": "replay",
            "ROOFLINE_HOME": str(Path(home, "roofline")),
            "IPYTHONDIR": str(ipython),
            "PYTHONHASHSEED": "0",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # pictures go into the notebook
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait don't spin: cores may be shared
        }
        fixed |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
        if platform.machine().lower() in ("x86_64", "amd64"):
            fixed |= {
                "ATEN_CPU_CAPABILITY": "avx2",
                "ONEDNN_MAX_CPU_ISA": "AVX2",
                "MKL_CBWR": "AVX2",
            }
        inherited = {k: v for k, v in os.environ.items() if k not in GRADING}
        yield inherited | fixed


def execute(
    notebook: NotebookNode, on_cell: Callable[[], Any] = lambda: None
) -> tuple[NotebookNode, Run]:
    """A copy of ``notebook`` with the outputs of every code cell; ``on_cell`` is called after each.

    The kernel is the Python that runs this, whatever kernels the user has installed. It starts in
    an empty folder. Raises :class:`CellError`.
    """
    executed = deepcopy(notebook)
    executed.cells.append(nbformat.v4.new_code_cell(PEAK))
    started: list[NotebookNode] = []
    client = NotebookClient(
        executed,
        kernel_manager_class=_ThisPython,
        kernel_name="python3",
        timeout=CELL_LIMIT,
        record_timing=False,
        store_widget_state=False,
        on_cell_execute=lambda cell, **_: started.append(cell),
        on_cell_executed=lambda cell_index, **_: cell_index < len(notebook.cells) and on_cell(),
    )
    start = time.perf_counter()
    with environment() as env, tempfile.TemporaryDirectory(prefix="roofline-") as folder:
        try:
            # The kernel's own stderr is its log; what cells write there is an output.
            client.execute(env=env, cwd=folder, stderr=subprocess.DEVNULL)
        except CellExecutionError as error:
            message, line = f"{error.ename}: {error.evalue}", _line(error.traceback)
            raise CellError(started[-1], message, line) from None
        except CellTimeoutError:
            raise CellError(started[-1], f"took longer than {CELL_LIMIT} seconds", None) from None
        except DeadKernelError:
            raise CellError(started[-1], "the kernel died; is memory short?", None) from None
    seconds = time.perf_counter() - start
    peak = executed.cells.pop()
    executed.metadata = deepcopy(notebook.metadata)
    return executed, Run(seconds, int(peak.outputs[0].text))


def _line(traceback: str) -> int | None:
    """The line of the cell in which it failed, from IPython's traceback."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", traceback)
    found = re.findall(r"Cell In\s?\[\d+\], line (\d+)", plain)
    return int(found[0]) if found else None


class _Specs(KernelSpecManager):
    """Only one kernel: the Python that runs this."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(
            resource_dir=ipykernel.kernelspec.RESOURCES, **ipykernel.kernelspec.get_kernel_dict()
        )


class _ThisPython(AsyncKernelManager):
    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return _Specs()
