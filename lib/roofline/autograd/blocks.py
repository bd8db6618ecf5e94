"""Chains of elementwise steps, a block at a time, so that what passes between them stays in cache.

Five passes over a tensor that doesn't fit a processor's cache cost five times its bytes over the
memory bus; over a block that fits, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

BLOCK = 2**17  # elements: 512 KB in float32, so that a few of them fit a core's L2 cache


def whole(x: torch.Tensor) -> bool:
    """Whether to take x at once: on an accelerator, where launches cost, or under a compiler."""
    return x.device.type != "cpu" or torch.compiler.is_compiling() or x.numel() <= BLOCK


def in_blocks(step: Callable[..., object], *tensors: torch.Tensor) -> None:
    """Call ``step`` on matching pieces, as vectors, of contiguous tensors of one size."""
    if whole(tensors[0]):
        step(*tensors)
        return
    for pieces in zip(*[x.view(-1).split(BLOCK) for x in tensors], strict=True):
        step(*pieces)


def block_rows(x: torch.Tensor, parts: int = 1) -> int:
    """How many rows of x, a matrix, make a block, or one of the ``parts`` that share its room."""
    return len(x) if whole(x) else max(1, BLOCK // parts // x.shape[1])


def row_blocks(*tensors: torch.Tensor, parts: int = 1) -> Iterator[tuple[torch.Tensor, ...]]:
    """Matching rows of all ``tensors``, :func:`block_rows` of the first at a time."""
    step = block_rows(tensors[0], parts)
    if step >= len(tensors[0]):
        return iter((tensors,))
    return zip(*[x.split(step) for x in tensors], strict=True)


def wide(x: torch.Tensor) -> torch.Tensor:
    """x in float32 if it has only 16 bits, for sums and for steps that could overflow."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def ready(x: torch.Tensor) -> torch.Tensor:
    """x as its device computes with it: processors are slow, and round in between, with 16 bits."""
    return wide(x) if x.device.type == "cpu" else x
