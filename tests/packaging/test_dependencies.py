"""What is imported is declared, and the three lists of packages say the same."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

# conda-forge's names for what has another name on the Python side.
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def requirements(lines: list[str]) -> dict[str, Requirement]:
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r for r in found if r.name != "roofline"}


LEARNER = requirements(PROJECT["dependencies"])
INSTRUCTOR = LEARNER | requirements(EXTRAS["instructor"])
COURSE = INSTRUCTOR | requirements(EXTRAS["cluster"]) | requirements(EXTRAS["postgres"])
DEVELOPER = COURSE | requirements(EXTRAS["dev"])


def imported(path: Path) -> set[str]:
    """The distributions that one file imports from, at any depth; not the library's own."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    names -= sys.stdlib_module_names | {"roofline"}
    return {canonicalize_name(providers().get(name, [name])[0]) for name in names}


# Reading every installed package takes a while.
providers = cache(packages_distributions)


def sources(folder: str) -> list[Path]:
    """The Python files of a folder, without the scripts that once made the bundled data."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return [path for path in files if (path.parents[1].name, path.name) != ("bundled", "make.py")]


def test_there_are_sources_to_look_at() -> None:
    assert len(sources("lib/roofline")) > 10


@pytest.mark.parametrize("path", sources("lib/roofline"), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_import_of_the_library_is_a_declared_dependency(path: Path) -> None:
    for_instructors = path.is_relative_to(ROOT / "lib/roofline/classroom")
    declared = INSTRUCTOR if for_instructors else LEARNER
    if path.is_relative_to(ROOT / "lib/roofline/course"):
        declared = COURSE
    assert imported(path) <= set(declared), "declare it in pyproject.toml and environment.yml"


def test_a_chapter_needs_only_what_a_learner_has() -> None:
    for path in (ROOT / "solutions").glob("*.py"):
        assert imported(path) <= set(LEARNER), path


def test_every_import_of_the_tests_is_a_declared_dependency() -> None:
    own = {name for path in sources("tests") for name in (path.stem, path.parent.name)}
    used = set().union(*map(imported, sources("tests")))
    assert used - own <= set(DEVELOPER)


def test_an_undeclared_import_would_be_seen(tmp_path: Path) -> None:
    guilty = tmp_path / "guilty.py"
    guilty.write_text("def f():\n    import pandas.io\n    from os import path\n", encoding="utf-8")
    assert imported(guilty) == {"pandas"}


def test_conda_environment_is_what_pyproject_says() -> None:
    lines = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    packages = {
        canonicalize_name(CONDA_NAMES.get(r.name, r.name)): r.specifier
        for r in (Requirement(line) for line in lines if isinstance(line, str))
    }
    assert str(packages.pop("python")) == PROJECT["requires-python"]
    packages.pop("pip")
    assert packages == {name: r.specifier for name, r in LEARNER.items()}
    assert [line["pip"] for line in lines if isinstance(line, dict)] == [["-e ."]]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    for pin in pins:  # one index anywhere serves it: no path, no address, no local build
        assert re.fullmatch(r"[\w.-]+==[\w.]+", pin), pin
    return {canonicalize_name(pin.split("==")[0]): pin.split("==")[1] for pin in pins}


def test_the_tested_set_lies_within_the_ranges() -> None:
    pins = constraints()
    assert pins["torch"] == "2.13.0"
    for name, requirement in DEVELOPER.items():
        assert name in pins, f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{name} {pins[name]}"


def test_ranges_are_ranges() -> None:
    """An exact pin in pyproject.toml rots; a dependency without a lower bound is a wish."""
    for name, requirement in DEVELOPER.items():
        operators = {clause.operator for clause in requirement.specifier}
        assert ">=" in operators, name
        assert "==" not in operators, name
