"""The rooms that replace torch's autograd, nn and optim don't use them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import roofline

ROOT = Path(roofline.__file__).parent
FILES = sorted([*(ROOT / "nn").glob("*.py"), *(ROOT / "optim").glob("*.py"), ROOT / "losses.py"])
REPLACED = ("torch.autograd", "torch.nn", "torch.optim")


def used(source: str) -> set[str]:
    """Every dotted name that the source imports or spells out."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            names.add(ast.unparse(node))
    return names


def offends(name: str) -> bool:
    return any(name == module or name.startswith(module + ".") for module in REPLACED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_torchs_own_layers_stay_out(path: Path) -> None:
    assert not [name for name in used(path.read_text(encoding="utf-8")) if offends(name)]


def test_what_is_looked_for_would_be_found() -> None:
    for line in (
        "import torch.nn",
        "from torch import optim",
        "from torch.nn import functional",
        "import torch\ntorch.nn.functional.relu(x)",
        "import torch\ntorch.autograd.grad(y, x)",
    ):
        assert any(offends(name) for name in used(line)), line
    assert len(FILES) > 10
