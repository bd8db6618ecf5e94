"""A bar that says how far a run is, how fast it goes and how much memory it takes."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

import psutil
import torch
from tqdm import tqdm

from .history import History

_process = psutil.Process()


def memory(place: torch.device) -> int:
    """Bytes in use: the most that a GPU's allocator ever gave out, or what this process has."""
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated(place)
    if place.type == "mps":
        return torch.mps.current_allocated_memory()
    return _process.memory_info().rss


def wanted() -> bool:
    """Whether somebody is there to see a bar: a terminal, or a notebook that isn't being built."""
    if os.environ.get("ROOFLINE_MEASURE") == "replay":
        return False
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Bar:
    """The bar of one run; nothing if ``shown`` is False."""

    def __init__(self, history: History, total: int, place: torch.device, shown: bool | None):
        shown = wanted() if shown is None else shown
        self.history, self.place = history, place
        self.written = 0.0
        self.bar = tqdm(
            total=total,
            initial=history.updates,
            disable=not shown,
            unit=" updates",
            dynamic_ncols=True,
        )

    def show(self) -> None:
        """Move the bar to where the history is; write its numbers some times a second."""
        if self.bar.disable:
            return
        now = time.perf_counter()
        if now - self.written > 0.2:
            self.written = now
            history = self.history
            loss = f"loss {history.loss[-1]:.3f}, " if history.loss else ""
            self.bar.set_postfix_str(
                f"{loss}{history.items_per_second:.0f} items/s, {memory(self.place) / 1e9:.2f} GB",
                refresh=False,
            )
        self.bar.update(self.history.updates - self.bar.n)

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()
