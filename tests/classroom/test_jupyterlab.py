"""JupyterLab, served from the course's folder, loads nbgrader's extension and its formgrader."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-a-test"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a course with the committed chapters, asked over HTTP, without a browser."""
    course = tmp_path_factory.mktemp("lab") / "course"
    shutil.copytree(ROOT / "solutions", course / "solutions")
    shutil.copytree(ROOT / "chapters", course / "chapters")
    shutil.copy(ROOT / "nbgrader_config.py", course)
    home = course.parent / "home"
    home.mkdir()
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    log = open(course.parent / "log.txt", "w+")
    server = subprocess.Popen(
        command, cwd=course, env=os.environ | {"HOME": str(home)}, stdout=log, stderr=log
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                ask(address, "/api/status")
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None, (course.parent / "log.txt").read_text()
                time.sleep(0.2)
        else:
            pytest.fail((course.parent / "log.txt").read_text())
        yield address
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def ask(address: str, path: str) -> str:
    request = urllib.request.Request(address + path, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def test_the_lab_page_names_the_extension(address: str) -> None:
    page = ask(address, "/lab")
    [found] = re.findall(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.S)
    extensions = {one["name"]: one for one in json.loads(found)["federated_extensions"]}
    assert extensions["@jupyter/nbgrader"]["load"]


def test_formgrader_serves_and_finds_the_chapters(address: str) -> None:
    page = ask(address, "/formgrader")
    assert "Manage Assignments" in page and "not a subdirectory" not in page
    assignments = json.loads(ask(address, "/formgrader/api/assignments"))
    assert {one["name"] for one in assignments} == {
        path.stem for path in (ROOT / "solutions").glob("*.py")
    }
    assert all(one["source_path"].startswith("solutions") for one in assignments)


def test_validate_is_served(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(address, "/assignments/validate")  # there, and only for POST
    assert refused.value.code == 405
