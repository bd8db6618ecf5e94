"""What is the learner's: their own line in a traceback, and a stub that is still untouched."""

from __future__ import annotations

import dis
import linecache
import os
import sysconfig
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

LENGTH = 300

TORCH = str(Path(torch.__file__).parent) + os.sep
_LIBRARIES = (
    TORCH,
    *(
        str(folder) + os.sep
        for folder in {
            Path(__file__).parents[1],
            *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
        }
    ),
    "<frozen",
)
_STUB = {"RESUME", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "NOP", "COPY_FREE_VARS", "CACHE"}


def is_library(file: str, ours: tuple[str, ...] = ()) -> bool:
    """Whether ``file`` belongs to Python, torch, an installed package, this library or ``ours``."""
    return file.startswith(_LIBRARIES) or file in ours


@dataclass(frozen=True)
class Raised:
    """Where an exception came from.

    ``line`` is the innermost line of the learner's, as ``line 3 of linear: return x @ w``; empty if
    there is none. ``on_purpose`` tells whether that line is a ``raise`` and the one that raised,
    and ``code`` is its function's.
    """

    line: str = ""
    on_purpose: bool = False
    code: types.CodeType | None = None

    @staticmethod
    def by(error: BaseException, ours: tuple[str, ...] = ()) -> Raised:
        """Read the traceback of ``error``; frames of the files ``ours`` are not the learner's."""
        found, last = None, None
        traceback = error.__traceback__
        while traceback is not None:
            last = traceback
            if not is_library(traceback.tb_frame.f_code.co_filename, ours):
                found = traceback
            traceback = traceback.tb_next
        if found is None:
            return Raised()
        code = found.tb_frame.f_code
        on_purpose = found is last and _opname(code, found.tb_lasti) == "RAISE_VARARGS"
        return Raised(_line(code, found.tb_lineno), on_purpose, code)


def line_of(frame: types.FrameType) -> str:
    """The line that a frame is at, as in :class:`Raised`."""
    return _line(frame.f_code, frame.f_lineno)


def _line(code: types.CodeType, number: int) -> str:
    text = linecache.getline(code.co_filename, number).strip()[:LENGTH]
    where = "" if code.co_name == "<module>" else f" of {code.co_name}"
    return f"line {number}{where}" + (f": {text}" if text else "")


def _opname(code: types.CodeType, offset: int) -> str:
    return next((i.opname for i in dis.get_instructions(code) if i.offset == offset), "")


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
    """Whether a function's body is nothing but ``pass``, ``...``, a docstring, ``return None``."""
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
