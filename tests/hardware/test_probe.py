"""The probe, its profile and its report: what comes out, what is saved, what stops it."""

from __future__ import annotations

import io
import json
import os

import pytest
import torch
from hardware.profiles import made_up
from roofline.hardware import probe as prober
from roofline.hardware import report
from roofline.hardware.load import gpu_in_use
from roofline.hardware.machine import machine
from roofline.hardware.profile import (
    ProfileError,
    Rate,
    load_profile,
    profile_from,
    profile_path,
    save_profile,
)


@pytest.fixture
def small_sizes(monkeypatch, tmp_path):
    """Sweeps of a few small sizes, and an empty home."""
    monkeypatch.setenv("ROOFLINE_HOME", str(tmp_path))
    monkeypatch.setattr(prober, "GEMM_SIZES", (32, 64))
    monkeypatch.setattr(prober, "WORKING_SETS", (2**16, 2**18))
    monkeypatch.setattr(prober, "calibrate", lambda seconds: {"reference": 1e-3})
    return tmp_path


def test_probe_measures_every_part(small_sizes):
    told = []
    profile = prober.probe("cpu", seconds=0.5, progress=told.append)
    assert {rate.what for rate in profile.gemm} >= {"float32", "float64"}
    assert [rate.size for rate in profile.bandwidth] == [2**16, 2**18]
    assert all(rate.per_second > 0 for rate in profile.gemm + profile.bandwidth)
    assert 0 < profile.overhead < 1
    assert profile.copies == ()
    assert profile.threads == torch.get_num_threads()
    assert len(told) >= 4
    assert profile_from(json.loads(json.dumps(profile.as_dict()))) == profile


def test_a_profile_says_who_kept_the_gpu_busy(small_sizes, monkeypatch):
    monkeypatch.setattr(prober, "gpu_in_use", lambda device: "something else used 40% of the GPU")
    assert "40% of the GPU" in prober.probe("cpu", seconds=0.5).label


def test_a_sweep_stops_before_a_size_that_takes_too_long(monkeypatch):
    sizes, asked = (1, 2, 4, 1000), []
    monkeypatch.setattr(prober, "time_in_turn", lambda functions, *_: [[1e-3 * functions[0]()]])

    def trial(size):
        asked.append(size)
        return lambda: size

    device = torch.device("cpu")
    rates = prober._sweep("copy", sizes, sizes, sizes, trial, device, 1.0, [])
    assert asked == [1, 2, 4]  # 1000 would take 7 seconds
    assert [rate.per_second for rate in rates] == [1000.0] * 3


def test_a_short_probe_takes_no_cache_for_memory(monkeypatch):
    monkeypatch.setattr(prober, "time_in_turn", lambda functions, *_: [[1e-3]])
    sizes = [rate.size for rate in prober.bandwidth_sweep(torch.device("cpu"), 0.0, [])]
    assert sizes[-1] == prober.BEYOND_CACHES


def test_a_sweep_leaves_three_quarters_of_the_memory_alone(monkeypatch):
    monkeypatch.setattr(prober, "free_memory", lambda device: 1000)
    monkeypatch.setattr(prober, "time_in_turn", lambda *_: [[1e-3]])
    sizes = (100, 250, 251)
    rates = prober._sweep(
        "copy", sizes, sizes, sizes, lambda _: print, torch.device("cpu"), 9.0, []
    )
    assert [rate.size for rate in rates] == [100, 250]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("not implemented for 'Half'\nand more"), "not implemented for 'Half'"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_dtype_without_a_kernel_or_memory_is_noted_and_left(error, reason):
    def trial(size):
        raise error

    notes: list[str] = []
    sizes = (32, 64)
    device = torch.device("cpu")
    assert prober._sweep("float16", sizes, sizes, sizes, trial, device, 1.0, notes) == []
    assert notes == [f"float16 stopped at 32: {reason}"]


def test_copies_go_both_ways_and_stop_with_the_time(monkeypatch):
    """On the processor itself, where both ends are main memory: the same code as for a GPU."""
    monkeypatch.setattr(prober, "COPY_SIZES", (2**16, 2**18))
    rates = prober.copy_sweep(torch.device("cpu"), 0.4, [])
    assert [(rate.what, rate.size) for rate in rates] == [
        ("to device", 2**16), ("to device", 2**18), ("from device", 2**16), ("from device", 2**18),
    ]  # fmt: skip


def test_a_gpu_that_computes_for_others_is_said_to_be_busy(monkeypatch):
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 40)
    assert gpu_in_use(torch.device("cuda")) == "something else used 40% of the GPU"
    assert gpu_in_use(torch.device("cpu")) == ""
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 3)
    assert gpu_in_use(torch.device("cuda")) == ""
    monkeypatch.undo()
    if not torch.cuda.is_available():
        assert gpu_in_use(torch.device("cuda")) == ""


def test_rates_of_a_profile():
    profile = made_up()
    assert profile.peak() == 2e11
    assert profile.dtypes == ["bfloat16", "float32"]
    assert (profile.memory_bandwidth, profile.cache_bandwidth) == (1e10, 1e11)
    assert profile.ridge() == 20
    assert profile.label == f"measured on {machine().cpu}, 2 threads, 2025-01-02"
    with pytest.raises(ProfileError, match="int8 was not measured: choose one of bfloat16"):
        profile.peak("int8")


def test_the_roofline_is_a_slope_and_a_ceiling():
    assert report.attainable(1.0, peak=200.0, bandwidth=10.0) == 10.0
    assert report.attainable(20.0, peak=200.0, bandwidth=10.0) == 200.0
    assert report.attainable(100.0, peak=200.0, bandwidth=10.0) == 200.0
    # A square product of 240 float32 rows: 2n³ FLOPs over 12n² bytes.
    assert report.square_intensity(Rate("float32", 240, 1.0, 0.0)) == 40.0


def test_profiles_are_saved_and_found(small_sizes):
    assert load_profile("cpu") is None
    save_profile(made_up())
    assert load_profile("cpu") == made_up()


def test_a_chapter_gets_the_saved_profile_or_a_new_one_or_the_recorded(small_sizes, monkeypatch):
    monkeypatch.setenv("ROOFLINE_TRACES", str(small_sizes / "traces"))
    monkeypatch.setenv("ROOFLINE_MEASURE", "live")
    monkeypatch.setattr(prober, "best_device", lambda: torch.device("cpu"))
    fresh = prober.this_machine("demo.machine", seconds=0.5)
    assert load_profile("cpu") == fresh
    save_profile(made_up())
    monkeypatch.setenv("ROOFLINE_MEASURE", "record")
    assert prober.this_machine("demo.machine") == made_up()
    monkeypatch.setenv("ROOFLINE_MEASURE", "replay")
    monkeypatch.setattr(prober, "probe", lambda **_: pytest.fail("replay must not probe"))
    os.remove(profile_path("cpu"))
    replayed = prober.this_machine("demo.machine")
    assert replayed.gemm == made_up().gemm
    assert replayed.label == "replayed: " + made_up().label


def test_a_profile_of_another_machine_counts_as_none(small_sizes):
    data = made_up().as_dict()
    data["machine"]["name"] = "Abacus"
    save_profile(profile_from(data))
    assert load_profile("cpu") is None


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda text: text[:-30], "run `roofline machine` again"),
        (lambda text: text.replace('"schema": 1', '"schema": 9'), "schema 9.*update roofline"),
        (lambda text: text.replace('"overhead"', '"under"'), "damaged"),
        (lambda text: text.replace('"bandwidth"', '"band"'), "damaged"),
        (lambda text: text.replace("100000000000.0", "-1"), "not a positive number"),
        (lambda text: "[1]", "no schema"),
    ],
)
def test_a_damaged_profile_is_refused_in_one_line(small_sizes, edit, reason):
    path = save_profile(made_up())
    path.write_text(edit(path.read_text()))
    with pytest.raises(ProfileError, match=reason) as caught:
        load_profile("cpu")
    assert "\n" not in str(caught.value)


def test_the_report_prints_table_roofline_and_saves(small_sizes, capsys):
    out = io.StringIO()
    assert report.report_machine(device="cpu", seconds=0.5, out=out) == 0
    text = out.getvalue()
    for words in ("processor", "memory", "GPU", "square product of", "ridge at", "measured on"):
        assert words in text
    assert max(map(len, text.split("measured on")[0].splitlines())) < 120
    assert profile_path("cpu").exists()
    picture = profile_path("cpu").with_suffix(".png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "measuring" in capsys.readouterr().err


def test_a_picture_that_has_no_place_leaves_the_profile(small_sizes, capsys):
    (small_sizes / "file").write_text("")
    place = small_sizes / "file" / "picture.png"
    out = io.StringIO()
    assert report.report_machine(device="cpu", seconds=0.5, picture=place, out=out) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"can't be written to {place}" in said and "--picture" in said
    assert out.getvalue() == "" and load_profile("cpu") is not None
    assert sorted(os.listdir(small_sizes)) == ["file", "profile-cpu.json"]


def test_json_is_all_that_a_program_gets(small_sizes, capsys):
    assert report.report_machine(True, "cpu", 0.5) == 0
    profile = profile_from(json.loads(capsys.readouterr().out))
    assert profile == load_profile("cpu")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted: nothing was saved"),
        (MemoryError(), 1, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried"), 1, "out of memory; close other"),
        (RuntimeError("could not create a primitive"), 1, "out of memory; close other"),
        (RuntimeError("a fault\nand more"), 1, "nothing was saved: a fault"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
    ],
)
def test_what_stops_the_probe_is_one_line_and_saves_nothing(
    small_sizes, capsys, monkeypatch, error, status, words
):
    def stopped(*_):
        raise error

    monkeypatch.setattr(report, "probe", stopped)
    assert report.report_machine(device="cpu") == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words in said.err
    assert os.listdir(small_sizes) == []


def test_an_interrupt_while_saving_leaves_no_part(small_sizes, monkeypatch, capsys):
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert report.report_machine(device="cpu", seconds=0.5, out=io.StringIO()) == 130
    assert os.listdir(small_sizes) == []


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_an_unknown_device_is_one_line(small_sizes, capsys, device):
    assert report.report_machine(device=device) == 2
    said = capsys.readouterr().err
    assert f"there is no device '{device}' here: choose cpu" in said
    assert said.count("\n") == 1


def test_table_shows_what_is_unsteady_missing_and_noted():
    text = report.table(made_up())
    assert "~200 GFLOP/s" in text  # spread 30%
    assert "512 MiB" in text and "10 GB/s" in text
    assert "to device, 1 MiB" in text
    assert "float32: peak 200 GFLOP/s, ridge at 20 FLOPs per byte" in text
    assert "note: float16 stopped at 32: no kernel" in text
    row = next(line for line in text.splitlines() if "256 rows" in line)
    assert row.endswith("-")  # bfloat16 was not measured there


def test_terminal_roofline_puts_marks_where_the_numbers_are():
    text = report.terminal_roofline(made_up())
    assert text.count("o measured product") == 1
    body = text.splitlines()[1:17]
    assert sum(line.count("o") for line in body) == 2
    ridge = max(line.find("_") for line in body if "_" in line)
    column = 11 + round((1 + 1.301) / 4 * 71)  # log10 of 20 between 0.1 and 1000
    assert abs(ridge - column) <= 1
    assert max(map(len, text.splitlines())) <= 100


def test_numbers_are_written_with_prefixes():
    assert report.si(1.5e9, "B/s") == "1.5 GB/s"
    assert report.si(3.0, "B/s") == "3 B/s"
    assert [report.binary(size) for size in (512, 2**16, 2**21, 2**31)] == [
        "512 B", "64 KiB", "2 MiB", "2 GiB",
    ]  # fmt: skip
