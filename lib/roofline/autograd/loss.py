"""Softmax and the losses that are fused with it."""

from __future__ import annotations

from typing import Any

import torch

from .blocks import wide
from .elementwise import Result, outside
from .tape import op


@op
def softmax(x: torch.Tensor, dim: int = -1) -> Result:
    """``exp(x) / sum(exp(x))`` along ``dim``, without overflow: dx = y (dy - sum(y dy)).

    A row of nothing but -inf has no distribution and comes out as NaN, as in torch.
    """
    y = torch.softmax(x, dim)

    def pullback(dy: torch.Tensor) -> tuple:
        weighted = y * dy
        return (weighted - y * weighted.sum(dim, keepdim=True),)

    return y, pullback


@op
def log_softmax(x: torch.Tensor, dim: int = -1) -> Result:
    """``x - logsumexp(x)`` along ``dim``: dx = dy - softmax(x) sum(dy)."""
    y = torch.log_softmax(x, dim)
    return y, lambda dy: (dy - y.exp() * dy.sum(dim, keepdim=True),)


@op
def cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Result:
    """The softmax and the negative log-likelihood of ``targets`` in one.

    Args:
        logits: (n, classes), or (n, classes, ...) as in torch.
        targets: (n,) or (n, ...) class numbers; ``ignore_index`` counts for nothing.
        weight: (classes,) how much an example of each class counts.
        label_smoothing: share e of the target spread evenly over all classes.
        reduction: "mean" over what counts, by weight; "sum"; or "none", of targets' shape.

    With p = softmax(logits) and q the target, one-hot or smoothed: loss = -sum_c w_c q_c log p_c,
    and the gradient is p sum_c(w_c q_c) - w q. Finite at any finite logits; computed and returned
    in float32 if they have 16 bits. All ignored: NaN, with a gradient of 0, as in torch.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is 'mean', 'sum' or 'none', not {reduction!r}")
    classes, shape, dtype = logits.shape[1], targets.shape, logits.dtype
    rows = wide(logits)
    if rows.dim() != 2:
        rows = rows.movedim(1, -1).reshape(-1, classes)
    labels = targets.reshape(-1, 1)
    counts = labels != ignore_index
    labels = labels * counts
    log_p = torch.log_softmax(rows, 1)
    losses = torch.where(counts, -picked(log_p, labels), 0)
    share = counts if weight is None else counts * weight[labels]
    if weight is not None:
        losses = losses * share
    total = share.sum() if reduction == "mean" else None
    spread = None
    if label_smoothing:
        each = label_smoothing / classes
        spread = rows.new_full((classes,), each) if weight is None else weight.to(rows.dtype) * each
        losses = losses * (1 - label_smoothing) - (log_p @ spread).unsqueeze(1) * counts

    def pullback(dy: torch.Tensor) -> tuple:
        dy = dy.reshape(-1, 1) if total is None else dy / (total + (total == 0))
        hit = dy * share
        every = hit
        if spread is not None:
            hit = hit * (1 - label_smoothing)
            every = hit + dy * counts * spread.sum()
        grad = log_p.exp_().mul_(every).scatter_add_(1, labels, -hit)  # nobody else sees log p
        if spread is not None:
            grad.sub_(dy * counts * spread)
        if len(shape) != 1:
            grad = grad.view(*shape, classes).movedim(-1, 1)
        return (grad.to(dtype),)

    if total is not None:
        return losses.sum() / total, pullback
    return losses.sum() if reduction == "sum" else losses.view(shape), pullback


def picked(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What stands in (n, classes) at each row's label: (n, 1), as ``labels`` are.

    Raises:
        IndexError: for a label that is no class. On an accelerator the device's own error comes,
            later: it does not wait to be asked.
    """
    try:
        return rows.gather(1, labels)
    except (IndexError, RuntimeError):
        wrong = outside(labels, rows.shape[1])
        if wrong is None:
            raise
        raise IndexError(
            f"a target is {wrong}, but there are {rows.shape[1]} classes, 0 to "
            f"{rows.shape[1] - 1}: correct the label, or pass it as ignore_index to leave it out"
        ) from None


def reduced(losses: torch.Tensor, reduction: str) -> tuple[torch.Tensor, float]:
    """``losses`` reduced, and what each of them counts for: 1 / n for the mean, else 1."""
    if reduction == "mean":
        return losses.mean(), 1 / max(losses.numel(), 1)
    if reduction not in ("sum", "none"):
        raise ValueError(f"reduction is 'mean', 'sum' or 'none', not {reduction!r}")
    return losses.sum() if reduction == "sum" else losses, 1.0


@op
def mse(x: torch.Tensor, y: torch.Tensor, reduction: str = "mean", *, needs: Any) -> Result:
    """``(x - y) ** 2`` of two tensors of one shape, averaged by default."""
    if x.shape != y.shape:
        raise ValueError(f"mse compares equal shapes, not {tuple(x.shape)} and {tuple(y.shape)}")
    difference = x - y
    loss, share = reduced(difference * difference, reduction)

    def pullback(dy: torch.Tensor) -> tuple:
        dx = dy * (2 * share) * difference
        return dx if needs[0] else None, -dx if needs[1] else None

    return loss, pullback


@op
def binary_cross_entropy_with_logits(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weight: torch.Tensor | None = None,
    pos_weight: torch.Tensor | None = None,
    reduction: str = "mean",
) -> Result:
    """``-[q log s + (1 - q) log(1 - s)]`` for s = sigmoid(logits), q = targets, of one shape.

    Written as ``max(x, 0) - x q + log(1 + exp(-|x|))``, which cannot overflow. ``pos_weight``
    multiplies the q term, ``weight`` everything; both broadcast.
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"binary_cross_entropy_with_logits compares equal shapes, not "
            f"{tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    tail = torch.log1p((-logits.abs()).exp())
    scale = None
    if pos_weight is None:
        losses = logits.clamp_min(0) - logits * targets + tail
    else:
        scale = 1 + (pos_weight - 1) * targets
        losses = (1 - targets) * logits + scale * (tail + (-logits).clamp_min(0))
    if weight is not None:
        losses = losses * weight
    loss, share = reduced(losses, reduction)

    def pullback(dy: torch.Tensor) -> tuple:
        s = torch.sigmoid(logits)
        slope = s - targets if scale is None else 1 - targets + scale * (s - 1)
        if weight is not None:
            slope = slope * weight
        return (dy * share * slope,)

    return loss, pullback
