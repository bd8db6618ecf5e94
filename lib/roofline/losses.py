"""What a model is wrong by, as one number: functions, and layers under torch.nn's names.

Every function takes predictions and targets and ``reduction``: "mean" by default, "sum", or "none"
for one loss each. Predictions of 16 bits are turned to float32 first and the loss is float32, as
torch.autocast does: a sum of losses around 1e4 would overflow float16, whose largest number is
65,504. So a loss and its gradient are finite at logits of ±1e4 in every dtype.
"""

from __future__ import annotations

import torch

from roofline import autograd
from roofline.autograd import Tensor
from roofline.autograd.loss import picked
from roofline.nn import Module

Value = Tensor | torch.Tensor


def mse(x: Value, target: Value, reduction: str = "mean") -> Tensor:
    """(x − target)², for two tensors of one shape."""
    x, target = _alike("mse", x, target)
    return autograd.mse(x, target, reduction)


def l1(x: Value, target: Value, reduction: str = "mean") -> Tensor:
    """|x − target|, for two tensors of one shape; the gradient where they agree is 0."""
    x, target = _alike("l1", x, target)
    return _reduced(autograd.absolute(autograd.subtract(x, target)), reduction)


def huber(x: Value, target: Value, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d²/2 for a distance d up to ``delta``, and delta·(d − delta/2) beyond.

    Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    if not delta > 0:
        raise ValueError(f"huber's delta is a distance above 0, got {delta}")
    x, target = _alike("huber", x, target)
    distance = autograd.absolute(autograd.subtract(x, target))
    near = autograd.clamp(distance, high=delta)
    # For d ≤ δ: d(d − d/2) = d²/2; beyond: δ(d − δ/2). One formula for both.
    return _reduced(near * (distance - near * 0.5), reduction)


def binary_cross_entropy_with_logits(
    logits: Value,
    targets: Value,
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
    pos_weight: torch.Tensor | None = None,
) -> Tensor:
    """−[q log σ(x) + (1 − q) log(1 − σ(x))] for logits x and targets q in [0, 1], of one shape.

    ``pos_weight`` multiplies the first term and ``weight`` both; they broadcast.
    """
    logits, targets = _alike("binary_cross_entropy_with_logits", logits, targets)
    return autograd.binary_cross_entropy_with_logits(logits, targets, weight, pos_weight, reduction)


def cross_entropy(
    logits: Value,
    targets: Value,
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """−log softmax(logits) at the target class.

    Args:
        logits: (n, classes) or (n, classes, ...).
        targets: (n,) or (n, ...), class numbers; ``ignore_index`` counts for nothing.
        weight: (classes,), how much an example of each class counts in the mean.
        label_smoothing: the share of the target spread evenly over all classes.
            Szegedy et al., 1512.00567, section 7.

    If every target is ignored the mean is NaN, with a gradient of 0, as in torch.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing is a share from 0 to 1, got {label_smoothing}")
    logits = _wide(logits)
    _check_classes("cross_entropy", logits, targets)
    return autograd.cross_entropy(logits, targets, weight, ignore_index, label_smoothing, reduction)


def nll(
    log_probabilities: Value,
    targets: Value,
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """−log p at the target class: cross_entropy for those who have log-probabilities already.

    Shapes and arguments are those of :func:`cross_entropy`.
    """
    x = _wide(log_probabilities)
    _check_classes("nll", x, targets)
    labels = targets.data
    if len(x.shape) > 2:
        x = autograd.permute(x, (0, *range(2, len(x.shape)), 1))
    x = autograd.reshape(x, (-1, x.shape[-1]))
    counts = labels.reshape(-1) != ignore_index
    safe = labels.reshape(-1).where(counts, 0)
    picked(x.data, safe.unsqueeze(1))  # for its error: a negative index would count from the end
    share = counts.to(x.dtype) if weight is None else counts * weight[safe]
    losses = -x[torch.arange(len(safe), device=safe.device), safe] * share
    if reduction == "mean":
        total = share.sum()
        nothing = total == 0  # all ignored: NaN, with a gradient of 0
        return losses.sum() / (total + nothing) + torch.where(nothing, torch.nan, 0.0)
    return _reduced(autograd.reshape(losses, labels.shape), reduction)


def kl_divergence(
    log_probabilities: Value, target: Value, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """q·(log q − log p), for log p given as ``log_probabilities`` and q as ``target``.

    As in torch "mean" divides by the number of elements; "batchmean" divides by the batch and is
    the divergence that the mathematics means. ``log_target``: the target is log q.
    """
    log_p, target = _alike("kl_divergence", log_probabilities, target)
    q, log_q = (target.data.exp(), target.data) if log_target else (target.data, target.data.log())
    # 0·log 0 is 0: what is not there costs nothing.
    losses = autograd.subtract((q * log_q).where(q > 0, 0.0), autograd.multiply(log_p, q))
    if reduction == "batchmean":
        return losses.sum() / losses.shape[0]
    return _reduced(losses, reduction)


class MSELoss(Module):
    """:func:`mse` as a layer."""

    def __init__(self, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, x: Value, target: Value) -> Tensor:
        return mse(x, target, self.reduction)


class L1Loss(Module):
    """:func:`l1` as a layer."""

    def __init__(self, reduction: str = "mean"):
        self.reduction = reduction

    def forward(self, x: Value, target: Value) -> Tensor:
        return l1(x, target, self.reduction)


class HuberLoss(Module):
    """:func:`huber` as a layer."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        self.reduction, self.delta = reduction, delta

    def forward(self, x: Value, target: Value) -> Tensor:
        return huber(x, target, self.reduction, self.delta)


class KLDivLoss(Module):
    """:func:`kl_divergence` as a layer."""

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        self.reduction, self.log_target = reduction, log_target

    def forward(self, log_probabilities: Value, target: Value) -> Tensor:
        return kl_divergence(log_probabilities, target, self.reduction, self.log_target)


class BCEWithLogitsLoss(Module):
    """:func:`binary_cross_entropy_with_logits` as a layer."""

    weight: torch.Tensor | None
    pos_weight: torch.Tensor | None

    def __init__(
        self,
        weight: torch.Tensor | None = None,
        reduction: str = "mean",
        pos_weight: torch.Tensor | None = None,
    ):
        self.reduction = reduction
        _keep(self, weight=weight, pos_weight=pos_weight)

    def forward(self, logits: Value, targets: Value) -> Tensor:
        return binary_cross_entropy_with_logits(
            logits, targets, self.weight, self.reduction, self.pos_weight
        )


class NLLLoss(Module):
    """:func:`nll` as a layer."""

    weight: torch.Tensor | None

    def __init__(
        self,
        weight: torch.Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ):
        self.ignore_index, self.reduction = ignore_index, reduction
        _keep(self, weight=weight)

    def forward(self, log_probabilities: Value, targets: Value) -> Tensor:
        return nll(log_probabilities, targets, self.weight, self.ignore_index, self.reduction)


class CrossEntropyLoss(Module):
    """:func:`cross_entropy` as a layer."""

    weight: torch.Tensor | None

    def __init__(
        self,
        weight: torch.Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        self.ignore_index, self.reduction = ignore_index, reduction
        self.label_smoothing = label_smoothing
        _keep(self, weight=weight)

    def forward(self, logits: Value, targets: Value) -> Tensor:
        return cross_entropy(
            logits, targets, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


def _keep(module: Module, **weights: torch.Tensor | None) -> None:
    """Hold each weight as a buffer, so that it moves and is saved with the layer, or as None."""
    for name, weight in weights.items():
        if weight is None:
            setattr(module, name, None)
        else:
            module.register_buffer(name, weight)


def _wide(x: Value) -> Value:
    """``x``, in float32 if it has 16 bits."""
    return autograd.cast(x, torch.float32) if x.dtype in (torch.float16, torch.bfloat16) else x


def _alike(name: str, x: Value, target: Value) -> tuple[Value, Value]:
    if x.shape != target.shape:
        raise ValueError(
            f"{name} compares equal shapes, got {tuple(x.shape)} and {tuple(target.shape)}: "
            "reshape one of them, or what is meant to be a column becomes a table"
        )
    x = _wide(x)
    return x, autograd.cast(target, x.dtype) if target.dtype == torch.bool else _wide(target)


def _check_classes(name: str, x: Value, targets: Value) -> None:
    if targets.dtype.is_floating_point:
        raise ValueError(
            f"{name} takes class numbers (int64) as targets, got {targets.dtype}: one-hot targets "
            "become numbers by argmax(1)"
        )
    if targets.shape != (*x.shape[:1], *x.shape[2:]):
        raise ValueError(
            f"{name} takes (n, classes, ...) and targets (n, ...), got shapes {tuple(x.shape)} and "
            f"{tuple(targets.shape)}: bring the classes to the second place"
        )


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is 'mean', 'sum' or 'none', got {reduction!r}")
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()
