"""What grading says of each submission."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

UNSANDBOXED = "sandbox: none"  # the reason of a row says so


@dataclass(frozen=True)
class Row:
    """What came of one submission.

    ``status``: ``graded`` (now), ``unchanged`` (graded before, and nothing has changed since),
    ``refused`` (no notebook of it can be run: 0 points, and ``reason`` says why), ``unknown`` (no
    such student in the gradebook: not graded), ``failed`` (something on our side: the next run
    tries again), or ``would grade`` (a dry run). ``score`` and ``max_score`` are points as the
    gradebook has them, before a late penalty; ``score`` is None where nothing was graded.
    ``seconds`` is how long it ran. ``digest`` stands for everything that the score depends on.
    """

    student: str
    assignment: str
    score: float | None
    max_score: float
    status: str
    reason: str = ""
    seconds: float = 0.0
    digest: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)
