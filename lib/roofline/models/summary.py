"""What a model is made of and what one forward pass costs, layer by layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from roofline import nn
from roofline.autograd import Tensor, kept
from roofline.hardware.count import count


@dataclass
class Row:
    """One layer: all numbers are its own, without those of the layers inside it."""

    name: str
    kind: str
    shape: tuple[int, ...] | None  # of its output; None if it wasn't called
    parameters: int
    flops: int
    kept: int  # bytes that training remembers of it


@dataclass
class Summary:
    """The rows of :func:`summary` and their sums; printed as a table."""

    rows: list[Row]

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        return sum(row.flops for row in self.rows)

    @property
    def kept(self) -> int:
        return sum(row.kept for row in self.rows)

    def __repr__(self) -> str:
        lines = [("layer", "kind", "output shape", "parameters", "FLOPs", "bytes kept")]
        for row in self.rows:
            shape = "" if row.shape is None else str(row.shape)
            numbers = (row.parameters, row.flops, row.kept)
            parameters, flops, kept = (f"{n:,}" if n else "" for n in numbers)
            lines.append((row.name, row.kind, shape, parameters, flops, kept))
        parameters, flops, kept = (f"{n:,}" for n in (self.parameters, self.flops, self.kept))
        lines.append(("total", "", "", parameters, flops, kept))
        widths = [max(len(line[column]) for line in lines) for column in range(6)]
        texts = [
            "  ".join(
                cell.ljust(width) if column < 3 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "-" * max(map(len, texts))
        return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])


def summary(model: nn.Module, *inputs: Any) -> Summary:
    """Run ``model(*inputs)`` once and count: ``print(summary(model, torch.empty(1, 3, 32, 32)))``.

    FLOPs are those of matrix products and convolutions, 2 for a multiply-add. Bytes kept are what
    a backward pass needs besides parameters and inputs; none in a model without gradients. A
    parameter that several layers share counts in the first. The model is left as it was. It may be
    built and run on the meta device, where nothing is computed and nothing needs memory.
    """
    if not any(isinstance(x, Tensor | torch.Tensor) for x in inputs):
        raise ValueError("summary runs the model: pass its inputs, such as torch.empty(1, 3, 8, 8)")
    flops: defaultdict[nn.Module, int] = defaultdict(int)
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    inside = [0]  # FLOPs of the layers inside the one that runs, for each level of nesting

    def observed(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            inside.append(0)
            counts = count(forward, *args, **kwargs)
            flops[module] += counts.flops - inside.pop()
            inside[-1] += counts.flops
            shapes[module] = next((tuple(t.shape) for t in _tensors(counts.result)), ())
            return counts.result

        return run

    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    modules = [module for module in model.modules() if hasattr(module, "forward")]
    for module in modules:
        module.forward = observed(module, module.forward)
    try:
        model.name_layers()
        with torch.random.fork_rng(devices=[]):
            result = model(*inputs)
    finally:
        for module in modules:
            del module.forward
        for buffer, before in buffers:
            buffer.copy_(before)
    bytes_kept: dict[str, int] = {}
    there = [x for x in inputs if isinstance(x, Tensor | torch.Tensor)]
    for output in list(_tensors(result))[:1]:
        if output.node is not None:
            bytes_kept = kept(output, besides=[*model.parameters(), *there]).by_layer
    seen: set[int] = set()
    rows = []
    for name, module in model.named_modules():
        own = [p for p in vars(module).values() if isinstance(p, nn.Parameter)]
        numbers = [p.data.numel() for p in own if id(p) not in seen]
        seen.update(map(id, own))
        rows.append(
            Row(
                name,
                type(module).__name__,
                shapes.get(module),
                sum(numbers),
                flops[module],
                bytes_kept.get(module._path, 0),
            )
        )
    return Summary(rows)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The Tensors in a nest of tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
