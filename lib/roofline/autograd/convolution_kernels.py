"""The fast convolution: torch's own kernels, forward and backward.

This is the one place of this package that calls a backward kernel of torch. A convolution is
worth it: device libraries (oneDNN, cuDNN, Metal) hold years of work on this one operation.
conv.py has the version that says what they compute, and a test shows that they agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .elementwise import Result
from .tape import op


@op
def convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    *,
    needs: Any,
) -> Result:
    """A convolution of 1 to 3 dimensions; see :func:`roofline.autograd.conv2d` for the shapes."""
    none = [0] * len(stride)
    y = torch.ops.aten.convolution(x, weight, bias, stride, padding, dilation, False, none, groups)
    outputs = [weight.shape[0]]
    mask = [bool(n) for n in needs[:3]]

    def pullback(dy: torch.Tensor) -> tuple:
        return torch.ops.aten.convolution_backward(
            dy, x, weight, outputs, stride, padding, dilation, False, none, groups, mask
        )

    return y, pullback
