"""What stands for the code that a score depends on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import roofline


def private_exercises(folder: Path) -> tuple[tuple[str, str], ...]:
    """Private exercises, by file name."""
    found = sorted(folder.glob("[a-z]*.py")) if folder.is_dir() else []
    return tuple((path.name, path.read_text(encoding="utf-8")) for path in found)


# What no score depends on.
_ASIDE = {
    *("cli.py", "commands.py", "more_commands.py", "options.py", "terminal.py"),
    *("lab", "bundled", "report.py", "export.py", "serve.py"),
}


def code_version() -> str:
    """Stands for the code of this library that a score may depend on."""
    root = Path(roofline.__file__).parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if not _ASIDE & set(parts):
            total.update("/".join(parts).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()
