"""What every optimizer shares: parameters, gradients and state in flat buffers.

A model has hundreds of parameters, most of them small. Updated one by one, each costs a handful of
kernel launches. Laid end to end in one buffer, all of them cost one handful. So an optimizer moves
the values of its parameters into one flat tensor for each (group, dtype, device), leaves views of
it in their place, and keeps gradients and moments in flat tensors of the same layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from roofline.autograd.tape import Tensor

# Each parameter starts at a multiple of this many elements: matrix kernels want aligned addresses.
# The gaps hold zeros, and an update of zeros by zeros is zero.
ALIGNMENT = 32

# On a CPU an update goes over so many elements at a time: small enough that parameter, gradient and
# moments stay in a core's cache from one operation to the next, large enough that calls are cheap.
BLOCK = 65_536


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Give a group another learning rate: in place, where it is a tensor."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def listed(parameters: Iterable[Any]) -> list[Any]:
    """The parameters as a list, a single one too: to go through that would give its rows."""
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


class FlatParameters:
    """Parameters of one group, dtype and device, end to end, with gradients and state likewise."""

    def __init__(self, parameters: list[Tensor], group: dict[str, Any], slots: tuple[str, ...]):
        self.parameters = parameters
        self.group = group
        # A parameter is as old as the steps done less those that it missed for want of a gradient.
        # Only one number changes from step to step; in a tensor a compiled step can count it too.
        self.step = torch.zeros((), dtype=torch.float64, device="cpu")
        self.missed = [0] * len(parameters)
        self.starts = [0]
        for parameter in parameters:
            length = math.ceil(parameter.data.numel() / ALIGNMENT) * ALIGNMENT
            self.starts.append(self.starts[-1] + length)
        self.data = parameters[0].data.new_zeros(self.starts[-1])
        self.grad = torch.zeros_like(self.data)
        self.state = {slot: torch.zeros_like(self.data) for slot in slots}
        self.values = self.views(self.data)
        self.grads = self.views(self.grad)
        for parameter, value, grad in zip(parameters, self.values, self.grads, strict=True):
            parameter.data = value.copy_(parameter.data)
            if parameter.node is not None:
                parameter.node.home = grad  # a backward walk writes there at once where it can

    def views(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """The piece of ``flat`` that belongs to each parameter, in the parameter's shape."""
        return [
            flat[start : start + parameter.data.numel()].view(parameter.data.shape)
            for start, parameter in zip(self.starts, self.parameters, strict=False)
        ]

    def runs(self) -> list[tuple[slice, Any]]:
        """Begin a step: gather the gradients and list the stretches to update, with their ages.

        A stretch is made of neighbours that have a gradient and have been updated equally often;
        its age counts this update. Mostly it is the whole buffer.
        """
        self.step += 1
        step = self.step if torch.compiler.is_compiling() else int(self.step)
        found, first = [], 0
        while first < len(self.parameters):
            has_grad, missed = kind = self._kind(first)
            last = first + 1
            while last < len(self.parameters) and self._kind(last) == kind:
                last += 1
            if has_grad:
                self._gather(first, last)
                span = slice(self.starts[first], self.starts[last])
                found.append((span, step - missed))
            else:
                self.missed[first:last] = [missed + 1] * (last - first)
            first = last
        return found

    def _kind(self, index: int) -> tuple[bool, int]:
        return self.parameters[index].grad is not None, self.missed[index]

    def _gather(self, first: int, last: int) -> None:
        """Bring the gradients that were not written into the buffer there."""
        elsewhere, places = [], []
        for index in range(first, last):
            parameter, view = self.parameters[index], self.grads[index]
            if parameter.data is not self.values[index]:
                raise RuntimeError(
                    "a parameter's storage was replaced after the optimizer was built: call "
                    "model.to(...) first and build the optimizer after it"
                )
            node = parameter.node
            if node is not None and node.grad is not None and node.grad is not view:
                elsewhere.append(node.grad)
                places.append(view)
                node.grad = node.own = view
        if places:
            torch._foreach_copy_(places, elsewhere)


class Optimizer:
    """The base of SGD, Adam and AdamW.

    Args:
        parameters: Tensors, or groups: dicts with "params" and settings of their own.
        defaults: settings of groups that have none of their own, ``lr`` among them.

    ``groups`` holds the settings by group; a learning-rate schedule writes ``group["lr"]``, which
    may be a tensor of one number: a step under ``torch.compile`` then is compiled once, and not a
    second time when the rate first changes. After a step the gradients are views of a buffer that
    the next backward walk fills: clone what you keep.
    """

    slots: tuple[str, ...] = ()  # names of the state kept for each parameter, torch's
    # update(data, grad, step, group, **state) changes data and state in place, all of shape (n,);
    # step counts from 1, and is a tensor in a compiled step.
    update: Callable[..., None]

    def __init__(self, parameters: Iterable[Any], defaults: dict[str, Any]):
        entries = listed(parameters)
        if not entries:
            raise ValueError("the optimizer got no parameters: pass model.parameters()")
        if not isinstance(entries[0], Mapping):
            entries = [{"params": entries}]
        self.groups: list[dict[str, Any]] = []
        self.flats: list[FlatParameters] = []
        seen: set[int] = set()
        for entry in entries:
            group = {**defaults, **entry, "params": listed(entry["params"])}
            for name in ("lr", "momentum", "weight_decay", "eps"):
                if not group.get(name, 0) >= 0:
                    raise ValueError(f"{name} is {group[name]}, expected 0 or more")
            for parameter in group["params"]:
                if not isinstance(parameter, Tensor):
                    kind = type(parameter)
                    raise TypeError(
                        f"expected Parameters of roofline.nn, got {kind.__module__}.{kind.__name__}"
                    )
                if parameter.node is not None and parameter.node.pullback is not None:
                    raise ValueError(
                        "an optimizer moves leaves, such as model.parameters(), and not what was "
                        "computed from them"
                    )
                if id(parameter) in seen:
                    raise ValueError("a parameter was given to the optimizer twice")
                seen.add(id(parameter))
            self.groups.append(group)
            alike: dict[tuple, list[Tensor]] = {}
            for parameter in group["params"]:
                alike.setdefault((parameter.data.dtype, parameter.data.device), []).append(
                    parameter
                )
            self.flats += [FlatParameters(some, group, self.slots) for some in alike.values()]

    @property
    def parameters(self) -> list[Tensor]:
        return [parameter for group in self.groups for parameter in group["params"]]

    @property
    def lr(self) -> float:
        """The learning rate of the first group."""
        return float(self.groups[0]["lr"])

    def zero_grad(self) -> None:
        """Forget the gradients. Call it between ``step`` and the next ``backward``."""
        for parameter in self.parameters:
            if parameter.node is not None:
                parameter.node.grad = parameter.node.own = None

    def step(self) -> None:
        """Update every parameter that has a gradient; the others keep value and state."""
        for flat in self.flats:
            group = flat.group
            if torch.compiler.is_compiling():
                # A number would be compiled in, and every other learning rate be compiled anew.
                exact = torch.promote_types(flat.data.dtype, torch.float32)
                rate: float | torch.Tensor = flat.data.new_ones((), dtype=exact).mul_(group["lr"])
            else:
                rate = float(group["lr"])
            group = {**group, "lr": rate}
            for span, step in flat.runs():
                pieces = flat.data.device.type == "cpu" and not flat.group.get("fused")
                size = BLOCK if pieces else max(span.stop, 1)
                for start in range(span.start, span.stop, size):
                    piece = slice(start, min(start + size, span.stop))
                    state = {slot: value[piece] for slot, value in flat.state.items()}
                    self.update(flat.data[piece], flat.grad[piece], step, group, **state)

    def state_dict(self) -> dict[str, Any]:
        """Steps, state and settings, laid out as torch's: copy it before training on."""
        number = {id(parameter): index for index, parameter in enumerate(self.parameters)}
        state: dict[int, dict[str, Any]] = {}
        for flat in self.flats:
            slots = {slot: flat.views(value) for slot, value in flat.state.items()}
            for index, parameter in enumerate(flat.parameters):
                state[number[id(parameter)]] = {
                    "step": int(flat.step) - flat.missed[index],
                    **{slot: views[index] for slot, views in slots.items()},
                }
        groups = [
            {
                **group,
                "lr": float(group["lr"]),
                "params": [number[id(parameter)] for parameter in group["params"]],
            }
            for group in self.groups
        ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take up steps, state and settings where :meth:`state_dict` left them.

        Raises:
            ValueError: if the saved groups have other numbers of parameters, or other shapes.
        """
        sizes = [len(group["params"]) for group in self.groups]
        saved_sizes = [len(group["params"]) for group in saved["param_groups"]]
        if sizes != saved_sizes:
            raise ValueError(
                f"the saved optimizer has groups of {saved_sizes} parameters, this one of {sizes}: "
                "build it for the same model and the same groups"
            )
        for index, views in self.state_dict()["state"].items():
            for slot in self.slots:
                value = saved["state"].get(index, {}).get(slot)
                if value is None:  # never updated
                    views[slot].zero_()
                elif value.shape != views[slot].shape:
                    raise ValueError(
                        f"the saved {slot} of parameter {index} has shape {tuple(value.shape)}, "
                        f"here it is {tuple(views[slot].shape)}"
                    )
                else:
                    views[slot].copy_(value)
        number = {id(parameter): index for index, parameter in enumerate(self.parameters)}
        for flat in self.flats:
            ages = [
                int(saved["state"].get(number[id(parameter)], {}).get("step", 0))
                for parameter in flat.parameters
            ]
            flat.step.fill_(max(ages))
            flat.missed = [max(ages) - age for age in ages]
        for group, saved_group in zip(self.groups, saved["param_groups"], strict=True):
            kept = ("params", "lr")
            group.update({key: value for key, value in saved_group.items() if key not in kept})
            set_rate(group, float(saved_group["lr"]))
