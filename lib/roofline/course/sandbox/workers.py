"""The door to the sandbox, for whoever grades."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import IO, Any

from roofline.course.sandbox.following import finish, follow
from roofline.course.sandbox.frames import one_line
from roofline.course.sandbox.fresh import run_fresh
from roofline.course.sandbox.settings import environment, python
from roofline.course.sandbox.spool import spooled
from roofline.course.work import Ran, Work

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

    ``sandbox`` is ``"bubblewrap"`` or ``"none"``, once started; it adds if this kernel takes no
    filter on system calls. Raises :class:`NoSandbox` when used where there is no sandbox, without
    ``trust``.
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
                if not self._zygote.filtered:
                    self.sandbox += ", without a filter on system calls"
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
                ran = self._once(work, file, size)
                if ran.status == "failed":  # not its doing: somebody killed a process of ours, say
                    self.start()
                    ran = self._once(work, file, size)
            ran.seconds = time.monotonic() - start
            finish(work, ran)
            if skipped:
                names = ", ".join(sorted(skipped)[:3]) + (" ..." if len(skipped) > 3 else "")
                note = one_line(f"left out of its folder, as links or too large: {names}")
                ran.reason = f"{ran.reason}; {note}" if ran.reason else note
            return ran

    def _once(self, work: Work, file: IO[bytes], size: int) -> Ran:
        file.seek(0)
        if self.sandbox == "none":
            return run_fresh(work, file, self.overlay)
        return self._sandboxed(work, file, size)

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
            return follow(work, control, pipe.fileno())

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
                self.filtered = bool(word.get("filtered"))
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
