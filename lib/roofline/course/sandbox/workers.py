"""The door to the sandbox, for whoever grades."""

from __future__ import annotations

import json
import os
import platform
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from roofline.course.sandbox.frames import Forged, Reader, one_line
from roofline.course.sandbox.fresh import run_fresh
from roofline.course.sandbox.settings import GRACE, environment, python
from roofline.course.sandbox.spool import spooled
from roofline.course.work import Ran, Status, Work

PATIENCE = 20.0  # seconds that may pass from a submission's end to the word of its supervisor
START = 120.0  # seconds in which all libraries are imported, on a busy machine


class NoSandbox(RuntimeError):
    """There is no sandbox here. The text says why and what to do, in one line."""


def available(user: str = "nobody") -> str | None:
    """None if there is a sandbox on this machine, else why there is none, in one line."""
    try:
        with Workers(1, user=user) as workers:
            workers.start()
    except NoSandbox as error:
        return str(error)
    return None


class Workers:
    """Runs submissions, up to ``count`` at a time, each in a sandbox of its own.

    Args:
        count: how many may run at once.
        trust: run submissions without a sandbox where there is none. They may then do whatever the
            user may who grades.
        overlay: folder of private exercises, or several as in ``ROOFLINE_EXERCISES``.
        user: who submissions run as if this process is root's.

    ``sandbox`` is ``"bubblewrap"`` or ``"none"``, once started. Raises :class:`NoSandbox` when used
    where there is no sandbox, without ``trust``.
    """

    def __init__(
        self,
        count: int,
        trust: bool = False,
        overlay: str | os.PathLike[str] | None = None,
        user: str = "nobody",
    ) -> None:
        if count < 1:
            raise ValueError(f"{count} workers: expected at least one")
        self.count, self.trust, self.user = count, trust, user
        self.overlay = os.fspath(overlay) if overlay is not None else ""
        self.sandbox = ""
        self._turns = threading.BoundedSemaphore(count)
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None
        self._closed = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def start(self) -> None:
        """Import all libraries now, and not with the first submission. Raises NoSandbox."""
        with self._lock:
            self._start()

    def _start(self) -> None:
        if self._closed:
            raise ValueError("these workers are closed")
        if self.sandbox == "none" or (self._zygote is not None and self._zygote.alive()):
            return
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
        why = _missing()
        if not why:
            try:
                self._zygote = _Zygote(self.user, self.overlay)
                self.sandbox = "bubblewrap"
                return
            except NoSandbox as error:
                why = str(error)
        if not self.trust:
            raise NoSandbox(f"{why}; or trust the submissions, which may then read everything here")
        self.sandbox = "none"

    def run(self, work: Work) -> Ran:
        """Run one submission, when a worker is free. Nothing that it does raises here."""
        with self._turns:
            self.start()
            start = time.monotonic()
            file, size, skipped = spooled(work)
            with file:
                if self.sandbox == "none":
                    ran = run_fresh(work, file, self.overlay)
                else:
                    ran = self._sandboxed(work, file, size)
            ran.seconds = time.monotonic() - start
            finish(work, ran)
            if skipped:
                names = ", ".join(sorted(skipped)[:3]) + (" ..." if len(skipped) > 3 else "")
                note = one_line(f"left out of its folder, as links or too large: {names}")
                ran.reason = f"{ran.reason}; {note}" if ran.reason else note
            return ran

    def _sandboxed(self, work: Work, file: IO[bytes], size: int) -> Ran:
        with self._lock:
            self._start()
            assert self._zygote is not None
            try:
                control, results = self._zygote.ask(file.fileno())
            except OSError as error:
                return Ran(work.key, "failed", f"the sandbox's process is gone: {error.strerror}")
        with control, open(results, "rb", buffering=0) as pipe:
            limits = {
                "wall_seconds": work.limits.wall_seconds,
                "cpu_seconds": work.limits.cpu_seconds,
                "memory_bytes": work.limits.memory_bytes,
                "file_bytes": work.limits.file_bytes,
                "files": size,
            }
            with suppress(OSError):
                control.sendall(json.dumps(limits).encode() + b"\n")
            return _follow(work, control, pipe.fileno())

    def close(self) -> None:
        """End the processes that were started."""
        with self._lock:
            self._closed = True
            if self._zygote is not None:
                self._zygote.close()
                self._zygote = None


def _missing() -> str:
    if not sys.platform.startswith("linux"):
        return f"there is no sandbox on {platform.system()}"
    if shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin:/usr/sbin") is None:
        return "bubblewrap is not installed: install the package bubblewrap"
    return ""


class _Zygote:
    """The process that submissions are forked from. Raises NoSandbox if it doesn't come up."""

    def __init__(self, user: str, overlay: str) -> None:
        ours, theirs = socket.socketpair()
        self.door = ours
        # For what libraries write while they are imported; gone before a submission comes.
        with tempfile.TemporaryDirectory(prefix="roofline-", ignore_cleanup_errors=True) as home:
            with theirs, tempfile.TemporaryFile() as errors:
                code = f"from roofline.course.sandbox.zygote import main; main({theirs.fileno()})"
                self.process = subprocess.Popen(
                    python(code),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=environment(home),
                    cwd="/",
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
                theirs.close()
                # Not on its command line, which submissions can read.
                first = {"user": user, "overlay": overlay}
                with suppress(OSError):
                    self.door.sendall(json.dumps(first).encode() + b"\n")
                word = self._first_word()
                if not word.get("ready"):
                    self.close()
                    errors.seek(0)
                    last = errors.read()[-2000:].decode("utf-8", "replace").strip().split("\n")[-1]
                    raise NoSandbox(str(word.get("failed") or last or "the sandbox didn't start"))

    def _first_word(self) -> dict[str, Any]:
        self.door.settimeout(START)
        line = b""
        with suppress(OSError):
            while not line.endswith(b"\n") and (piece := self.door.recv(4096)):
                line += piece
        self.door.settimeout(None)
        try:
            return json.loads(line)
        except ValueError:
            return {}

    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, source: int) -> tuple[socket.socket, int]:
        """Have a submission run: the socket to its supervisor, and the pipe of its results."""
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        try:
            socket.send_fds(self.door, [b"r"], [theirs.fileno(), source, write])
        except OSError:
            ours.close()
            os.close(read)
            raise
        finally:
            theirs.close()
            os.close(write)
        return ours, read

    def close(self) -> None:
        self.door.close()  # it ends when it sees that; what runs ends with it
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _follow(work: Work, control: socket.socket, pipe: int) -> Ran:
    """Read what a submission sends and what its supervisor says, until both are done."""
    ran = Ran(work.key, "done")
    reader = Reader(work, ran)
    backstop = time.monotonic() + work.limits.wall_seconds + PATIENCE
    cell_deadline = backstop
    started = 0
    said = b""
    stop: tuple[Status, str] | None = None
    waiting = select.poll()  # select() knows no descriptor above 1023
    open_pipe = True
    for descriptor in (control.fileno(), pipe):
        waiting.register(descriptor, select.POLLIN)

    def give_up(status: Status, reason: str) -> None:
        nonlocal stop, backstop
        if stop is None:
            stop = status, reason
            backstop = min(backstop, time.monotonic() + PATIENCE)
            with suppress(OSError):
                control.shutdown(socket.SHUT_WR)

    while not said.endswith(b"\n"):
        now = time.monotonic()
        if now >= backstop:
            return _ended(ran, reader, ("failed", "the sandbox's supervisor doesn't answer"), {})
        until = min(backstop, cell_deadline) if stop is None else backstop
        ready = [descriptor for descriptor, _ in waiting.poll(max(until - now, 0) * 1000)]
        if pipe in ready and not _feed(reader, pipe, give_up, stop is not None):
            waiting.unregister(pipe)
            open_pipe = False
        if reader.started != started:
            started = reader.started
            cell_deadline = time.monotonic() + work.limits.cell_seconds + GRACE
        if reader.running is None:
            cell_deadline = backstop
        elif stop is None and time.monotonic() >= cell_deadline:
            seconds = work.limits.cell_seconds
            give_up("timeout", f"a cell took longer than {seconds:g} s and would not be stopped")
        if reader.ended:  # nothing can follow; what still runs is not waited for
            give_up("done", "")
        if control.fileno() in ready:
            piece = control.recv(4096)
            if not piece:
                break
            said += piece
    # All processes that could write are dead: what is in the pipe is all there will be.
    os.set_blocking(pipe, False)
    while open_pipe and stop is None and _feed(reader, pipe, give_up, False):
        pass
    try:
        report = json.loads(said)
    except ValueError:
        report = {"status": "failed", "reason": "the sandbox's supervisor is gone"}
    return _ended(ran, reader, stop, report)


def _feed(reader: Reader, pipe: int, give_up: Any, deaf: bool) -> bool:
    """Read once; whether more may come."""
    try:
        data = os.read(pipe, 1 << 18)
    except BlockingIOError:
        return False
    if data and not deaf:
        try:
            reader.feed(data)
        except Forged as error:
            give_up("output", f"it sent bytes of its own to the grader: {error}")
    return bool(data)


def _ended(
    ran: Ran, reader: Reader, stop: tuple[Status, str] | None, report: Mapping[str, Any]
) -> Ran:
    """How it ended, from what was read, why it was stopped, and what the supervisor reports."""
    ran.cpu_seconds = float(report.get("cpu", 0.0))
    status, reason = report.get("status"), str(report.get("reason", ""))
    if reader.failed:
        ran.status, ran.reason = "failed", reader.failed
    elif stop is not None and stop[0] != "done":
        ran.status, ran.reason = stop
    elif reader.ended:
        ran.status, ran.reason = "done", ""
    elif status in ("timeout", "memory", "failed"):
        ran.status, ran.reason = status, reason
    else:
        ran.status, ran.reason = killed(report.get("code"), reason)
    return ran


def killed(code: Any, reason: str) -> tuple[Status, str]:
    """The status and reason of a process that ended before its end."""
    if isinstance(code, int) and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        if name == "SIGXCPU":
            return "timeout", "used more CPU seconds than it may"
        return "killed", reason or f"its process was ended by {name}"
    return "killed", reason or f"its process ended by itself, with exit code {code}"


_NAMES = {
    "timeout": ("TimeoutError", "timeout"),
    "memory": ("MemoryError", "killed"),
    "output": ("OutputError", "killed"),
    "killed": ("DeadKernelError", "killed"),
    "failed": ("DeadKernelError", "killed"),
}


def finish(work: Work, ran: Ran) -> None:
    """Say of each cell that has no status what became of it, and show why in the one that ran."""
    missing = [cell for cell in work.cells if cell.index not in ran.cells]
    for number, cell in enumerate(missing):
        ran.cells[cell.index] = "not-run"
        if number == 0 and ran.status != "done":
            name, status = _NAMES[ran.status]
            ran.cells[cell.index] = status
            text = f"{name}: {ran.reason}"
            ran.outputs[cell.index] = [
                {"output_type": "error", "ename": name, "evalue": ran.reason, "traceback": [text]}
            ]
    capped = [i for i, status in ran.cells.items() if status == "output-capped"]
    if capped and not ran.reason:
        limit = work.limits.output_bytes
        ran.reason = f"cell {capped[0]} wrote more than {limit:,} bytes; the rest was cut"
