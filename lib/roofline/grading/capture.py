"""Catching what the learner's code writes, so that it is shown in the table and nowhere else.

It has to be complete: nbgrader gives no points for a check cell with anything on stderr. So the
streams are caught where Python code finds them (``sys.stdout``), where code that kept the stream
object has it (a logging handler), and, once around a whole check, at the file descriptors, where
C code and child processes write.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

KEPT = 2000
WARNINGS = 10


class Head(io.TextIOBase):
    """A stream that keeps the first ``KEPT`` characters and forgets the rest."""

    def __init__(self) -> None:
        self.text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if len(self.text) < KEPT:
            self.text += str(text)[: KEPT - len(self.text)]
        return len(text)


class Written:
    """What was written in a block: ``printed`` to either stream, ``warned`` through warnings."""

    def __init__(self) -> None:
        self.stream = Head()
        self.warned: list[str] = []
        self.descriptors = ""

    @property
    def printed(self) -> str:
        return self.stream.text + self.descriptors

    def warn(self, message: Any, category: Any, *rest: Any, **options: Any) -> None:
        with suppress(Exception):
            text = f"{category.__name__}: {message}"[:300]
            if text not in self.warned and len(self.warned) < WARNINGS:
                self.warned.append(text)


@contextmanager
def capture(descriptors: bool = False) -> Iterator[Written]:
    """Catch both streams and all warnings; with ``descriptors``, file descriptors 1 and 2 too."""
    written = Written()
    with ExitStack() as stack:
        if descriptors:
            stack.enter_context(_caught_descriptors(written))
        stack.enter_context(_caught_streams(written))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")
        warnings.showwarning = written.warn
        yield written


@contextmanager
def _caught_streams(written: Written) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    patched = []
    for stream in {id(stream): stream for stream in before}.values():
        with suppress(Exception):
            stream.flush()
        # A notebook's stream is a Python object: its write can be replaced for as long. IPython
        # itself may have done so before, for the time of the cell.
        with suppress(AttributeError, TypeError):
            earlier = vars(stream).get("write")
            stream.write = written.stream.write  # type: ignore[method-assign]
            patched.append((stream, earlier))
    sys.stdout = sys.stderr = written.stream
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream, earlier in patched:
            if earlier is None:
                vars(stream).pop("write", None)
            else:
                stream.write = earlier  # type: ignore[method-assign]


@contextmanager
def _caught_descriptors(written: Written) -> Iterator[None]:
    with ExitStack() as stack:
        saved = {}
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
            for number in (1, 2):
                saved[number] = os.dup(number)
                os.dup2(file.fileno(), number)
        except OSError:  # no descriptor 1 or 2, as in a windowed program: nothing to catch there
            pass
        try:
            yield
        finally:
            for number, old in saved.items():
                os.dup2(old, number)
                os.close(old)
            with suppress(OSError, UnboundLocalError, ValueError):
                file.seek(0)
                written.descriptors = file.read(KEPT).decode("utf-8", "replace")
