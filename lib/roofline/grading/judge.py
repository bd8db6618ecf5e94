"""The process that judges. It never sees the learner's code, only what a probe handed in.

``python -I judge.py EXERCISE FILE`` judges one message of :mod:`roofline.grading.protocol` with the
secret in the environment variable ``ROOFLINE_SEED``, and prints the result as JSON.

``python -I judge.py --serve`` answers requests on its standard input until that is closed: a line
of JSON ``{"exercise": id, "seed": n, "bytes": n}`` and as many bytes of message; the answer is one
line of JSON, ``{"result": {...}}`` or ``{"refused": reason}``. Importing torch takes seconds, so
one such process serves a whole notebook.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # -I leaves out the folder that this library is in
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def judge_message(name: str, message: bytes, seed: int) -> dict[str, Any]:
    """Judge one message about the exercise ``name``, on cases drawn here from ``seed``."""
    from roofline.grading.checking import judged
    from roofline.grading.protocol import Outcome, Refused, unpack
    from roofline.grading.registry import UnknownExercise, find

    try:
        exercise = find(name)
        outcome = unpack(message, name)
        if not isinstance(outcome, Outcome):
            raise Refused("the message is not the outcome of a probe")
    except (UnknownExercise, Refused) as error:
        return {"refused": str(error)}
    return {"result": judged(exercise, outcome, seed).as_dict()}


def _serve() -> None:
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an exercise prints must not get between the answers
    import roofline.grading.checking  # noqa: F401  (the slow part, before the first request)

    while line := source.readline(10_000):
        request = json.loads(line)
        message = source.read(int(request["bytes"]))
        answer = judge_message(str(request["exercise"]), message, int(request["seed"]))
        target.write(json.dumps(answer).encode() + b"\n")
        target.flush()


def main(arguments: list[str]) -> int:
    if arguments == ["--serve"]:
        _serve()
        return 0
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    from roofline.grading.registry import case_seed
    from roofline.grading.sealed import secret

    name, file = arguments
    answer = judge_message(name, Path(file).read_bytes(), case_seed(secret(), name))
    print(json.dumps(answer, indent=1))
    return 0 if "result" in answer else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
