"""Activation checkpointing: keep only a function's inputs, and run it again on the way back.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 1604.06174.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .tape import Node, Tensor, _tape, backward, no_grad


def checkpoint(function: Callable[..., Tensor], *args: Any) -> Tensor:
    """``function(*args)``, of which the tape keeps the arguments and no more.

    The walk back runs the function a second time, with the same random numbers, and walks that.
    Parameters that the function reads get their gradients as always. The function returns one
    Tensor and must compute the same at both times.
    """
    device = next((a.data.device for a in args if isinstance(a, Tensor)), torch.device("cpu"))
    random = _random_state(device)
    with no_grad():
        out = function(*args)
    if not isinstance(out, Tensor):
        raise TypeError(f"only what returns one Tensor is recomputed, not a {type(out).__name__}")
    if not _tape.recording:
        return out
    values = [Tensor(a.data) if isinstance(a, Tensor) else a for a in args]
    parents = [a.node if isinstance(a, Tensor) else None for a in args]
    wanted = [parent is not None for parent in parents]
    layer = _tape.layer

    def pullback(dy: torch.Tensor) -> tuple:
        again = [
            Tensor(value.data, requires_grad=True) if want else value
            for value, want in zip(values, wanted, strict=True)
        ]
        before, _tape.layer = _tape.layer, layer
        try:
            with _random_numbers(device, random):
                result = function(*again)
        finally:
            _tape.layer = before
        if result.node is not None:
            backward(result, dy)
        return tuple([a.grad if want else None for a, want in zip(again, wanted, strict=True)])

    depth = max([parent.depth for parent in parents if parent is not None], default=0)
    out.node = Node(pullback, parents, "checkpoint", depth + 1)
    return out


def _random_state(device: torch.device) -> list[torch.Tensor]:
    """The state of the processor's random numbers, and of the device's own."""
    states = [torch.get_rng_state()]
    if device.type not in ("cpu", "meta"):  # meta tensors have no numbers, random ones neither
        states.append(getattr(torch, device.type).get_rng_state())
    return states


@contextmanager
def _random_numbers(device: torch.device, states: list[torch.Tensor]) -> Iterator[None]:
    """Inside, random numbers go on from ``states``; afterwards from where they were."""
    before = _random_state(device)
    _set_random_state(device, states)
    try:
        yield
    finally:
        _set_random_state(device, before)


def _set_random_state(device: torch.device, states: list[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        getattr(torch, device.type).set_rng_state(states[1])
