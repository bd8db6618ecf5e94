"""What is said of the machine, and when it is called busy."""

from __future__ import annotations

import json
import os

import psutil
import pytest
import torch
from roofline.hardware import machine as house
from roofline.hardware.load import Watch, disturbance, spread_reason
from roofline.hardware.stopwatch import spread


def test_the_machine_has_a_name_and_a_size():
    here = house.machine()
    assert here.cpu and here.name
    assert 1 <= here.cores <= os.cpu_count()
    assert 0 < here.memory_bytes <= psutil.virtual_memory().total
    assert json.loads(json.dumps(here.as_dict()))["cpu"] == here.cpu


def test_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ROOFLINE_HOME", str(tmp_path / "here"))
    assert house.home() == tmp_path / "here"
    monkeypatch.delenv("ROOFLINE_HOME")
    assert house.home().name == "roofline"


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file.json"
    house.write_whole(path, "one")
    assert path.read_text() == "one"
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        house.write_whole(path, "two")
    assert [each.name for each in path.parent.iterdir()] == ["file.json"]
    assert path.read_text() == "one"


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (MemoryError(), "out of memory"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
            "out of memory",
        ),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GiB)"), "out of memory"),
        (RuntimeError("could not create a primitive"), "out of memory"),
        (RuntimeError("std::bad_alloc"), "out of memory"),
        (OSError(12, "Cannot allocate memory"), "out of memory"),
        # of another kind: oneDNN has no kernel for what was asked
        (
            RuntimeError("could not create a primitive descriptor for a matmul\nand more"),
            "could not create a primitive descriptor for a matmul",
        ),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_why_a_measurement_stopped_is_one_line(problem, line):
    assert house.reason(problem) == line


def test_what_torch_says_when_the_memory_is_too_small_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**61, dtype=torch.uint8)
    assert house.reason(caught.value) == "out of memory"


def test_a_quiet_machine_is_not_called_busy():
    assert disturbance(wall=1.0, own=1.0, busy=1.05, stolen=0.0, total=2.0, threads=1) == ""


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ({"busy": 1.9}, "other programs used 45%"),
        ({"stolen": 0.4}, "hypervisor withheld 20%"),
        ({"own": 0.5, "busy": 0.5}, "off the processor 50%"),
    ],
)
def test_a_disturbed_machine_is_called_busy_and_why(numbers, word):
    quiet = {"wall": 1.0, "own": 1.0, "busy": 1.0, "stolen": 0.0, "total": 2.0, "threads": 1}
    assert word in disturbance(**{**quiet, **numbers})


def test_too_short_to_tell_is_not_called_busy():
    assert disturbance(wall=0.01, own=0.0, busy=0.02, stolen=0.0, total=0.02, threads=1) == ""


def test_watch_can_be_used_around_nothing():
    with Watch(1) as watch:
        pass
    assert watch.busy == ""


def test_spread_is_quartile_to_quartile_over_the_median():
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx((4 - 2) / 3)
    assert spread([7.0]) == 0.0
    assert spread_reason(0.1) == ""
    assert "30%" in spread_reason(0.3)
