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
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from .deferred import Deferred, Part

if TYPE_CHECKING:
    from .methods import Methods
else:
    Methods = object  # methods.py adds them once the operations exist

Pullback = Callable[[torch.Tensor], Sequence[Any]]


class Node:
    """One entry of the tape: a slot for a gradient, and the way back from it.

    ``grad`` collects the gradient of the loss with respect to this value, or is None.
    ``pullback`` maps ``grad`` to the parents' gradients; a leaf has none.
    ``parents`` are the nodes of the arguments, None where an argument needs no gradient.
    ``depth`` is one more than the greatest of the parents', 0 for a leaf.
    ``name`` is the operation and ``layer`` the layer that called it, for reports.
    ``own`` is ``grad`` if nothing else refers to that tensor, so that it can be added to in place.
    ``home`` is where a leaf's gradient should be written, such as its piece of a flat buffer.
    """

    __slots__ = ("grad", "pullback", "parents", "depth", "name", "layer", "own", "home")

    def __init__(
        self,
        pullback: Pullback | None = None,
        parents: Sequence[Node | None] = (),
        name: str = "leaf",
        depth: int = 0,
    ):
        self.grad: torch.Tensor | None = None
        self.pullback = pullback
        self.parents = parents
        self.depth = depth
        self.name = name
        self.layer = _tape.layer
        self.own: torch.Tensor | None = None
        self.home: torch.Tensor | None = None

    def __repr__(self) -> str:
        return f"Node({self.name!r}, depth={self.depth}, layer={self.layer!r})"


class _Tape:
    """Whether calls are recorded, and the name of the layer that is running."""

    __slots__ = ("recording", "layer")

    def __init__(self) -> None:
        self.recording = True
        self.layer = ""


_tape = _Tape()


class Tensor(Methods):
    """A ``torch.Tensor`` and its place on the tape.

    Args:
        data: the value, of any shape, dtype and device; anything ``torch.as_tensor`` takes.
        requires_grad: make this a leaf whose ``grad`` a backward walk fills; for floating-point
            numbers only.
    """

    __slots__ = ("data", "node")

    def __init__(self, data: Any, requires_grad: bool = False):
        self.data: torch.Tensor = data if isinstance(data, torch.Tensor) else torch.as_tensor(data)
        if requires_grad and not self.data.is_floating_point():
            raise ValueError(f"{self.data.dtype} numbers have no gradient: write 3.0 instead of 3")
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


def op(function: Callable[..., tuple[Any, Callable]]) -> Callable[..., Any]:
    """Lift ``function``, which returns a result and its pullback, to Tensors, and record its calls.

    Any argument may be a Tensor. The pullback returns one gradient for each argument in order,
    None where there is none to give; it may leave out the last ones if they are no Tensors. A
    function with a keyword-only parameter ``needs`` is told which of its arguments need a
    gradient, so that it can neither compute nor capture anything for the others.

    A function may return a tuple of results. Its pullback then takes a list with the gradient of
    each one, None for those that the loss doesn't depend on.
    """
    name = function.__name__
    parameters = inspect.signature(function).parameters
    asks = "needs" in parameters
    defaults = {p.name: p.default for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD}

    @functools.wraps(function)
    def recorded(*args: Any, **options: Any) -> Any:
        if options:
            args = _positioned(args, options, defaults)
        values: list[Any] = []
        parents: list[Node | None] = []
        depth = -1
        for argument in args:
            if isinstance(argument, Tensor):
                values.append(argument.data)
                node = argument.node
                parents.append(node)
                if node is not None and node.depth > depth:
                    depth = node.depth
            else:
                values.append(argument)
                parents.append(None)
        on_tape = depth >= 0 and _tape.recording
        if asks:
            missing = [None] * (len(defaults) - len(parents))
            options["needs"] = parents + missing if on_tape else [None] * len(defaults)
        result, pullback = function(*values, **options)
        node = Node(pullback, parents, name, depth + 1) if on_tape else None
        if isinstance(result, tuple):
            return [_part(part, i, len(result), node) for i, part in enumerate(result)]
        out = Tensor(result)
        out.node = node
        return out

    return recorded


def _part(result: torch.Tensor, place: int, count: int, node: Node | None) -> Tensor:
    """One of the ``count`` results of ``node``: its gradient has its place in ``node``'s list."""
    out = Tensor(result)
    if node is not None:
        name = f"{node.name}[{place}]"
        out.node = Node(lambda grad: (Part(grad, place, count),), (node,), name, node.depth + 1)
    return out


def _positioned(args: tuple, options: dict[str, Any], defaults: dict[str, Any]) -> tuple:
    """Move arguments given by name to their positions, where gradients are handed out."""
    placed = list(args)
    for name in list(defaults)[len(args) :]:
        if name not in options and defaults[name] is inspect.Parameter.empty:
            break  # Python's own message says which one is missing
        placed.append(options.pop(name, defaults[name]))
    return tuple(placed)


def tape(output: Tensor) -> list[Node]:
    """Every node that ``output`` depends on, oldest first; ``output``'s own node is the last.

    A node is deeper than its parents, so to sort by depth is to sort by dependence.
    """
    if output.node is None:
        raise ValueError("nothing was recorded: no argument of this value has requires_grad=True")
    nodes, found, stack = [output.node], {output.node}, [output.node]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in found:
                found.add(parent)
                nodes.append(parent)
                stack.append(parent)
    nodes.sort(key=operator.attrgetter("depth"))
    return nodes


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
    grad = grad.data if isinstance(grad, Tensor) else grad
    if grad.shape != output.data.shape:
        shapes = f"{tuple(grad.shape)}, the value {tuple(output.data.shape)}"
        raise ValueError(f"the gradient to start from has shape {shapes}: make them the same")
    nodes = tape(output)
    start = nodes[-1]
    start.grad = grad if start.grad is None else start.grad + grad
    if torch.compiler.is_compiling():
        _walk(nodes)
    else:
        with torch._C._AutoDispatchBelowAutograd():  # torch's own autograd need not look
            _walk(nodes)


def _walk(nodes: list[Node]) -> None:
    """Empty the list from its end, so that each node is forgotten once it is done with."""
    while nodes:
        _pass_on(nodes.pop())


def _pass_on(node: Node) -> None:
    """Hand the parents their gradients; this one's is gone when the call returns."""
    pullback, grad = node.pullback, node.grad
    if pullback is None:
        if node.parents:
            raise RuntimeError("this tape has been walked before: run the forward pass again")
        return
    if grad is None:
        return
    node.grad = node.own = node.pullback = None
    gradients = pullback(grad)
    if type(gradients) is not tuple or len(gradients) < len(node.parents):
        _check(gradients, node)
    for parent, gradient in zip(node.parents, gradients):  # noqa: B905 (time)
        if parent is None or gradient is None:
            continue
        sum_so_far = parent.grad
        if isinstance(gradient, Deferred):
            gradient.give(parent)
        elif sum_so_far is None:
            parent.grad = gradient
        elif sum_so_far is parent.own:
            sum_so_far.add_(gradient)
        else:  # not in place: two slots may share one tensor
            parent.grad = parent.own = sum_so_far + gradient


def _check(gradients: Any, node: Node) -> None:
    """Say what is wrong with what a pullback returned, if anything is."""
    if not isinstance(gradients, tuple | list):
        raise TypeError(
            f"the pullback of {node.name} returned {type(gradients).__name__}, not a tuple with "
            f"one gradient for each argument"
        )
    if any(node.parents[len(gradients) :]):
        raise ValueError(
            f"the pullback of {node.name} returned {len(gradients)} gradients for "
            f"{len(node.parents)} arguments: return None where there is none to give"
        )


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
