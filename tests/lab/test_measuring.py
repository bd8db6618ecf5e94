"""Measured experiments in a panel: shown as they come, stopped, restarted, replayed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated, Any

import ipywidgets
import pytest
from roofline import lab
from roofline.grading import predict
from roofline.hardware.profile import ProfileError
from roofline.hardware.trace import TraceError
from roofline.lab import experiment as experiment_room
from roofline.lab import here as machines
from roofline.lab import record, style
from roofline.lab.experiment import Experiment, Question
from roofline.lab.measuring import LIVE, RECORDED, Door, Follower, Step, finish, reason

STEPS = 4


@dataclass(frozen=True)
class Sums:
    """Of a few numbers, each "measured" by counting how often it was asked for."""

    size: int
    times: tuple[float, ...] = ()


@lab.bounded
def model(size: Annotated[int, lab.Range(1, 8)] = 2) -> Sums:
    if size == 7:
        raise lab.ControlError("size is 7: choose another one")
    return Sums(size)


def draw(result: Sums) -> Any:
    with style.applied():
        figure = style.figure(2, 1)
        figure.add_subplot().plot(result.times)
    return figure


def measured(result: Sums, door: Door) -> Iterator[Step]:
    yield Step(result, 0, STEPS, "number 1")
    for done in range(1, STEPS + 1):
        time = door.measure(f"test_sums.size={result.size}.{done}", lambda: sum(range(10)))
        result = replace(result, times=(*result.times, time.median))
        yield Step(result, done, STEPS, f"number {done + 1}" if done < STEPS else "")


sums = Experiment(
    name="sums",
    title="Sums",
    model=model,
    draw=draw,
    describe=lambda result: f"size {result.size}: {len(result.times)} measured",
    row=lambda result: {"measured": len(result.times)},
    question=Question(
        text=lambda result: "How many?",
        unit="numbers",
        truth=lambda result: float(STEPS) if len(result.times) == STEPS else None,
    ),
    measure=measured,
)


@pytest.fixture(autouse=True)
def learner(monkeypatch, tmp_path):
    monkeypatch.setenv("ROOFLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ROOFLINE_TRACES", str(tmp_path))
    monkeypatch.setenv("ROOFLINE_MEASURE", "live")
    monkeypatch.setattr(lab.measuring, "PAUSE", 0)


def counted(panel: lab.Panel) -> list[tuple[int, int]]:
    """Settings and count of measurements of every picture that is shown from now on."""
    seen: list[tuple[int, int]] = []
    panel.picture.observe(
        lambda _: seen.append((panel.result.size, len(panel.result.times))), names="value"
    )
    return seen


def finished(learner: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: in this one a browser's loop may be running."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, learner).result()


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def until_done(panel: lab.Panel) -> None:
    while panel.follower.running:
        await asyncio.sleep(0.001)


def test_the_measurement_starts_when_the_learner_has_committed_and_goes_on_by_itself():
    async def learn() -> None:
        panel = lab.Panel(sums)
        assert not panel.follower.running and panel.result.times == ()
        seen = counted(panel)
        panel.commit("3")
        assert panel.follower.running and panel.switch.description == "Stop"
        assert "not been measured here yet" in panel.reckoning.value
        assert "number 1, 0 of 4" in panel.progress.value
        await until_done(panel)
        assert [count for _, count in seen][-STEPS:] == [1, 2, 3, 4]
        assert panel.switch.description == "Measure" and panel.meter.value == STEPS
        assert "It is 4 numbers (measured)" in panel.reckoning.value
        assert "4 measured" in panel.line.value and "aria-live" in panel.line.value

    finished(learn())


def test_stop_keeps_what_was_measured_and_measure_begins_again():
    async def learn() -> None:
        panel = lab.Panel(sums)
        panel.commit("3")
        while len(panel.result.times) < 2:
            await asyncio.sleep(0)
        panel.switch.click()
        await turns(20)
        assert len(panel.result.times) == 2 and not panel.follower.running
        assert "stopped" in panel.progress.value and "2 measured" in panel.line.value
        assert panel.keep() == "1 kept" and panel.rows == [{"size": 2, "measured": 2}]
        # Stopped: a moved control is modelled and not measured, and what was measured is not lost.
        panel.control_widgets["size"].value = 3
        assert not panel.follower.running and panel.result == Sums(3)
        panel.control_widgets["size"].value = 2
        assert len(panel.result.times) == 2
        panel.switch.click()
        assert panel.result == Sums(2)
        await until_done(panel)
        assert len(panel.result.times) == STEPS

    finished(learn())


def test_a_moved_control_restarts_and_nothing_old_is_shown_after_it():
    async def learn() -> None:
        panel = lab.Panel(sums)
        panel.commit("3")
        while len(panel.result.times) < 2:
            await asyncio.sleep(0)
        seen = counted(panel)
        panel.control_widgets["size"].value = 5
        panel.control_widgets["size"].value = 6
        await until_done(panel)
        assert all(count == 0 for size, count in seen if size != 6)
        assert panel.result.size == 6 and len(panel.result.times) == STEPS
        # Complete: a setting that was measured is shown again as it was, at once.
        before = panel.result
        panel.control_widgets["size"].value = 1
        await until_done(panel)
        panel.control_widgets["size"].value = 6
        assert panel.result is before and not panel.follower.running

    finished(learn())


def test_a_prediction_from_a_cell_starts_nothing_by_itself():
    predict("lab.sums", 3.0)

    async def learn() -> None:
        panel = lab.Panel(sums)
        assert not panel.follower.running and panel.switch.description == "Measure"
        await turns(5)
        assert panel.result.times == ()

    finished(learn())


def test_settings_that_cannot_be_are_one_line_and_are_not_kept():
    panel = lab.Panel(sums)
    panel.commit("3")
    panel.control_widgets["size"].value = 7
    assert "size is 7: choose another one" in panel.line.value
    with pytest.raises(lab.ControlError, match="no result to keep"):
        panel.keep()
    panel.control_widgets["size"].value = 6
    assert "size 6" in panel.line.value and panel.keep() == "1 kept"


def test_replayed_values_are_there_at_once_and_there_is_nothing_to_press(monkeypatch):
    monkeypatch.setenv("ROOFLINE_MEASURE", "record")
    sums.measured(sums.model())
    monkeypatch.setenv("ROOFLINE_MEASURE", "replay")
    panel = lab.Panel(sums)
    panel.commit("3")
    assert len(panel.result.times) == STEPS
    first = panel.result
    assert sums.measured(sums.model()) == first
    inside = [w for box in panel.widget.children for w in getattr(box, "children", [box])]
    assert panel.switch not in inside and panel.progress in inside
    assert not [w for w in inside if isinstance(w, ipywidgets.IntProgress)]
    # What was not recorded is modelled, and the reason is on screen.
    panel.control_widgets["size"].value = 3
    assert panel.result == Sums(3) and "has no" in panel.progress.value
    assert "ROOFLINE_MEASURE=live" in panel.progress.value


def test_the_saved_form_is_the_recording_in_every_mode(monkeypatch):
    monkeypatch.setenv("ROOFLINE_MEASURE", "record")
    recorded = sums.measured(sums.model())
    saved = {}
    for mode in ("live", "replay"):
        monkeypatch.setenv("ROOFLINE_MEASURE", mode)
        saved[mode] = sums.saved(sums.model())
        again = sums.measured(sums.model(), RECORDED)
        assert again.times == pytest.approx(recorded.times, rel=1e-3)
    assert saved["live"] == saved["replay"]
    assert saved["live"]["text/plain"] == "size 2: 4 measured"
    # and where nothing was recorded, the model alone
    assert sums.saved(sums.model(size=5))["text/plain"] == "size 5: 0 measured"


def test_what_goes_wrong_on_the_way_is_one_line_and_keeps_the_rest():
    def breaking() -> Iterator[Step]:
        yield Step(1, 0, 2, "more")
        yield Step(2, 1, 2, "more")
        raise RuntimeError("no memory left\nat all")

    last, problem = finish(breaking())
    assert last.result == 2 and problem == "no memory left"
    shown: list[Any] = []
    ended: list[str] = []

    async def follow() -> None:
        follower = Follower(shown.append, ended.append)
        follower.start(breaking())
        while follower.running:
            await asyncio.sleep(0)

    finished(follow())
    assert [step.result for step in shown] == [1, 2] and ended == ["no memory left"]
    for problem in (MemoryError(), RuntimeError("could not create a primitive")):
        assert reason(problem) == "out of memory: choose smaller sizes, or close other programs"


def test_a_machine_without_memory_for_the_smallest_sizes_is_a_problem_of_one_line(monkeypatch):
    def full(*_: Any) -> None:
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr("roofline.hardware.probe.time_in_turn", full)
    with pytest.raises(ProfileError, match="^float32 stopped at 32: out of memory$"):
        machines._products()


def test_a_fault_of_the_program_is_not_hidden():
    def wrong() -> Iterator[Step]:
        raise TypeError("a fault")
        yield

    with pytest.raises(TypeError):
        finish(wrong())


def test_recording_an_experiment_replaces_its_file_and_says_what_came_out(monkeypatch, tmp_path):
    monkeypatch.setitem(experiment_room._experiments, "test_sums", replace(sums, name="test_sums"))
    monkeypatch.setattr(record, "trace_path", lambda name: tmp_path / "test_sums.json")
    monkeypatch.setenv("ROOFLINE_MEASURE", "record")
    (tmp_path / "test_sums.json").write_text("damaged")
    assert record.record("test_sums").startswith("test_sums: 4 readings, ")
    assert record.record("remembered") == "remembered: nothing of it is timed"


def test_a_recording_of_another_kind_is_refused(monkeypatch):
    monkeypatch.setenv("ROOFLINE_MEASURE", "record")
    LIVE.observe("test_sums.value", lambda: 3)
    assert RECORDED.observe("test_sums.value").value == 3
    with pytest.raises(TraceError, match="not recorded as a time"):
        RECORDED.measure("test_sums.value", lambda: None)
