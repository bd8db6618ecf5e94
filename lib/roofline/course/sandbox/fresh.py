"""Without a sandbox: a fresh process for each submission, which may do whatever its user may."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import IO, Any

from roofline.course.sandbox.following import killed, patience
from roofline.course.sandbox.frames import Forged, Reader
from roofline.course.sandbox.settings import environment, python
from roofline.course.work import Ran, Status, Work

CODE = "from roofline.course.sandbox.fresh import serve; serve({!r})"
_KEPT = ("SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT")  # what Windows can't do without
IMPORTS = 60.0  # seconds that a process may take before its first cell


def run_fresh(work: Work, file: IO[bytes], overlay: str) -> Ran:
    """Run one spooled submission. The folder it ran in is gone afterwards."""
    ran = Ran(work.key, "done")
    with tempfile.TemporaryDirectory(prefix="roofline-", ignore_cleanup_errors=True) as home:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        temporary = {"TMPDIR": home, "TEMP": home, "TMP": home}
        process = subprocess.Popen(
            python(CODE.format(overlay)),
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(home) | kept | temporary,
            cwd=home,
            start_new_session=True,
        )
        try:
            _follow(work, ran, process)
        finally:
            _end(process)
    return ran


def _follow(work: Work, ran: Ran, process: subprocess.Popen[bytes]) -> None:
    pieces: queue.Queue[bytes] = queue.Queue(maxsize=64)
    source = process.stdout
    assert source is not None

    def pump() -> None:
        with suppress(OSError, ValueError):
            while piece := os.read(source.fileno(), 1 << 18):
                pieces.put(piece)
        pieces.put(b"")

    threading.Thread(target=pump, daemon=True, name="a submission's results").start()
    reader = Reader(work, ran)
    now = time.monotonic()
    deadline = now + work.limits.wall_seconds + IMPORTS
    cell_deadline, started = deadline, 0
    stop: tuple[Status, str] | None = None
    while not reader.ended:
        try:
            piece = pieces.get(timeout=max(min(deadline, cell_deadline) - time.monotonic(), 0.01))
        except queue.Empty:
            if time.monotonic() >= min(deadline, cell_deadline):
                cell = reader.cell if time.monotonic() < deadline else None
                why = f"took longer than {work.limits.wall_seconds:g} s"
                stop = "timeout", cell.too_long(work.limits) if cell else why
                break
            continue
        if not piece:
            break
        try:
            reader.feed(piece)
        except Forged as error:
            stop = "output", f"it sent bytes of its own to the grader: {error}"
            break
        if reader.started != started:
            if not started:
                deadline = time.monotonic() + work.limits.wall_seconds
            started = reader.started
            cell_deadline = time.monotonic() + (patience(reader.cell, work) if reader.cell else 0)
        if reader.cell is None:
            cell_deadline = deadline
    _end(process)
    while pieces.qsize():  # the thread may wait to put one more
        pieces.get_nowait()
    if reader.failed:
        ran.status, ran.reason = "failed", reader.failed
    elif stop is not None:
        ran.status, ran.reason = stop
    elif not reader.ended:
        ran.status, ran.reason = killed(process.returncode, "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and, where there are process groups, all that it started."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            import signal

            os.killpg(process.pid, signal.SIGKILL)
    with suppress(OSError):
        process.kill()
    process.wait()


def serve(overlay: str) -> None:
    """In that process: read one submission from standard input, and run it."""
    target = os.dup(1)
    if overlay:
        os.environ["ROOFLINE_EXERCISES"] = overlay
    from roofline.course.sandbox.runner import Runner, capture_files
    from roofline.course.sandbox.spool import unspooled

    folder = tempfile.mkdtemp()
    runner: Any = Runner()
    work = unspooled(sys.stdin.buffer, folder)
    os.chdir(folder)
    sys.path.append(folder)
    sys.argv = [""]
    _limit(work["limits"])
    runner.run(work, target, capture_files())
    os._exit(0)


def _limit(limits: dict[str, Any]) -> None:
    """What limits there are without a sandbox."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in (("RLIMIT_CPU", "cpu_seconds"), ("RLIMIT_FSIZE", "file_bytes")):
        with suppress(OSError, ValueError):
            what = getattr(resource, name)
            resource.setrlimit(what, (int(limits[most]), resource.getrlimit(what)[1]))
