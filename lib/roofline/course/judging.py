"""The judges of a class: processes that see what a probe handed in, and nothing of a submission.

Each is ``grading/judge.py --serve`` with an environment of its own making: no secret but the seeds
that come with the requests, no gradebook, no folder of the course except private exercises.
"""

from __future__ import annotations

import os
import queue
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from roofline.course.sandbox import settings
from roofline.grading.judge_process import JudgeProcess

_KEPT = ("PATH", "SYSTEMROOT", "WINDIR", "TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL")


class Judges:
    """A few judging processes, each started when it is first needed. Safe to use from threads."""

    def __init__(self, count: int = 1, overlay: Path | None = None):
        self.overlay = overlay
        self.free: queue.LifoQueue[JudgeProcess | None] = queue.LifoQueue()
        for _ in range(max(1, count)):
            self.free.put(None)
        self.all: list[JudgeProcess] = []

    def __enter__(self) -> Judges:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def judge(self, exercise: str, message: bytes, seed: int) -> dict[str, Any]:
        """``{"result": ...}``, ``{"refused": why}``, or ``{"failed": why}``. Never raises.

        A message over which two processes in turn have ended is refused, if a third one is well.
        """
        why = ""
        for _ in range(2):
            try:
                return self._ask(exercise, message, seed)
            except (OSError, ValueError) as error:
                why = " ".join(str(error).split())[:200] or type(error).__name__
        try:
            self._ask(exercise, b"", seed)
        except (OSError, ValueError):
            return {"failed": why}
        return {"refused": f"the judge ended over it, twice: {why}"}

    def _ask(self, exercise: str, message: bytes, seed: int) -> dict[str, Any]:
        process = self.free.get()
        try:
            if process is None or not process.alive():
                process = JudgeProcess(_environment(self.overlay))
                self.all.append(process)
            return process.ask(exercise, message, seed)
        except (OSError, ValueError):
            if process is not None:
                process.stop()
                with suppress(ValueError):
                    self.all.remove(process)
            process = None
            raise
        finally:
            self.free.put(process)

    def close(self) -> None:
        for process in self.all:
            process.stop()
        self.all.clear()


def _environment(overlay: Path | None) -> dict[str, str]:
    """As in the sandbox, so that both draw the same cases to the last bit."""
    own = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if overlay is not None:
        own["ROOFLINE_EXERCISES"] = str(overlay)
    return settings.environment(tempfile.gettempdir()) | own
