"""The check that counts: fresh cases, and the judge in another process.

The cases are drawn from a secret: the environment variable ``ROOFLINE_SEED``, or the first line of
the file that it names. Without one a fixed default is used, and the table says so. The learner's
code runs here, what comes out is packed as plain data, and a judge that was started with a clean
environment and nothing of this process unpacks and judges it.

If the environment variable ``ROOFLINE_OUTBOX`` names a folder, nothing is judged here: the message
is put there as ``<exercise>.safetensors`` for whoever grades.

This keeps an honest mistake from reaching the grade. It can't keep code that shares this process
from forging what is handed in or shown; a class is graded in a sandbox, with an outbox.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

from roofline.grading.capture import capture
from roofline.grading.checking import judged, not_found, probed, show_result
from roofline.grading.judge_process import JudgeProcess
from roofline.grading.registry import Exercise, Item, case_seed, find
from roofline.grading.result import Result, Score

SEED, OUTBOX = "ROOFLINE_SEED", "ROOFLINE_OUTBOX"
DEFAULT = "under the roofline"

# What the judge's process gets of this one's environment.
_KEPT = (
    *("PATH", "HOME", "USERPROFILE", "SYSTEMROOT", "WINDIR", "TEMP", "TMP", "TMPDIR"),
    *("LANG", "LC_ALL", "LC_CTYPE", "OMP_NUM_THREADS", "ROOFLINE_EXERCISES"),
)


def sealed(exercise: str, answer: Any) -> Score:
    """As :func:`check`, on fresh cases and with the judge in another process.

    Raises ValueError if ``ROOFLINE_SEED`` names a file that can't be read: grading must not go on
    with the wrong cases.
    """
    with capture(descriptors=True):
        result = _sealed(exercise, answer)
    return show_result(result)


def secret() -> str:
    """What the sealed cases are drawn from."""
    value = os.environ.get(SEED, "")
    if not value:
        return DEFAULT
    if os.sep not in value:
        return value
    try:
        return Path(value).read_text(encoding="utf-8").split("\n")[0].strip()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"{SEED} names the file {value}, which can't be read: {reason}") from None


def about_cases(word: str) -> str:
    """How the table names the cases: a mark of the secret that doesn't give it away."""
    if word == DEFAULT:
        return "fresh cases, default seed"
    return f"fresh cases, seed {hashlib.sha256(word.encode()).hexdigest()[:8]}"


def _sealed(name: str, answer: Any) -> Result:
    try:
        exercise = find(name)
    except Exception as error:
        return not_found(name, error)
    word = secret()
    seed = case_seed(word, exercise.id)
    message, outcome = probed(exercise, answer, seed)
    if os.environ.get(OUTBOX):
        result = _hand_in(exercise, message)
    elif outcome.blank or outcome.fault:
        result = judged(exercise, outcome, seed)  # nothing to judge
    else:
        result = _ask(exercise, message, seed, outcome.notes)
    result.about = about_cases(word)
    return result


def _hand_in(exercise: Exercise, message: bytes) -> Result:
    folder = Path(os.environ[OUTBOX])
    target = folder / f"{exercise.id}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_bytes(message)
        os.replace(part, target)
        text = "handed in, to be judged elsewhere"
    except OSError as error:
        text = f"could not be handed in: {error.strerror or type(error).__name__}"
    return Result(exercise.id, exercise.points, problem=text)


def _ask(exercise: Exercise, message: bytes, seed: int, notes: list[str]) -> Result:
    """Let the other process judge; if it fails, say so."""
    try:
        answer = _judge.ask(exercise.id, message, seed)
        if "refused" in answer:
            reason = f"what the answer returned was refused: {answer['refused']}"
        else:
            fields = answer["result"]
            fields.pop("earned")
            fields["items"] = [Item(**item) for item in fields["items"]]
            return Result(**fields)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"the judge could not be reached, which is not your doing: {error}"
    items = [Item("the answer", exercise.points, 0.0, reason)]
    return Result(exercise.id, exercise.points, items, list(notes))


class _Judge:
    """One process, started when first asked and kept while it is of use."""

    def __init__(self) -> None:
        self.process: JudgeProcess | None = None
        self.lock = threading.Lock()

    def ask(self, exercise: str, message: bytes, seed: int) -> dict[str, Any]:
        """The judge's answer. Raises OSError or ValueError if there is none."""
        own = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment = {"OMP_NUM_THREADS": "1", **own}
        with self.lock:
            process = self.process
            if process is None or not process.alive() or process.environment != environment:
                self.stop()
                process = self.process = JudgeProcess(environment)
            return process.ask(exercise, message, seed)

    def stop(self) -> None:
        """End the process, if there is one and this process started it."""
        if self.process is not None:
            self.process.stop()
            self.process = None


_judge = _Judge()
atexit.register(_judge.stop)
