"""Measure a model, and let it predict: no gradients, dropout off, batch statistics fixed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from roofline import losses
from roofline.autograd import Tensor, no_grad
from roofline.device import device as choose
from roofline.nn import Module

from .batches import as_batches, moved
from .precision import cast_inputs, low_precision, type_of

Loss = Callable[[Any, torch.Tensor], Tensor]
Metric = Callable[[torch.Tensor, torch.Tensor], float]


@contextmanager
def evaluating(model: Module, precision: str) -> Iterator[None]:
    """Inside this block nothing is recorded and the model is in evaluation mode."""
    training = model.training
    model.eval()
    try:
        with no_grad(), low_precision(model, type_of(precision)):
            yield
    finally:
        model.train(training)


def evaluate(
    model: Module,
    batches: Any,
    loss: Loss = losses.cross_entropy,
    metrics: Mapping[str, Metric] | None = None,
    precision: str = "fp32",
    device: str | torch.device | None = None,
) -> dict[str, float]:
    """The mean "loss" and the mean of each of ``metrics`` over all batches, weighted by targets.

    Args:
        batches: a loader, or a list of batches: tuples of inputs and, last, the target.
        metrics: functions of output and target, such as ``{"accuracy": accuracy}``.
    """
    place = choose(device)
    model.to(place)
    totals: dict[str, float] = {}
    count = 0.0
    with evaluating(model, precision):
        for batch in as_batches(batches).batches(0):
            *inputs, target = moved(batch, place)
            share = targets_in(target)
            if not share:  # its mean is 0/0
                continue
            output = model(*cast_inputs(tuple(inputs), type_of(precision)))
            measured = {"loss": float(loss(output, target).data)}
            for name, metric in (metrics or {}).items():
                measured[name] = float(metric(output.data, target))
            for name, value in measured.items():
                totals[name] = totals.get(name, 0.0) + value * share
            count += share
    if not count:
        raise ValueError("there is nothing to evaluate: every target is -100, which is no target")
    return {name: total / count for name, total in totals.items()}


def predict(
    model: Module,
    inputs: Any,
    batch_size: int = 256,
    precision: str = "fp32",
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """The model's outputs for all ``inputs``, on the CPU, in their order.

    Args:
        inputs: a tensor whose first dimension is the batch, or a tuple of such tensors.
    """
    place = choose(device)
    model.to(place)
    together = inputs if isinstance(inputs, tuple) else (inputs,)
    strange = next((v for v in together if not isinstance(v, torch.Tensor)), None)
    if strange is not None or not together:
        raise ValueError(
            f"inputs is a {type(inputs if strange is None else strange).__name__}, expected a "
            f"torch.Tensor or a tuple of them: torch.as_tensor makes one, data[:][0] has a set's"
        )
    if len(together[0]) == 0:
        raise ValueError("there is nothing to predict: inputs has no rows")
    parts = zip(*[value.split(batch_size) for value in together], strict=True)
    with evaluating(model, precision):
        outputs = [
            model(*cast_inputs(moved(part, place), type_of(precision))).data.cpu() for part in parts
        ]
    return torch.cat(outputs)


def accuracy(output: torch.Tensor, target: torch.Tensor) -> float:
    """The share of targets at which the largest score, along the last dimension, is right.

    ``output`` is (..., classes) and ``target`` (...); targets of -100 don't count.
    """
    if output.shape[:-1] != target.shape:
        raise ValueError(
            f"accuracy compares scores (..., classes) with targets (...), got "
            f"{tuple(output.shape)} and {tuple(target.shape)}"
        )
    counts = target != -100
    right = (output.argmax(-1) == target) & counts
    return float(right.sum()) / max(int(counts.sum()), 1)


def token_loss(output: Any, target: torch.Tensor) -> Tensor:
    """Cross-entropy of scores (batch, time, classes) and targets (batch, time), -100 ignored."""
    return losses.cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))


def targets_in(target: torch.Tensor) -> float:
    """How many targets a batch has: what its mean loss counts for. Class -100 is no target."""
    if target.is_floating_point():
        return float(len(target))
    return float((target != -100).sum())
