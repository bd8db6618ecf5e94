"""CONTRIBUTING.md, followed literally in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from needs import need

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
# "write `path`:" and the like, then fenced blocks with nothing between them but empty lines.
STEP = re.compile(
    r"(?:[Ww]rite|[Aa]ppend to|[Ii]n)\s+`([\w/.]+)`(?:, swap)?:\s+((?:```.*?^```\s*)+)",
    re.M | re.S,
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows of this repository, and what is new in it."""
    need(shutil.which("git") is not None and (ROOT / ".git").exists(), "git")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    target = tmp_path_factory.mktemp("contributing")
    for name in set(filter(None, files.stdout.split("\0"))):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def follow(copy: Path, section: str) -> str:
    """Do what a section says, in its order. Returns what its commands printed."""
    said = ""
    text = SECTIONS[section]
    for match in re.finditer(rf"{STEP.pattern}|^```sh\n(.*?)^```", text, re.M | re.S):
        path, blocks, commands = match.groups()
        if commands:
            for command in commands.splitlines():
                said += run(copy, command)
            continue
        verb = match.group(0).split("`")[0].split()[0].lower()
        for language, block in re.findall(r"```(\w+)\n(.*?)^```", blocks, re.M | re.S):
            edit(copy / path, verb, language, block)
    return said


def edit(path: Path, verb: str, language: str, block: str) -> None:
    if language == "diff":
        lines = block.splitlines()
        old = "\n".join(line[1:] for line in lines if line.startswith("-"))
        new = "\n".join(line[1:] for line in lines if line.startswith("+"))
        assert all(line[0] in "-+" for line in lines), block
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path.name}"
        path.write_text(text.replace(old, new), encoding="utf-8")
    elif verb == "append":
        path.write_text(path.read_text(encoding="utf-8") + "\n\n" + block, encoding="utf-8")
    else:
        assert not path.exists(), path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block, encoding="utf-8")


def run(copy: Path, command: str) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(copy / "lib"),
        "ROOFLINE_HOME": str(copy / "home"),
        "OMP_NUM_THREADS": "1",
    }
    result = subprocess.run(
        command, shell=True, cwd=copy, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


def test_the_page_has_what_people_come_for() -> None:
    assert list(SECTIONS) == [
        "An op",
        "An exercise, with its wrong answers",
        "A chapter",
        "A device",
    ]
    for name, text in SECTIONS.items():
        assert len(text.splitlines()) < 110, f"{name} is longer than a page"


def test_following_it_works(copy: Path) -> None:
    assert "passed" in follow(copy, "An op")
    graded = follow(copy, "An exercise, with its wrong answers")
    assert re.search(r"memory\.adam_bytes +4 of 4 +2 of 2 +0", graded), graded
    built = follow(copy, "A chapter")
    assert "wrote solutions/08_memory/08_memory.ipynb" in built
    assert "wrote chapters/08_memory/08_memory.ipynb" in built
    assert "2*4*parameters" not in (
        (copy / "chapters/08_memory/08_memory.ipynb").read_text().replace(" ", "")
    )
    follow(copy, "A device")


def test_what_it_adds_is_clean(copy: Path) -> None:
    files = " ".join(path for path, _ in STEP.findall(PAGE))
    assert len(files.split()) > 5
    run(copy, f"ruff format --check {files}")
    run(copy, f"ruff check {files}")
