"""What is kept, and what happens when it can't be."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from roofline.grading import check, predict, prediction, progress, reconcile
from roofline.grading.records import done, entries, home, keep


def double(x: torch.Tensor) -> torch.Tensor:
    return x + x


def wrong(x: torch.Tensor) -> torch.Tensor:
    return x


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def test_checks_are_kept_as_lines_of_json(home: Path) -> None:
    check("drill.double", wrong)
    check("drill.double", double)
    first, second = lines(home)
    assert (first["exercise"], first["earned"], second["earned"]) == ("drill.double", 1.0, 2.0)
    assert set(first) == {"time", "kind", "exercise", "earned", "points"}
    row = next(r for r in done("drill")[0]["drill"] if r.exercise.id == "drill.double")
    assert (row.best, row.attempts, row.last) == (2.0, 2, second["time"])


def test_a_later_worse_attempt_does_not_lower_the_best() -> None:
    check("drill.double", double)
    check("drill.double", wrong)
    row = next(r for r in done("drill")[0]["drill"] if r.exercise.id == "drill.double")
    assert (row.best, row.attempts) == (2.0, 2)


def test_the_stub_and_unknown_exercises_leave_no_entry(home: Path) -> None:
    check("drill.double", None)
    check("drill.no_such", double)
    assert not home.exists()


def test_under_nbgrader_nothing_is_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    check("drill.double", double)
    predict("drill.guess", 3)
    assert prediction("drill.guess") == 3, "it can still be reconciled in the same run"
    assert not home.exists()


def test_damaged_lines_are_passed_over_and_counted(
    home: Path, capsys: pytest.CaptureFixture
) -> None:
    check("drill.double", wrong)
    with open(home / "progress.jsonl", "ab") as file:
        file.write(b'\xff\xfe{"kind"\n[1, 2]\n\n{"kind": "check"}\n{"kind": "other"}\n{"cut sho')
    check("drill.double", double)
    found, notes = done("drill")
    assert notes == ["4 damaged lines of your progress file were passed over"]
    row = next(r for r in found["drill"] if r.exercise.id == "drill.double")
    assert (row.best, row.attempts) == (2.0, 2)
    progress("drill")
    assert "4 damaged lines of your progress file were passed over" in capsys.readouterr().out


def test_a_home_that_cannot_be_written_never_breaks_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROOFLINE_HOME", str(tmp_path / "file"))
    assert check("drill.double", double) == 2
    assert "note: progress was not kept" in capsys.readouterr().out
    progress("drill")
    predict("drill.guess", 3)


def test_a_read_only_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by os.open rather than by chmod, which doesn't bind root."""
    really = os.open

    def refused(path: Any, flags: int, *rest: int) -> int:
        if Path(path).parent == home and flags & os.O_WRONLY:
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, flags, *rest)

    monkeypatch.setattr(os, "open", refused)
    score = check("drill.double", double)
    assert score == 2
    assert score.result.notes == ["progress was not kept: PermissionError in progress.jsonl"]


def _append(folder: str, number: int) -> None:
    os.environ["ROOFLINE_HOME"] = folder
    for i in range(50):
        keep({"kind": "check", "exercise": f"drill.{number}", "earned": i, "points": 50})


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_kernels_may_write_at_once(home: Path) -> None:
    fork = "fork" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if fork else "spawn")
    writers = [context.Process(target=_append, args=(str(home), n)) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    found, damaged = entries()
    assert len(found) == 100 and damaged == 0


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROOFLINE_HOME", "~/here")
    assert home() == Path.home() / "here"
    monkeypatch.delenv("ROOFLINE_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert home() == tmp_path / "roofline"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert home() == Path.home() / ".local" / "share" / "roofline"
    monkeypatch.setattr("sys.platform", "darwin")
    assert home() == Path.home() / "Library" / "Application Support" / "roofline"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert home() == tmp_path / "roofline"


def test_the_table_of_a_chapter(capsys: pytest.CaptureFixture) -> None:
    progress("07_drill")
    before = capsys.readouterr().out.splitlines()
    assert before[0] == "0 of 3 exercises done, 0 of 9 points"
    assert all(line.endswith("not attempted yet") for line in before[1:])
    check("drill.double", double)
    check("drill.linear", lambda x, w, b: (x @ w.T + b, None))
    capsys.readouterr()
    progress("drill")
    out = capsys.readouterr().out
    assert out.startswith("1 of 3 exercises done, 3 of 9 points\n")
    assert "✓ Twice as much" in out and "2 of 2 points    done" in out
    assert "◐ A linear layer and its pullback" in out and "1 of 4 points    in part" in out
    progress("99_nothing")
    assert capsys.readouterr().out == "99_nothing has no exercises yet.\n"


def said(capsys: pytest.CaptureFixture) -> str:
    return capsys.readouterr().out.strip()


def test_a_prediction_is_kept_and_laid_beside_what_came(capsys: pytest.CaptureFixture) -> None:
    predict("drill.ratio", None, "the ratio")
    assert said(capsys) == (
        "No prediction yet for the ratio. Put your number into the cell, then run it."
    )
    reconcile("drill.ratio", 2.5, how="counted")
    assert said(capsys) == "Counted 2.5. You made no prediction."
    predict("drill.ratio", 3, "the ratio")
    assert said(capsys) == "You predict 3 for the ratio. Kept."
    predict("drill.ratio", 3, "the ratio")
    assert said(capsys) == "You predict 3 for the ratio. Kept."
    predict("drill.ratio", 2.4)
    assert said(capsys) == "You predict 2.4. Your first prediction was 3; that one counts. Kept."
    assert prediction("drill.ratio") == 3
    for found, words in (
        (3, "The same."),
        (3.2, "Within 7 percent."),
        (12, "That is 4 times what you predicted."),
        (1.5, "You predicted 2 times as much."),
        (-3, "You predicted 3; measured -3."),
        (0, "You predicted 3; measured 0."),
    ):
        reconcile("drill.ratio", found)
        assert said(capsys).endswith(words)
    reconcile("drill.ratio", 1500, "bytes", "counted")
    assert said(capsys).startswith("You predicted 3 bytes; counted 1,500 bytes.")


@pytest.mark.parametrize("value", ["many", float("nan"), [1], torch.ones(2), 10**400])
def test_a_prediction_is_one_number(value: object, capsys: pytest.CaptureFixture) -> None:
    predict("drill.odd", value)
    assert said(capsys).startswith("A prediction is one number, not ")
    assert prediction("drill.odd") is None
