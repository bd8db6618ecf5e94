"""The judges of a class: processes that see what a probe handed in, and nothing of a submission.

Each is ``grading/judge.py --serve`` with an environment of its own making: no secret but the seeds
that come with the requests, no gradebook, no folder of the course except private exercises.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import roofline.grading
from roofline.course.sandbox import settings

PATIENCE = 120.0  # seconds for one judgement, the start of the process included
_KEPT = ("PATH", "SYSTEMROOT", "WINDIR", "TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL")


class Judges:
    """A few judging processes, each started when it is first needed. Safe to use from threads."""

    def __init__(self, count: int = 1, overlay: Path | None = None):
        self.overlay = overlay
        self.free: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(max(1, count)):
            self.free.put(None)
        self.all: list[_Process] = []

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
                process = _Process(self.overlay)
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


class _Process:
    def __init__(self, overlay: Path | None):
        own = {name: os.environ[name] for name in _KEPT if name in os.environ}
        # As in the sandbox, so that both draw the same cases to the last bit.
        environment = settings.environment(tempfile.gettempdir()) | own
        if overlay is not None:
            environment["ROOFLINE_EXERCISES"] = str(overlay)
        script = Path(roofline.grading.__file__).with_name("judge.py")
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(script), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            cwd=script.parent,
            start_new_session=True,  # Ctrl-C is the grader's to handle
        )

    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, exercise: str, message: bytes, seed: int) -> dict[str, Any]:
        """The answer. Raises OSError or ValueError if there is none."""
        process = self.process
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(PATIENCE, process.kill)
        timer.daemon = True
        timer.start()
        try:
            request = {"exercise": exercise, "seed": seed, "bytes": len(message)}
            process.stdin.write(json.dumps(request).encode() + b"\n" + message)
            process.stdin.flush()
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise ValueError(self._last_words())
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("the judge's answer has no form")
        return answer

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.errors.seek(0)
        said = self.errors.read()[-2000:].decode("utf-8", "replace").strip().split("\n")[-1]
        return said or f"the judge ended with code {self.process.poll()}"

    def stop(self) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        self.process.wait()
