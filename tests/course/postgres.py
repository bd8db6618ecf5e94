"""A real PostgreSQL server in a temporary folder, on a socket that nobody else sees."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEBIAN = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: Debian's newest, or what is on PATH."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda p: int(re.sub(r"\D", "", p.parts[-3])))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@dataclass
class Server:
    """A running server. ``url`` is what ``course.toml`` has as its database."""

    folder: Path
    bin: Path
    user: dict[str, Any]

    def url(self, database: str = "gradebook") -> str:
        return f"postgresql+psycopg://grader@/{database}?host={self.folder}"

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run SQL as the owner; returns the rows, a line each."""
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder)]
        command += ["-U", "grader", "-d", database, "-c", text]
        command[0] = str(self.bin / "psql")
        return self._run(command)

    def start(self) -> None:
        # No TCP; a crash is tested by killing it, so it must be as careful as in earnest.
        options = f"-k {self.folder} -c listen_addresses='' -c max_connections=40"
        self._control("start", "-o", options)

    def stop(self, how: str = "fast") -> None:
        self._control("stop", "-m", how)

    def _control(self, *arguments: str) -> None:
        log, data = self.folder / "log", self.folder / "data"
        command = [str(self.bin / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "-t", "60"]
        self._run([*command, *arguments])

    def _run(self, command: list[str]) -> str:
        # Into a file: the server that pg_ctl starts keeps a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                *(command,),
                **self.user,
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=120,
            )
            output.seek(0)
            said = output.read().decode(errors="replace")
        assert done.returncode == 0, f"{command[0]}: {said}"
        return said.strip()


@contextmanager
def running() -> Iterator[Server]:
    """A server with an empty database ``gradebook``, gone at the end."""
    bin_folder = programs()
    assert bin_folder is not None
    user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path is short
    try:
        if os.geteuid() == 0:  # the server refuses to run as root
            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        server = Server(folder, bin_folder, user)
        command = [str(bin_folder / "initdb"), "-D", str(folder / "data"), "-U", "grader"]
        server._run([*command, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"])
        server.start()
        try:
            server.sql("create database gradebook")
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
