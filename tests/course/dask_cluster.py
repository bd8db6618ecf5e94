"""A Dask scheduler and workers, each a process of its own, as on several machines."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Cluster:
    """``address`` is the scheduler's; ``workers`` are processes."""

    folder: Path
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self) -> subprocess.Popen[bytes]:
        number = len(self.workers)
        local = self.folder / f"worker-{number}"
        started = self._start(
            *("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard"),
            *("--host", "127.0.0.1", "--local-directory", str(local), "--name", f"w{number}"),
            log=f"worker-{number}.log",
        )
        self.workers.append(started)
        return started

    def _start(self, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        with open(self.folder / log, "wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
                env=self.environment(),
                cwd=self.folder,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def roofline(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Our own command, with the library that the workers have."""
        return subprocess.Popen(
            [sys.executable, "-m", "roofline.cli", "class", *arguments],
            env=self.environment(),
            cwd=self.folder,
            stdout=subprocess.PIPE,
        )

    def environment(self) -> dict[str, str]:
        """One state of the library for all, also if somebody writes on it meanwhile."""
        library = self.folder / "lib"
        if not library.exists():
            shutil.copytree(ROOT / "lib", library, ignore=shutil.ignore_patterns("__pycache__"))
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{library}:{ROOT / 'tests'}"}
        return os.environ | own

    def said(self, log: str) -> str:
        return (self.folder / log).read_text(errors="replace")


@contextmanager
def running(folder: Path, workers: int) -> Iterator[Cluster]:
    """A scheduler on 127.0.0.1 with so many workers of one thread each."""
    cluster = Cluster(folder)
    try:
        cluster.scheduler = cluster._start(
            *("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
            log="scheduler.log",
        )
        cluster.address = _wait(cluster, r"Scheduler at:\s+(tcp://\S+)", "scheduler.log")
        for number in range(workers):
            cluster.add_worker()
            _wait(
                cluster, r"(Registered to|Starting established connection)", f"worker-{number}.log"
            )
        yield cluster
    finally:
        for process in [*cluster.workers, cluster.scheduler]:
            if process is not None:
                end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started."""
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    process.wait(20)


def _wait(cluster: Cluster, pattern: str, log: str) -> str:
    for _ in range(1200):
        found = re.search(pattern, cluster.said(log))
        if found:
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"it never started: {cluster.said(log)[-2000:]}")
