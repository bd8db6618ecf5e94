"""Keep gradients from exploding. Pascanu, Mikolov, Bengio, 1211.5063, algorithm 1."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from roofline.autograd.tape import Tensor

from .flat import listed


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float) -> torch.Tensor:
    """Scale all gradients by one factor so that together their norm is at most ``max_norm``.

    Returns:
        The Euclidean norm before scaling, one number. It stays on the device, so nothing waits.
        If a gradient is NaN, the norm is too, and so is every gradient afterwards. If one is
        infinite, so is the norm; that one becomes NaN and the finite ones 0, as in torch. Check the
        norm where that can happen.
    """
    given = [(p, p.grad) for p in listed(parameters) if p.grad is not None]
    if not given:
        return torch.zeros(())
    norms = torch._foreach_norm([grad for _, grad in given])
    norm = torch.stack([n.to(norms[0].device, norms[0].dtype) for n in norms]).norm()
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for parameter, grad in given:
        scale = factor.to(grad.device, grad.dtype)
        if parameter.node is not None and grad is parameter.node.own:
            grad.mul_(scale)
        else:  # not in place: the slots of two parameters may share one tensor
            parameter.grad = grad * scale
    return norm


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Limit every entry of every gradient to ±``clip_value``."""
    for parameter in listed(parameters):
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clamp(-clip_value, clip_value)
