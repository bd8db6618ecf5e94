"""The judge's process, as whoever asks it sees it: started, asked, ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

PATIENCE = 120.0  # seconds for one judgement, the start of the process included


class JudgeProcess:
    """One :mod:`roofline.grading.judge` that serves, with no environment but ``environment``.

    For one thread at a time. A forked child doesn't share its parent's: there it isn't alive, and
    can't be ended. Raises OSError if it can't be started.
    """

    def __init__(self, environment: dict[str, str]):
        self.environment = environment
        self.owner = os.getpid()
        self.errors = tempfile.TemporaryFile()
        script = Path(__file__).with_name("judge.py")
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(script), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            cwd=script.parent,
            start_new_session=True,  # a notebook's stop button and Ctrl-C are not for it
        )

    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, exercise: str, message: bytes, seed: int) -> dict[str, Any]:
        """``{"result": ...}`` or ``{"refused": why}``. Raises OSError or ValueError if no answer
        comes; one that takes longer than PATIENCE is ended."""
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

    def stop(self) -> None:
        """End it."""
        if self.owner != os.getpid():
            return
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        self.process.wait()

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.errors.seek(0)
        said = self.errors.read()[-2000:].decode("utf-8", "replace").strip().split("\n")[-1]
        return said or f"it ended with code {self.process.poll()}"
