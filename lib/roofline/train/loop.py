"""Training, in seven steps: prepare the data, initialise, forward, loss, backward, update, repeat.

:func:`train` is the loop; steps 3 to 5 are :func:`gradients` and step 6 is :func:`update`. The
rest of this room is what a long run needs around them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch

from roofline import losses
from roofline.autograd import Tensor
from roofline.device import device as choose
from roofline.nn import Module
from roofline.optim import AdamW, Optimizer, Schedule, clip_grad_norm_, constant

from .batches import as_batches, moved
from .compiled import compiled
from .evaluation import Loss, Metric, evaluate, targets_in
from .history import History
from .precision import cast_inputs, low_precision, type_of
from .progress import Bar
from .randomness import repeatable
from .recompute import recomputed
from .run import Run
from .settings import Settings


def train(
    model: Module,
    batches: Any,
    loss: Loss = losses.cross_entropy,
    optimizer: Callable[[Any], Optimizer] | Optimizer = AdamW,
    schedule: Callable[[int], float] | None = None,
    validation: Any = None,
    metrics: Mapping[str, Metric] | None = None,
    settings: Settings | None = None,
    **changes: Any,
) -> History:
    """Train ``model`` in place, and say how it went.

    Args:
        batches: a loader, or a list of batches. A batch is a tuple of inputs and, last, the
            target: its loss is ``loss(model(*inputs), target)``, the mean over its targets.
        optimizer: makes one from the parameters, as ``lambda p: AdamW(p, lr=3e-4)`` does. One that
            is made already will do if the model is on its device already.
        schedule: the factor of the learning rate by updates done, such as ``cosine(1000)``.
        validation: batches to evaluate on, and the ``metrics`` to measure there besides the loss.
        settings: the options, or give them one by one, ``epochs=3, clip=1.0``: see
            :class:`Settings`.

    Raises:
        Diverged: the loss is infinite or not a number.
        ValueError: an option or a batch that makes no sense, or a ``save`` of another run.
    """
    settings = (settings or Settings()).changed(**changes)
    place = choose(settings.device)

    # 1. Prepare the data.
    batches = as_batches(batches)
    validation = None if validation is None else as_batches(validation)
    if validation is None and (settings.patience is not None or settings.keep_best):
        raise ValueError("patience and keep_best need evaluations: pass validation=, too")
    if str(getattr(loss, "__module__", "")).startswith("torch."):
        raise ValueError("the loss is one of torch's: take one from roofline.losses")
    if metrics is not None and not isinstance(metrics, Mapping):
        raise ValueError('metrics needs names for functions, such as {"accuracy": accuracy}')

    # 2. Initialise. The weights have their first values; random numbers and moments get theirs.
    torch.manual_seed(settings.seed)
    model.to(place)
    if not isinstance(optimizer, Optimizer):
        optimizer = optimizer(model.parameters())
    rates = Schedule(optimizer, schedule or constant())

    def measured() -> dict[str, float]:
        return evaluate(model, validation, loss, metrics, settings.precision, place)

    judge = None if validation is None else measured
    run = Run(model, optimizer, rates, batches, settings, place, judge)
    if settings.compile:
        mode = settings.compile if isinstance(settings.compile, str) else None
        run.step = compiled(model, loss, type_of(settings.precision), mode)

    training = model.training
    with ExitStack() as block:
        block.enter_context(repeatable(settings.deterministic))
        block.enter_context(recomputed(model, settings.recompute))
        bar = block.enter_context(Bar(run.history, run.updates(), place, settings.progress))
        model.train()
        for group in run.groups():
            value = gradients(run, group, loss)  # 3. forward, 4. loss, 5. backward
            update(run, value)  # 6.
            run.advance(group, bar)  # 7. repeat
    model.train(training)
    run.finish()
    return run.history


def gradients(run: Run, group: list, loss: Loss) -> torch.Tensor:
    """Fill the gradients of the parameters from the batches of one update; give their loss.

    Each batch counts by its share of the targets, so that the gradients add up to those of one
    large batch, whatever the sizes.
    """
    precision = run.settings.precision
    dtype, scale = type_of(precision), run.scale.scale if precision == "fp16" else 1.0
    counts = [targets_in(batch[-1]) if len(group) > 1 else 1.0 for batch in group]
    run.optimizer.zero_grad()
    total = torch.zeros((), device=run.place)
    for batch, count in zip(group, counts, strict=True):
        *inputs, target = moved(batch, run.place)
        if not count and any(counts):  # no target: its mean is 0/0, and counts for nothing
            continue
        share = count / (sum(counts) or 1.0)
        if run.step is not None:
            value = run.step(tuple(inputs), target, share * scale)  # 3, 4, 5, compiled
        else:
            with low_precision(run.model, dtype):
                output = run.model(*cast_inputs(tuple(inputs), dtype))  # 3. forward
                result = loss(output, target)  # 4. loss
                if not isinstance(result, Tensor) or result.numel() != 1:
                    raise ValueError("the loss of a batch is to be a Tensor of one number")
                result.backward(torch.full_like(result.data, share * scale))  # 5. backward
                value = result.data
        total = total + value * share
    return total


def update(run: Run, value: torch.Tensor) -> None:
    """Step 6: move the parameters, unless 16 bits were too few for the gradient."""
    run.pending.add("loss", value)
    run.history.rate.append(run.optimizer.lr)
    if run.settings.precision == "fp16" and not run.scale.unscale(run.optimizer.parameters):
        run.history.skipped += 1
        return
    if run.settings.clip is not None:
        run.pending.add("norm", clip_grad_norm_(run.optimizer.parameters, run.settings.clip))
    run.optimizer.step()
    run.schedule.step()
