"""A stand-in for the sandbox: the same interface, in this process, with nothing around it.

For tests of what comes before and after the sandbox, with submissions that mean no harm.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import threading
import traceback
from pathlib import Path
from typing import Any

from roofline.course.work import Cell, Ran, Work
from roofline.grading import find
from roofline.grading.checking import probed
from roofline.grading.registry import case_seed


class Workers:
    """Runs one submission after another."""

    ran: list[str] = []
    lock = threading.Lock()

    def __init__(self, count: int, trust: bool = False, overlay: Path | None = None, **_: Any):
        if overlay is not None:
            os.environ["ROOFLINE_EXERCISES"] = str(overlay)

    sandbox = "none"

    def start(self) -> None:
        pass

    def close(self) -> None:
        os.environ.pop("ROOFLINE_EXERCISES", None)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def run(self, work: Work) -> Ran:
        with self.lock:  # sys.stdout is one for all threads
            return self._run(work)

    def _run(self, work: Work) -> Ran:
        Workers.ran.append(work.key)
        ran = Ran(work.key, "done")
        names: dict[str, Any] = {"__name__": "__main__"}
        for cell in work.cells:
            outputs: list[dict[str, Any]] = []
            ran.cells[cell.index], ran.outputs[cell.index] = "ok", outputs
            try:
                if cell.exercise is not None:
                    exercise = find(cell.exercise)
                    seed = case_seed(work.word, exercise.id)
                    answer = names[str(cell.answer)]
                    ran.messages[exercise.id] = probed(exercise, answer, seed)[0]
                else:
                    self.cell(cell, names, outputs)
            except BaseException as error:
                ran.cells[cell.index] = "error"
                lines = traceback.format_exception_only(error)
                outputs.append(
                    {
                        "output_type": "error",
                        "ename": type(error).__name__,
                        "evalue": str(error),
                        "traceback": lines,
                    }
                )
        return ran

    def cell(self, cell: Cell, names: dict[str, Any], outputs: list[dict[str, Any]]) -> None:
        body = ast.parse(cell.source)
        last = None
        if body.body and isinstance(body.body[-1], ast.Expr):
            last = ast.Expression(body.body.pop().value)  # type: ignore[attr-defined]
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                exec(compile(body, "cell", "exec"), names)
                value = eval(compile(last, "cell", "eval"), names) if last is not None else None
        finally:
            for name, stream in (("stdout", out), ("stderr", err)):
                if stream.getvalue():
                    outputs.append(
                        {"output_type": "stream", "name": name, "text": stream.getvalue()}
                    )
        if value is not None:
            data = {"text/plain": repr(value)}
            outputs.append({"output_type": "execute_result", "data": data, "metadata": {}})
