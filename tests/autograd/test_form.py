"""The rooms that are read like a book: short files, and not too many lines in all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import roofline

ROOT = Path(roofline.__file__).parent
FILES = sorted([*(ROOT / "autograd").glob("*.py"), *(ROOT / "nn").glob("*.py")])
MOST = 330  # "about 300", every line counted


def lines_of_code(source: str) -> int:
    """Lines that are not empty, not a comment and not part of a docstring."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            text = body[0].value
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                prose |= set(range(body[0].lineno, body[0].end_lineno + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(bool(x.strip()) and x.strip()[0] != "#" and n not in prose for n, x in lines)


def test_what_counts_as_a_line() -> None:
    assert lines_of_code('"""Prose.\n\nMore."""\n\n# why\nx = 1  # so\n\ny = """a\nb"""\n') == 3
    assert lines_of_code('def f():\n    """Prose."""\n    return 1\n') == 2


def test_autograd_and_nn_stay_under_3000_lines_of_code() -> None:
    assert sum(lines_of_code(path.read_text(encoding="utf-8")) for path in FILES) < 3000


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_is_about_300_lines_at_most(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_public_says_what_it_does(path: Path) -> None:
    """Every file, and every function and class of it that has a public name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
