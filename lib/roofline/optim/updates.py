"""SGD, Adam and AdamW: each a few lines on flat buffers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from .flat import Optimizer

# The least number that a root is taken of. MKL takes 20 times as long for the root of 0, of which
# the rows of an embedding that no batch had are full; x86 takes 50 times for one below this.
FLOOR = torch.finfo(torch.float32).smallest_normal


def descend(
    data: torch.Tensor,
    rate: float | torch.Tensor,
    direction: torch.Tensor,
    scale: torch.Tensor | None = None,
) -> None:
    """``data − rate·direction/scale``, in place; a compiled step has a tensor for the rate."""
    if isinstance(rate, torch.Tensor):
        data.sub_(rate * (direction if scale is None else direction / scale))
    elif scale is None:
        data.add_(direction, alpha=-rate)
    else:
        data.addcdiv_(direction, scale, value=-rate)


class SGD(Optimizer):
    """Gradient descent, with momentum.

    With gradient g (plus ``weight_decay``·θ), velocity v and momentum μ::

        v ← μ v + g        θ ← θ − lr·v            (Polyak 1964)
                           θ ← θ − lr·(g + μ v)    (``nesterov``; Sutskever et al. 2013)

    The learning rate stands outside the velocity, as in torch: it acts at once when it changes.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float | torch.Tensor = 1e-3,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        if nesterov and momentum <= 0:
            raise ValueError("nesterov needs momentum greater than 0")
        self.slots = ("momentum_buffer",) if momentum else ()
        settings = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(parameters, settings)

    def update(
        self,
        data: torch.Tensor,
        grad: torch.Tensor,
        step: int | torch.Tensor,
        group: dict[str, Any],
        momentum_buffer: torch.Tensor | None = None,
    ) -> None:
        momentum = group["momentum"]
        if group["weight_decay"]:
            grad = grad.add(data, alpha=group["weight_decay"])
        if momentum_buffer is not None:
            momentum_buffer.mul_(momentum).add_(grad)
            if group["nesterov"]:
                grad = grad.add(momentum_buffer, alpha=momentum)
            else:
                grad = momentum_buffer
        descend(data, group["lr"], grad)


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    With g the gradient at step t::

        m ← β₁ m + (1 − β₁) g      v ← β₂ v + (1 − β₂) g²
        θ ← θ − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)

    ``weight_decay``·θ is added to g, so it is scaled like g. Kingma, Ba, 1412.6980, algorithm 1.

    ``fused``: the same numbers by the device's own kernel, which goes through memory once instead
    of once for each operation. As in torch it is to be asked for.
    """

    slots = ("exp_avg", "exp_avg_sq")
    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        fused: bool = False,
    ):
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be at least 0 and less than 1, got {betas}")
        settings = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "fused": fused,
        }
        super().__init__(parameters, settings)

    def update(
        self,
        data: torch.Tensor,
        grad: torch.Tensor,
        step: int | torch.Tensor,
        group: dict[str, Any],
        exp_avg: torch.Tensor,
        exp_avg_sq: torch.Tensor,
    ) -> None:
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        if group["fused"] and not torch.compiler.is_compiling():
            kernel: Any = torch._fused_adamw_ if self.decoupled else torch._fused_adam_
            values = [[each] for each in (data, grad, exp_avg, exp_avg_sq)]
            count = [torch.tensor(float(step), device=data.device)]
            kernel(*values, [], count, lr=lr, beta1=beta1, beta2=beta2, weight_decay=decay,
                   eps=group["eps"], amsgrad=False, maximize=False)  # fmt: skip
            return
        if decay and self.decoupled:
            data.mul_(1 - lr * decay)
        elif decay:
            grad = grad.add(data, alpha=decay)
        exp_avg.lerp_(grad, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        # Both corrections in one factor, as at the end of the paper's section 2, with ε to match.
        root = (1 - beta2**step) ** 0.5
        scale = exp_avg_sq.clamp_min(FLOOR).sqrt_().add_(group["eps"] * root)
        descend(data, lr * (root / (1 - beta1**step)), exp_avg, scale)


class AdamW(Adam):
    """Adam with weight decay beside the step instead of inside the gradient.

    θ ← θ − lr·λ·θ comes before Adam's own step, with λ = ``weight_decay``. Loshchilov, Hutter,
    1711.05101, algorithm 2, with the schedule's factor taken into ``lr`` as in torch.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float | torch.Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        fused: bool = False,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay, fused=fused)
