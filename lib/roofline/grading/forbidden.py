"""Calls that an answer may not make: the function that the exercise asks for, ready-made.

An exercise lists names in ``forbidden``:

- ``"torch.nn.functional.linear"``, ``"torch.Tensor.backward"``, ``"torch.nn.Linear"``: this
  function or class, and with a function every torch function of the same last name, methods and
  operators included (``torch.softmax``, ``x.softmax``, ``torch.nn.functional.softmax``);
- ``"softmax"``: every torch function of that name;
- ``"roofline.autograd.linear"``: a function or class of this library, or any other Python one;
- ``"aten::_softmax"``: the operation that runs in the end, whoever asked for it.

They are looked for twice: in the syntax tree of the answer and of the functions of the notebook
that it calls, where a name counts only if it stands for the forbidden thing there (a function of
the learner's own that has the same name does not); and while the answer runs, through torch's
function and dispatch modes and Python's profile hook. What torch or this library call in turn does
not count as the answer's call of a torch function.
"""

from __future__ import annotations

import ast
import concurrent.futures
import functools
import importlib
import inspect
import os
import re
import sys
import textwrap
import threading
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode

from roofline.grading.learner import TORCH, is_library, line_of

BETWEEN = (TORCH, threading.__file__, os.path.dirname(concurrent.futures.__file__), __file__)
SEEN = 5


class Watch:
    """The forbidden names of one exercise, and the calls of them that were ``found``."""

    def __init__(self, names: tuple[str, ...], ours: tuple[str, ...] = ()):
        self.ours = ours
        self.found: list[str] = []
        self.aten = {n.removeprefix("aten::"): n for n in names if n.startswith("aten::")}
        self.torch: dict[str, str] = {}
        self.objects: dict[int, str] = {}
        self.codes: dict[types.CodeType, str] = {}
        self._alive = []
        for name in names:
            if name.startswith("aten::"):
                continue
            if "." not in name:
                self.torch[_plain_name(name)] = name
                continue
            thing = resolve(name)
            self._alive.append(thing)
            self.objects[id(thing)] = name
            if name.startswith("torch.") and not isinstance(thing, type):
                self.torch[_plain_name(name.rsplit(".", 1)[-1])] = name
            for code in _codes(thing):
                self.codes[code] = name

    def read(self, answer: Any) -> None:
        """Look for forbidden calls in the answer's source, and at the answer itself."""
        itself = answer
        while isinstance(itself, functools.partial):
            itself = itself.func
        name = self._name_of(itself)
        if name:
            self._add(name, "it is the answer itself")
        for function, line, node, thing in _static_calls(answer, self.ours):
            name = self._name_of(thing)
            if name:
                self._add(name, f"line {line} of {function.__name__}: {ast.unparse(node)[:120]}")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch what is called in this block."""
        with self._threads(), self._here():
            yield

    @contextmanager
    def _here(self) -> Iterator[None]:
        """Watch what this thread calls."""
        with ExitStack() as stack:
            if self.torch:
                stack.enter_context(_Functions(self))
            if self.aten:
                stack.enter_context(_Operations(self))
            if self.codes:
                stack.enter_context(self._profile())
            yield

    def _name_of(self, thing: Any) -> str | None:
        """The forbidden name that ``thing`` goes by, if it does."""
        if id(thing) in self.objects:
            return self.objects[id(thing)]
        last = _plain_name(getattr(thing, "__name__", ""))
        if last in self.torch and _is_torch(thing):
            return self.torch[last]
        return next((self.codes[c] for c in _codes(thing) if c in self.codes), None)

    def _add(self, name: str, where: str) -> None:
        text = f"{name} ({where})" if where else name
        known = {f.split(" (")[0] for f in self.found}
        if name not in known and len(self.found) < SEEN:
            self.found.append(text)

    def _caller(self) -> tuple[bool, str]:
        """Whether the nearest caller outside torch is the learner, and the learner's line.

        A thread calls what it was given for the learner who started it.
        """
        frame: types.FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename.startswith(BETWEEN):
            frame = frame.f_back
        direct = frame is None or not is_library(frame.f_code.co_filename, self.ours)
        while frame is not None and is_library(frame.f_code.co_filename, self.ours):
            frame = frame.f_back
        return direct, line_of(frame)[:160] if frame is not None else ""

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """Watch threads that are started meanwhile, too."""

        def start(thread: threading.Thread) -> None:
            run = thread.run

            def watched() -> None:
                with self._here():
                    run()

            thread.run = watched  # type: ignore[method-assign]
            before(thread)

        before = threading.Thread.start
        with mock.patch.object(threading.Thread, "start", start):
            yield

    @contextmanager
    def _profile(self) -> Iterator[None]:
        def profile(frame: types.FrameType, event: str, argument: Any) -> None:
            if event == "call" and frame.f_code in self.codes:
                self._add(self.codes[frame.f_code], self._caller()[1])

        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            yield
        finally:
            sys.setprofile(before)


class _Functions(TorchFunctionMode):
    """Sees every torch function that is called on tensors, as methods and operators too."""

    def __init__(self, watch: Watch):
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = self.watch.torch.get(_plain_name(getattr(func, "__name__", "")))
        if name:
            direct, line = self.watch._caller()
            if direct:
                self.watch._add(name, line)
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Sees every operation that runs in the end."""

    def __init__(self, watch: Watch):
        super().__init__()
        self.watch = watch

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: otherwise PyTorch imports its whole compiler at the first call, for seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = self.watch.aten.get(func._schema.name.removeprefix("aten::"))
        if name:
            self.watch._add(name, self.watch._caller()[1])
        return func(*args, **(kwargs or {}))


def resolve(name: str) -> Any:
    """What a dotted name stands for. Raises ValueError if it stands for nothing."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        try:
            for part in parts[cut:]:
                thing = getattr(thing, part)
        except AttributeError:
            break
        return thing
    raise ValueError(f"forbidden name {name!r}: there is no such function or class")


def _plain_name(name: Any) -> str:
    """``softmax`` from ``_softmax``, ``special_softmax`` and ``softmax.int``, add from __radd__."""
    name = str(name).split(".")[0].strip("_")
    name = re.sub(r"^[ri](add|sub|mul|matmul|div|truediv|pow)$", r"\1", name)
    return re.sub(r"^(special|linalg|fft)_", "", name)


def _codes(thing: Any) -> list[types.CodeType]:
    """The code that runs when ``thing`` is called, if it is written in Python."""
    if isinstance(thing, type):
        own = [vars(thing).get(n) for n in ("__init__", "__new__", "forward", "__call__")]
        return [f.__code__ for f in own if isinstance(f, types.FunctionType)]
    try:
        thing = inspect.unwrap(thing)
    except ValueError:
        return []
    thing = getattr(thing, "__func__", thing)
    return [thing.__code__] if isinstance(thing, types.FunctionType) else []


def _is_torch(thing: Any) -> bool:
    if isinstance(thing, types.FunctionType):
        return str(thing.__module__).split(".")[0] == "torch"
    try:
        return resolve_name(thing) is not None
    except Exception:
        return False


def _static_calls(
    answer: Any, ours: tuple[str, ...]
) -> Iterator[tuple[types.FunctionType, int, ast.expr, Any]]:
    """Every call in the source of the answer and of what it calls of the learner's: the function
    that it stands in, the line in its cell or file, what is called as written, and what that is."""
    waiting, seen = _functions(answer, ours), set()
    while waiting:
        function = waiting.pop()
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        try:
            lines, start = inspect.getsourcelines(function)
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, TypeError, SyntaxError, ValueError, RecursionError):
            continue  # no source, or half a line of one: what runs is watched all the same
        names = _names(function, tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                thing = _resolved(node.func, names)
                if thing is not None:
                    yield function, max(start, 1) + node.lineno - 1, node.func, thing
                    waiting += _functions(thing, ours)


def _functions(thing: Any, ours: tuple[str, ...]) -> list[types.FunctionType]:
    """The learner's own Python functions behind ``thing``: itself, or a class's methods."""
    thing = getattr(thing, "__func__", thing)
    if isinstance(thing, types.FunctionType):
        return [] if is_library(thing.__code__.co_filename, ours) else [thing]
    kind = thing if isinstance(thing, type) else type(thing)
    if kind.__module__ in ("builtins", "torch"):
        return []
    found = []
    for value in vars(kind).values():
        value = getattr(value, "__func__", value)
        if isinstance(value, types.FunctionType):
            found += [] if is_library(value.__code__.co_filename, ours) else [value]
    return found


def _names(function: types.FunctionType, tree: ast.AST) -> dict[str, Any]:
    """What the names in a function stand for; a name that is assigned in it stands for nothing."""
    names = dict(vars(__builtins__) if isinstance(__builtins__, types.ModuleType) else __builtins__)
    names.update(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            names.pop(name, None)
    local: set[str] = set()
    top = tree.body[0] if isinstance(tree, ast.Module) and tree.body else None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            local.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            local.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node is not top:
            local.add(node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                names[name] = sys.modules.get(alias.name if alias.asname else name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                module = sys.modules.get(node.module or "")
                names[alias.asname or alias.name] = getattr(module, alias.name, None)
    return {name: value for name, value in names.items() if name not in local}


def _resolved(node: ast.expr, names: dict[str, Any]) -> Any:
    """What a dotted expression stands for. Only modules and classes are looked into."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _resolved(node.value, names)
        if isinstance(base, (types.ModuleType, type)):
            return inspect.getattr_static(base, node.attr, None)
    return None
