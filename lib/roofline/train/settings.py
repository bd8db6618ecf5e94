"""The options of a training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .precision import type_of


@dataclass(frozen=True)
class Settings:
    """How to train. Every field can be given to :func:`~roofline.train.train` by its name.

    Args:
        epochs: passes over the data.
        steps: stop after so many updates, if that comes first.
        seed: of dropout; the loader has its own for the order of the data.
        device: "cpu", "cuda", "mps"; by default ROOFLINE_DEVICE, else the best there is.
        precision: "fp32" (as the model is), "bf16", or "fp16" with a scaled loss.
        accumulate: batches to an update. Their gradients add up to those of one large batch
            (layers that look across the batch, such as batch norm, see the small ones).
        clip: the largest norm of the gradient.
        recompute: names of layers that keep only their inputs, such as ("blocks.layers.*",).
        compile: compile forward and backward pass into one function; a name is a mode of
            ``torch.compile``, such as "reduce-overhead". Not together with ``recompute``.
        evaluate_every: updates from one evaluation to the next; by default one after each epoch
            and at the end.
        patience: stop after so many evaluations in a row that did not lower the loss.
        keep_best: end with the weights that had the lowest loss in an evaluation.
        save: a file for the state of the run. If it is there the run goes on from it, with the
            optimizer's learning rate that it holds.
        save_every: updates from one save to the next; by default one after each epoch.
        resume: False begins anew and overwrites ``save``.
        deterministic: on a GPU too, use only kernels whose result is the same each time, or raise.
            On a CPU a run is repeatable as it is.
        progress: show a bar; by default in a terminal and in a live notebook.
    """

    epochs: int = 1
    steps: int | None = None
    seed: int = 0
    device: str | None = None
    precision: str = "fp32"
    accumulate: int = 1
    clip: float | None = None
    recompute: tuple[str, ...] = ()
    compile: bool | str = False
    evaluate_every: int | None = None
    patience: int | None = None
    keep_best: bool = False
    save: str | Path | None = None
    save_every: int | None = None
    resume: bool = True
    deterministic: bool = False
    progress: bool | None = None

    def __post_init__(self) -> None:
        type_of(self.precision)
        for name in ("epochs", "steps", "accumulate", "evaluate_every", "patience", "save_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip is {self.clip}, expected a norm above 0")
        if isinstance(self.recompute, str):
            raise ValueError(f"recompute is {self.recompute!r}, expected a tuple of names")
        if self.recompute and self.compile:
            raise ValueError(
                "compile and recompute exclude each other: the compiler decides what to keep"
            )

    def changed(self, **changes: Any) -> Settings:
        """These settings with some fields replaced."""
        names = [field.name for field in dataclasses.fields(self)]
        unknown = next((name for name in changes if name not in names), None)
        if unknown is not None:
            raise ValueError(f"{unknown!r} is not a setting: there are {', '.join(names)}")
        return dataclasses.replace(self, **changes)

    def decisive(self) -> dict[str, Any]:
        """What must be the same for a run to go on from a file as if it had not stopped."""
        names = ("seed", "precision", "accumulate", "clip", "compile")
        return {name: getattr(self, name) for name in names}
