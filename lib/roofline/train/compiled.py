"""Forward pass, loss and walk back as one compiled function, by ``torch.compile``.

The backward pass is plain tensor code, so the compiler sees through it: nothing is left of the tape
when the compiled function runs. The update stays outside; on flat buffers it is a few kernels.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import torch

from roofline.autograd import Tensor
from roofline.nn import Module, Parameter

from .precision import cast_inputs

Step = Callable[[tuple, torch.Tensor, float], torch.Tensor]
EXACT = torch.float64
COMPILERS = ("c++", "g++", "clang++", "cl")


def compiled(
    model: Module,
    loss: Callable[[Any, torch.Tensor], Tensor],
    dtype: torch.dtype | None,
    mode: str | None = None,
    backend: str = "inductor",
) -> Step:
    """A function of (inputs, target, weight) that adds ``weight`` times the gradient of the loss
    to the parameters' gradients, and returns the loss.

    Its first call compiles, which takes half a minute and more; so does the first batch of another
    size. Later sizes are free.

    Args:
        dtype: compute in this type, on copies of the weights; None: as the model is.
        mode: of ``torch.compile``, such as "reduce-overhead" for CUDA graphs.
    """
    places = [
        (module, name, value)
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, Parameter)
    ]
    parameters = list({id(value): value for _, _, value in places}.values())
    number = {id(value): i for i, value in enumerate(parameters)}
    slots = [(module, name, number[id(value)]) for module, name, value in places]
    model.name_layers()
    place = parameters[0].data.device
    if backend == "inductor" and place.type == "cpu" and not any(map(shutil.which, COMPILERS)):
        raise ValueError("compile needs a C++ compiler: install g++ or clang, or leave compile out")

    def walk(
        values: list[torch.Tensor], inputs: tuple, target: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        leaves = [
            Tensor(_cast(value, dtype), requires_grad=parameter.requires_grad)
            for value, parameter in zip(values, parameters, strict=True)
        ]
        for module, name, i in slots:
            setattr(module, name, leaves[i])
        result = loss(model(*cast_inputs(inputs, dtype)), target)
        result.backward(weight.to(result.data.dtype))
        for module, name, i in slots:
            setattr(module, name, parameters[i])
        grads = [
            None if leaf.grad is None else leaf.grad.to(value.dtype)
            for leaf, value in zip(leaves, values, strict=True)
        ]
        return result.data, grads

    options: dict[str, Any] = {"mode": mode} if mode else {}
    fast = torch.compile(walk, fullgraph=True, backend=backend, **options)

    def step(inputs: tuple, target: torch.Tensor, weight: float) -> torch.Tensor:
        values = [parameter.data for parameter in parameters]
        # As a tensor, or another weight would mean to compile again.
        exact = torch.tensor(weight, device=place, dtype=None if place.type == "mps" else EXACT)
        value, grads = fast(values, inputs, target, exact)
        for parameter, grad in zip(parameters, grads, strict=True):
            if grad is not None:
                # With CUDA graphs the next call writes over these results.
                grad = grad.clone() if mode else grad
                parameter.grad = grad if parameter.grad is None else parameter.grad + grad
        return value.clone()

    return step


def _cast(value: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return value if dtype is None or not value.is_floating_point() else value.to(dtype)
