"""What is installed: every file of the library, data and traces included, and its command."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from needs import need

ROOT = Path(__file__).resolve().parents[2]


def tracked(folder: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def test_a_wheel_holds_every_file_of_the_library(tmp_path: Path) -> None:
    need(shutil.which("git") is not None and (ROOT / ".git").exists(), "git")
    files = tracked("lib/roofline")
    for name in [*files, "pyproject.toml", "README.md", "LICENSE", "LICENSE-PROSE"]:
        copy = tmp_path / "copy" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(tmp_path / "copy")], check=True)
    (wheel,) = tmp_path.glob("roofline-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert len(files) > 20
    assert {name.removeprefix("lib/") for name in files} <= inside
    assert {name.split("/")[0].split("-")[0] for name in inside} == {"roofline"}
    metadata = next(name for name in inside if name.endswith("/METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "Requires-Python: >=3.11" in text
    assert "License-Expression: Apache-2.0 AND CC-BY-4.0" in text
