"""What the README tells people to type exists, and what it links to is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")


def fenced(text: str, language: str) -> list[str]:
    """The lines of every fenced block of one language."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


def test_every_make_command_is_one() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert targets is not None
    named = re.findall(r"\bmake ([a-z]+)\b", "\n".join([*fenced(README, "sh"), README]))
    quoted = set(re.findall(r"`make ([a-z]+)", README)) | set(
        re.findall(r"^make ([a-z]+)", "\n".join(fenced(README, "sh")), re.M)
    )
    assert {"lab", "test", "lint", "instructor"} <= quoted <= set(named)
    assert quoted <= set(targets[1].split())


def test_every_command_of_ours_and_of_nbgrader_is_one() -> None:
    lines = "\n".join(fenced(README, "sh"))
    ours = set(re.findall(r"^roofline ([a-z-]+)", lines, re.M))
    assert {"progress", "check"} <= ours
    for name in ours:
        run = subprocess.run(
            [sys.executable, "-m", "roofline.cli", name, "--help"], capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
    from nbgrader.apps.nbgraderapp import NbGraderApp

    theirs = set(re.findall(r"^nbgrader ([a-z_]+)", lines, re.M))
    assert {"generate_assignment", "autograde", "generate_feedback", "export"} == theirs
    assert theirs <= set(NbGraderApp.subcommands)


def test_windows_lines_are_what_the_workflow_runs() -> None:
    runs = [step.get("run") for step in yaml.safe_load(WORKFLOW)["jobs"]["windows"]["steps"]]
    told = fenced(README, "bat")
    for line in filter(None, runs):
        assert line in told, line
    assert any("-e ." in line and "[dev]" not in line for line in told)


def test_the_workflow_calls_the_same_commands() -> None:
    jobs = yaml.safe_load(WORKFLOW)["jobs"]
    steps = {name: [step.get("run") for step in job["steps"]] for name, job in jobs.items()}
    assert "bash .ci/run" in steps["linux"]
    assert {"make lint", "make test"} <= set(steps["macos"])
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert "make lint" in ci
    assert "make test" in ci


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    for link in links:
        if not link.startswith("https://"):
            assert (ROOT / link).exists(), link


def test_pictures_are_small_and_have_a_text() -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert len(pictures) == 2
    for text, path in pictures:
        assert len(text) > 20
        assert 5_000 < (ROOT / path).stat().st_size < 200_000, path


def test_the_table_of_chapters_is_true() -> None:
    rows = re.findall(r"^\| (\d\d) \| (.+?) \| .+? \| (ready|planned) \|$", README, re.M)
    assert [number for number, _, _ in rows] == [f"{i:02}" for i in range(1, len(rows) + 1)]
    ready = {number for number, _, state in rows if state == "ready"}
    built = {path.name[:2] for path in (ROOT / "chapters").glob("[0-9][0-9]_*/*.ipynb")}
    assert ready == built, "the README's table says which chapters are ready: bring it up to date"
    for _, title, state in rows:
        assert title.startswith("[") == (state == "ready")


def test_every_bundled_data_set_has_its_licence_named() -> None:
    found = sorted((ROOT / "lib/roofline/data/bundled").glob("*/source.json"))
    assert found
    for path in found:
        source = json.loads(path.read_text(encoding="utf-8"))
        folder = path.parent.relative_to(ROOT).as_posix()
        row = f"| {source['title']} | [{path.parent.name}]({folder}) | {source['licence']} |"
        assert row in README, row
        assert (path.parent / "LICENSE").stat().st_size > 100
