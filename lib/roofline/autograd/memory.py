"""What a forward pass keeps for the walk back, in bytes.

A pullback is a closure, and what a closure has captured can be looked up. So the tape can say what
training remembers, without a model of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from .tape import Tensor, tape


@dataclass
class Kept:
    """Bytes that the pullbacks of a tape hold on to.

    ``by_op`` and ``by_layer`` share out ``total``; a storage that several pullbacks hold counts
    once, for the oldest. The layer is "" outside of every layer.
    """

    total: int = 0
    by_op: dict[str, int] = field(default_factory=dict)
    by_layer: dict[str, int] = field(default_factory=dict)


def kept(output: Tensor, besides: Iterable[Tensor | torch.Tensor] = ()) -> Kept:
    """Bytes kept by every pullback that ``output`` depends on.

    A view keeps its whole storage. ``besides`` are tensors that are there anyway, such as a
    model's parameters: their storages don't count.
    """
    seen = {_storage(t.data if isinstance(t, Tensor) else t) for t in besides}
    by_op: defaultdict[str, int] = defaultdict(int)
    by_layer: defaultdict[str, int] = defaultdict(int)
    for node in tape(output):
        for tensor in captured(node.pullback):
            key = _storage(tensor)
            if key not in seen:
                seen.add(key)
                size = tensor.untyped_storage().nbytes()
                by_op[node.name] += size
                by_layer[node.layer] += size
    return Kept(sum(by_op.values()), dict(by_op), dict(by_layer))


def _storage(tensor: torch.Tensor) -> tuple[torch.device, int]:
    storage = tensor.untyped_storage()
    # On the meta device nothing has an address: there the storage object tells them apart.
    return tensor.device, storage.data_ptr() or storage._cdata


def captured(value: Any) -> Iterator[torch.Tensor]:
    """The tensors that a function's closure holds, also inside its containers and functions."""
    stack, visited = [value], set()
    while stack:
        item = stack.pop()
        if isinstance(item, torch.Tensor):
            yield item
            continue
        if id(item) in visited:
            continue
        visited.add(id(item))
        if isinstance(item, Tensor):
            stack.append(item.data)
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple | set):
            stack.extend(item)
        elif hasattr(item, "func") and hasattr(item, "keywords"):  # functools.partial
            stack.extend([item.func, item.args, item.keywords])
        elif callable(item):
            stack.extend(getattr(item, "__defaults__", None) or ())
            for cell in getattr(item, "__closure__", None) or ():
                try:
                    stack.append(cell.cell_contents)
                except ValueError:  # a name of the enclosing function that was deleted
                    pass
            if hasattr(item, "__self__"):
                stack.append(item.__self__)
            if not isinstance(item, type):  # an object with __call__ holds its attributes
                stack.extend(getattr(item, "__dict__", {}).values())
