"""A skip is allowed on a user's machine and fails where CI is set, wherever it happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

WAYS = {
    "in a test": "def test():\n    need(False, 'the tool')\n",
    "in a fixture": (
        "@pytest.fixture\ndef tool():\n    pytest.skip('the tool is not there')\n\n"
        "def test(tool):\n    pass\n"
    ),
    "by a mark": "@pytest.mark.skipif(True, reason='the tool')\ndef test():\n    pass\n",
    "of a module": "pytest.skip('the tool', allow_module_level=True)\n",
    "of a missing module": "pytest.importorskip('no_such_module')\n",
}


def run(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors", str(folder)],
        env=environment | {"CI": ci, "PYTHONPATH": str(TESTS)},
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_a_skip_fails_in_ci_and_only_there(tmp_path: Path) -> None:
    shutil.copy(TESTS / "conftest.py", tmp_path)
    for way, body in WAYS.items():
        text = f"import pytest\nfrom needs import need\n\n\n{body}"
        name = "test_" + way.replace(" ", "_")
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    at_home = run(tmp_path, ci="").stdout.splitlines()[-1]
    assert at_home.startswith(f"{len(WAYS)} skipped in"), at_home
    in_ci = run(tmp_path, ci="true")
    assert in_ci.returncode in (1, 2)
    assert "skipped in" not in in_ci.stdout.splitlines()[-1]
    for way in WAYS:
        assert f"test_{way.replace(' ', '_')}" in in_ci.stdout, way
