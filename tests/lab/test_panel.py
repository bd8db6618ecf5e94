"""An experiment in a notebook: prediction first, plain widgets, a saved form without a kernel."""

from __future__ import annotations

import csv
import json

import ipywidgets
import pytest
from roofline import lab
from roofline.grading import predict, prediction
from roofline.lab import panel as panels
from roofline.lab.experiment import WIDGET_VIEW


@pytest.fixture(autouse=True)
def learner(monkeypatch, tmp_path_factory):
    """A learner who has predicted nothing yet, whose records stay in this test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ROOFLINE_HOME", str(home))
    monkeypatch.setenv("ROOFLINE_MEASURE", "replay")  # test_measuring.py has what is measured
    return home


@pytest.fixture
def panel(tmp_path):
    return lab.Panel(lab.remembered, folder=tmp_path)


def inside(widget):
    """The widget and all that it holds."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def button(panel, words):
    return next(
        w
        for w in inside(panel.widget)
        if isinstance(w, ipywidgets.Button) and w.description == words
    )


def field(panel):
    return next(w for w in inside(panel.widget) if type(w) is ipywidgets.Text)


def commit(panel, typed):
    field(panel).value = typed
    button(panel, "Commit").click()


def test_no_picture_before_a_prediction(panel):
    assert panel.picture not in inside(panel.widget) and not bytes(panel.picture.value)
    assert not [w for w in inside(panel.widget) if w in panel.control_widgets.values()]
    commit(panel, "1.5")
    assert prediction("lab.remembered") == 1.5
    assert panel.picture in inside(panel.widget) and bytes(panel.picture.value)[:4] == b"\x89PNG"
    words = " ".join(w.value for w in inside(panel.widget) if isinstance(w, ipywidgets.HTML))
    assert "You predicted 1.5 MB. It is 5.8 MB (measured)" in words


@pytest.mark.parametrize("typed", ["", "lots", "0", "-3", "nan", "inf", "1.5 MB"])
def test_what_is_not_a_number_is_refused_in_one_line(panel, typed):
    commit(panel, typed)
    assert "type one such as 1.5, in MB" in panel.notice.value
    assert prediction("lab.remembered") is None and panel.picture not in inside(panel.widget)


def test_a_comma_is_a_decimal_sign_too(panel):
    commit(panel, "0,5")
    assert prediction("lab.remembered") == 0.5


@pytest.mark.parametrize("typed", ["1,024", " 12,000"])
def test_a_comma_that_may_part_thousands_is_asked_about(panel, typed):
    commit(panel, typed)
    assert "type it without a comma" in panel.notice.value
    assert prediction("lab.remembered") is None


def test_what_no_plan_answers_is_not_called_unmeasured(tmp_path):
    panel = lab.Panel(lab.planner, tmp_path, network="GPT 1T", device="RTX 4090", devices=8)
    commit(panel, "40")
    assert "You predicted 40 %. There is none at these settings" in panel.reckoning.value


def test_a_kept_prediction_is_not_asked_for_again(tmp_path, capsys):
    predict("lab.remembered", 2.0)
    panel = lab.Panel(lab.remembered, folder=tmp_path)
    assert panel.picture in inside(panel.widget)
    # Another first setting is another question.
    asked = lab.Panel(lab.remembered, folder=tmp_path, batch=256)
    assert asked.picture not in inside(asked.widget)


def test_a_moved_control_changes_picture_then_text(panel):
    commit(panel, "1")
    order = []
    panel.picture.observe(lambda _: order.append("picture"), names="value")
    panel.line.observe(lambda _: order.append("line"), names="value")
    picture, line = bytes(panel.picture.value), panel.line.value
    panel.control_widgets["batch"].value = 256
    assert order == ["picture", "line"]
    assert bytes(panel.picture.value) != picture and panel.line.value != line
    assert panel.picture.tooltip == lab.remembered.describe(lab.remembered.model(batch=256))


def test_text_is_spoken_when_it_changes(panel):
    commit(panel, "1")
    assert 'aria-live="polite"' in panel.line.value
    button(panel, "Keep this trial").click()
    assert 'aria-live="polite"' in panel.notice.value


@pytest.mark.parametrize("name", lab.names())
def test_widgets_are_plain_ones_that_a_keyboard_operates(name, tmp_path):
    panel = lab.Panel(lab.find(name), folder=tmp_path)
    plain = (
        ipywidgets.VBox,
        ipywidgets.HBox,
        ipywidgets.HTML,
        panels.Picture,
        ipywidgets.Button,
        ipywidgets.Text,
        ipywidgets.SelectionSlider,
        ipywidgets.ToggleButtons,
        ipywidgets.IntProgress,
    )
    seen = list(inside(panel.widget))
    commit(panel, "1")
    seen += inside(panel.widget)
    assert {type(widget) for widget in seen} <= set(plain)
    named = [
        w for w in seen if isinstance(w, ipywidgets.Button) or w in panel.control_widgets.values()
    ]
    assert all(widget.description for widget in named)
    assert set(panel.control_widgets) == set(lab.find(name).controls)


def test_trials_are_kept_once_and_saved(panel, tmp_path):
    commit(panel, "1")
    button(panel, "Save trials").click()
    assert "keep a trial first" in panel.notice.value
    button(panel, "Keep this trial").click()
    button(panel, "Keep this trial").click()
    assert "move a control first" in panel.notice.value and len(panel.rows) == 1
    panel.control_widgets["activation"].value = "silu"
    button(panel, "Keep this trial").click()
    assert panel.table.value.count("<tr>") == 3
    button(panel, "Save trials").click()
    assert str(tmp_path / "remembered_trials.csv") in panel.notice.value
    with open(tmp_path / "remembered_trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["activation"] for row in rows] == ["relu", "silu"]
    assert rows[0]["remembered, bytes (measured)"] == rows[0]["remembered, bytes (modelled)"]
    panel.file.value = "mine.json"
    button(panel, "Save trials").click()
    assert json.loads((tmp_path / "mine.json").read_text()) == panel.rows


def test_trials_of_another_time_are_not_written_over(panel, tmp_path):
    saved = tmp_path / "remembered_trials.csv"
    saved.write_text("yesterday's", encoding="utf-8")
    commit(panel, "1")
    button(panel, "Keep this trial").click()
    button(panel, "Save trials").click()
    assert "remembered_trials.csv is there already" in panel.notice.value
    assert saved.read_text(encoding="utf-8") == "yesterday's"
    panel.file.value = "today.csv"
    for activation in ("silu", "gelu"):  # its own file grows
        panel.control_widgets["activation"].value = activation
        button(panel, "Keep this trial").click()
        button(panel, "Save trials").click()
    assert len((tmp_path / "today.csv").read_text(encoding="utf-8").splitlines()) == 4


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("trials.xlsx", "end the name in .csv or .json"),
        ("", "end the name in .csv or .json"),
        ("nowhere/trials.csv", "No such file or directory; choose another place"),
        ("a" * 300 + ".csv", "too long; choose another place"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line_and_leaves_nothing(panel, tmp_path, name, says):
    commit(panel, "1")
    button(panel, "Keep this trial").click()
    panel.file.value = name
    button(panel, "Save trials").click()
    assert says in panel.notice.value
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_be_in_the_home(panel, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    commit(panel, "1")
    button(panel, "Keep this trial").click()
    panel.file.value = "~/mine.csv"
    button(panel, "Save trials").click()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


def test_a_folder_in_the_place_of_the_file_is_one_line_and_stays(panel, tmp_path):
    (tmp_path / "remembered_trials.csv").mkdir()
    commit(panel, "1")
    button(panel, "Keep this trial").click()
    button(panel, "Save trials").click()
    assert "choose another place" in panel.notice.value
    assert [path.name for path in tmp_path.iterdir()] == ["remembered_trials.csv"]


def test_what_is_displayed_is_one_bundle_that_reads_without_a_kernel(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(panels, "get_ipython", lambda: object())
    monkeypatch.setattr(
        panels, "display", lambda bundle, **options: shown.append((bundle, options))
    )
    lab.remembered(folder=tmp_path, batch=32)
    ((bundle, options),) = shown
    assert set(bundle) == {WIDGET_VIEW, "image/png", "text/plain"}
    saved = lab.remembered.saved(lab.remembered.model(batch=32))
    assert {mime: bundle[mime] for mime in saved} == saved
    assert bundle[WIDGET_VIEW]["model_id"].startswith("roofline-lab-remembered-")
    assert options["raw"] and options["metadata"]["image/png"]["alt"] == saved["text/plain"]


def test_without_a_notebook_the_line_is_printed(capsys):
    lab.remembered(batch=32)
    assert capsys.readouterr().out.strip() == lab.remembered.describe(
        lab.remembered.model(batch=32)
    )


def test_a_bad_setting_is_one_line():
    with pytest.raises(
        lab.ControlError, match="^batch is 0: choose a whole number from 1 to 4,096$"
    ):
        lab.remembered(batch=0)


def test_a_home_that_cannot_be_written_is_said_and_stops_nothing(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ROOFLINE_HOME", str(tmp_path / "file" / "home"))
    panel = lab.Panel(lab.remembered, folder=tmp_path)
    commit(panel, "3")
    assert panel.picture in inside(panel.widget)
    assert panel.notice.value
