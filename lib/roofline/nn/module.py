"""A layer: parameters, child layers, and a ``forward`` that runs them.

A :class:`Module` finds its parts by looking at its own attributes, so there is nothing to register:
a :class:`Parameter` is a parameter, a Module is a child. Names, order and ``state_dict`` keys are
torch.nn's, so weights move both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch

from roofline.autograd.tape import Node, Tensor, _tape

Self = TypeVar("Self", bound="Module")


class Parameter(Tensor):
    """A Tensor that a Module learns: a leaf of the tape that gathers gradients.

    Args:
        data: a floating-point ``torch.Tensor``; it is used as it is, not copied.
    """

    __slots__ = ()

    def __init__(self, data: torch.Tensor):
        super().__init__(data.detach() if data.requires_grad else data, requires_grad=True)

    def requires_grad_(self, requires_grad: bool = True) -> Parameter:
        """Freeze (False) or unfreeze the parameter; freezing drops its gradient."""
        if requires_grad != self.requires_grad:
            self.node = Node() if requires_grad else None
        return self


class Module:
    """The base of every layer and model. Subclasses assign their parts and define ``forward``."""

    forward: Callable[..., Any]
    training: bool = True
    _buffers: Mapping[str, bool] = {}  # name -> whether state_dict saves it
    _path: str = ""  # where the layer stands in the model, "blocks.0.attention"
    _is_root: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward``, and name this layer on the tape while it runs."""
        if not (_tape.layer or self._is_root or torch.compiler.is_compiling()):
            self.name_layers()
        # autograd.layer, written out: its generator would take a fifth of a small layer's time.
        before, _tape.layer = _tape.layer, self._path
        try:
            return self.forward(*args, **kwargs)
        finally:
            _tape.layer = before

    def name_layers(self) -> None:
        """Tell every layer below where it stands, for reports by layer.

        The model itself goes by its class name. The first call does this; call it again after
        exchanging layers of a model that has run.
        """
        for path, module in self.named_modules():
            module._path = path or type(self).__name__
        self._is_root = True

    # --- parts ---

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        return (child for _, child in self.named_children())

    def named_modules(
        self, prefix: str = "", seen: set[Module] | None = None
    ) -> Iterator[tuple[str, Module]]:
        """This module, named ``prefix``, and every one below it, each once."""
        seen = set() if seen is None else seen
        if self in seen:
            return
        seen.add(self)
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def _entries(self, prefix: str = "") -> Iterator[tuple[str, Any, bool]]:
        """Key, value and whether to save it, of every parameter and buffer, in torch's order."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value, True
        for name, saved in self._buffers.items():
            yield prefix + name, getattr(self, name), saved
        for name, child in self.named_children():
            yield from child._entries(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Name and Parameter, a shared one once, under its first name."""
        seen: set[int] = set()
        for name, value, _ in self._entries():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and value of what is kept but not learned, such as running means."""
        return (
            (name, value) for name, value, _ in self._entries() if not isinstance(value, Parameter)
        )

    def buffers(self) -> Iterator[torch.Tensor]:
        return (value for _, value in self.named_buffers())

    def register_buffer(self, name: str, value: torch.Tensor, persistent: bool = True) -> None:
        """Keep ``value`` as attribute ``name``: moved by ``to``, saved if ``persistent``."""
        setattr(self, name, value)
        self._buffers = {**self._buffers, name: persistent}

    # --- state ---

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Every parameter and saved buffer by name: the values themselves, not copies."""
        return {
            name: value.data if isinstance(value, Parameter) else value
            for name, value, saved in self._entries()
            if saved
        }

    def load_state_dict(
        self, state: Mapping[str, torch.Tensor], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy ``state`` into this module's parameters and buffers, in place.

        Args:
            state: values by name, on any device and of any dtype.
            strict: raise if names are missing or unexpected; False loads those that match.

        Returns:
            The names that were missing from ``state``, and those that have no place here.

        Raises:
            ValueError: for names that don't match (if ``strict``), or shapes (always).
        """
        own = self.state_dict()
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        problems = []
        if strict and missing:
            problems.append(f"missing {_listed(missing)}")
        if strict and unexpected:
            problems.append(f"unexpected {_listed(unexpected)}")
        for name, value in own.items():
            if name in state and value.shape != state[name].shape:
                problems.append(
                    f"{name} has shape {tuple(state[name].shape)}, here it is {tuple(value.shape)}"
                )
        if problems:
            raise ValueError(
                f"this state doesn't fit {type(self).__name__}: {'; '.join(problems)}. Build the "
                "model with the sizes of the saved one, or pass strict=False to load matching names"
            )
        for name, value in own.items():
            if name in state:
                value.copy_(state[name].detach())
        return missing, unexpected

    def to(
        self: Self,
        *target: torch.device | torch.dtype | str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Move to a device, and floating-point values to a dtype: ``to("cuda", torch.bfloat16)``.

        Do this before you build an optimizer: it replaces the parameters' storage.
        """
        for item in target:
            if isinstance(item, torch.dtype):
                dtype = item
            else:
                device = item
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"a model's dtype must be floating point, not {dtype}")

        def moved(value: torch.Tensor) -> torch.Tensor:
            return value.to(device, dtype if value.is_floating_point() else None)

        for parameter in self.parameters():
            before, parameter.data = parameter.data, moved(parameter.data)
            if parameter.node is not None and parameter.data is not before:
                parameter.node.home = None
                if parameter.grad is not None:
                    parameter.grad = moved(parameter.grad)
        for module in self.modules():
            for name in module._buffers:
                setattr(module, name, moved(getattr(module, name)))
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Switch dropout and batch statistics on (or, with False, off) in every layer."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of every parameter."""
        for parameter in self.parameters():
            if parameter.node is not None:
                parameter.node.grad = parameter.node.own = None

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Freeze (False) or unfreeze every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def apply(self: Self, function: Callable[[Module], Any]) -> Self:
        """Call ``function`` on every module, children first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # --- print ---

    def extra_repr(self) -> str:
        """What stands between the brackets of ``repr``."""
        return ""

    def __repr__(self) -> str:
        return printed(self, [f"({name}): {child!r}" for name, child in self.named_children()])


def printed(module: Module, children: list[str]) -> str:
    """The text of a module and its children, laid out as torch.nn's."""
    extra = module.extra_repr()
    if not children:
        return f"{type(module).__name__}({extra})"
    lines = "\n".join([extra] * bool(extra) + children).replace("\n", "\n  ")
    return f"{type(module).__name__}(\n  {lines}\n)"


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
