"""What an exercise is, and how one is found by its name.

An exercise lives in ``roofline/exercises/<chapter>.py`` and is named ``<chapter>.<name>``. A folder
named by the environment variable ``ROOFLINE_EXERCISES`` (several, separated as in ``PATH``) may
hold further files ``<chapter>.py``: an instructor's private exercises.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import math
import os
import pkgutil
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

PACKAGE = "roofline.exercises"
OVERLAY = "ROOFLINE_EXERCISES"
VISIBLE = "visible"


@dataclass(frozen=True)
class Item:
    """One line of a rubric.

    ``name`` says what was checked and ``message`` what came out; ``hint`` says which mistake this
    looks like, or is empty. ``earned`` is between 0 and ``points``.
    """

    name: str
    points: float
    earned: float = 0.0
    message: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.points) and self.points >= 0):
            raise ValueError(f"item {self.name!r}: {self.points} points, expected 0 or more")
        if not 0 <= self.earned <= self.points:
            raise ValueError(f"item {self.name!r}: earned {self.earned} of {self.points} points")

    @property
    def lost(self) -> bool:
        return self.earned < self.points


class Exercise:
    """A probe and a judge. Subclass it, and name it with :func:`exercise`.

    Class attributes:
        points: what the items add up to.
        minutes: how long the exercise takes most learners.
        difficulty, importance: 1 to 5.
        forbidden: names that the answer may not call; see :mod:`roofline.grading.forbidden`.
        limit: seconds after which a check is stopped.

    The first line of the docstring is the title.
    """

    id: str = ""
    points: float = 1
    minutes: int = 10
    difficulty: int = 1
    importance: int = 3
    forbidden: tuple[str, ...] = ()
    limit: float = 10.0

    @property
    def title(self) -> str:
        return (inspect.getdoc(type(self)) or self.id).split("\n")[0].rstrip(".")

    def cases(self, seed: int) -> Any:
        """What the answer is tried on. Called twice, beside the answer and beside the judge, so the
        same seed must give the same cases: draw from :func:`generator`, not from torch's own."""
        return None

    def probe(self, answer: Any, cases: Any) -> Any:
        """Run the learner's code through :func:`call`, and return what came out as plain data."""
        raise NotImplementedError(f"{type(self).__name__} has no probe")

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        """Turn what the probe returned into rubric items. Never runs the learner's code."""
        raise NotImplementedError(f"{type(self).__name__} has no judge")


class UnknownExercise(LookupError):
    """No exercise has this name. The message is one line and names the nearest ones."""


Class = TypeVar("Class", bound=type[Exercise])
_registered: dict[str, Exercise] = {}


def exercise(name: str) -> Callable[[Class], Class]:
    """Register a subclass of :class:`Exercise` under ``"chapter.name"``."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", name):
        raise ValueError(f"exercise id {name!r}: expected 'chapter.name' in small letters")

    def register(cls: Class) -> Class:
        cls.id = name
        _registered[name] = cls()
        return cls

    return register


def find(name: str) -> Exercise:
    """The exercise called ``name``, or :class:`UnknownExercise`."""
    if not isinstance(name, str) or "." not in name:
        raise UnknownExercise(f"no exercise {name!r}: expected 'chapter.name'{_near(str(name))}")
    if name not in _registered:
        _load(chapter_of(name))
    if name not in _registered:
        raise UnknownExercise(f"no exercise {name!r}{_near(name)}")
    return _registered[name]


def exercises(chapter: str) -> list[Exercise]:
    """The exercises of a chapter (``"backprop"``, ``"02_backprop"``), in the order they stand."""
    chapter = chapter_of(chapter)
    _load(chapter)
    return [e for name, e in _registered.items() if name.split(".")[0] == chapter]


def chapters() -> list[str]:
    """The chapters that have exercises, in the order of their names."""
    names: set[str] = set()
    try:
        names.update(
            m.name for m in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__)
        )
    except ModuleNotFoundError:
        pass
    for folder in _overlays():
        names.update(file.stem for file in folder.glob("[a-z]*.py"))
    return sorted(names)


def chapter_of(name: str) -> str:
    """``"backprop"`` from ``"backprop.linear"``, ``"02_backprop"`` or ``"backprop"``."""
    return re.sub(r"^\d+_", "", name.split(".")[0])


def generator(seed: int) -> torch.Generator:
    """A source of random numbers for ``cases``, on the CPU: ``torch.randn(3, generator=...)``."""
    return torch.Generator().manual_seed(seed)


def case_seed(secret: str, name: str) -> int:
    """The seed of one exercise's cases: 63 bits of SHA-256 of the secret and the exercise's id."""
    digest = hashlib.sha256(f"{secret}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _overlays() -> list[Path]:
    return [Path(p) for p in os.environ.get(OVERLAY, "").split(os.pathsep) if p]


def _load(chapter: str) -> None:
    """Import the chapter's module, and its files in the overlay folders."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", chapter):
        return
    module = f"{PACKAGE}.{chapter}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (module, PACKAGE):
            raise
    for folder in _overlays():
        file = folder / f"{chapter}.py"
        key = f"roofline_overlay_{case_seed(str(folder.resolve()), chapter):x}"
        if key in sys.modules or not file.is_file():
            continue
        spec = importlib.util.spec_from_file_location(key, file)
        assert spec is not None and spec.loader is not None
        sys.modules[key] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[key])
        except BaseException:
            del sys.modules[key]
            raise


def _near(name: str) -> str:
    """'; did you mean ...' over every exercise there is, or the chapters there are."""
    known = chapters()
    for chapter in known:
        with suppress(Exception):  # another chapter's trouble is not this one's
            _load(chapter)
    near = difflib.get_close_matches(name, _registered, n=3, cutoff=0.7)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; the chapters with exercises are {', '.join(known)}" if known else ""
