"""One submission from its plan to its results: in the sandbox, then before the judge.

:func:`grade_one` takes and gives plain data, so it can be called by a thread of the grader or by a
worker of a cluster. Each process that calls it keeps one :class:`Engine`.
"""

from __future__ import annotations

import atexit
import tempfile
import threading
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from roofline.course.judging import Judges
from roofline.course.pool import Plain
from roofline.course.work import Cell, Limits, Ran, Work
from roofline.grading import Item, Result
from roofline.grading.registry import case_seed
from roofline.grading.sealed import about_cases

WHY = {
    "timeout": "it was stopped: the time was up",
    "killed": "its process ended before this check was reached",
    "memory": "it was stopped: it needed too much memory",
    "output": "it was stopped: it wrote too much",
    "failed": "the sandbox failed, which is not your doing",
}


@dataclass(frozen=True)
class Setup:
    """What an :class:`Engine` is made from. ``overlay``: names and texts of private exercises."""

    count: int
    trust: bool
    overlay: tuple[tuple[str, str], ...] = ()
    user: str = ""


class Engine:
    """Sandbox workers and judges, and the private exercises that both know."""

    def __init__(self, setup: Setup):
        self.folder = tempfile.TemporaryDirectory(prefix="roofline-")
        overlay = None
        if setup.overlay:
            overlay = Path(self.folder.name) / "overlay"
            overlay.mkdir()
            Path(self.folder.name).chmod(0o755)
            for name, text in setup.overlay:
                (overlay / name).write_text(text, encoding="utf-8")
        self.workers = _workers(setup, overlay)
        self.judges = Judges(max(1, min(4, setup.count // 2)), overlay)

    def close(self) -> None:
        self.workers.close()
        self.judges.close()
        self.folder.cleanup()


def _workers(setup: Setup, overlay: Path | None) -> Any:
    from roofline.course.sandbox import Workers

    made = Workers(setup.count, trust=setup.trust, overlay=overlay, user=setup.user or "nobody")
    made.start()
    return made


_engines: dict[Setup, Engine] = {}
_lock = threading.Lock()


def engine(setup: Setup) -> Engine:
    """The engine of this process, started when it is first needed. Raises NoSandbox."""
    with _lock:
        if setup not in _engines:
            for other in list(_engines):  # settings changed: one at a time is enough
                _engines.pop(other).close()
            _engines[setup] = Engine(setup)
        return _engines[setup]


@atexit.register
def close_engines() -> None:
    """End what this process started for grading."""
    with _lock:
        for setup in list(_engines):
            _engines.pop(setup).close()


def item(
    student: str,
    notebooks: dict[str, tuple[Cell, ...]],
    files: dict[str, bytes],
    word: str,
    limits: Limits,
    setup: Setup,
) -> Plain:
    """One submission, as :func:`grade_one` takes it."""
    return {
        "student": student,
        "notebooks": {
            name: [list(astuple(cell)) for cell in cells] for name, cells in notebooks.items()
        },
        "files": files,
        "word": word,
        "limits": asdict(limits),
        "setup": asdict(setup),
    }


def grade_one(item: Plain) -> Plain:
    """Run a submission's notebooks and judge what their probes hand in.

    Gives ``{"student", "notebooks": {name: {"status", "reason", "outputs", "cells", "results",
    "seconds", "cpu_seconds"}}, "failed", "sandbox"}``; ``failed`` says why it has to be tried
    again, or is empty; ``sandbox`` is ``"bubblewrap"`` or ``"none"``. Raises nothing but NoSandbox.
    """
    given = item["setup"]
    here = engine(Setup(**{**given, "overlay": tuple(map(tuple, given["overlay"]))}))
    done: Plain = {"student": item["student"], "notebooks": {}, "failed": ""}
    done["sandbox"] = here.workers.sandbox
    with tempfile.TemporaryDirectory(prefix="roofline-work-") as folder:
        files = _unpack(item["files"], Path(folder) / "files") if item["files"] else None
        for name, cells in item["notebooks"].items():
            work = Work(
                key=f"{item['student']}/{name}",
                cells=tuple(Cell(*cell) for cell in cells),
                files=files,
                limits=Limits(**item["limits"]),
                word=item["word"],
            )
            if not work.cells:
                ran = Ran(work.key, "done")
            else:
                ran = here.workers.run(work)
            results = {
                str(cell.exercise): _judged(here.judges, work, ran, cell, done)
                for cell in work.cells
                if cell.exercise is not None
            }
            if ran.status == "failed":
                done["failed"] = ran.reason or WHY["failed"]
            done["notebooks"][name] = {
                "status": ran.status,
                "reason": ran.reason,
                "outputs": ran.outputs,
                "cells": ran.cells,
                "results": results,
                "seconds": ran.seconds,
                "cpu_seconds": ran.cpu_seconds,
            }
    return done


def _unpack(files: dict[str, bytes], folder: Path) -> Path:
    """The files beside the notebooks, readable by whoever the sandbox runs as."""
    folder.parent.chmod(0o755)
    folder.mkdir()
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def _judged(judges: Judges, work: Work, ran: Ran, cell: Cell, done: Plain) -> dict[str, Any]:
    """The result of one check, as plain data."""
    exercise = str(cell.exercise)
    message = ran.messages.get(exercise)
    if message is None:
        return _nothing(exercise, _why_nothing(work, ran, cell))
    answer = judges.judge(exercise, message, case_seed(work.word, exercise))
    if "failed" in answer:
        done["failed"] = f"the judge failed over {exercise}: {answer['failed']}"
        return _nothing(exercise, "the judge failed, which may not be your doing")
    if "result" not in answer:
        return _nothing(exercise, f"what the answer returned was refused: {answer.get('refused')}")
    result = dict(answer["result"])
    result["about"] = about_cases(work.word)
    return result


def _why_nothing(work: Work, ran: Ran, cell: Cell) -> str:
    late = cell.too_long(work.limits)
    if ran.cells.get(cell.index) == "timeout" and ran.reason == late:
        return late
    for output in ran.outputs.get(cell.index, []):
        if output.get("output_type") == "error":
            said = " ".join(str(output.get("evalue", "")).split())[:200]
            return f"{output.get('ename', 'an error')}: {said}"
    if ran.status in WHY:
        return WHY[ran.status] + (f" ({ran.reason})" if ran.reason else "")
    return "the check came to nothing"


def _nothing(exercise: str, why: str) -> dict[str, Any]:
    """No points, with the reason. The points are filled in from the release."""
    item = Item("the answer", 0.0, 0.0, why)
    return Result(exercise, 0.0, [item]).as_dict()
