"""What a submission's process sends: frames, and how they are read by somebody who trusts none.

A frame is one line of ASCII JSON, an object of one of these shapes:

``{"start": index}``
    a cell begins;
``{"cell": index, "status": status, "outputs": [...]}``
    it has ended;
``{"message": exercise, "bytes": n}`` and then n bytes
    what a probe hands in, between a check cell's start and end;
``{"end": true}``
    there is nothing more to come;
``{"failed": reason}``
    the sandbox itself failed, before any of the submission ran.

The process that sends them has run the submission's code, so that any bytes may come. Nothing is
unpickled. Everything is counted before it is read, and what isn't of these shapes, or comes out of
turn, ends the reading. What came before stays.
"""

from __future__ import annotations

import json
import math
from typing import Any

from roofline.course.work import Cell, Ran, Work

STATUSES = ("ok", "error", "timeout", "output-capped")
MAX_LINE_FACTOR = 7  # JSON writes one character in 6 at most, and then there are names
MAX_DEPTH = 30
MAX_OUTPUTS = 10_000


class Forged(Exception):
    """Bytes that the runner would not have sent. The text says what is wrong with them."""


class Reader:
    """Puts together what comes, piece by piece, into a :class:`Ran`.

    Attributes:
        running: index of the cell that runs, or None.
        started: how many cells have begun.
        ended: whether the end came.
        failed: why the sandbox failed, or empty.
    """

    def __init__(self, work: Work, ran: Ran) -> None:
        self.ran = ran
        self.running: int | None = None
        self.started = 0
        self.ended = False
        self.failed = ""
        self._cells = {cell.index: cell for cell in work.cells}
        self._left = [cell.index for cell in work.cells]
        self._line = MAX_LINE_FACTOR * work.limits.output_bytes + 2**16
        self._outputs = self._line + 256 * len(work.cells)
        self._messages = work.limits.message_bytes
        self._buffer = bytearray()
        self._looked = 0  # there is no line's end before this
        self._message = ("", 0)

    @property
    def cell(self) -> Cell | None:
        """The cell that runs."""
        return None if self.running is None else self._cells[self.running]

    def feed(self, data: bytes) -> None:
        """Take some more bytes. Raises :class:`Forged`."""
        self._buffer += data
        while self._take():
            if self.ended and self._buffer:
                raise Forged("bytes after the end")

    def _take(self) -> bool:
        """Take one frame, or one message's bytes, if all of it is there."""
        exercise, size = self._message
        if exercise:
            if len(self._buffer) < size:
                return False
            self.ran.messages[exercise] = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._message = ("", 0)
            return True
        end = self._buffer.find(b"\n", self._looked)
        if end < 0:
            self._looked = len(self._buffer)
            if self._looked > self._line:
                raise Forged(f"a line of more than {self._line:,} bytes")
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._looked = 0
        self._outputs -= len(line)
        if len(line) > self._line or self._outputs < 0:
            raise Forged(f"more than {self._line:,} bytes of outputs")
        self._frame(_parsed(line))
        return True

    def _frame(self, frame: dict[str, Any]) -> None:
        keys = set(frame)
        if keys == {"start"}:
            self._start(frame["start"])
        elif keys == {"cell", "status", "outputs"}:
            self._cell(frame["cell"], frame["status"], frame["outputs"])
        elif keys == {"message", "bytes"}:
            self._begin_message(frame["message"], frame["bytes"])
        elif frame == {"end": True}:
            if self.running is not None:
                raise Forged("an end inside a cell")
            self.ended = True
        elif keys == {"failed"} and not self.started and isinstance(frame["failed"], str):
            self.failed = one_line(frame["failed"])
        else:
            raise Forged("a frame of no known shape")

    def _start(self, index: Any) -> None:
        if self.running is not None or type(index) is not int or index not in self._left:
            raise Forged("a cell that begins out of turn")
        del self._left[: self._left.index(index) + 1]
        self.running = index
        self.started += 1

    def _cell(self, index: Any, status: Any, outputs: Any) -> None:
        if type(index) is not int or index != self.running or self.ran.cells.get(index):
            raise Forged("a cell that ends out of turn")
        if status not in STATUSES:
            raise Forged("a cell with a status that there isn't")
        if not isinstance(outputs, list) or len(outputs) > MAX_OUTPUTS:
            raise Forged("outputs that are no list of reasonable length")
        self.ran.outputs[index] = [checked_output(output) for output in outputs]
        self.ran.cells[index] = status
        self.running = None

    def _begin_message(self, exercise: Any, size: Any) -> None:
        cell = self._cells.get(self.running) if self.running is not None else None
        if cell is None or not isinstance(exercise, str) or exercise != cell.exercise:
            raise Forged("a message that belongs to no check that runs")
        if exercise in self.ran.messages:
            raise Forged("a second message of the same exercise")
        if type(size) is not int or not 0 < size <= self._messages:
            raise Forged("a message that is too large")
        self._messages -= size
        self._message = (exercise, size)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        frame = json.loads(line.decode("ascii"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Forged("a line that is no JSON") from None
    if not isinstance(frame, dict):
        raise Forged("a line that is no JSON object")
    return frame


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_TEXTS = {"stream": ("name", "text"), "error": ("ename", "evalue")}


def checked_output(output: Any) -> dict[str, Any]:
    """One output with nbformat's fields for its type and no others. Raises :class:`Forged`."""
    kind = output.get("output_type") if isinstance(output, dict) else None
    made: dict[str, Any] = {"output_type": kind}
    if kind in ("stream", "error"):
        for name in _TEXTS[kind]:
            made[name] = _text(output.get(name))
        if kind == "stream" and made["name"] not in ("stdout", "stderr"):
            raise Forged("a stream that there isn't")
        if kind == "error":
            lines = output.get("traceback")
            if not isinstance(lines, list):
                raise Forged("a traceback that is no list")
            made["traceback"] = [_text(line) for line in lines]
    elif kind in ("display_data", "execute_result"):
        data, metadata = output.get("data"), output.get("metadata")
        if not isinstance(data, dict) or not isinstance(metadata, dict):
            raise Forged("an output without data and metadata")
        made["data"] = {name: _mime(name, value) for name, value in data.items()}
        made["metadata"] = _plain(metadata)
        if kind == "execute_result":
            count = output.get("execution_count")
            if count is not None and (type(count) is not int or not 0 <= count < 2**31):
                raise Forged("an execution count that is no count")
            made["execution_count"] = count
    else:
        raise Forged("an output of no known type")
    return made


def _mime(name: str, value: Any) -> Any:
    if not 0 < len(name) <= 100 or "/" not in name:
        raise Forged("a kind of data that there isn't")
    if name == "application/json" or name.endswith("+json"):
        return _plain(value)
    return _text(value)


def _text(value: Any) -> str:
    """A string, with what no file can hold replaced."""
    if not isinstance(value, str):
        raise Forged("something else where a text belongs")
    return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _plain(value: Any, depth: int = 0) -> Any:
    """JSON data, not too deep, with finite numbers of 64 bits."""
    if depth > MAX_DEPTH:
        raise Forged("data that is nested too deeply")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, list):
        return [_plain(v, depth + 1) for v in value]
    if isinstance(value, dict):
        return {_text(k): _plain(v, depth + 1) for k, v in value.items()}
    raise Forged("a number that is too large")


def one_line(text: str) -> str:
    """A text as part of a reason."""
    return " ".join(_text(text).split())[:300]
