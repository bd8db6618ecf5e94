"""A notebook with every experiment, run without a browser: what is saved reads without a kernel."""

from __future__ import annotations

import html
import importlib.util
import re
from typing import Any

import pytest
from needs import need
from roofline import lab


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The notebook after a run, by what ``ROOFLINE_MEASURE`` says."""
    for package in ("nbformat", "nbclient", "nbconvert"):
        need(importlib.util.find_spec(package) is not None, package)
    import nbclient
    import nbformat

    books = {}
    for mode in ("live", "replay"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ROOFLINE_HOME", str(tmp_path_factory.mktemp("home")))
            patch.setenv("ROOFLINE_MEASURE", mode)
            cells = [nbformat.v4.new_code_cell("from roofline import lab")]
            cells += [nbformat.v4.new_code_cell(f"lab.{name}()") for name in lab.names()]
            for number, cell in enumerate(cells):
                cell["id"] = f"cell-{number}"
            book = nbformat.v4.new_notebook(cells=cells)
            nbclient.NotebookClient(book, timeout=120, store_widget_state=False).execute()
            books[mode] = book
    return books


def outputs(book: Any) -> list[Any]:
    return [cell.outputs for cell in book.cells[1:]]


def test_the_same_is_saved_whether_measured_live_or_replayed(saved):
    assert outputs(saved["live"]) == outputs(saved["replay"])


def test_every_experiment_is_one_picture_with_its_line(saved):
    for name, (output,) in zip(lab.names(), outputs(saved["live"]), strict=True):
        experiment = lab.find(name)
        expected = experiment.saved(experiment.model())
        assert output.data["text/plain"] == expected["text/plain"]
        assert output.data["image/png"].strip() == expected["image/png"]


def test_a_page_of_it_shows_every_picture_without_a_network(saved):
    import nbconvert

    page, _ = nbconvert.HTMLExporter(template_name="basic").from_notebook_node(saved["live"])
    pictures = re.findall(r'<img[^>]* src="data:image/png;base64,', page.replace("\n", " "))
    assert len(pictures) == len(lab.names())
    for name in lab.names():
        experiment = lab.find(name)
        line = experiment.saved(experiment.model())["text/plain"]
        assert f'alt="{html.escape(line)}"' in page or f'alt="{line}"' in page
    assert "https://" not in page and "http://" not in page


def test_what_was_timed_is_on_the_saved_picture_and_says_of_which_machine(saved):
    for name, (output,) in zip(lab.names(), outputs(saved["live"]), strict=True):
        if lab.find(name).measure is not None:
            assert "replayed: measured on" in output.data["text/plain"], name
