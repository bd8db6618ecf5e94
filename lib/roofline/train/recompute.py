"""Trade time for memory: the layers named keep what goes into them, and run again on the way back.

:func:`roofline.autograd.checkpoint` does it for one call; this does it for layers of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from roofline.autograd import Tensor, checkpoint
from roofline.nn import Module


@contextmanager
def recomputed(model: Module, names: Iterable[str]) -> Iterator[int]:
    """Inside this block the layers named recompute: "blocks.layers.*", say. Gives their number.

    Raises:
        ValueError: a name that fits no layer.
    """
    paths = {path: module for path, module in model.named_modules() if path}
    chosen: dict[str, Module] = {}
    for name in names:
        fitting = {path: module for path, module in paths.items() if fnmatchcase(path, name)}
        # "blocks.*" would also fit what is inside a block: the outermost layer is the one meant.
        outer = {
            p: m for p, m in fitting.items() if not any(p.startswith(f"{q}.") for q in fitting)
        }
        if not outer:
            raise ValueError(f"no layer is named {name!r}: there are {', '.join(paths)}")
        chosen |= outer
    for module in chosen.values():
        vars(module)["forward"] = _recomputing(module)
    try:
        yield len(chosen)
    finally:
        for module in chosen.values():
            del vars(module)["forward"]


def _recomputing(module: Module) -> Callable[..., Tensor]:
    forward = type(module).forward

    def run(*inputs: Any, **options: Any) -> Tensor:
        calls = 0

        def call(*values: Any) -> Tensor:
            # Named arguments, too, go through checkpoint: one may be on the tape.
            nonlocal calls
            calls += 1
            before = [] if calls == 1 else [(b, b.clone()) for b in module.buffers()]
            named = dict(zip(options, values[len(inputs) :], strict=True))
            out = forward(module, *values[: len(inputs)], **named)
            for buffer, value in before:  # running means have had this batch already
                buffer.copy_(value)
            return out

        return checkpoint(call, *inputs, *options.values())

    return run
