"""What grading a class costs: beside stock nbgrader, from 100 to 2,000, on a cluster, and served.

Processor seconds are those of a command and of all that it started and waited for. A figure beside
another was taken in the same run, on the same machine; wall times mean little on a busy one, so the
load is reported with them. ``ROOFLINE_BENCH=short`` takes a tenth of the submissions.

In a result, ``submissions`` says how many each figure was taken on: stock nbgrader runs a chapter
from top to bottom for each, so it is measured on few.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from course import dask_cluster
from course.hostile.world import CHAPTER, EXERCISES, FILE, ROOT, as_bytes, hand_in, solved
from roofline.course.assign import release
from roofline.course.folder import Course, create
from roofline.course.gradebook import Book

SHORT = os.environ.get("ROOFLINE_BENCH") == "short"


def run(
    beside_stock: int = 8 if SHORT else 40,
    stock: int = 1 if SHORT else 3,
    few: int = 10 if SHORT else 100,
    many: int = 60 if SHORT else 2000,
    on_cluster: int = 24 if SHORT else 300,
    served: int = 7 if SHORT else 40,
) -> dict:
    """All figures, with how busy the machine was before each."""
    with tempfile.TemporaryDirectory(prefix="bench-class-") as folder:
        base = Path(folder)
        base.chmod(0o755)
        return {
            "short": SHORT,
            "cores": os.cpu_count(),
            "stock": beside_nbgrader(base / "stock", beside_stock, stock),
            "scale": scale(base / "scale", few, many),
            "cluster": cluster(base / "cluster", 6, on_cluster),
            "served": serve(base / "served", served),
        }


@dataclass
class Cost:
    """What a command took: wall-clock and processor seconds, and the main process's peak bytes."""

    wall: float
    cpu: float
    peak: int
    output: str
    load: float


def beside_nbgrader(folder: Path, count: int, stock: int) -> dict:
    """CPU and wall seconds a submission, ours with 2 workers, and nbgrader's own autograde."""
    course = made(folder / "ours", count)
    ours = measured(["grade", CHAPTER, "--workers", "2", "--json"], course.root)
    check(ours, count)
    theirs = folder / "theirs"
    shutil.copytree(ROOT / "solutions" / CHAPTER, theirs / "solutions" / CHAPTER)
    shutil.copy(ROOT / "nbgrader_config.py", theirs)
    nbgrader = [str(Path(sys.executable).with_name("nbgrader"))]
    subprocess.run(
        [*nbgrader, "generate_assignment", CHAPTER],
        **{"cwd": theirs, "check": True, "capture_output": True},
    )
    for number in range(stock):
        hand_in(theirs / "classroom" / "submitted" / name(number) / CHAPTER, submission(number))
    other = measured([*nbgrader, "autograde", CHAPTER], theirs)
    return {
        "submissions": {"ours": count, "nbgrader": stock},
        "load": [ours.load, other.load],
        "cpu_seconds_each": {"ours": ours.cpu / count, "nbgrader": other.cpu / stock},
        "wall_seconds_each": {"ours": ours.wall / count, "nbgrader": other.wall / stock},
        "times_fewer_cpu_seconds": (other.cpu / stock) / (ours.cpu / count),
        "times_shorter": (other.wall / stock) / (ours.wall / count),
    }


def scale(folder: Path, few: int, many: int) -> dict:
    """The cost of each submission and the grader's memory, in runs of few, some and many.

    Starting takes the same time for all; what each submission costs beyond it is the difference of
    two runs, so there are three.
    """
    costs = {}
    some = (few + many) // 2
    for count in (few, some, many):
        course = made(folder / str(count), count)
        costs[count] = measured(["grade", CHAPTER, "--workers", "2", "--json"], course.root)
        check(costs[count], count)
        with Book(course) as book:
            scores = book.scores(CHAPTER)
        right = sum(scores[name(i)][0] == points(i) for i in range(count))
        assert right == count == len(scores), f"the gradebook has {right} of {count} right"
        shutil.rmtree(folder / str(count))
    early = (costs[some].cpu - costs[few].cpu) / (some - few)
    late = (costs[many].cpu - costs[some].cpu) / (many - some)
    return {
        "submissions": [few, some, many],
        "load": [cost.load for cost in costs.values()],
        "cpu_seconds_each": [cost.cpu / count for count, cost in costs.items()],
        "ratio_of_cost_each": (costs[many].cpu / many) / (costs[few].cpu / few),
        "cpu_seconds_of_one_more": [early, late],
        "ratio_of_one_more": late / early,
        "grader_peak_bytes": [costs[few].peak, costs[many].peak],
        "ratio_of_memory": costs[many].peak / costs[few].peak,
        "gradebook": "exact",
    }


def cluster(folder: Path, few: int, many: int) -> dict:
    """Throughput of two worker processes of one thread each, beside that of one.

    The command takes some seconds to start, whatever the cluster; what each submission takes beyond
    that is the difference between a run of many and one of few.
    """
    folder.mkdir(parents=True)
    course = made(folder / "class", many)
    some = [part for i in range(few) for part in ("--student", name(i))]
    each, loads = {}, []
    for workers in (1, 2):
        with dask_cluster.running(folder, workers) as started:
            grade = ["grade", CHAPTER, "--json", "--force", "--scheduler", started.address]
            library = started.environment()
            measured(grade + some, course.root, library)  # starts their sandboxes
            costs = {}
            for count, chosen_ones in ((few, some), (many, [])):
                costs[count] = measured(grade + chosen_ones, course.root, library)
                check(costs[count], count)
            each[workers] = (costs[many].wall - costs[few].wall) / (many - few)
            loads.append(costs[few].load)
    return {
        "submissions": [few, many],
        "load": loads,
        "wall_seconds_of_one_more": [each[1], each[2]],
        "times_the_throughput": each[1] / each[2],
    }


def serve(folder: Path, count: int) -> dict:
    """Seconds from a submission's arrival to its score, one after another, warm."""
    course = made(folder / "class", 1)
    drop = folder / "drop"
    drop.mkdir()
    command = [sys.executable, "-m", "roofline.cli", "serve-grader", str(drop), "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--assignment", CHAPTER, "--course", str(course.root)],
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert "watching" in process.stderr.readline()
        load = os.getloadavg()[0]
        seconds = []
        for number in range(count):
            content = as_bytes(submission(number)[FILE])
            started = time.perf_counter()
            (drop / f"{name(number)}.ipynb").write_bytes(content)
            target = drop / f"{name(number)}.score.json"
            while not target.exists():
                assert process.poll() is None
                time.sleep(0.005)
            seconds.append(time.perf_counter() - started)
            assert json.loads(target.read_text())["score"] == points(number)
    finally:
        process.terminate()
        process.wait(60)
    return {
        "submissions": count,
        "load": load,
        "median_seconds": statistics.median(seconds),
        "worst_seconds": max(seconds),
    }


# What the figures are taken on


def name(number: int) -> str:
    return f"s{number:05}"


def chosen(number: int) -> list[str]:
    """The exercises that one student solved: all subsets come, in turn."""
    names = [exercise.split(".")[1] for exercise in EXERCISES]
    bits = (number * 37 + 1) % 2 ** len(names) or 1
    return [one for i, one in enumerate(names) if bits >> i & 1]


def submission(number: int) -> dict:
    return {FILE: solved(*chosen(number))}


def points(number: int) -> float:
    from course.hostile.world import POINTS

    return float(sum(POINTS[f"backprop.{one}"] for one in chosen(number)))


def made(folder: Path, count: int) -> Course:
    """A course with so many submissions, none of them graded."""
    course = create(folder)
    release(course, CHAPTER)
    with Book(course) as book:
        book.add_students({name(i): {} for i in range(count)})
    for number in range(count):
        hand_in(course.submitted / name(number) / CHAPTER, submission(number))
    return course


def environment() -> dict[str, str]:
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "lib"), "ROOFLINE_MEASURE": "replay"}
    return os.environ | own


def measured(arguments: list[str], where: Path, env: dict[str, str] | None = None) -> Cost:
    """Run one of our commands, or a program given by its path, and say what it took."""
    ours = (
        [] if Path(arguments[0]).is_absolute() else [sys.executable, "-m", "roofline.cli", "class"]
    )
    command = [*ours, *arguments]
    load = os.getloadavg()[0]
    peak = [0]
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=where,
            env=env or environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        watch = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
        watch.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    assert process.returncode == 0, said[-2000:]
    return Cost(wall, used.ru_utime + used.ru_stime, peak[0], said, round(load, 2))


def _watch(pid: int, peak: list[int]) -> None:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        while True:
            peak[0] = max(peak[0], process.memory_info().rss)
            time.sleep(0.2)


def check(cost: Cost, count: int) -> None:
    """Every submission was graded, or the figure means nothing."""
    rows = json.loads(cost.output[cost.output.index("[") :])
    assert sum(row["status"] == "graded" for row in rows) == count, cost.output[:2000]
