"""The door for measurements: live, record, replay, and what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import roofline.hardware.trace as door
import torch
from roofline.hardware.machine import machine
from roofline.hardware.recordings import duration, read_trace
from roofline.hardware.trace import (
    Measurement,
    TraceError,
    measure,
    measure_in_turn,
    observe,
    recorded,
)


@pytest.fixture
def traces(tmp_path, monkeypatch):
    """An empty folder for recordings, and a way to set the mode."""
    monkeypatch.setenv("ROOFLINE_TRACES", str(tmp_path))

    def choose(mode):
        monkeypatch.setenv("ROOFLINE_MEASURE", mode)
        return tmp_path

    choose("live")
    return choose


def quick(name="demo.add", function=lambda: None, **options):
    return measure(name, function, seconds=0.01, **options)


def test_live_calls_the_function_and_says_where(traces):
    calls = []
    result = quick(function=lambda: calls.append(1), threads=1)
    assert len(calls) > 5
    assert 0 < result.median < 1
    assert min(result.seconds) <= result.median <= max(result.seconds)
    assert result.label.startswith(f"measured on {machine().cpu}, 1 thread, 20")
    assert not list(traces("live").iterdir())  # nothing is written


def test_a_recording_replays_the_same_numbers_and_runs_nothing(traces):
    folder = traces("record")
    taken = quick()
    assert (folder / "demo.json").exists()
    traces("replay")
    replayed = quick(function=lambda: pytest.fail("replay must not run it"))
    assert replayed.median == pytest.approx(taken.median, rel=1e-3)
    assert replayed.label == "replayed: " + taken.label
    assert str(replayed) == str(quick())


def test_recording_again_replaces_and_keeps_the_others(traces):
    folder = traces("record")
    quick("demo.a")
    quick("demo.b")
    quick("demo.a")
    quick("other.a")
    assert set(read_trace(folder / "demo.json")) == {"demo.a", "demo.b"}
    assert [path.name for path in sorted(folder.iterdir())] == ["demo.json", "other.json"]


def test_observe_takes_any_value(traces):
    traces("record")
    value = {"bytes": [1, 2, 3], "share": 0.5}
    assert observe("demo.curve", lambda: value).value == value
    traces("replay")
    reading = observe("demo.curve", lambda: pytest.fail("replay must not run it"))
    assert reading.value == value
    assert reading.label.startswith("replayed: measured on ")


def test_observed_values_are_the_same_live_as_replayed(traces):
    assert observe("demo.pair", lambda: (1, 2)).value == [1, 2]
    with pytest.raises(TypeError, match="JSON"):
        observe("demo.tensor", lambda: torch.ones(2))


def test_rivals_take_turns(traces):
    order = []
    rivals = {name: lambda name=name: order.append(name) for name in ("demo.a", "demo.b")}
    result = measure_in_turn(rivals, seconds=0.001)
    assert set(result) == {"demo.a", "demo.b"}
    changes = sum(first != second for first, second in zip(order, order[1:], strict=False))
    assert changes >= 9  # two warm-ups, then at least five rounds of both


def test_threads_are_set_and_put_back(traces):
    before = torch.get_num_threads()
    seen = []
    quick(function=lambda: seen.append(torch.get_num_threads()), threads=1)
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


def test_an_exception_of_the_function_comes_out_and_records_nothing(traces):
    folder = traces("record")
    with pytest.raises(ZeroDivisionError):
        quick(function=lambda: 1 / 0, threads=1)
    assert not list(folder.iterdir())


def test_missing_recordings_say_what_to_do(traces):
    traces("replay")
    with pytest.raises(TraceError, match=r"there is no demo\.json; .*ROOFLINE_MEASURE=record"):
        quick()
    traces("record")
    quick("demo.other")
    traces("replay")
    with pytest.raises(TraceError, match=r"has no 'demo\.add'"):
        quick()


def test_a_recording_of_another_kind_is_refused(traces):
    traces("record")
    observe("demo.add", lambda: 3)
    traces("replay")
    with pytest.raises(TraceError, match="another function"):
        quick()


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda text: text[: len(text) // 2], "can't be read"),
        (lambda text: "[]", "no schema"),
        (lambda text: "{}", "no schema"),
        (lambda text: text.replace('"schema": 1', '"schema": 2'), "schema 2 .* update roofline"),
        (lambda text: text.replace('"schema": 1', '"schema": "1"'), "no schema"),
        (lambda text: text.replace('"schema": 1', '"schema": 0'), "no schema"),
        (lambda text: text.replace('"schema": 1', '"schema": true'), "no schema"),
        (lambda text: "[" * 100_000, "can't be read"),
        (lambda text: text.replace('"driver"', '"river"'), "'driver' is missing"),
        (lambda text: text.replace('"on"', '"off"'), "damaged at 'demo.add': 'on'"),
        (lambda text: text.replace('"seconds"', '"years"'), "damaged at 'demo.add'"),
        (lambda text: _with_seconds(text, []), "not a list of positive numbers"),
        (lambda text: _with_seconds(text, [1.0, -1.0]), "not a list of positive numbers"),
        (lambda text: _with_seconds(text, [math.nan]), "not a list of positive numbers"),
        (lambda text: _with_seconds(text, ["1"]), "not a list of positive numbers"),
    ],
)
def test_damaged_and_future_recordings_are_refused_in_one_line(traces, edit, reason):
    folder = traces("record")
    quick()
    path = folder / "demo.json"
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    traces("replay")
    with pytest.raises(TraceError, match=reason) as caught:
        quick()
    assert "\n" not in str(caught.value)


def _with_seconds(text, seconds):
    trace = json.loads(text)
    trace["readings"]["demo.add"]["value"] = seconds
    return json.dumps(trace)


def test_another_machine_s_recording_is_not_mixed_with_this_one_s(traces):
    folder = traces("record")
    quick()
    path = folder / "demo.json"
    trace = json.loads(path.read_text(encoding="utf-8"))
    trace["machine"]["name"] = "Abacus"
    path.write_text(json.dumps(trace), encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(TraceError, match="recorded on Abacus"):
        quick()
    assert path.read_bytes() == before


def test_a_tagged_recording_names_its_machine(traces):
    folder = traces("record")
    quick()
    trace = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    trace["readings"]["demo.add"]["on"] = "Abacus"
    (folder / "demo@abacus.json").write_text(json.dumps(trace), encoding="utf-8")
    traces("live")
    reading = recorded("demo.add", on="abacus")
    assert isinstance(reading, Measurement)
    assert reading.label.startswith("replayed: measured on Abacus, 20")


@pytest.mark.parametrize("name", ["step", "Demo.step", "demo.", "../demo.step", "demo.a b"])
def test_names_are_checked(traces, name):
    with pytest.raises(TraceError, match=r"chapter\.what"):
        quick(name)


def test_an_unknown_mode_is_named(traces):
    traces("fast")
    with pytest.raises(TraceError, match="'fast'.*live, replay, record"):
        quick()


def test_an_interrupted_write_leaves_the_old_recording(traces, monkeypatch):
    folder = traces("record")
    quick()
    before = (folder / "demo.json").read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick()
    assert [path.name for path in folder.iterdir()] == ["demo.json"]
    assert (folder / "demo.json").read_bytes() == before


def test_disturbed_measurements_say_so(traces, monkeypatch):
    monkeypatch.setattr(door, "time_in_turn", lambda *_: [[1.0, 1.0, 2.0, 2.0]])
    result = quick()
    assert "runs spread by 67% of their median" in result.busy
    assert result.label.endswith(f"(machine busy: {result.busy})")


def test_durations_are_written_in_a_fitting_unit():
    written = [duration(seconds) for seconds in (2.0, 0.0123456, 1.5e-6, 2e-9)]
    assert written == ["2 s", "12.3 ms", "1.5 µs", "2 ns"]


def test_every_committed_recording_can_be_read():
    for path in (Path(door.__file__).parent / "traces").glob("*.json"):
        assert read_trace(path), path.name
