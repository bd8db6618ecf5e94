"""Controls of an experiment, declared where its model declares its arguments.

An experiment's model says for each argument what may be chosen::

    @bounded
    def model(
        batch: Annotated[int, Range(1, 4096, doubling=True)] = 128,
        activation: Annotated[str, Choices("relu", "tanh")] = "relu",
    ) -> Result: ...

``bounded`` refuses anything else with one line, :func:`controls` lists the declarations, and the
panel makes a slider or a list of each. So a range is written down once.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


UNITS = {"usd": "USD", "kw": "kW"}
"""Units that the names of arguments end in, as they are written."""


class ControlError(ValueError):
    """A control was set to something that it doesn't offer: one line, meant for the learner."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    The slider moves by ``step``, or from one doubling of ``low`` to the next. The model takes any
    number in between: whole ones where the argument is an ``int``.
    """

    low: float
    high: float
    step: float = 1
    doubling: bool = False

    def stops(self, *also: float) -> list[float]:
        """Where the slider can stand, and at ``also`` too, smallest first."""
        if self.doubling:
            count = int(math.log2(self.high / self.low)) + 1
            found = {self.low * 2**k for k in range(count)}
        else:
            count = int((self.high - self.low) / self.step + 1e-9) + 1
            found = {round(self.low + k * self.step, 10) for k in range(count)}
        return sorted(found | {self.high, *also})


@dataclass(frozen=True, init=False)
class Choices:
    """One of a few named things."""

    options: tuple[str, ...]

    def __init__(self, *options: str):
        object.__setattr__(self, "options", options)


@dataclass(frozen=True)
class Control:
    """One argument of a model: its name, what may be chosen, and what is chosen at first."""

    name: str
    kind: Range | Choices
    whole: bool
    default: Any

    @property
    def label(self) -> str:
        """What stands beside it, with its unit if its name ends in one."""
        rest, _, last = self.name.rpartition("_")
        return f"{rest}, {UNITS[last]}" if last in UNITS else self.name.replace("_", " ")

    def check(self, value: Any) -> Any:
        """``value``, as the model wants it, or a :class:`ControlError` of one line."""
        if isinstance(self.kind, Choices):
            if value not in self.kind.options:
                raise ControlError(
                    f"{self.label} is {value!r}: choose one of {', '.join(self.kind.options)}"
                )
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.kind.low <= value <= self.kind.high or self._broken(value):
            sort = "whole number" if self.whole else "number"
            raise ControlError(
                f"{self.label} is {value!r}: "
                f"choose a {sort} from {self.kind.low:,} to {self.kind.high:,}"
            )
        return int(value) if self.whole else float(value)

    def _broken(self, value: float) -> bool:
        return self.whole and value != int(value)


def controls(model: Callable[..., Any]) -> dict[str, Control]:
    """What ``model`` declares about its arguments, in their order."""
    hints = get_type_hints(model, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(model).parameters.items():
        hint = hints[name]
        extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        kinds = [extra for extra in extras if isinstance(extra, Range | Choices)]
        if not kinds or parameter.default is parameter.empty:
            raise TypeError(
                f"argument {name!r} of an experiment's model needs a range and a default"
            )
        found[name] = Control(name, kinds[0], get_args(hint)[0] is int, parameter.default)
    return found


def bounded(model: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make ``model`` refuse, in one line, what its declared ranges don't offer."""
    declared: dict[str, Control] = {}

    @functools.wraps(model)
    def checked(*args: Arguments.args, **settings: Arguments.kwargs) -> Result:
        if not declared:
            declared.update(controls(model))
        for name in settings:
            if name not in declared:
                raise ControlError(f"there is no control {name!r}: choose of {', '.join(declared)}")
        given = inspect.signature(model).bind(*args, **settings).arguments
        return model(**{name: declared[name].check(value) for name, value in given.items()})  # type: ignore[call-arg]

    return checked
