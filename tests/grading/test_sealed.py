"""Fresh cases and another process: the same items, nothing shared, nothing believed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from roofline.grading import judge_process, sealed
from roofline.grading import sealed as _function
from roofline.grading.checking import grade, probed
from roofline.grading.judge import judge_message
from roofline.grading.protocol import Outcome, pack, unpack
from roofline.grading.registry import case_seed, find

room = sys.modules["roofline.grading.sealed"]
JUDGE = Path(room.__file__ or "").with_name("judge.py")


def linear(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> tuple:
    return x @ w.T + b, lambda dy: (dy @ w, dy.T @ x, dy.mean(0))


def judge_pid() -> int:
    return room._judge.process.process.pid


def test_the_same_items_as_here_on_other_cases() -> None:
    score = sealed("drill.linear", linear)
    assert score == 3
    here = grade("drill.linear", linear, case_seed(room.DEFAULT, "drill.linear"))
    assert score.result.items == here.items
    visible = grade("drill.linear", linear, case_seed("visible", "drill.linear"))
    assert score.result.items != visible.items, "the numbers in the message are of other cases"
    assert score.result.about == "fresh cases, default seed"


def test_a_secret_changes_the_cases_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    without = sealed("drill.linear", linear).result.items
    monkeypatch.setenv("ROOFLINE_SEED", "correct horse")
    score = sealed("drill.linear", linear)
    assert score == 3 and score.result.items != without
    assert sealed("drill.linear", linear).result == score.result
    assert score.result.about.startswith("fresh cases, seed ")
    assert "correct horse" not in capsys.readouterr().out


def test_a_secret_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_SEED", "correct horse")
    assert room.secret() == "correct horse"
    file = tmp_path / "seed"
    file.write_text("correct horse\nand more\n")
    monkeypatch.setenv("ROOFLINE_SEED", str(file))
    assert room.secret() == "correct horse"
    monkeypatch.setenv("ROOFLINE_SEED", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="ROOFLINE_SEED names the file .*none, which can't be"):
        sealed("drill.linear", linear)


def test_an_answer_hard_coded_to_the_visible_cases_loses() -> None:
    visible = find("drill.double").cases(case_seed("visible", "drill.double"))
    known = 2 * visible

    def answer(x: torch.Tensor) -> torch.Tensor:
        return known

    assert grade("drill.double", answer, case_seed("visible", "drill.double")).earned == 2
    assert sealed("drill.double", answer) == 1


def test_one_process_judges_many_and_another_takes_over_if_it_dies() -> None:
    sealed("drill.double", linear)
    first = judge_pid()
    sealed("drill.linear", linear)
    assert judge_pid() == first
    os.kill(first, signal.SIGTERM)
    room._judge.process.process.wait(10)
    assert sealed("drill.linear", linear) == 3
    assert judge_pid() != first


def test_a_patched_torch_or_library_does_not_reach_the_judge(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        torch.isclose = lambda a, b, **options: torch.ones_like(a, dtype=torch.bool)
        find("drill.double").judge = lambda outputs, cases: []  # type: ignore[method-assign]
        return x

    exercise = find("drill.double")
    monkeypatch.setattr(torch, "isclose", torch.isclose)
    monkeypatch.setattr(exercise, "judge", exercise.judge)
    (tmp_path / "torch.py").write_text("raise SystemExit('a shadow')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "torch.py"))
    assert sealed("drill.double", answer) == 1


def test_the_stub_needs_no_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room._judge, "ask", None)

    def stub(x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError()

    score = sealed("drill.double", stub)
    assert score == 0 and not score.result.attempted


def test_forbidden_calls_and_notes_cross() -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        print("seen")
        return torch.mul(x, 2)

    score = sealed("drill.double", answer)
    assert score == 0
    assert "torch.mul" in score.result.items[0].message
    assert score.result.notes == ["it printed: seen"]


def test_an_unknown_exercise_is_one_line(capfd: pytest.CaptureFixture) -> None:
    assert sealed("drill.doubel", linear) == 0
    assert capfd.readouterr() == ("no exercise 'drill.doubel'; did you mean drill.double?\n", "")


def test_nothing_is_recorded(home: Path) -> None:
    sealed("drill.double", lambda x: x + x)
    assert not home.exists()


def test_a_judge_that_cannot_start_costs_a_message_not_an_exception(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room._judge.stop()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    score = sealed("drill.double", lambda x: x + x)
    assert score == 0
    assert "the judge could not be reached, which is not your doing" in (
        score.result.items[0].message
    )
    room._judge.stop()


def test_a_judge_that_takes_for_ever_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "from roofline.grading import Exercise, call, exercise\n"
        "@exercise('slow.judge')\nclass Slow(Exercise):\n"
        "    def probe(self, answer, cases): return call(answer)\n"
        "    def judge(self, outputs, cases): time.sleep(1000)\n"
        "@exercise('slow.crash')\nclass Crash(Slow):\n"
        "    def judge(self, outputs, cases): import os; os._exit(3)\n"
    )
    monkeypatch.setenv("ROOFLINE_EXERCISES", str(tmp_path))
    assert "it ended with code 3" in sealed("slow.crash", lambda: 1).result.items[0].message
    monkeypatch.setattr(judge_process, "PATIENCE", 5.0)
    assert "could not be reached" in sealed("slow.judge", lambda: 1).result.items[0].message


def test_a_forked_child_leaves_its_parents_judge_alone() -> None:
    sealed("drill.double", lambda x: x + x)
    parent = judge_pid()
    child = os.fork() if hasattr(os, "fork") else 0
    if child == 0 and hasattr(os, "fork"):
        try:
            room._judge.stop()
        finally:
            os._exit(0)
    if child:
        os.waitpid(child, 0)
    assert room._judge.process.alive()
    assert judge_pid() == parent


def test_with_an_outbox_outputs_are_handed_in_and_judged_by_whoever_grades(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    box = tmp_path / "outbox"
    monkeypatch.setenv("ROOFLINE_OUTBOX", str(box))
    monkeypatch.setenv("ROOFLINE_SEED", "correct horse")
    score = sealed("drill.linear", linear)
    assert score == 0
    assert "drill.linear · handed in, to be judged elsewhere" in capsys.readouterr().out
    message = (box / "drill.linear.safetensors").read_bytes()
    assert sorted(p.name for p in box.iterdir()) == ["drill.linear.safetensors"]
    seed = case_seed("correct horse", "drill.linear")
    answer = judge_message("drill.linear", message, seed)
    assert answer["result"]["earned"] == 3
    elsewhere = judge_message("drill.linear", message, seed + 1)
    assert elsewhere["result"]["earned"] == 0, "outputs of other cases are wrong outputs"

    ran = subprocess.run(
        [sys.executable, "-I", JUDGE, "drill.linear", box / "drill.linear.safetensors"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == answer


def test_an_outbox_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROOFLINE_OUTBOX", str(tmp_path / "file" / "box"))
    assert sealed("drill.linear", linear) == 0
    assert capfd.readouterr().out.startswith("drill.linear · could not be handed in: ")


def test_the_judge_refuses_what_is_no_outcome() -> None:
    seed = 3
    assert "refused" in judge_message("drill.double", b"junk", seed)
    assert "refused" in judge_message("drill.none", b"junk", seed)
    bare = pack("drill.double", [1, 2])
    assert judge_message("drill.double", bare, seed) == {
        "refused": "the message is not the outcome of a probe"
    }
    other = probed(find("drill.linear"), linear, seed)[0]
    assert "outputs of 'drill.linear'" in judge_message("drill.double", other, seed)["refused"]


def test_outputs_of_the_wrong_form_earn_nothing_and_break_nothing() -> None:
    for outputs in (None, [], "text", {"result": 3}, 3.0):
        message = pack("drill.linear", Outcome(outputs))
        answer = judge_message("drill.linear", message, 3)
        assert answer["result"]["earned"] == 0


def test_a_message_says_what_the_probe_saw() -> None:
    message, outcome = probed(find("drill.double"), lambda x: x + x, 3)
    again = unpack(message, "drill.double")
    assert torch.equal(again.outputs.value, outcome.outputs.value)
    assert _function is sealed
