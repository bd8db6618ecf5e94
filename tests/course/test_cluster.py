"""The same work on a Dask cluster of real processes, one killed midway: the same scores."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from course import dask_cluster
from course.hostile.world import CHAPTER, EXERCISES, FILE, as_bytes, hand_in, solved
from needs import need
from roofline.course import cluster as dask
from roofline.course.assign import release
from roofline.course.folder import Course, CourseError, create
from roofline.course.gradebook import Book

COUNT = 12


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dask_cluster.Cluster]:
    need(importlib.util.find_spec("distributed") is not None, "dask")
    with dask_cluster.running(tmp_path_factory.mktemp("cluster"), 2) as started:
        yield started


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    need(sys.platform == "linux" and shutil.which("bwrap") is not None, "bubblewrap")
    made = create(tmp_path_factory.mktemp("dask") / "class")
    release(made, CHAPTER)
    with Book(made) as book:
        book.add_students({f"s{i:02}": {} for i in range(COUNT)})
    names = [exercise.split(".")[1] for exercise in EXERCISES]
    for i in range(COUNT):
        some = names[: 1 + i % len(names)]
        hand_in(made.submitted / f"s{i:02}" / CHAPTER, {FILE: as_bytes(solved(*some))})
    return made


def known(course: Course) -> dict[str, Any]:
    """Everything about the class that mustn't depend on who computed it."""
    with Book(course) as book:
        graded = book.graded(CHAPTER)
    return {s: (g.score, g.max_score, g.status, g.reason, g.results) for s, g in graded.items()}


def test_a_worker_dies_and_every_score_is_the_same(
    course: Course, cluster: dask_cluster.Cluster
) -> None:
    command = ["grade", CHAPTER, "--json", "--course", str(course.root)]
    graded = cluster.roofline(*command, "--scheduler", cluster.address)
    for _ in range(3000):  # both are at work: one loses what it was doing
        if graded.poll() is not None or len(list(course.autograded.iterdir())) >= 3:
            break
        time.sleep(0.1)
    assert graded.poll() is None, "it was done before a worker could die"
    dask_cluster.end(cluster.workers[0])
    rows = json.loads(graded.communicate(timeout=300)[0])
    assert [row["student"] for row in rows] == [f"s{i:02}" for i in range(COUNT)]
    assert {row["status"] for row in rows} == {"graded"}, rows
    on_cluster = known(course)
    assert len({score[0] for score in on_cluster.values()}) > 4  # they do differ
    cluster.add_worker()
    cluster.roofline(*command, "--force", "--workers", "2").communicate(timeout=300)
    here = known(course)
    assert json.dumps(on_cluster, sort_keys=True) == json.dumps(here, sort_keys=True)


def test_one_that_kills_every_worker_is_named_and_the_others_go_on(
    cluster: dask_cluster.Cluster, tmp_path: Path
) -> None:
    """With a function of its own: what a sandbox is there to prevent."""
    stop = threading.Event()

    def replace() -> None:  # as a cluster's manager would
        while not stop.wait(0.5):
            if all(worker.poll() is not None for worker in cluster.workers):
                cluster.add_worker()

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        items = [{"student": f"s{i}", "code": 7 if i == 1 else None} for i in range(4)]
        done = {
            one["student"]: one for one in dask.each(items, "course.dying:maybe", cluster.address)
        }
    finally:
        stop.set()
        thread.join()
    assert set(done) == {"s0", "s1", "s2", "s3"}
    assert "workers of the cluster died" in done["s1"]["failed"]
    assert all(done[name]["failed"] == "" for name in ("s0", "s2", "s3"))


def test_a_result_that_dies_with_its_worker_is_made_again(cluster: dask_cluster.Cluster) -> None:
    cluster.add_worker()  # the others may have died, above
    items = [{"student": f"s{i}", "code": None} for i in range(4)]
    results = dask.each(items, "course.dying:maybe", cluster.address)
    done = [next(results)]
    time.sleep(2)  # what was sent is done, and nobody has taken it
    for worker in cluster.workers:
        dask_cluster.end(worker)
    cluster.add_worker()
    done += results
    assert {one["student"]: one["failed"] for one in done} == dict.fromkeys(
        ("s0", "s1", "s2", "s3"), ""
    )


def test_mistakes_are_one_line(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    need(importlib.util.find_spec("distributed") is not None, "dask")
    monkeypatch.setattr(dask, "PATIENCE", 1)
    with pytest.raises(CourseError, match="no Dask scheduler answers at 'tcp://127.0.0.1:1'"):
        list(dask.each([], "x:y", "tcp://127.0.0.1:1"))
    with pytest.raises(CourseError, match="no Dask scheduler answers"):
        list(dask.each([], "x:y", "nonsense://"))


def test_other_versions_are_refused(
    cluster: dask_cluster.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add_worker()  # the others may have died, above
    own = dask.versions()
    monkeypatch.setattr(dask, "PATIENCE", 60)
    monkeypatch.setattr(dask, "_own_versions", lambda: own | {"torch": "0.1"})
    with pytest.raises(CourseError, match="has torch .*, here is torch 0.1: scores could differ"):
        list(dask.each([], "x:y", cluster.address))
