"""The hostile suite through the real command: all in one run, and what each deserves.

The table of what came out is written to ``build/hostile.json``.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import site
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from course.hostile import archives, cheating, files, reading, running  # noqa: F401  (fill SUITE)
from course.hostile.canaries import Listener, snapshot
from course.hostile.world import CHAPTER, ROOT, SUITE, World, hand_in, last, solved
from needs import need

TABLE = ROOT / "build" / "hostile.json"
CANARY = "canary-4c1d9b"
STEPS: list[tuple[str, float]] = []
LIMITS = "cell_seconds = 3\nwall_seconds = 12\nmemory_bytes = 800_000_000\nprocesses = 32\n"

# What collecting refuses, put where the grader looks, as an instructor's rsync would.
COPIED = ("enormous", "link_to_another", "never_ends", "nothing_but_a_folder", "links_out")


@dataclass
class Outcome:
    """The class after grading."""

    world: World
    listener: Listener
    rows: dict[str, dict[str, Any]]
    collected: list[dict[str, Any]]
    expected: dict[str, tuple[tuple[float | None, ...], str, str]]
    before: dict[str, tuple[int, int, int]]
    after: dict[str, tuple[int, int, int]]
    seconds: float

    def feedback(self, student: str) -> str:
        """All that the student is shown, and what was kept of the run."""
        texts = [json.dumps(self.rows.get(student, {}), ensure_ascii=False)]
        for folder in ("autograded", "feedback"):
            for path in (self.world.course / folder / student).rglob("*.*"):
                texts.append(path.read_text(encoding="utf-8", errors="replace"))
        return "\n".join(texts)


def command(world: World, *arguments: str) -> str:
    """One command of ours, as an instructor types it; what it printed."""
    home = world.course.parent / "home"
    own = {"HOME": str(home), "OMP_NUM_THREADS": "1", "ROOFLINE_CANARY": CANARY}
    own["PYTHONPATH"] = str(ROOT / "lib")
    where = [] if arguments[0] == "init" else ["--course", str(world.course)]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "roofline.cli", "class", *arguments, *where],
        env=os.environ | own,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode in (0, 1), f"{arguments}: {done.returncode} {done.stderr[-3000:]}"
    STEPS.append((" ".join(arguments[:2]), round(time.monotonic() - started, 1)))
    return done.stdout


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Everything handed in, collected and graded, in one run."""
    need(sys.platform == "linux" and shutil.which("bwrap") is not None, "bubblewrap")
    base = Path(os.path.realpath(tmp_path_factory.mktemp("hostile")))
    for folder in (base, *base.parents[:2]):
        folder.chmod(0o755)  # so that nothing but the sandbox is in the way
    for name in ("outside", "home"):
        (base / name).mkdir()
        (base / name / "canary.txt").write_text(CANARY)
    (base / "outside").chmod(0o777)
    listener = Listener(base / "outside")
    world = World(base / "course", base / "outside", CANARY, listener.port)
    try:
        yield _graded(world, listener)
    finally:
        listener.close()


def _graded(world: World, listener: Listener) -> Outcome:
    base = world.course.parent
    canvas, moodle = archives.canvas(world), archives.moodle(world)
    expected: dict[str, tuple[tuple[float | None, ...], str, str]] = {
        one.name: (one.scores, one.word, one.about) for one in SUITE.values()
    }
    people = {name: {"first_name": CANARY} for name in [*SUITE, "treasure", "Case", "case"]}
    for one in [*canvas, *moodle]:
        expected[one.student] = ((one.score,), one.word, one.about)
        if one.known:
            people[one.student] = {
                name: getattr(one, name) for name in ("first_name", "last_name", "lms_user_id")
            }
    expected["Case"] = ((26.0, None), "", "Two ids that differ in case only.")
    expected["case"] = ((26.0, None), "clash", "Two ids that differ in case only.")
    expected["nobody_knows"] = ((None,), "no student", "A folder of a student who isn't enrolled.")
    with open(base / "roster.csv", "w", newline="", encoding="utf-8") as file:
        fields = ("id", "first_name", "last_name", "lms_user_id")
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows({"id": name, **about} for name, about in people.items())
    command(world, "init", str(world.course), "--students", str(base / "roster.csv"))
    settings = world.course / "course.toml"
    settings.write_text(settings.read_text().replace("[limits]\n", f"[limits]\n{LIMITS}"))
    command(world, "release", CHAPTER)
    (world.course / "canary.txt").write_text(CANARY)

    inbox = base / "inbox"
    for one_hostile in SUITE.values():
        hand_in(inbox / one_hostile.name, one_hostile.make(world))
    treasure = last(solved(), f"# {CANARY}")
    for name in ("treasure", "Case", "case", "nobody_knows"):
        hand_in(inbox / name, treasure if name == "treasure" else solved())
    archives.write(base / "canvas.zip", canvas)
    archives.write(base / "moodle.zip", moodle)
    collected = []
    for source in (inbox, base / "canvas.zip", base / "moodle.zip"):
        collected += json.loads(command(world, "collect", CHAPTER, str(source), "--json"))
    for name in COPIED:
        target = world.course / "submitted" / name / CHAPTER
        shutil.rmtree(target, ignore_errors=True)
        hand_in(target, SUITE[name].make(world))

    watched = [base / "outside", base / "home", world.course / "submitted", ROOT / "lib"]
    watched += [Path(folder) for folder in site.getsitepackages()[:1]]
    before = snapshot(*watched)
    started = time.monotonic()
    # Half of the time is spent on waiting for limits: three at once on two cores.
    said = json.loads(command(world, "grade", CHAPTER, "--workers", "3", "--json"))
    seconds = time.monotonic() - started
    after = snapshot(*watched)
    # Pages of those who went looking, and of whom they looked for; all would take a minute.
    looked = [name for name, one in SUITE.items() if one.make.__module__.endswith("reading")]
    pages = [f"--student={name}" for name in [*looked, "links_out", "treasure"]]
    command(world, "feedback", CHAPTER, *pages, "--json")
    rows = {
        re.sub(r"(_\d+)?-[0-9a-f]{6}$", "", row["student"])
        if row["score"] is None
        else row["student"]: row
        for row in said
    }
    return Outcome(world, listener, rows, collected, expected, before, after, seconds)


def test_the_table(outcome: Outcome) -> None:
    """Each has a row with the score that it deserves, and says why."""
    table, wrong = [], []
    for name, (scores, word, about) in outcome.expected.items():
        row = outcome.rows.get(name)
        got = row["score"] if row else "no row"
        fair = row is not None and any(
            s is None if got is None else s is not None and abs(got - s) < 1e-6 for s in scores
        )
        said = re.sub(r"<[^>]+>", " ", outcome.feedback(name))
        found = re.search(word, said, re.I) if word else True
        entry = {
            "name": name,
            "about": about,
            "expected": list(scores),
            "got": got,
            "status": row["status"] if row else "",
            "reason": row["reason"] if row else "",
            "seconds": row["seconds"] if row else 0,
            "fair": bool(fair and found),
        }
        table.append(entry)
        if not entry["fair"]:
            wrong.append(f"{name}: {got}, expected {scores}, /{word}/ in {entry['reason'][:200]!r}")
    TABLE.parent.mkdir(exist_ok=True)
    report = {"seconds": round(outcome.seconds, 1), "submissions": len(table), "steps": STEPS}
    report["table"] = table
    TABLE.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert len(table) >= 40
    assert not wrong, "\n".join(wrong)


def test_no_row_is_missing_and_none_too_many(outcome: Outcome) -> None:
    assert set(outcome.rows) == {*outcome.expected, "treasure"}
    assert not [row for row in outcome.rows.values() if row["status"] == "failed"]


def test_the_gradebook_says_the_same(outcome: Outcome) -> None:
    said = json.loads(command(outcome.world, "export", CHAPTER, "--format", "json"))
    scores = {one["student"]: one for one in said}
    for name, row in outcome.rows.items():
        if row["score"] is not None:
            assert scores[name]["score"] == pytest.approx(row["score"]), name
            assert not scores[name]["waiting"] and scores[name]["max_score"] == 26


def test_nobody_has_read_what_they_should_not(outcome: Outcome) -> None:
    secret = (outcome.world.course / "secret").read_text().strip()
    shown = [name for name in outcome.rows if name != "treasure"]
    for name in shown:
        text = outcome.feedback(name)
        assert CANARY not in text, name
        assert secret not in text, name
        assert "root:x:0" not in text, name
    assert CANARY in outcome.feedback("treasure")  # the search would have found it


def test_nobody_has_written_where_they_should_not(outcome: Outcome) -> None:
    changed = {
        path
        for path in {*outcome.before, *outcome.after}
        if outcome.before.get(path) != outcome.after.get(path)
        and not path.endswith((".pyc", ".py"))  # who works on this meanwhile
    }
    inside = {p for p in changed if p.startswith((str(ROOT / "lib"), *site.getsitepackages()))}
    assert not changed - inside
    new = [path for path in inside if path not in outcome.before]
    assert not [path for path in new if "canary" in path or "custom" in path]


def test_nobody_was_reached(outcome: Outcome) -> None:
    assert outcome.listener.heard == []


def test_nothing_is_left_running(outcome: Outcome) -> None:
    """Neither a grandchild nor a sandbox, nor the grader's own processes."""
    marks = (str(outcome.world.course.parent), "bwrap", "roofline.course.sandbox")
    for _ in range(50):
        left = []
        for process in psutil.process_iter(["pid", "cmdline", "create_time"]):
            line = " ".join(process.info["cmdline"] or [])
            if str(outcome.world.course.parent) in line and process.pid != os.getpid():
                left.append(line[:200])
        if not left:
            break
        time.sleep(0.1)
    assert not left, marks
    assert not (outcome.world.outside / "grandchild").exists()


def test_collecting_said_what_it_left_out(outcome: Outcome) -> None:
    refused = {
        row["name"]: row["reason"] for row in outcome.collected if row["status"] == "refused"
    }
    assert any("evil" in name and "leads out" in why for name, why in refused.items())
    for name, word in (("enormous", "bytes"), ("link_to_another", "link"), ("never_ends", "plain")):
        why = [text for path, text in refused.items() if path.startswith(f"{name}/")]
        assert why and word in why[0], name
    older = [row for row in outcome.collected if row["status"] == "older"]
    assert not older or older[0]["student"] == "twice"
