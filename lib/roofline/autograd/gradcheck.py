"""Is a gradient right? Compare it with differences of the function's own values."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .tape import Tensor, backward


def gradcheck(
    function: Callable[..., Tensor],
    *arguments: Tensor,
    step: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
) -> bool:
    """Check every gradient of ``function`` against central differences.

    Args:
        function: takes ``arguments`` and returns a Tensor of any shape, the same at every call.
        arguments: Tensors; those of float64 with ``requires_grad`` are checked.
        step: h in ``(f(x + h) - f(x - h)) / 2h``, which is off by O(h**2) and by rounding over h.
        rtol, atol: each entry may be off by ``atol + rtol * |difference quotient|``.

    The output is weighted by a fixed random tensor first, so that one walk checks all of it.
    Returns True, or raises AssertionError that names the argument, the entry and both values.
    """
    checked = [a for a in arguments if a.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no argument has requires_grad=True")
    for argument in checked:
        if argument.data.dtype != torch.float64:
            raise ValueError(
                f"gradcheck needs float64: differences of {argument.data.dtype} numbers are noise"
            )
        argument.grad = None
    output = function(*arguments)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(output.data.shape, generator=generator, dtype=torch.float64) + 0.5
    weights = weights.to(output.data.device)
    if output.node is not None:
        backward(output, weights.to(output.data.dtype))
    for number, argument in enumerate(arguments):
        if not argument.requires_grad:
            continue
        grad = argument.grad
        if grad is None:
            grad = torch.zeros_like(argument.data)
        if grad.shape != argument.data.shape:
            raise AssertionError(
                f"argument {number} has shape {tuple(argument.data.shape)}, "
                f"its gradient {tuple(grad.shape)}"
            )
        whole = argument.data
        for index in range(whole.numel()):
            place = torch.unravel_index(torch.tensor(index), whole.shape)
            ends = []
            for shift in (step, -step):
                moved = whole.clone(memory_format=torch.preserve_format)
                moved[place] += shift
                argument.data = moved
                ends.append(function(*arguments).data.double())
            argument.data = whole
            quotient = (((ends[0] - ends[1]) * weights).sum() / (2 * step)).item()
            value = grad[place].item()
            if not abs(value - quotient) <= atol + rtol * abs(quotient):
                where = [int(p) for p in place]
                raise AssertionError(
                    f"argument {number}, entry {where}: the gradient is {value:.9g}, "
                    f"the difference quotient {quotient:.9g}"
                )
    return True
