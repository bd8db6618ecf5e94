"""What belongs to the learner: their own line in a traceback, and a stub that is still untouched."""

from __future__ import annotations

import dis
import linecache
import os
import sysconfig
import types
from pathlib import Path
from typing import Any

import torch

LENGTH = 300

_LIBRARIES = tuple(
    str(folder) + os.sep
    for folder in {
        Path(__file__).parents[1],
        Path(torch.__file__).parent,
        *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
    }
)
_STUB = {"RESUME", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "NOP", "COPY_FREE_VARS", "CACHE"}


def is_library(file: str, ours: tuple[str, ...] = ()) -> bool:
    """Whether ``file`` belongs to Python, torch, an installed package, this library or ``ours``."""
    return file.startswith((*_LIBRARIES, "<frozen")) or file in ours


def learner_line(error: BaseException, ours: tuple[str, ...] = ()) -> tuple[str, bool]:
    """The innermost line of the learner's in a traceback, and whether it is what raised.

    The line reads ``line 3 of linear: return x @ w``; it is empty if there is none.
    """
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append((traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next
    for code, number in reversed(frames):
        if not is_library(code.co_filename, ours):
            text = linecache.getline(code.co_filename, number).strip()
            where = "" if code.co_name == "<module>" else f" of {code.co_name}"
            line = f"line {number}{where}" + (f": {text[:LENGTH]}" if text else "")
            return line, (code, number) == frames[-1]
    return "", False


def message_of(error: BaseException) -> str:
    """``ValueError: what it says``, cut short; an error that cannot say is named all the same."""
    kind = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = "(its message could not be read)"
    text = text if len(text) <= LENGTH else text[:LENGTH] + " ..."
    return f"{kind}: {text}" if text else kind


def is_stub(function: Any) -> bool:
    """Whether a function's body is nothing but ``pass``, ``...``, a docstring or ``return None``."""
    function = getattr(function, "__func__", function)
    if not isinstance(function, types.FunctionType):
        return False
    for instruction in dis.get_instructions(function.__code__):
        if instruction.opname not in _STUB:
            return False
        if instruction.opname in ("LOAD_CONST", "RETURN_CONST"):
            if instruction.argval is not None and instruction.argval is not Ellipsis:
                return False
    return True
