"""A roofline module beside its torch twin: same weights, then same outputs and same gradients."""

from __future__ import annotations

from typing import Any

import torch
from devices import float_type
from roofline.autograd import Tensor, backward


def twins(ours: Any, theirs: Any, device: str = "cpu", starts: bool = True) -> tuple[Any, Any]:
    """Build both from one seed, on ``device`` in its most exact float; ours with their weights.

    Names, and first values if ``starts``, must agree before anything is copied; then weights go
    one way and back.
    """
    torch.manual_seed(0)
    our = ours()
    torch.manual_seed(0)
    their = theirs()
    state, rival = our.state_dict(), their.state_dict()
    assert list(state) == list(rival)
    for name, value in rival.items():
        assert state[name].shape == value.shape, name
        if starts:
            torch.testing.assert_close(state[name], value, msg=lambda m, n=name: f"{n} starts: {m}")
    with torch.no_grad():
        for parameter in their.parameters():  # ones and zeros would hide a swap
            parameter.add_(torch.randn_like(parameter) * 0.1)
    dtype = float_type(device)
    our, their = our.to(device, dtype), their.to(device, dtype)
    our.load_state_dict(their.state_dict())
    their.load_state_dict(our.state_dict())
    return our, their


def agree(our: Any, their: Any, atol: float = 1e-10, rtol: float = 1e-10) -> None:
    """Two values, or two nests of values, are equal."""
    if isinstance(their, (tuple, list)):
        assert len(our) == len(their)
        for one, other in zip(our, their, strict=True):
            agree(one, other, atol, rtol)
        return
    if their is None:
        assert our is None
        return
    our = our.data if isinstance(our, Tensor) else our
    if their.dtype == torch.float32:
        atol = rtol = max(atol, 1e-4)
    torch.testing.assert_close(our.detach(), their.detach(), atol=atol, rtol=rtol)


def compare(our: Any, their: Any, *inputs: Any, **options: Any) -> None:
    """Call both on ``inputs``; outputs, and gradients of a weighted sum of them, are equal.

    Floating-point inputs get gradients too. Options ending in torch tensors go to both as they are.
    """
    grads = [isinstance(x, torch.Tensor) and x.is_floating_point() for x in inputs]
    our_inputs = [Tensor(x.clone(), True) if g else x for x, g in zip(inputs, grads, strict=True)]
    their_inputs = [
        x.clone().requires_grad_() if g else x for x, g in zip(inputs, grads, strict=True)
    ]
    # One tensor given twice is one input: attention of a sequence to itself.
    for index, x in enumerate(inputs):
        first = next(i for i, y in enumerate(inputs) if y is x)
        our_inputs[index], their_inputs[index] = our_inputs[first], their_inputs[first]
    out, rival = our(*our_inputs, **options), their(*their_inputs, **options)
    agree(out, rival)
    out = out[0] if isinstance(out, tuple) else out
    rival = rival[0] if isinstance(rival, tuple) else rival
    torch.manual_seed(1)
    weight = torch.randn(rival.shape).to(rival)
    backward(out, weight)
    rival.backward(weight)
    for index, grad in enumerate(grads):
        if grad:
            agree(our_inputs[index].grad, their_inputs[index].grad)
    names = [name for name, _ in our.named_parameters()]
    assert names == [name for name, _ in their.named_parameters()]
    for (name, parameter), twin in zip(our.named_parameters(), their.parameters(), strict=True):
        assert (parameter.grad is None) == (twin.grad is None), name
        agree(parameter.grad, twin.grad)
    our.zero_grad()
    their.zero_grad()
