"""The house: a room imports only from rooms below it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "lib" / "roofline"

# Floor by floor. A room may import from any floor below its own, and from what stands beside.
FLOORS = [
    {"autograd"},
    {"nn"},
    {"losses", "optim"},
    {"data", "models", "train"},
    {"exercises", "lab"},
    {"classroom"},
    {"course"},
    {"cli", "__main__"},
]
# Beside the house: what each of them may import. Every room may import hardware and the choice of a
# device, and those from exercises up may import grading.
BESIDE = {"hardware": set(), "device": set(), "grading": {"hardware"}}


def room(module: str) -> str:
    """``roofline.nn.layers`` is in ``nn``; the package itself is in no room."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> set[str]:
    """The rooms that one file imports from, at any depth."""
    package = ["roofline", *path.relative_to(LIBRARY).parent.parts]
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            modules.add(module)
            modules |= {f"{module}.{alias.name}" for alias in node.names if module == "roofline"}
    return {room(m) for m in modules if m.split(".")[0] == "roofline"} - {"", "__version__"}


def allowed(name: str) -> set[str]:
    if name in BESIDE:
        return BESIDE[name] | {name}
    index = next(i for i, floor in enumerate(FLOORS) if name in floor)
    beside = (
        set(BESIDE) if "exercises" in set().union(*FLOORS[: index + 1]) else {"hardware", "device"}
    )
    return set().union(*FLOORS[:index]) | beside | {name}


def files() -> list[Path]:
    files = LIBRARY.rglob("*.py")
    return sorted(p for p in files if p != LIBRARY / "__init__.py" and "bundled" not in p.parts)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(LIBRARY)))
def test_a_room_imports_only_from_rooms_below_it(path: Path) -> None:
    name = path.relative_to(LIBRARY).with_suffix("").parts[0]
    known = set().union(*FLOORS) | set(BESIDE)
    assert name in known, f"{name} has no floor: give it one here"
    assert imports(path) <= allowed(name)


def test_grading_counts_and_knows_no_chapter() -> None:
    for path in (LIBRARY / "grading").rglob("*.py"):
        assert "exercises" not in imports(path)


def test_the_rule_is_the_rule() -> None:
    assert allowed("autograd") == {"autograd", "hardware", "device"}
    assert "grading" in allowed("exercises")
    assert "lab" not in allowed("train")
    assert {"autograd", "nn", "losses"} <= allowed("train")
    assert allowed("grading") == {"hardware", "grading"}
    assert imports(LIBRARY / "autograd" / "tape.py") <= {"autograd"}
