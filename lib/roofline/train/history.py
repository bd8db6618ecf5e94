"""What a training run remembers of itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch


class Diverged(ArithmeticError):
    """The loss is not a finite number any more."""


@dataclass
class History:
    """The course of a training run.

    ``loss`` and ``rate`` have one number for each update: the loss of its batches, and the
    learning rate. ``norm`` has the gradient's norm before clipping, where there is clipping.
    ``evaluations`` are dicts: "update", "loss", and whatever else was measured. ``skipped`` counts
    the updates that fp16 left out. ``seconds``, ``items`` and ``peak_bytes`` say how fast it went.
    ``stopped`` says why it ended: "epochs", "steps" or "patience"; "" while it runs.
    """

    loss: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0
    items: int = 0
    peak_bytes: int = 0
    stopped: str = ""

    @property
    def updates(self) -> int:
        return len(self.rate)

    @property
    def items_per_second(self) -> float:
        return self.items / self.seconds if self.seconds else 0.0

    def curve(self, name: str = "loss") -> tuple[list[int], list[float]]:
        """Updates and values of one of the numbers in ``evaluations``, to be drawn."""
        return (
            [int(evaluation["update"]) for evaluation in self.evaluations],
            [evaluation[name] for evaluation in self.evaluations],
        )

    def __repr__(self) -> str:
        last = f", loss {self.loss[-1]:.4g}" if self.loss else ""
        measured = "".join(
            f", {name} {value:.4g}"
            for name, value in (self.evaluations[-1] if self.evaluations else {}).items()
            if name not in ("update", "loss")
        )
        return f"History: {self.updates} updates{last}{measured}, {self.seconds:.1f} s"


class Pending:
    """Numbers that are still on the device. To ask for one makes the program wait for the device,
    so they are fetched many at a time."""

    def __init__(self, history: History, every: int):
        self.history = history
        self.every = every
        self.waiting: dict[str, list[torch.Tensor]] = {"loss": [], "norm": []}

    def add(self, name: str, value: torch.Tensor) -> None:
        self.waiting[name].append(value.detach())
        if name == "loss" and len(self.waiting[name]) >= self.every:
            self.fetch()

    def fetch(self) -> None:
        """Move what waits into the history.

        Raises:
            Diverged: a loss is infinite or not a number.
        """
        known = len(self.history.loss)
        for name, values in self.waiting.items():
            if values:
                getattr(self.history, name).extend(torch.stack(values).tolist())
                values.clear()
        for number, loss in enumerate(self.history.loss[known:], start=known + 1):
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss of update {number} is {loss}: lower the learning rate, clip the "
                    f"gradients (clip=1.0), or look for a division by 0 or a log of 0"
                )
