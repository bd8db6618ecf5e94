"""Putting back what a submission has changed in the libraries that grade it.

It is taken down before any of the submission runs, and put back before each check: names in
modules, attributes of classes, code and defaults of functions. That undoes patches of ``torch``,
``numpy``, ``builtins`` and of the grading itself, and IPython's hooks. It isn't, and can't be, a
wall: whoever writes into this process's memory is not stopped by it. The judge is in another one.
"""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Iterable
from typing import Any

# Besides roofline's own modules, those whose names a probe or an instructor's test looks up.
_MODULES = (
    *("builtins", "ast", "base64", "contextlib", "copy", "ctypes", "dataclasses", "dis"),
    *("functools", "hashlib", "inspect", "io", "itertools", "json", "json.encoder"),
    *("json.decoder", "linecache", "math", "operator", "os", "pathlib", "posix", "random", "re"),
    *("signal", "statistics", "struct", "tempfile", "time", "types", "typing", "warnings"),
    *("torch", "torch.nn.functional", "torch.overrides", "torch._C", "torch.linalg"),
    *("torch.autograd", "torch.autograd.grad_mode", "torch.utils._device", "torch.random"),
    *("torch.utils._python_dispatch", "torch.utils._pytree", "torch.testing"),
    *("numpy", "numpy.linalg", "numpy.random", "numpy.testing", "numpy.testing._private.utils"),
    *("safetensors", "safetensors.torch"),
)
_CLASSES = (
    *(("torch", "Tensor"), ("torch", "Generator"), ("torch._C", "TensorBase")),
    *(("json", "JSONEncoder"), ("json", "JSONDecoder")),
)
_MISSING = object()
_MODULE = types.ModuleType

# What a running program writes into its modules and classes by itself.
_OWN = {"__builtins__", "_", "__warningregistry__", "__dict__", "__weakref__"}

# Special methods that a class has from its base, until a patch puts one in their place.
_POWERS = {
    *("__getattribute__", "__getattr__", "__setattr__", "__call__", "__new__", "__init__"),
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__float__", "__int__"),
    *("__bool__", "__repr__", "__str__", "__format__", "__iter__", "__len__", "__getitem__"),
}


class Pristine:
    """The state of the libraries, and of objects of theirs, when this was made."""

    def __init__(self, objects: Iterable[Any] = ()) -> None:
        self._names: list[tuple[dict[str, Any], dict[str, Any], bool]] = []
        self._builtins = vars(builtins), dict(vars(builtins))
        self._contents: list[tuple[Any, Any]] = []
        self._classes: dict[int, tuple[type, dict[str, Any], bool]] = {}
        self._functions: dict[int, tuple[types.FunctionType, tuple[Any, ...]]] = {}
        self._imports = {n: (v := getattr(sys, n), list(v)) for n in ("meta_path", "path_hooks")}
        self._imported = sys.modules, dict(sys.modules)
        looked_up = {n: m for n, m in self._imported[1].items() if _ours(n) or n in _MODULES}
        for name, module in looked_up.items():
            self._names.append((vars(module), dict(vars(module)), _ours(name)))
            if _ours(name):
                for value in list(vars(module).values()):
                    if isinstance(value, (dict, list, set)) and name.startswith("roofline.grading"):
                        self._contents.append((value, value.copy()))
                    elif getattr(value, "__module__", None) == name:
                        self._keep(value)
        for name, attribute in _CLASSES:
            kind = getattr(sys.modules.get(name), attribute, None)
            if isinstance(kind, type):
                self._classes[id(kind)] = (kind, dict(vars(kind)), False)
        for value in objects:
            self._names.append((vars(value), dict(vars(value)), True))

    def _keep(self, value: Any) -> None:
        if isinstance(value, type) and id(value) not in self._classes:
            self._classes[id(value)] = (value, dict(vars(value)), True)
            for inner in list(vars(value).values()):
                if not isinstance(inner, type):
                    self._keep(getattr(inner, "fget", getattr(inner, "__func__", inner)))
        while isinstance(value, types.FunctionType):
            self._functions[id(value)] = (value, _parts(value))
            value = getattr(value, "__wrapped__", None)

    def restore(self, missing: Any = _MISSING, own: Any = _OWN, module: Any = _MODULE) -> None:
        """Put everything back. First what this very function is made of."""
        now, before = self._builtins
        for name, value in before.items():
            now[name] = value
        self._imported[0].update(self._imported[1])
        sys.modules = self._imported[0]
        for names, before, ours in self._names:
            for name, value in before.items():
                if names.get(name, missing) is not value and name not in own:
                    names[name] = value
            for name in names.keys() - before.keys() - own:
                # One that stands before a builtin; a module that was imported since may stay.
                if names is not now and (
                    name in now or (ours and not isinstance(names[name], module))
                ):
                    del names[name]
        for function, parts in self._functions.values():
            if _parts(function) != parts:
                function.__code__, function.__defaults__, function.__kwdefaults__ = parts
        for contents, copy in self._contents:
            if isinstance(contents, list):
                contents[:] = copy
            else:
                contents.clear()
                contents.update(copy)
        for kind, before, ours in self._classes.values():
            restore_class(kind, before, ours)
        for name, (kept, copy) in self._imports.items():
            kept[:] = copy
            setattr(sys, name, kept)
        sys.settrace(None)
        sys.setprofile(None)


def _ours(name: str) -> bool:
    return name == "roofline" or name.startswith(("roofline.", "roofline_overlay_"))


def _parts(function: types.FunctionType) -> tuple[Any, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def restore_class(kind: type, before: dict[str, Any], added: bool) -> None:
    """Give a class back its attributes; with ``added`` those that are new go, and special methods
    that are new go in any case."""
    now = dict(vars(kind))
    for name, value in before.items():
        if now.get(name, _MISSING) is not value and name not in _OWN:
            _try(type.__setattr__, kind, name, value)
    for name in now.keys() - before.keys():
        special = name.startswith("__") and name.endswith("__")
        if name in _POWERS if special else added:
            _try(type.__delattr__, kind, name)


def _try(change: Any, *arguments: Any) -> None:
    try:
        change(*arguments)
    except (TypeError, AttributeError):  # it can't be changed, so it wasn't
        pass


class Hooks:
    """IPython's hooks, as they were when this was made."""

    LINES = ("cleanup_transforms", "line_transforms", "token_transformers")
    PARTS = ("events", "input_transformer_manager", "displayhook", "display_pub", "compile")

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.classes = [(kind, dict(vars(kind))) for kind in type(shell).__mro__[:2]]
        self.own = set(vars(shell))
        self.parts = {name: getattr(shell, name) for name in self.PARTS}
        self.calls = {name: list(calls) for name, calls in shell.events.callbacks.items()}
        self.lines = {name: list(getattr(self._manager, name)) for name in self.LINES}
        self.user = shell.user_module, shell.user_ns

    @property
    def _manager(self) -> Any:
        return self.parts["input_transformer_manager"]

    def restore(self) -> None:
        """Put them back."""
        shell = self.shell
        for kind, before in self.classes:
            restore_class(kind, before, True)
        for name in set(vars(shell)) - self.own:  # a method laid over the class's
            if callable(getattr(type(shell), name, None)):
                del vars(shell)[name]
        for name, part in self.parts.items():
            setattr(shell, name, part)
            for method in list(vars(part)):
                if callable(getattr(type(part), method, None)):
                    del vars(part)[method]
        for name, calls in self.calls.items():
            self.parts["events"].callbacks[name] = list(calls)
        for name, lines in self.lines.items():
            setattr(self._manager, name, list(lines))
        shell.ast_transformers, shell.input_transformers_post = [], []
        shell.user_module, shell.user_ns = self.user
