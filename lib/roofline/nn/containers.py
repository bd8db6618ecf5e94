"""Modules that hold modules."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from .module import Module, printed


class _Numbered(Module):
    """Children named "0", "1", and so on."""

    def append(self, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"expected a Module, got {type(module).__name__}")
        setattr(self, str(len(self)), module)

    def __len__(self) -> int:
        return len(list(self.children()))

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Any:
        return list(self.children())[index]


class Sequential(_Numbered):
    """Run modules one after another: ``Sequential(Linear(4, 8), ReLU(), Linear(8, 2))``."""

    def __init__(self, *modules: Module):
        for module in modules:
            self.append(module)

    def forward(self, x: Any) -> Any:
        for module in self.children():
            x = module(x)
        return x


class ModuleList(_Numbered):
    """A list of modules whose parameters belong to the model that holds it."""

    def __init__(self, modules: Iterable[Module] = ()):
        for module in modules:
            self.append(module)

    def __repr__(self) -> str:
        # Neighbours that print alike share a line, as in torch.
        lines, first = [], 0
        for text, run in itertools.groupby(repr(child) for child in self):
            last = first + len(list(run)) - 1
            lines.append(
                f"({first}): {text}"
                if first == last
                else f"({first}-{last}): {last - first + 1} x {text}"
            )
            first = last + 1
        return printed(self, lines)
