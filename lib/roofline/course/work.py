"""What goes into a sandbox, and what comes out: plain data, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["done", "timeout", "killed", "memory", "output", "failed"]


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Seconds are of the wall clock unless they say otherwise."""

    cell_seconds: float = 30.0
    wall_seconds: float = 120.0
    cpu_seconds: int = 120
    memory_bytes: int = 2 * 2**30  # beyond what the imported libraries hold already
    processes: int = 64
    file_bytes: int = 64 * 2**20  # in each file, and in each folder that can be written to
    output_bytes: int = 1 * 2**20  # of all cells together
    message_bytes: int = 40 * 2**20  # of all messages to the judge together


@dataclass(frozen=True)
class Cell:
    """One cell to run. ``index`` is its place in the notebook.

    With ``exercise`` it is a check cell, which isn't run as text: the exercise's probe is called on
    what the name ``answer`` stands for, on cases drawn from the sealed word; ``seconds`` is the
    exercise's own time limit, which holds for it whatever :class:`Limits` says of other cells.
    ``locked`` marks an instructor's own test: before it runs, the libraries and IPython's hooks are
    put back as they were, whatever earlier cells have patched.
    """

    index: int
    source: str
    exercise: str | None = None
    answer: str | None = None
    locked: bool = False
    seconds: float | None = None

    def limit(self, limits: Limits) -> float:
        """Seconds that it may take."""
        return limits.cell_seconds if self.seconds is None else self.seconds

    def too_long(self, limits: Limits) -> str:
        """What is said if it has to be ended from outside; of a check, as in a notebook."""
        if self.seconds is not None:
            return f"it was stopped after {self.seconds:g} seconds"
        return f"a cell took longer than {limits.cell_seconds:g} s and would not be stopped"


@dataclass(frozen=True)
class Work:
    """One submission, to be run.

    ``key`` tells submissions apart. ``files`` is a folder whose content becomes the working
    directory; Python looks for modules there last, so that none of its files stands before an
    installed one. ``word`` is the assignment's sealed word, from which the cases of its exercises
    are drawn. With ``stop_on_error`` no cell runs after one that failed; check cells still do.
    """

    key: str
    cells: tuple[Cell, ...]
    files: Path | None
    limits: Limits
    word: str
    stop_on_error: bool = False


@dataclass
class Ran:
    """What came of a :class:`Work`. All of it is the submission's word: treat it as such.

    ``status``: ``done`` (it ran to its end, well or badly), ``timeout``, ``killed`` (it or the
    system ended its process), ``memory``, ``output`` (it wrote or sent too much), ``failed`` (the
    sandbox failed, which is not its doing). ``reason`` is one line, or empty.

    ``outputs``: cell index -> outputs in nbformat's shape. ``cells``: cell index -> ``ok``,
    ``error``, ``timeout``, ``killed``, ``output-capped`` or ``not-run``. A check cell is ``ok`` if
    its message came. ``messages``: exercise id
    -> what its probe hands in, for :mod:`roofline.grading.protocol` to unpack elsewhere. What was
    sent before an end by force is kept.
    """

    key: str
    status: Status
    reason: str = ""
    outputs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    cells: dict[int, str] = field(default_factory=dict)
    messages: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
