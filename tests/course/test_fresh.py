"""Without a sandbox: the same interface and the same results, for submissions that are trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from course.conftest import DRILLS
from course.submitted import CHECK, PARTLY, RIGHT, earned, run, said
from roofline.course.sandbox import Workers, fresh, workers


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setenv("ROOFLINE_EXERCISES", str(DRILLS))
    monkeypatch.setattr(workers, "_missing", lambda: "there is no sandbox on this system")
    with Workers(1, trust=True, overlay=DRILLS) as made:
        yield made


def test_a_fresh_process_gives_what_a_sandbox_gives(
    trusted: Workers, sandbox: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "canary")
    (tmp_path / "data.txt").write_text("17")
    (tmp_path / "torch.py").write_text("1/0")
    cells = (
        "import os, torch\nprint(open('data.txt').read(), 'CANARY' in os.environ)\ntorch.rand(2)",
        PARTLY,
        CHECK,
        "1/0",
        "os.system('echo from a child')\nNone",
        "import random\nrandom.random()",
    )
    ran, same = (run(w, *cells, files=tmp_path) for w in (trusted, sandbox))
    assert trusted.sandbox == "none" and sandbox.sandbox == "bubblewrap"
    assert ran.status == "done" and earned(ran) == 3
    assert said(ran).startswith("17 False\n")
    assert (ran.cells, ran.messages, ran.outputs) == (same.cells, same.messages, same.outputs)


def test_what_goes_wrong_in_a_fresh_process(
    trusted: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ran = run(trusted, RIGHT, CHECK, "import os; os._exit(3)", "1")
    assert ran.status == "killed" and ran.reason.endswith("exit code 3") and earned(ran) == 4
    assert ran.cells == {0: "ok", 1: "ok", 2: "killed", 3: "not-run"}
    with monkeypatch.context() as elsewhere:
        # As on Windows: no timer, no process groups, no fork.
        less = "import os, signal; del signal.setitimer, os.killpg, os.fork; "
        elsewhere.setattr(fresh, "CODE", less + fresh.CODE)
        elsewhere.delattr(os, "killpg")
        ran = run(trusted, RIGHT, CHECK, "while True: pass", cell_seconds=0.5)
    assert ran.cells[2] == "timeout" and earned(ran) == 4
    assert ran.reason == "a cell took longer than 0.5 s and would not be stopped"
    forged = "import os\nfor n in range(3, 20):\n    try: os.write(n, b'noise\\n')\n"
    ran = run(
        trusted, RIGHT, CHECK, forged + "    except OSError: pass\nimport time; time.sleep(9)"
    )
    assert ran.status == "output" and earned(ran) == 4
    assert list(tmp_path.iterdir()) == [], "nothing is left where they ran"
    assert not os.path.exists("made")
