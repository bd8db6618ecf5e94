"""The commands, on machines that lack something: one line that says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from needs import need

ROOT = Path(__file__).resolve().parents[2]
TARGETS = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)

# A python3 that answers what the Makefile asks, and then does one thing.
STUB = """#!/bin/sh
case "$*" in
  --version) echo "Python {version}" ;;
  *version_info*) echo {new_enough} ;;
  *ensurepip*) echo {has_venv} ;;
  *"-m venv"*) mkdir -p .venv/bin; {make_venv} ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    need(shutil.which("make") is not None, "make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def python(clone: Path, **facts: str) -> None:
    facts = {"version": "3.12.1", "new_enough": "True", "has_venv": "True"} | facts
    script(clone / "bin" / "python3", STUB.format(**{"make_venv": "exit 1"} | facts))


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    environment["PATH"] = f"{clone / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["make", *arguments], cwd=clone, env=environment, capture_output=True, text=True
    )


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error, besides make's own."""
    assert result.returncode
    lines = [line for line in result.stderr.splitlines() if not re.match(r"make(\[\d\])?: ", line)]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_help_lists_every_command(clone: Path) -> None:
    told = make(clone, "help").stdout
    assert {"lab", "test", "notebooks", "bench", "lint", "help"} <= set(TARGETS[0].split())
    for target in TARGETS[0].split():
        assert re.search(rf"^make {target} +\S", told, re.M), target
    assert make(clone).stdout == told


def test_a_python_too_old(clone: Path) -> None:
    python(clone, version="3.9.6", new_enough="False")
    line = complaint(make(clone, "lab"))
    assert "Python 3.11 or newer" in line
    assert "Python 3.9.6" in line
    assert "make lab PYTHON=" in line
    assert "make test PYTHON=" in complaint(make(clone, "test"))


def test_no_python_at_all(clone: Path) -> None:
    line = complaint(make(clone, "lab", "PYTHON=python3-that-is-not-here"))
    assert "Python 3.11 or newer" in line
    assert "not found" in line


def test_no_venv_module(clone: Path) -> None:
    python(clone, has_venv="")
    assert "python3-venv" in complaint(make(clone, "lab"))


def test_a_venv_that_fails_is_not_left_half_made(clone: Path) -> None:
    python(clone, make_venv="echo 'Error: [Errno 28] No space left on device' >&2; exit 1")
    assert "The disk is full" in complaint(make(clone, "lab"))
    assert not (clone / ".venv").exists()


def pip(clone: Path, body: str) -> None:
    """An environment whose python is a script: what the install step then does is ``body``."""
    script(clone / ".venv" / "bin" / "python", f'#!/bin/sh\necho "$*" >> calls\n{body}\n')


def test_a_disk_that_fills_up_while_pip_installs(clone: Path) -> None:
    pip(clone, "echo 'ERROR: OSError: [Errno 28] No space left on device' >&2; exit 1")
    line = complaint(make(clone, "lab"))
    assert "The disk is full" in line
    assert "GB" in line
    assert not (clone / ".venv" / ".learner").exists()


def test_what_pip_says_otherwise_is_shown(clone: Path) -> None:
    pip(clone, "echo 'ERROR: no matching distribution' >&2; exit 1")
    assert complaint(make(clone, "lab")) == "ERROR: no matching distribution"


def test_a_second_call_installs_nothing_and_a_changed_list_does(clone: Path) -> None:
    pip(clone, "exit 0")
    script(clone / ".venv" / "bin" / "jupyter", '#!/bin/sh\necho "jupyter $*"\n')
    first = make(clone, "lab", "LAB_ARGS=--no-browser --port 8899")
    assert first.returncode == 0, first.stderr
    assert "--ServerApp.root_dir=chapters" in first.stdout
    assert first.stdout.rstrip().endswith("--no-browser --port 8899")
    calls = clone / "calls"
    assert calls.read_text().count("pip install") == 1
    assert "-c constraints.txt -e ." in calls.read_text()
    make(clone, "lab")
    assert calls.read_text().count("pip install") == 1
    later = (clone / ".venv" / ".learner").stat().st_mtime + 5
    os.utime(clone / "pyproject.toml", (later, later))
    make(clone, "lab")
    assert calls.read_text().count("pip install") == 2


def test_what_a_developer_has_serves_a_learner_too(clone: Path) -> None:
    pip(clone, "exit 0")
    assert make(clone, "test").returncode == 0
    assert "-e .[dev]" in (clone / "calls").read_text()
    (clone / "calls").write_text("")
    make(clone, "lab")
    make(clone, "instructor")
    assert "pip" not in (clone / "calls").read_text()


def test_the_tests_get_the_notebooks_too(clone: Path) -> None:
    told = make(clone, "-n", "test").stdout
    assert re.search(r"--nbval-lax --nbval-cell-timeout=120 .*tests solutions chapters", told)
    assert make(clone, "-n", "test", "TEST_ARGS=tests/nn").stdout.rstrip().endswith("tests/nn")
