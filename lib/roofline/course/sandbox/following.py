"""Following a submission from outside, and saying how it ended."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from roofline.course.sandbox.frames import Forged, Reader
from roofline.course.sandbox.settings import CHECK_GRACE, GRACE
from roofline.course.work import Cell, Ran, Status, Work

PATIENCE = 20.0  # seconds that may pass from a submission's end to the word of its supervisor


def follow(work: Work, control: socket.socket, pipe: int) -> Ran:
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
        cell = reader.cell
        if cell is None:
            cell_deadline = backstop
        elif reader.started != started:
            cell_deadline = time.monotonic() + patience(cell, work)
        elif stop is None and time.monotonic() >= cell_deadline:
            give_up("timeout", cell.too_long(work.limits))
        started = reader.started
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


def patience(cell: Cell, work: Work) -> float:
    """Seconds from a cell's start to when it is ended from outside."""
    return cell.limit(work.limits) + (GRACE if cell.seconds is None else CHECK_GRACE)


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
