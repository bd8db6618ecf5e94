"""The rooms that replace torch's autograd, nn and optim don't use them.

One exception has a name: the fast convolution calls torch's kernels, the backward one included, in
``autograd/convolution_kernels.py``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
import roofline
import torch
from roofline import losses, models, optim
from roofline.autograd import readable_convolution

ROOT = Path(roofline.__file__).parent
ROOMS = ("autograd", "nn", "optim")
FILES = sorted([*[p for room in ROOMS for p in (ROOT / room).rglob("*.py")], ROOT / "losses.py"])
REPLACED = ("torch.autograd", "torch.nn", "torch.optim", "torch.func", "functorch")
EXCEPTION = ROOT / "autograd" / "convolution_kernels.py"


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


def calls_a_kernel(name: str) -> bool:
    """By the table of all kernels, or one that computes a gradient: torch's autograd by parts."""
    return name.startswith("torch.ops") or (name.startswith("torch") and "backward" in name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_torchs_own_stay_out(path: Path) -> None:
    names = used(path.read_text(encoding="utf-8"))
    assert not [name for name in names if offends(name)]
    assert path == EXCEPTION or not [name for name in names if calls_a_kernel(name)]


def test_the_exception_is_one() -> None:
    assert "torch.ops.aten.convolution_backward" in used(EXCEPTION.read_text(encoding="utf-8"))


def test_what_is_looked_for_would_be_found() -> None:
    for line in (
        "import torch.nn",
        "from torch import optim",
        "from torch.nn import functional",
        "import torch\ntorch.nn.functional.relu(x)",
        "import torch\ntorch.autograd.grad(y, x)",
        "from torch.func import grad",
    ):
        assert any(offends(name) for name in used(line)), line
    for line in ("torch.ops.aten.relu(x)", "torch._softmax_backward_data(x)"):
        assert any(calls_a_kernel(name) for name in used(line)), line
    assert len(FILES) > 30 and EXCEPTION in FILES


@contextmanager
def torchs_own_raise(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever calls them, and by whatever name: torch's walk, its layers and its optimizers."""

    def refuse(*args: Any, **options: Any) -> NoReturn:
        raise AssertionError("torch's own was called")

    with monkeypatch.context() as patch:
        for module in (torch.nn.functional, torch.autograd):
            for name, function in vars(module).items():
                if callable(function) and not isinstance(function, type):
                    patch.setattr(module, name, refuse)
        patch.setattr(torch.nn.Module, "__call__", refuse)
        patch.setattr(torch.nn.Module, "__init__", refuse)
        patch.setattr(torch.optim.Optimizer, "__init__", refuse)
        patch.setattr(torch.Tensor, "backward", refuse)
        # In inference mode torch's autograd records nothing, even where a tensor asks for it.
        with torch.inference_mode():
            yield


@pytest.mark.parametrize("name", ["mlp", "cnn", "readable cnn", "resnet", "lstm", "gpt", "bert"])
def test_models_train_without_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, x = {
        "mlp": (lambda: models.MLP([4, 8, 3]), torch.randn(6, 4)),
        "cnn": (lambda: models.TwoConvNet(1, 10), torch.randn(6, 1, 10, 10)),
        "readable cnn": (lambda: models.TwoConvNet(1, 10), torch.randn(6, 1, 10, 10)),
        "resnet": (lambda: models.ResNet(1, width=4), torch.randn(6, 3, 8, 8)),
        "lstm": (lambda: models.RecurrentLM("lstm", 11, 4, 8), torch.randint(11, (6, 5))),
        "gpt": (lambda: models.GPT(11, 8, 8, 2, 1), torch.randint(11, (6, 5))),
        "bert": (lambda: models.BERT(11, 8, 8, 2, 1), torch.randint(11, (6, 5))),
    }[name]
    torch.manual_seed(0)
    with torchs_own_raise(monkeypatch):
        model = build()
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)
        values = []
        for _ in range(8):
            logits = model(x).flatten(0, -2)
            targets = torch.arange(len(logits)) % 3
            if name == "readable cnn":
                with readable_convolution():
                    logits = model(x)
            loss = losses.cross_entropy(logits, targets)
            loss.backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            values.append(loss.item())
    assert values[-1] < values[0]
    assert not any(parameter.data.requires_grad for parameter in model.parameters())
