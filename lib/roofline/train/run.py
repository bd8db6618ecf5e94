"""A training run: its state, and what happens after each update: evaluate, save, show, stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from roofline.nn import Module
from roofline.optim import Optimizer, Schedule

from . import saving
from .batches import Batches
from .compiled import Step
from .history import History, Pending
from .precision import LossScale
from .progress import Bar, memory
from .randomness import random_state, set_random_state
from .settings import Settings


@dataclass
class Run:
    """A model and everything around it that a resumed run must find as it was.

    ``epoch`` and ``batch`` say how far the data were read. ``best`` are the weights with the
    lowest evaluated loss, ``waited`` counts the evaluations since then. ``step`` is the compiled
    forward and backward pass, if there is one.
    """

    model: Module
    optimizer: Optimizer
    schedule: Schedule
    batches: Batches
    settings: Settings
    place: torch.device
    evaluate: Callable[[], dict[str, float]] | None = None
    step: Step | None = None
    scale: LossScale = field(default_factory=LossScale)
    history: History = field(default_factory=History)
    epoch: int = 0
    batch: int = 0
    best_loss: float = float("inf")
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    waited: int = 0

    def __post_init__(self) -> None:
        self.path = Path(self.settings.save) if self.settings.save is not None else None
        if self.path is not None and self.path.is_dir():
            raise ValueError(f"save is {self.path}, which is a folder: name a file in it")
        if self.path is not None and self.settings.resume and self.path.exists():
            self.resume(self.path)
        # To read a number from a GPU makes the program wait for it, so they are read 20 at a time.
        self.pending = Pending(self.history, every=1 if self.place.type == "cpu" else 20)
        if self.path is not None:
            saving.sweep(self.path)
            self.save(self.path)  # the first weights too, and an error now if it can't be written
        self.since = time.perf_counter()
        self.weighed = 0.0

    def stopped(self) -> str:
        """Why the run is over: "steps", "epochs" or "patience"; "" while it isn't."""
        steps, patience = self.settings.steps, self.settings.patience
        if steps is not None and self.history.updates >= steps:
            return "steps"
        if self.epoch >= self.settings.epochs:
            return "epochs"
        return "patience" if patience is not None and self.waited >= patience else ""

    def updates(self) -> int:
        """How many updates the whole run has, if nothing stops it early."""
        total = self.settings.epochs * -(-len(self.batches) // self.settings.accumulate)
        return total if self.settings.steps is None else min(total, self.settings.steps)

    def groups(self) -> Iterator[list]:
        """The batches of one update after another, until the run is over."""
        while not self.stopped():
            epoch = self.epoch
            batches = self.batches.batches(epoch, self.batch)
            while self.epoch == epoch and not self.stopped():
                yield list(islice(batches, self.settings.accumulate))
            if hasattr(batches, "close"):
                batches.close()  # a loader's workers end here

    def advance(self, group: list, bar: Bar) -> None:
        """Note that an update was made of the batches of ``group``; evaluate, save, show."""
        history, settings = self.history, self.settings
        self.batch += len(group)
        ended = self.batch >= len(self.batches)
        if ended:
            self.epoch, self.batch = self.epoch + 1, 0
        ended = ended or self.history.updates == self.settings.steps
        history.items += sum(len(batch[-1]) for batch in group)
        now = time.perf_counter()
        history.seconds += now - self.since
        if ended or now - self.weighed > 0.2:  # asking for it takes as long as a small update
            self.weighed = now
            history.peak_bytes = max(history.peak_bytes, memory(self.place))
        if self.evaluate is not None and self.due(settings.evaluate_every, ended):
            self.judge(self.evaluate())
        if self.path is not None and self.due(settings.save_every, ended):
            self.save(self.path)
        bar.show()
        self.since = time.perf_counter()

    def due(self, every: int | None, ended: bool) -> bool:
        """Whether something is to be done after this update: each ``every``, by default when an
        epoch or the run has ended."""
        return ended if every is None else self.history.updates % every == 0

    def judge(self, measured: dict[str, float]) -> None:
        """Note an evaluation, and keep a copy of the weights if it is the best so far."""
        self.history.evaluations.append({"update": self.history.updates, **measured})
        if measured["loss"] < self.best_loss:
            self.best_loss, self.waited = measured["loss"], 0
            if self.settings.keep_best:
                self.best = {n: value.clone() for n, value in self.model.state_dict().items()}
        else:
            self.waited += 1

    def finish(self) -> None:
        """Save the end of the run, and go back to the best weights if that was asked for."""
        self.pending.fetch()
        self.history.stopped = self.stopped()
        if self.path is not None:
            self.save(self.path)
        if self.best:
            self.model.load_state_dict(self.best)

    def terms(self) -> dict[str, Any]:
        """What must be the same for a resumed run to go on as if it had not stopped."""
        terms = {
            "weights": {n: list(value.shape) for n, value in self.model.state_dict().items()},
            "batches": len(self.batches),
            "optimizer": type(self.optimizer).__name__,
            **self.settings.decisive(),
        }
        for name in ("batch_size", "shuffle", "seed"):
            if hasattr(self.batches, name):
                terms[f"loader's {name}"] = getattr(self.batches, name)
        return terms

    def save(self, path: Path) -> None:
        """Write everything to ``path``; if anything stops that, what is there stays."""
        self.pending.fetch()
        moments, rest = saving.flatten(self.optimizer.state_dict())
        parts = {
            "model": self.model.state_dict(),
            "optimizer": moments,
            "best": self.best,
            "random": random_state(self.place),
        }
        tensors = {
            f"{part}.{name}": value for part, t in parts.items() for name, value in t.items()
        }
        record = {
            "terms": self.terms(),
            "optimizer": rest,
            "schedule": self.schedule.state_dict(),
            "scale": vars(self.scale),
            "history": vars(self.history),
            "epoch": self.epoch,
            "batch": self.batch,
            "best_loss": self.best_loss,
            "waited": self.waited,
        }
        saving.write(path, tensors, record)

    def resume(self, path: Path) -> None:
        """Take up the run that ``path`` holds.

        Raises:
            ValueError: the file is damaged, or belongs to a run on other terms.
        """
        saved = saving.read(path)
        record = saved.record
        for name, mine in self.terms().items():
            theirs = record["terms"].get(name)
            if theirs != mine:
                what = "" if name == "weights" else f" ({theirs}, here {mine})"
                raise ValueError(
                    f"{path} was saved by a run with other {name}{what}: save to another path, or "
                    f"pass resume=False to begin anew"
                )
        self.model.load_state_dict(saved.part("model"))
        self.optimizer.load_state_dict(
            saving.unflatten(saved.part("optimizer"), record["optimizer"])
        )
        self.schedule.load_state_dict(record["schedule"])
        self.scale = LossScale(**record["scale"])
        self.history = History(**record["history"])
        self.epoch, self.batch = record["epoch"], record["batch"]
        self.best_loss, self.waited = record["best_loss"], record["waited"]
        self.best = {name: value.to(self.place) for name, value in saved.part("best").items()}
        set_random_state(saved.part("random"), self.place)
