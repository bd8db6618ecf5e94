"""The commands that no other test calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from roofline.cli import app
from typer.testing import CliRunner


def test_machine_measures_saves_and_prints_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOFLINE_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["machine", "--device", "cpu", "--seconds", "1", "--json"])
    assert result.exit_code == 0, result.output
    profile = json.loads(result.stdout)
    assert profile["device"] == "cpu"
    assert json.loads((tmp_path / "profile-cpu.json").read_text()) == profile


def test_an_unknown_device_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["machine", "--device", "abacus"])
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("roofline machine: there is no device 'abacus' here: choose cpu")
    assert not list(tmp_path.iterdir())
