"""The walk back: who gets which gradient, what is freed, and what is said when it can't go on."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from roofline import autograd
from roofline.autograd import Tensor, backward, gradcheck, layer, no_grad, op, tape


def leaf(*values: float) -> Tensor:
    return Tensor(torch.tensor(values, dtype=torch.float64), requires_grad=True)


def test_a_value_used_several_times_adds_up_its_gradients() -> None:
    x = leaf(2.0, 3.0)
    y = x * x + x.exp() * x - x
    y.sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.data + (x.data + 1) * x.data.exp() - 1)


def test_walks_add_up_in_the_leaves() -> None:
    x = leaf(2.0)
    for count in (1, 2, 3):
        (x * 5).backward()
        assert x.grad.item() == 5 * count
    x.grad = None
    (x * 5).backward()
    assert x.grad.item() == 5


def test_a_gradient_that_two_values_share_is_not_written_over() -> None:
    """``x + y`` hands one tensor to both; adding to one must leave the other alone."""
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    grad = torch.ones(2, dtype=torch.float64)
    z = x + y
    (z * 1 + x * 10 + x * 100).backward(grad)
    assert x.grad.tolist() == [111, 111] and y.grad.tolist() == [1, 1]
    assert grad.tolist() == [1, 1]
    (x + y).backward(grad)
    (x + y).backward(grad)
    assert x.grad.tolist() == [113, 113] and y.grad.tolist() == [3, 3] and grad.tolist() == [1, 1]


def test_a_long_chain_needs_no_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1


def test_a_diamond_of_diamonds_is_walked_once_a_node() -> None:
    """2**40 paths, 41 nodes and their leaf."""
    x = leaf(1.0)
    y = x
    for _ in range(40):
        y = y + y
    assert len(tape(y)) == 41
    y.backward()
    assert x.grad.item() == 2.0**40


def test_the_tape_is_in_the_order_of_dependence() -> None:
    x = leaf(1.0)
    a = x.exp()
    b = a * x
    c = (a + b).sum()
    names = [node.name for node in tape(c)]
    assert names == ["leaf", "exp", "multiply", "add", "sum"]
    assert tape(c)[-1] is c.node


def test_the_walk_frees_what_it_has_used() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    z = (y * y).sum()
    node, kept = y.node, weakref.ref(y.data)
    del y
    gc.collect()
    assert kept() is not None, "the tape needs it"
    z.backward()
    gc.collect()
    assert kept() is None and node.grad is None and node.pullback is None
    with pytest.raises(RuntimeError, match="walked before: run the forward pass again"):
        w = x.exp()
        w.sum().backward()
        w.sum().backward()


def test_what_needs_no_gradient_is_not_on_the_tape() -> None:
    x, constant = leaf(1.0), Tensor(torch.ones(1))
    assert not (constant * 2).requires_grad and not Tensor([1.0]).requires_grad
    with no_grad():
        assert not (x * 2).requires_grad
        with pytest.raises(ValueError, match="nothing was recorded"):
            (x * 2).backward()
    assert (x * 2).requires_grad and not x.detach().requires_grad
    (x * constant).backward()
    assert constant.grad is None and x.grad is not None
    with pytest.raises(ValueError, match="not on the tape"):
        constant.grad = torch.ones(1)
    try:
        with no_grad():
            raise KeyError
    except KeyError:
        assert (x * 2).requires_grad, "an error inside leaves recording on"


def test_a_walk_needs_a_number_or_a_gradient() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"shape \(2,\), not one number"):
        (x * 2).backward()
    backward(x * 2, torch.tensor([1.0, 10.0], dtype=torch.float64))
    assert x.grad.tolist() == [2, 20]
    backward(x * 2, Tensor(torch.ones(2, dtype=torch.float64)))
    assert x.grad.tolist() == [4, 22]
    for wrong in (torch.ones(2, 1), torch.ones(())):  # what broadcasts would be a wrong gradient
        with pytest.raises(ValueError, match=r"has shape .*, the value \(2,\)"):
            backward(x * 2, wrong)


def test_whole_numbers_have_no_gradient() -> None:
    """That of x / 2 is 0.5, which an integer can't hold."""
    with pytest.raises(ValueError, match="int64 numbers have no gradient: write 3.0"):
        Tensor([1, 2, 3], requires_grad=True)


def test_layers_are_named() -> None:
    x = leaf(1.0)
    with layer("outer"):
        a = x.exp()
        with layer("inner"):
            b = a.exp()
        c = b.exp()
    assert [node.layer for node in tape(c)] == ["", "outer", "inner", "outer"]


def test_an_operation_of_ones_own() -> None:
    """The four things that ``op`` takes care of: names, options, ``needs`` and several results."""
    asked: list[Any] = []

    @op
    def mix(x: torch.Tensor, y: torch.Tensor, share: float = 0.5, *, needs: Any) -> Any:
        asked.append([need is not None for need in needs])
        both = (x * share, y * (1 - share))
        return both, lambda grads: (
            None if grads[0] is None else grads[0] * share,
            None if grads[1] is None else grads[1] * (1 - share),
        )

    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    one, two = mix(x, share=0.25, y=y)
    (one * two).sum().backward()
    torch.testing.assert_close(x.grad, 0.25 * 0.75 * y.data)
    torch.testing.assert_close(y.grad, 0.25 * 0.75 * x.data)
    one, _ = mix(x, y.data)
    x.grad = None
    one.sum().backward()
    assert x.grad.tolist() == [0.5, 0.5]
    assert asked == [[True, True, False], [True, False, False]]
    assert gradcheck(lambda x, y: autograd.cat(mix(x, y)), x, y)
    with pytest.raises(TypeError, match="'y'"):
        mix(x)


def test_a_pullback_that_returns_too_little_is_named() -> None:
    @op
    def forgets(x: torch.Tensor, y: torch.Tensor) -> Any:
        return x * y, lambda dz: (dz * y,)

    @op
    def bare(x: torch.Tensor) -> Any:
        return x * 2, lambda dz: dz * 2

    with pytest.raises(ValueError, match="pullback of forgets returned 1 gradients for 2"):
        forgets(leaf(1.0), leaf(2.0)).backward()
    with pytest.raises(TypeError, match="pullback of bare returned Tensor, not a tuple"):
        bare(leaf(1.0)).backward()


def test_gradcheck_finds_what_is_wrong() -> None:
    @op
    def half(x: torch.Tensor) -> Any:
        return x * x, lambda dy: (dy * x,)

    @op
    def one_entry(x: torch.Tensor) -> Any:
        return x * x, lambda dy: (dy * 2 * x * torch.tensor([1.0, 1.0, 1.01]),)

    @op
    def flat(x: torch.Tensor) -> Any:
        return x.sum(), lambda dy: (dy,)

    @op
    def none(x: torch.Tensor) -> Any:
        return x * x, lambda dy: (None,)

    x = leaf(1.0, 2.0, 3.0)
    for wrong, message in (
        (half, r"argument 0, entry \[0\]"),
        (one_entry, r"entry \[2\]"),
        (flat, r"its gradient \(\)"),
        (none, "the gradient is 0"),
    ):
        with pytest.raises(AssertionError, match=message):
            gradcheck(wrong, x)
    assert gradcheck(lambda x: x * x, x)
    with pytest.raises(ValueError, match="needs float64"):
        gradcheck(lambda x: x, Tensor(torch.ones(2), True))
    with pytest.raises(ValueError, match="no argument"):
        gradcheck(lambda x: x, Tensor(torch.ones(2)))
