"""Beside each submission, outside its sandbox: makes the sandbox, watches it, and takes it down.

The sandbox is made by bubblewrap with nothing in it but ``cat``. A child of this process, which has
all libraries imported already, joins it, gives up all rights, and runs the submission. This process
kills the sandbox's first process when time is over, when too much memory is used, when the
submission is done or when whoever asked for it is gone; the kernel then kills everything in there.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from roofline.course.sandbox import bubble, kernel

POLL = 0.1  # seconds between two looks at the sandbox's memory
START = 60.0  # seconds that bubblewrap may take, on a machine with much else to do
FILES = 20_000  # in each writable folder: an empty one takes memory too
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Failed(Exception):
    """The sandbox could not be made. The text says why, in one line."""


@dataclass
class Sandbox:
    """A running bubblewrap: its process, the first process inside, and how to look inside."""

    process: subprocess.Popen[bytes]
    first: int
    handle: int
    proc: int

    def kill(self) -> None:
        """End everything in it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def end(self) -> None:
        """The same, and let go of all that this process holds of it."""
        self.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        os.close(self.handle)
        os.close(self.proc)


def supervise(
    control: socket.socket,
    folders: dict[str, str],
    student: Callable[[int], None],
    close: tuple[int, ...],
) -> None:
    """Run one submission, and report on ``control``: a line of JSON.

    ``student`` is called in the sandbox, with the bytes of data that its process has from the
    start; it doesn't return. ``close``: descriptors that are for it alone. The first line on
    ``control`` has the limits.
    """
    start = time.monotonic()
    sandbox = None
    report: dict[str, Any] = {"status": "failed", "reason": "", "cpu": 0.0}
    try:
        limits = json.loads(line_from(control))
        sandbox = make(folders)
        room = max(limits["file_bytes"], 1 << 20) + limits["files"]
        pipe, child = _inside(sandbox, student, room)
        for descriptor in close:
            os.close(descriptor)
        report |= _watch(control, sandbox, pipe, limits, start)
        sandbox.kill()
        report |= _last_word(pipe)
        os.waitpid(child, 0)
    except (Failed, OSError, ValueError, KeyError) as error:
        report |= {"status": "failed", "reason": str(error)[:300]}
    finally:
        if sandbox is not None:
            sandbox.end()
    spent = [resource.getrusage(w) for w in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    report["cpu"] = sum(s.ru_utime + s.ru_stime for s in spent)
    with suppress(OSError):
        control.sendall(json.dumps(report).encode() + b"\n")


def line_from(control: socket.socket) -> bytes:
    """The first line on a socket."""
    data = b""
    while not data.endswith(b"\n"):
        piece = control.recv(4096)
        if not piece:
            raise Failed("whoever asked for it is gone")
        data += piece
    return data


def make(folders: dict[str, str]) -> Sandbox:
    """A sandbox with nothing in it yet. Raises :class:`Failed`."""
    read, write = os.pipe()
    try:
        process = subprocess.Popen(
            bubble.arguments(folders, write),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[write],
            env={},
            process_group=0,
        )
    except OSError as error:
        os.close(read)
        raise Failed(f"bubblewrap can't be started: {error}") from None
    finally:
        os.close(write)
    assert process.stdin and process.stdout and process.stderr
    try:
        with open(read, "rb") as info:
            first = json.loads(_read(info.fileno(), b"}"))["child-pid"]
        process.stdin.write(b"\n")
        process.stdin.flush()
        _read(process.stdout.fileno(), b"\n")  # cat is there, so all is
        handle = os.pidfd_open(first)
        # /proc/N/root is there for its user alone, and only for as long as N lives.
        proc = os.open(f"/proc/{first}/root/proc", os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, ValueError, KeyError) as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.set_blocking(process.stderr.fileno(), False)
        said = (process.stderr.read(2000) or b"").decode("utf-8", "replace").split("\n")[0]
        raise Failed(f"bubblewrap can't make a sandbox: {said or error}") from None
    return Sandbox(process, first, handle, proc)


def _read(descriptor: int, end: bytes) -> bytes:
    """What comes up to ``end``. Raises OSError."""
    data = b""
    deadline = time.monotonic() + START
    while end not in data:
        left = max(deadline - time.monotonic(), 0)
        ready, _, _ = select.select([descriptor], [], [], left)
        piece = os.read(descriptor, 4096) if ready else b""
        if not piece:
            raise OSError("it ended" if ready else f"it took more than {START:g} s")
        data += piece
    return data


def _inside(sandbox: Sandbox, student: Callable[[int], None], room: int) -> tuple[int, int]:
    """Start ``student`` in the sandbox. Returns a pipe that tells how it ended, and the pid of the
    process between, which is in the sandbox's namespaces but for that of process ids. It gives each
    writable folder ``room`` bytes first."""
    read, write = os.pipe()
    held = int(_statm().split()[5]) * PAGE
    between = os.fork()
    if between:
        os.close(write)
        return read, between
    word: dict[str, Any] = {}
    try:
        kernel.die_with_parent(signal.SIGKILL)
        os.close(read)
        kernel.join(sandbox.first)
        os.chdir("/")
        flags = kernel.MS_REMOUNT | kernel.MS_NOSUID | kernel.MS_NODEV
        for folder in bubble.WRITABLE:
            kernel.mount("none", folder, "tmpfs", flags, f"size={room},nr_inodes={FILES}")
        child = os.fork()
        if child == 0:
            try:
                os.close(write)
                student(held)
            finally:
                os._exit(70)
        os.closerange(3, write)
        os.closerange(write + 1, 4096)
        _, status, _ = os.wait4(child, 0)
        word = {"code": os.waitstatus_to_exitcode(status)}
    except BaseException as error:
        word = {"failed": f"the sandbox can't be entered: {error}"[:300]}
    finally:
        with suppress(OSError):
            os.write(write, json.dumps(word).encode())
        os._exit(0)


def _watch(
    control: socket.socket, sandbox: Sandbox, pipe: int, limits: dict[str, Any], start: float
) -> dict[str, Any]:
    """Wait until the submission ends, or must."""
    deadline = start + limits["wall_seconds"]
    base = _anonymous(_statm())
    waiting = [control.fileno(), pipe, sandbox.handle]
    while True:
        now = time.monotonic()
        if now >= deadline:
            return {"status": "timeout", "reason": f"took longer than {limits['wall_seconds']:g} s"}
        ready, _, _ = select.select(waiting, [], [], min(POLL, deadline - now))
        if pipe in ready:
            return {"status": "ended"}
        if sandbox.handle in ready:
            return {"status": "ended", "reason": "it ended the sandbox's first process"}
        if control.fileno() in ready:  # whoever asked has had enough, or is gone
            return {"status": "stopped"}
        if not ready:
            memory, seconds = used(sandbox.proc, base, limits["memory_bytes"])
            if memory > limits["memory_bytes"]:
                limit = limits["memory_bytes"] / 2**20
                return {"status": "memory", "reason": f"used more than {limit:,.0f} MiB of memory"}
            if seconds > limits["cpu_seconds"] + 2:
                reason = f"used more than {limits['cpu_seconds']:g} CPU seconds"
                return {"status": "timeout", "reason": reason}


def _last_word(pipe: int) -> dict[str, Any]:
    """How the submission's own process ended, as its parent has it."""
    with open(pipe, "rb") as file:
        word = json.loads(file.read(4096) or b"{}")
    if "failed" in word:
        return {"status": "failed", "reason": word["failed"]}
    return word


def used(proc: int, base: int, limit: int) -> tuple[int, float]:
    """Memory in bytes and CPU seconds of all processes in a sandbox.

    A process that was forked shares its parent's pages. If the simple sum is over the limit, the
    kernel's proportional account, which takes longer, decides.
    """
    try:
        processes = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:  # it has just ended
        return 0, 0.0
    simple, ticks = 0, 0
    for name in processes:
        with suppress(OSError, ValueError, IndexError):
            simple += _anonymous(_text(proc, f"{name}/statm"))
            ticks += sum(map(int, _text(proc, f"{name}/stat").rpartition(")")[2].split()[11:15]))
    seconds = ticks / os.sysconf("SC_CLK_TCK")
    if simple - base <= limit:
        return simple - base, seconds
    exact = 0
    for name in processes:
        with suppress(OSError, ValueError, IndexError):
            fields = dict(
                line.split(":", 1) for line in _text(proc, f"{name}/smaps_rollup").split("\n")[1:-1]
            )
            exact += sum(int(fields[n].split()[0]) for n in ("Pss_Anon", "Pss_Shmem")) * 1024
    return exact - base, seconds


def _text(folder: int, name: str) -> str:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(descriptor, 16384).decode("ascii", "replace")
    finally:
        os.close(descriptor)


def _anonymous(statm: str) -> int:
    _, resident, shared, *_ = map(int, statm.split())
    return (resident - shared) * PAGE


def _statm() -> str:
    with open("/proc/self/statm") as file:
        return file.read()
