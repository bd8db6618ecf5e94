"""Whatever is written is caught, and the streams are as before."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import subprocess
import sys
import warnings

import pytest
import torch
from roofline.grading.capture import KEPT, capture


class Stream(io.StringIO):
    """A stream written in Python, as a notebook's is."""


def test_everything_python_writes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Stream(), Stream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    handler = logging.StreamHandler(err)  # keeps the stream that was there before
    with capture() as written:
        print("one")
        print("two", file=sys.stderr)
        handler.emit(logging.LogRecord("x", 30, "", 1, "three", None, None))
        err.write("four")
    assert written.printed.split() == ["one", "two", "three", "four"]
    assert (out.getvalue(), err.getvalue()) == ("", "")
    assert sys.stdout is out and sys.stderr is err
    print("after")
    err.write("after")
    assert (out.getvalue(), err.getvalue()) == ("after\n", "after")


def test_a_stream_whose_write_was_replaced_before_gets_it_back() -> None:
    """IPython does so for the time of a cell."""
    stream, seen = Stream(), []
    stream.write = seen.append  # type: ignore[method-assign, assignment]
    before, sys.stderr = sys.stderr, stream
    try:
        with capture() as written:
            stream.write("caught")
        stream.write("after")
    finally:
        sys.stderr = before
    assert written.printed == "caught" and seen == ["after"]


def test_what_is_written_below_python_is_caught(capfd: pytest.CaptureFixture) -> None:
    print("before", flush=True)
    with capture(descriptors=True) as written:
        os.write(2, b"descriptor ")
        subprocess.run([sys.executable, "-c", "import os; os.write(1, b'child ')"], check=True)
        if sys.platform != "win32":  # whose many C libraries have a buffer each
            libc = ctypes.CDLL(None)
            libc.puts(b"from C")
            libc.fflush(None)
    print("after")
    assert written.printed.split()[:2] == ["descriptor", "child"]
    assert sys.platform == "win32" or written.printed.split()[2:] == ["from", "C"]
    assert capfd.readouterr().out.split() == ["before", "after"]


def test_warnings_are_caught_each_once() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # even so
        with capture() as written:
            for i in range(100):
                warnings.warn("again", stacklevel=1)
                warnings.warn(f"number {i}", DeprecationWarning, stacklevel=1)
            torch.arange(3).T.T  # noqa: B018
            torch.ones(2, 2, 2).T  # noqa: B018  (torch warns of this)
    assert written.warned[0] == "UserWarning: again"
    assert len(written.warned) <= 10


def test_little_is_kept_of_much() -> None:
    with capture(descriptors=True) as written:
        for _ in range(1000):
            print("x" * 1000)
            os.write(1, b"y" * 1000)
    assert len(written.printed) == 2 * KEPT


def test_captures_nest_and_end_after_an_exception() -> None:
    before = sys.stdout, sys.stderr, warnings.showwarning
    with capture(descriptors=True) as outer:
        print("outer")
        with pytest.raises(KeyboardInterrupt), capture(descriptors=True) as inner:
            print("inner")
            raise KeyboardInterrupt
        print("again")
    assert (outer.printed, inner.printed) == ("outer\nagain\n", "inner\n")
    assert before == (sys.stdout, sys.stderr, warnings.showwarning)


def test_without_descriptors_there_is_nothing_to_catch_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*arguments: int) -> int:
        raise OSError("no such descriptor")

    monkeypatch.setattr(os, "dup", fails)
    with capture(descriptors=True) as written:
        print("still")
    assert written.printed == "still\n"
