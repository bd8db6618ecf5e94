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


@pytest.mark.parametrize(
    ("typed", "said"),
    {
        "machine --seconds -4": "roofline machine: invalid value for '--seconds': ",
        "machine --seconds soon": "roofline machine: invalid value for '--seconds': ",
        "machine --seconds inf": "roofline machine: invalid value for '--seconds': ",
        "machine --seconds": "roofline: option '--seconds' requires an argument",
        "machine --secnds 4": "roofline machine: no such option: --secnds",
        "machine 4": "roofline machine: got unexpected extra argument",
        "mach": "roofline: no such command 'mach'",
        "--fast": "roofline: no such option: --fast",
        "check": "roofline check: missing argument 'chapter'",
        "check nothing": "there is no chapter 'nothing' in chapters/",
        "progress nothing": "there are no exercises in nothing",
        "class grad": "roofline class: no such command 'grad'",
        "class grade": "roofline class grade: missing argument 'assignment'",
        "class grade x --workers 0": "roofline class grade: invalid value for '--workers': ",
        "class grade x --course nowhere": "no course.toml in ",
        "serve-grader . --workers two": "roofline serve-grader: invalid value for '--workers': ",
    }.items(),
)
def test_what_is_mistyped_is_one_line(
    typed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, typed.split(), prog_name="roofline")
    assert result.exit_code == 2 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(said)
    assert "│" not in line and "Usage" not in line


def test_help_is_no_mistake() -> None:
    for typed, code in (["--help"], 0), ([], 2), (["class"], 2), (["class", "grade", "--help"], 0):
        result = CliRunner().invoke(app, typed, prog_name="roofline")
        assert result.exit_code == code
        assert "Usage: roofline" in result.stdout and result.stderr.strip() == ""
