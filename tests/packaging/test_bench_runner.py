"""``make bench`` runs every module that has a ``run``; one that fails stops none of the others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def course(tmp_path: Path) -> Path:
    bench = tmp_path / "tests" / "bench"
    bench.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "bench" / "__main__.py", bench)
    (bench / "first.py").write_text("def run():\n    return {'ratio': 0.9}\n")
    (bench / "second.py").write_text("import helper\n\ndef run():\n    raise OSError(helper.WHY)\n")
    (bench / "third.py").write_text("def run() -> dict:\n    return {'bytes': 3}\n")
    (bench / "helper.py").write_text("WHY = 'no such thing'\n")
    return tmp_path


def bench(course: Path, *names: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(course / "tests" / "bench"), *names]
    return subprocess.run(command, capture_output=True, text=True)


def report(course: Path) -> dict:
    found: dict = json.loads((course / "build" / "bench.json").read_text())
    return found


def test_all_modules_are_run_each_under_its_name(course: Path) -> None:
    assert bench(course).returncode == 1  # one of them failed
    found = report(course)
    assert set(found) == {"machine", "first", "second", "third"}
    assert found["first"] == {"ratio": 0.9}
    assert found["third"] == {"bytes": 3}
    assert found["second"] == {"error": "OSError: no such thing"}
    assert found["machine"]["cores"] >= 1
    assert [path.name for path in (course / "build").iterdir()] == ["bench.json"]


def test_a_named_one_replaces_its_own_result_only(course: Path) -> None:
    bench(course)
    # Of another size: Python takes a cached module of the same second and size for the new one.
    (course / "tests/bench/first.py").write_text("def run():\n    return {'ratio': 0.75}\n")
    assert bench(course, "first").returncode == 0
    assert report(course)["first"] == {"ratio": 0.75}
    assert report(course)["third"] == {"bytes": 3}


def test_an_unknown_name_is_told(course: Path) -> None:
    result = bench(course, "fourth")
    assert result.returncode == 2
    assert result.stderr == "no benchmark fourth: there are first, second, third\n"
