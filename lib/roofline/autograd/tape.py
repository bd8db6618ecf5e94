"""Reverse-mode differentiation: a value, a tape of what made it, and the walk back.

An operation is a function on plain ``torch.Tensor`` values that returns its result and its
*pullback*: the function that takes the gradient of the loss with respect to the result and gives
back the gradient with respect to each argument. ``@op`` turns such a function into one that works
on :class:`Tensor` and writes a :class:`Node` for every call::

    @op
    def multiply(x, y):
        return x * y, lambda dz: (dz * y, dz * x)

What a pullback captures is all that training remembers of a forward pass: a node holds no values,
only the pullback and its parents' nodes. :func:`backward` walks the nodes from the loss to the
leaves, newest first, and forgets each one as soon as it is used.

Source: Baydin et al., "Automatic Differentiation in Machine Learning: a Survey", 1502.05767, 3.2.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .methods import Methods
else:
    Methods = object  # methods.py adds them once the operations exist

Pullback = Callable[[torch.Tensor], tuple]


class Node:
    """One entry of the tape: a slot for a gradient, and the way back from it.

    ``grad`` collects the gradient of the loss with respect to this value, or is None.
    ``pullback`` maps ``grad`` to the parents' gradients; a leaf has none.
    ``parents`` are the nodes of the arguments, None where an argument needs no gradient.
    ``number`` counts nodes in the order of their making, which is a topological order.
    ``name`` is the operation and ``layer`` the layer that called it, for reports.
    """

    __slots__ = ("grad", "pullback", "parents", "number", "name", "layer")

    def __init__(self, pullback: Pullback | None = None, parents: tuple = (), name: str = "leaf"):
        self.grad: torch.Tensor | None = None
        self.pullback = pullback
        self.parents = parents
        self.number = next(_numbers)
        self.name = name
        self.layer = _tape.layer

    def __repr__(self) -> str:
        return f"Node({self.number}, {self.name!r}, layer={self.layer!r})"

    def accumulate(self, grad: torch.Tensor) -> None:
        """Add ``grad`` to the slot. Never in place: two slots may share one tensor."""
        self.grad = grad if self.grad is None else self.grad + grad


class _Tape:
    """Whether calls are recorded, and the name of the layer that is running."""

    __slots__ = ("recording", "layer")

    def __init__(self) -> None:
        self.recording = True
        self.layer = ""


_tape = _Tape()
_numbers = itertools.count()


class Tensor(Methods):
    """A ``torch.Tensor`` and its place on the tape.

    Args:
        data: the value, of any shape, dtype and device; anything ``torch.as_tensor`` takes.
        requires_grad: make this a leaf whose ``grad`` a backward walk fills.
    """

    __slots__ = ("data", "node")

    def __init__(self, data: Any, requires_grad: bool = False):
        self.data: torch.Tensor = data if isinstance(data, torch.Tensor) else torch.as_tensor(data)
        self.node: Node | None = Node() if requires_grad else None

    @property
    def requires_grad(self) -> bool:
        return self.node is not None

    @property
    def grad(self) -> torch.Tensor | None:
        """The gradient that backward walks have added up here, of the shape of ``data``."""
        return None if self.node is None else self.node.grad

    @grad.setter
    def grad(self, value: torch.Tensor | None) -> None:
        if self.node is None:
            raise ValueError("this Tensor is not on the tape: it has no grad to set")
        self.node.grad = value

    def backward(self, grad: torch.Tensor | None = None) -> None:
        """Fill ``grad`` of every leaf that this value depends on; see :func:`backward`."""
        backward(self, grad)


def op(function: Callable[..., tuple[torch.Tensor, Pullback]]) -> Callable[..., Tensor]:
    """Lift ``function``, which returns a result and its pullback, to Tensors, and record its calls.

    Any argument may be a Tensor. The pullback returns one gradient for each argument in order,
    None where there is none to give; it may leave out the last ones if they are no Tensors. A
    function with a keyword-only parameter ``needs`` is told which of its arguments need a
    gradient, so that it can neither compute nor capture anything for the others.
    """
    name = function.__name__
    parameters = inspect.signature(function).parameters
    asks = "needs" in parameters
    names = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]

    @functools.wraps(function)
    def recorded(*args: Any, **options: Any) -> Tensor:
        if options:  # an argument given by name goes to its position, if a gradient goes there
            args += tuple(
                [
                    options.pop(n, parameters[n].default)
                    for n in names[len(args) : _last_tensor(names, options)]
                ]
            )
        parents = tuple([a.node if isinstance(a, Tensor) else None for a in args])
        values = [a.data if isinstance(a, Tensor) else a for a in args]
        on_tape = _tape.recording and any(parents)
        if asks:
            needs = [on_tape and p is not None for p in parents]
            options["needs"] = needs + [False] * (len(names) - len(needs))
        result, pullback = function(*values, **options)
        out = Tensor(result)
        if on_tape:
            out.node = Node(pullback, parents, name)
        return out

    return recorded


def _last_tensor(names: list[str], options: dict[str, Any]) -> int:
    """How many of ``names`` reach up to the last one that ``options`` gives a Tensor for."""
    return max((names.index(n) + 1 for n, v in options.items() if isinstance(v, Tensor)), default=0)


def tape(output: Tensor) -> list[Node]:
    """Every node that ``output`` depends on, oldest first; ``output``'s own node is the last."""
    if output.node is None:
        raise ValueError("nothing was recorded: no argument of this value has requires_grad=True")
    found = {output.node}
    stack = [output.node]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted(found, key=operator.attrgetter("number"))


def backward(output: Tensor, grad: torch.Tensor | None = None) -> None:
    """Walk the tape from ``output`` back to the leaves and add to each leaf's ``grad``.

    Args:
        output: any shape if ``grad`` is given, else a single number.
        grad: the gradient of the loss with respect to ``output``, same shape; 1 by default.

    Pullbacks and inner gradients are freed as the walk passes, so a tape can be walked once.
    """
    if grad is None:
        if output.data.numel() != 1:
            raise ValueError(
                f"backward needs a gradient to start from: the value has shape "
                f"{tuple(output.data.shape)}, not one number"
            )
        grad = torch.ones_like(output.data)
    nodes = tape(output)
    nodes[-1].accumulate(grad)
    while nodes:
        node = nodes.pop()
        if node.pullback is None:
            if node.parents:
                raise RuntimeError("this tape has been walked before: run the forward pass again")
            continue
        if node.grad is not None:
            gradients = node.pullback(node.grad)
            if any(node.parents[len(gradients) :]):
                raise ValueError(
                    f"the pullback of {node.name} returned {len(gradients)} gradients "
                    f"for {len(node.parents)} arguments"
                )
            for parent, gradient in zip(node.parents, gradients, strict=False):
                if parent is not None and gradient is not None:
                    parent.accumulate(gradient)
        node.grad = node.pullback = None


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside this block."""
    before, _tape.recording = _tape.recording, False
    try:
        yield
    finally:
        _tape.recording = before


@contextmanager
def layer(name: str) -> Iterator[None]:
    """Name the layer that the calls inside this block belong to."""
    before, _tape.layer = _tape.layer, name
    try:
        yield
    finally:
        _tape.layer = before
