"""What an answer may switch for everybody else: put back after it was called."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import overrides
from torch.utils import _device


@contextmanager
def as_they_were() -> Iterator[None]:
    """Put back torch's default device and dtype, gradients, random state, threads and function
    modes, the working folder and the recursion limit."""
    folder, depth = _folder(), sys.getrecursionlimit()
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    dtype, gradients, modes = torch.get_default_dtype(), torch.is_grad_enabled(), _modes()
    try:
        yield
    finally:
        if _modes() != modes:
            _set_modes(modes)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        torch.set_rng_state(random)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        sys.setrecursionlimit(depth)
        if folder and _folder() != folder:
            with suppress(OSError):
                os.chdir(folder)


def _modes() -> tuple[list[Any], Any, Any]:
    """The function modes that are active, and the default device, which is one of them.

    torch has no public way to end a mode that somebody else has left open.
    """
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return overrides._get_current_function_mode_stack(), context, _device.CURRENT_DEVICE


def _set_modes(modes: tuple[list[Any], Any, Any]) -> None:
    stack, torch._GLOBAL_DEVICE_CONTEXT.device_context, _device.CURRENT_DEVICE = modes
    for _ in overrides._get_current_function_mode_stack():
        overrides._pop_mode()
    for mode in stack:
        overrides._push_mode(mode)


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""
