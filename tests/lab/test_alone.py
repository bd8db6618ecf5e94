"""One experiment alone: the list, the notebook that is opened, and what is left once saved."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from needs import need
from roofline import lab
from roofline.cli import app
from roofline.lab import alone
from roofline.lab.experiment import WIDGET_VIEW
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_names_each_experiment_with_its_title():
    lines = lab.listing().splitlines()
    assert len(lines) == len(lab.names())
    assert any(re.fullmatch(r"remembered +Bytes that training remembers.*", line) for line in lines)


def test_an_unknown_name_is_one_line_and_starts_nothing(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(lab.ControlError, match="^there is no experiment 'nosuch': choose one of"):
        lab.open_alone("nosuch")


def test_jupyterlab_is_started_on_the_notebook_and_asks_nothing(monkeypatch, tmp_path):
    calls = []

    def run(command, check):
        calls.append(command)
        assert Path(command[3]).read_text(encoding="utf-8") == alone.notebook(
            lab.remembered, tmp_path
        )
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    assert lab.open_alone("remembered", ("--no-browser",)) == 0
    (command,) = calls
    assert command[:3] == [sys.executable, "-m", "jupyterlab"] and command[-1] == "--no-browser"
    assert set(alone.OFFLINE) <= set(command)
    assert not Path(command[3]).exists() and not list(tmp_path.iterdir())


def test_make_lab_asks_nothing_either():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for option in alone.OFFLINE:
        assert option.replace(f"{ROOT.as_posix()}/", "") in makefile


def test_the_command_lists_opens_and_refuses(monkeypatch):
    command = CliRunner()
    assert command.invoke(app, ["lab", "--list"]).output.strip() == lab.listing()
    opened = []
    monkeypatch.setattr(lab, "open_alone", lambda *call: opened.append(call) or 3)
    result = command.invoke(app, ["lab", "remembered", "--", "--no-browser"])
    assert opened == [("remembered", ("--no-browser",))] and result.exit_code == 3
    monkeypatch.undo()
    result = command.invoke(app, ["lab", "nosuch"])
    assert result.exit_code == 2 and len(result.output.splitlines()) == 1


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook after a run without a browser, as a build or a grader does it."""
    for package in ("nbformat", "nbclient", "nbconvert"):
        need(importlib.util.find_spec(package) is not None, package)
    import nbclient
    import nbformat

    folder = tmp_path_factory.mktemp("alone")
    book = nbformat.reads(alone.notebook(lab.remembered, folder), as_version=4)
    nbformat.validate(book)
    nbclient.NotebookClient(book, timeout=120, store_widget_state=False).execute()
    return book


def test_the_saved_notebook_holds_one_bundle(executed):
    (output,) = executed.cells[1].outputs
    assert output.output_type == "display_data"
    assert output.data[WIDGET_VIEW]["model_id"] == "roofline-lab-remembered-1"
    saved = lab.remembered.saved(lab.remembered.model())
    assert output.data["text/plain"] == saved["text/plain"]
    assert output.data["image/png"].strip() == saved["image/png"]


def test_it_reads_as_a_page_without_kernel_or_network(executed):
    import nbconvert

    page, _ = nbconvert.HTMLExporter(template_name="basic").from_notebook_node(executed)
    assert 'src="data:image/png;base64,' in page
    assert f'alt="{lab.remembered.describe(lab.remembered.model())}"' in page
    assert "https://" not in page and "http://" not in page
