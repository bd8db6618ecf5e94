"""What a sandbox does with submissions that mean no harm."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from course.conftest import DRILLS
from course.submitted import CHECK, LIMITS, PARTLY, RIGHT, WORD, earned, run, said, work
from roofline.course.sandbox import NoSandbox, Workers, available, workers
from roofline.course.work import Cell, Work


@pytest.fixture(autouse=True)
def _drills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_EXERCISES", str(DRILLS))


def test_a_notebook_is_run_as_in_jupyter(sandbox: Workers) -> None:
    ran = run(
        sandbox,
        "print('one'); import sys; print('two', file=sys.stderr); print('three')",
        "x = 6\nx * 7",
        "from IPython.display import HTML, display\nd = display(HTML('<b>1</b>'), display_id='n')\n"
        "d.update(HTML('<b>2</b>'))",
        "1/0",
        "raise SystemExit(3)",
        "import asyncio\nawait asyncio.sleep(0)\n_",
        "!echo $((20 + 3))\nimport os; os.system('echo C code >&2')\nNone",
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "from IPython.display import clear_output\nprint('old'); clear_output(); print('new')",
        "def broken(:",
        "input()",
    )
    assert (ran.status, ran.reason) == ("done", "")
    assert list(ran.cells.values()) == [
        *("ok", "ok", "ok", "error", "error", "ok", "ok", "ok", "ok", "error", "error"),
    ]
    assert [(o["name"], o["text"]) for o in ran.outputs[0]] == [
        ("stdout", "one\n"),
        ("stderr", "two\n"),
        ("stdout", "three\n"),
    ]
    assert ran.outputs[1] == [
        {
            "output_type": "execute_result",
            "execution_count": 2,
            "data": {"text/plain": "42"},
            "metadata": {},
        }
    ]
    assert [o["data"]["text/html"] for o in ran.outputs[2]] == ["<b>2</b>"]
    error = ran.outputs[3][0]
    assert error["ename"] == "ZeroDivisionError" and "1/0" in "".join(error["traceback"]).replace(
        "\x1b[39;49m\x1b[30;43m", ""
    )
    assert ran.outputs[4][0]["ename"] == "SystemExit"
    assert said(ran, 5) == "42"
    assert [o["text"] for o in ran.outputs[6]] == ["23\n", "C code\n"]
    assert ran.outputs[7][0]["data"]["image/png"].startswith("iVBORw0KGgo")
    assert said(ran, 8) == "new\n"
    assert ran.outputs[9][0]["ename"] == "SyntaxError"
    assert ran.outputs[10][0]["ename"] == "EOFError"


def test_checks_are_probed_on_cases_from_the_word(sandbox: Workers) -> None:
    ran = run(sandbox, RIGHT, CHECK)
    assert ran.cells == {0: "ok", 1: "ok"} and earned(ran) == 4
    assert earned(run(sandbox, PARTLY, CHECK)) == 3
    other = sandbox.run(Work("one", work(RIGHT, CHECK).cells, None, LIMITS, "another word"))
    assert other.messages != ran.messages and earned(other) < 4, "a word is a set of cases"


def test_a_check_whose_answer_is_missing(sandbox: Workers) -> None:
    ran = run(sandbox, "1", CHECK, ("drill.nothing", "linear"), "linear = None", CHECK)
    assert ran.cells == {0: "ok", 1: "error", 2: "error", 3: "ok", 4: "ok"}
    assert said(ran, 1) == "name 'linear' is not defined"
    assert said(ran, 2) == "no exercise 'drill.nothing' could be loaded"
    assert earned(ran) == 0


def test_cells_after_an_error(sandbox: Workers) -> None:
    cells = work("1/0", "print('on')", RIGHT, CHECK).cells
    ran = sandbox.run(Work("one", cells, None, LIMITS, WORD, stop_on_error=False))
    assert said(ran, 1) == "on\n" and earned(ran) == 4
    ran = sandbox.run(Work("one", cells, None, LIMITS, WORD, stop_on_error=True))
    assert ran.cells == {0: "error", 1: "not-run", 2: "not-run", 3: "error"}
    assert ran.status == "done"


def test_no_cells(sandbox: Workers) -> None:
    assert run(sandbox).status == "done"


def test_files_beside_the_notebook(sandbox: Workers, tmp_path: Path) -> None:
    folder = tmp_path / "handed in"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "größe.txt").write_text("17")
    (folder / "helper.py").write_text("value = 5")
    (folder / "large.bin").write_bytes(bytes(2**20 + 1))
    (tmp_path / "secret").write_text("canary")
    (folder / "link.txt").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    ran = run(
        sandbox,
        "import os\nprint(sorted(os.listdir()), open('data/größe.txt').read())",
        "import helper\nopen('made', 'w').write('new')\nprint(helper.value)",
        files=folder,
        file_bytes=2**20,
    )
    assert said(ran) == "['data', 'helper.py'] 17\n" and said(ran, 1) == "5\n"
    assert ran.reason == "left out of its folder, as links or too large: large.bin, link.txt, pipe"
    assert ran.status == "done" and not (folder / "made").exists()


def test_files_never_stand_before_installed_modules(sandbox: Workers, tmp_path: Path) -> None:
    for name in ("json", "torch", "numpy", "roofline", "colorsys", "sitecustomize", "conftest"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of the submission')")
    ran = run(
        sandbox,
        "import json, torch, numpy, roofline, colorsys\nprint(colorsys.__file__, torch.ones(1))",
        RIGHT,
        CHECK,
        files=tmp_path,
    )
    assert "/home/student" not in said(ran) and "tensor([1.])" in said(ran)
    assert earned(ran) == 4


RANDOM = """
import random, numpy, torch
def linear(x, w, b):
    noise = torch.rand(3), numpy.random.rand(3).tolist(), random.random()
    return x @ w.T + b, lambda dy: (dy @ w, dy.T @ x, torch.dropout(dy, 0.5, True).sum(0)), noise
print(torch.rand(2), numpy.random.rand(2), random.random(), {"b", "a", "c"}, (x := torch.nn.
    Linear(100, 100))(torch.ones(100)).sum())
"""


def test_the_same_bits_in_any_order_with_any_number_of_workers(sandbox: Workers) -> None:
    works = [work(f"n = {i}" + RANDOM, CHECK, key=str(i)) for i in range(6)]

    def bits(workers: Workers, works: list[Work]) -> dict[str, object]:
        with ThreadPoolExecutor(len(works)) as pool:
            return {r.key: (r.cells, r.outputs, r.messages) for r in pool.map(workers.run, works)}

    first = bits(sandbox, works)
    assert all(cells == {0: "ok", 1: "ok"} for cells, _, _ in first.values())
    with Workers(3, overlay=DRILLS) as others:
        assert bits(others, works[::-1]) == first


def test_a_number_of_workers_is_asked_for() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        Workers(0)


def test_why_there_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_missing", lambda: "bubblewrap is not installed")
    assert (available() or "").startswith("bubblewrap is not installed")
    with Workers(1) as few, pytest.raises(NoSandbox) as caught:
        few.run(work("1"))
    assert "\n" not in str(caught.value) and "trust" in str(caught.value)


def test_what_keeps_the_sandbox_from_starting_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() == 0:
        assert "can't run as root" in (available(user="root") or "")
    monkeypatch.setattr(workers, "python", lambda code: ["/bin/sh", "-c", "echo no >&2"])
    assert (available() or "").startswith("no;")


def test_there_is_a_sandbox_and_what_was_killed_is_replaced(
    sandbox: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert available() is None and sandbox.sandbox == "bubblewrap"
    # On a kernel that takes no filter on system calls, the rest holds, and it is said.
    refused = (
        "from roofline.course.sandbox import seccomp\n"
        "def install(): raise OSError(22, 'Invalid argument')\n"
        "seccomp.install = install\n"
    )
    start = workers.python
    monkeypatch.setattr(workers, "python", lambda code: start("0\n" + refused + code))
    with Workers(1) as few:
        few.start()
        assert few.sandbox == "bubblewrap, without a filter on system calls"
        mode = "print(next(line for line in open('/proc/self/status') if 'Seccomp:' in line))"
        assert said(run(few, mode)).split() == ["Seccomp:", "0"]
        assert said(run(sandbox, mode)).split() == ["Seccomp:", "2"]
        monkeypatch.setattr(workers, "python", start)
        few._zygote.process.kill()  # type: ignore[union-attr]
        few._zygote.process.wait()  # type: ignore[union-attr]
        assert run(few, "1").status == "done" and few.sandbox == "bubblewrap"
    with pytest.raises(ValueError, match="closed"):
        run(few, "1")


def test_a_run_whose_zygote_is_killed_is_run_again(sandbox: Workers) -> None:
    with Workers(1) as few, ThreadPoolExecutor(1) as pool:
        few.start()
        first = few._zygote.process  # type: ignore[union-attr]
        result = pool.submit(run, few, "import time; time.sleep(2); print('done')")
        time.sleep(1)
        first.kill()
        ran = result.result()
    assert ran.status == "done" and said(ran) == "done\n"


def test_an_instructors_test_cell_finds_the_libraries_as_they_were(sandbox: Workers) -> None:
    patches = """
import ast, builtins, numpy, torch
builtins.all = builtins.abs = lambda *a: True
numpy.testing.assert_allclose = torch.allclose = torch.equal = lambda *a, **k: True
torch.Tensor.__eq__ = lambda self, other: True
class NoAsserts(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)
shell = get_ipython()
shell.ast_transformers.append(NoAsserts())
shell.input_transformers_cleanup.append(lambda lines: ["pass\\n"])
shell.events.register("pre_run_cell", lambda *a: None)
type(shell).run_ast_nodes = shell.run_ast_nodes = None
mine = 5
"""
    tests = (
        "assert False",
        "import numpy; numpy.testing.assert_allclose(1, 2)",
        "import torch; assert torch.allclose(torch.ones(1), torch.zeros(1))",
        "assert (torch.ones(1) == torch.zeros(1))",
        "assert all([False])",
        "assert mine == 5",
    )
    cells = [Cell(0, patches), *(Cell(i + 1, t, locked=True) for i, t in enumerate(tests))]
    ran = sandbox.run(Work("one", tuple(cells), None, LIMITS, WORD))
    assert list(ran.cells.values()) == ["ok", *["error"] * 5, "ok"]
    assert {ran.outputs[i][0]["ename"] for i in range(1, 6)} == {"AssertionError"}
