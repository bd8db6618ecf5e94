"""JupyterLab as a learner starts it, and a watch over what its page asks for."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

BROWSER_ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever would be looked up elsewhere is not found, and is seen in the console.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]


def learner_options() -> list[str]:
    """What ``make lab`` tells JupyterLab, read where it is written."""
    return re.findall(r"--LabApp\.\S+", (ROOT / "Makefile").read_text(encoding="utf-8"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running JupyterLab."""

    url: str
    token: str
    folder: Path
    records: Path
    """Where the learner's results and predictions are kept."""
    outside: socket.socket
    """Stands in for the network: every request of Python's clients would come here."""

    def left(self) -> bool:
        """Whether the server or a kernel tried to reach another machine."""
        try:
            self.outside.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@contextmanager
def serve(folder: Path, home: Path) -> Iterator[Server]:
    """JupyterLab called in ``folder``, for a user whose home is ``home`` and empty."""
    port, token = free_port(), secrets.token_hex(16)
    outside = socket.create_server(("127.0.0.1", 0))
    outside.setblocking(False)
    proxy = f"http://127.0.0.1:{outside.getsockname()[1]}"
    theirs = ("JUPYTER", "IPYTHON", "XDG", "ROOFLINE", "MPL", "NBGRADER", "COV", "PYTEST")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(theirs)}
    environment |= {"HOME": str(home), "USERPROFILE": str(home), "OMP_NUM_THREADS": "1"}
    environment["ROOFLINE_HOME"] = str(home / "roofline")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        environment[name] = proxy
    environment["NO_PROXY"] = environment["no_proxy"] = "127.0.0.1,localhost"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", "--LabApp.expose_app_in_browser=True"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with open(home / "server.log", "w") as log:
        process = subprocess.Popen(
            [*command, *learner_options()], env=environment, cwd=folder, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/api?token={token}", process, home / "server.log")
            yield Server(url, token, folder, home / "roofline", outside)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            outside.close()


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            opener.open(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@dataclass
class Watched:
    """What a page asked for and complained about."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def outside(self) -> list[str]:
        """Requests to other machines."""
        web = [u for u in self.requests if urlsplit(u).scheme in ("http", "https", "ws", "wss")]
        return [u for u in web if urlsplit(u).hostname not in LOOPBACK]


def watch(page: Any) -> Watched:
    """Note every request, websockets included, and every error of ``page``."""
    seen = Watched()
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("websocket", lambda opened: seen.requests.append(opened.url))
    page.on("pageerror", lambda error: seen.complaints.append(f"uncaught: {error}"))
    page.on(
        "console",
        lambda said: seen.complaints.append(said.text) if said.type == "error" else None,
    )
    return seen
