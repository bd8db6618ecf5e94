"""What nbval doesn't ask of a notebook, asked while nbval runs it: no chapter is run twice for it.

Registered by ``tests/conftest.py``, or with ``-p notebooks.nbval_checks``. With it,

- kernels start in the environment of the build: traces replayed, threads fixed, an empty home;
- each output of a solution is compared with the committed one by the build's own rule, which lets
  the last digits go (``roofline.classroom.settle``); nbval compares the tagged cells, exactly;
- each check of an untouched release must say "not attempted yet";
- no cell may write to stderr;
- the kernel's peak memory must stay under the chapter's budget.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack
from copy import deepcopy
from queue import Empty
from typing import Any

import pytest
from nbformat import NotebookNode

BLANK = "not attempted yet"


def _is_cell(item: pytest.Item) -> bool:
    return type(item).__name__ == "IPyNbCell"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: Any) -> Generator[None, None, None]:
    """The kernel is started in here, with the variables that are set now."""
    if not _is_cell(item) or item.parent.kernel is not None:
        return (yield)
    from roofline.classroom.execute import environment

    item.parent.roofline = stack = ExitStack()
    with pytest.MonkeyPatch.context() as patch:
        wanted = stack.enter_context(environment())
        for name in os.environ.keys() - wanted.keys():
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Generator[None, None, None]:
    result = yield
    if _is_cell(item) and (complaint := _complaint(item)):
        item.raise_cell_error(complaint)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: Any, nextitem: Any) -> Generator[None, None, None]:
    last = _is_cell(item) and (nextitem is None or nextitem.parent is not item.parent)
    peak = _peak(item.parent.kernel) if last and item.parent.kernel.is_alive() else 0
    result = yield
    if last:
        from roofline.classroom.anatomy import PEAK_BYTES

        item.parent.roofline.close()
        assert peak < PEAK_BYTES, f"{item.path.name} takes {peak / 1e9:.2f} GB at its peak"
    return result


def _complaint(item: Any) -> str | None:
    from nbval.plugin import coalesce_streams
    from roofline.classroom.settle import difference, kept, problem, tolerance_of

    cell = item.cell
    outputs = kept(item.test_outputs)
    if found := problem(outputs):
        return f"The cell {found}"
    if item.path.parents[1].name == "solutions":
        committed = coalesce_streams(deepcopy(cell.outputs))
        found = difference(outputs, committed, tolerance_of(cell))
        if found and (late := _late(item.parent.kernel)):
            outputs = kept(coalesce_streams([*item.test_outputs, *late]))
            found = difference(outputs, committed, tolerance_of(cell))
        if found:
            return f"Outputs are not the committed ones: {found}"
    elif cell.metadata.get("roofline", {}).get("role") == "check":
        shown = [output.get("data", {}).get("text/plain", "") for output in outputs]
        if not any(BLANK in text for text in shown):
            return f"An untouched check must say {BLANK!r}, it says {shown}"
    return None


def _late(kernel: Any) -> list[Any]:
    """What a cell printed and the kernel sent only after saying that the cell had ended."""
    late = []
    try:
        while True:
            message = kernel.get_message("iopub", timeout=1)
            if message["msg_type"] == "stream":
                late.append(NotebookNode(output_type="stream", **message["content"]))
    except Empty:
        return late


def _peak(kernel: Any) -> int:
    """Peak resident bytes of a kernel, asked of the kernel."""
    from roofline.classroom.execute import PEAK

    asked = kernel.execute_cell_input(PEAK, allow_stdin=False)
    kernel.await_reply(asked, timeout=10)
    while True:
        message = kernel.get_message("iopub", timeout=10)
        ours = message["parent_header"].get("msg_id") == asked
        if ours and message["msg_type"] == "stream":
            return int(message["content"]["text"])
