"""How the processes that run submissions are started."""

from __future__ import annotations

import platform
import site
import sys
from pathlib import Path

GRACE = 2.0  # seconds that a cell gets to end by itself when its time is over
CHECK_GRACE = 5.0  # the same for a check, whose cases are made before its own clock starts

_LIBRARY = str(Path(__file__).parents[3])
_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")


def python(code: str) -> list[str]:
    """The command that runs ``code`` in the Python that runs this, which finds this library.

    The folder it starts in is not where modules are looked for.
    """
    first = f"import sys; {_LIBRARY!r} in sys.path or sys.path.insert(0, {_LIBRARY!r}); "
    own = [] if site.ENABLE_USER_SITE else ["-s"]
    return [sys.executable, "-P", "-B", *own, "-c", first + code]


def environment(home: str) -> dict[str, str]:
    """All the environment variables of such a process: nothing of whoever grades.

    One thread, strings hashed alike, and on x86 the vector width held to AVX2, so that sums are
    taken in the same order on most machines; measurements are replayed from recorded traces.
    """
    made = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": home,
        "IPYTHONDIR": home,
        "MPLCONFIGDIR": home,
        "ROOFLINE_HOME": home,
        "ROOFLINE_MEASURE": "replay",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONHASHSEED": "0",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_WAIT_POLICY": "PASSIVE",
        **{f"{name}_NUM_THREADS": "1" for name in _THREADS},
    }
    if platform.machine().lower() in ("x86_64", "amd64"):
        made |= {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
    if site.ENABLE_USER_SITE:
        made["PYTHONUSERBASE"] = site.getuserbase()
    return made
