"""What a sandbox does with submissions that mean harm: each ends alone, with a reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from course.conftest import DRILLS
from course.submitted import CHECK, LIMITS, RIGHT, WORD, earned, run, said
from roofline.course import running
from roofline.course.sandbox import Workers, following
from roofline.course.work import Cell, Work
from roofline.grading import find
from roofline.grading.checking import grade


@pytest.fixture(autouse=True)
def _drills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_EXERCISES", str(DRILLS))


@pytest.fixture(autouse=True)
def _nothing_stays(sandbox: Workers) -> object:
    """After each of these: no process, no descriptor, no mount that wasn't there before."""
    yield
    zygote = psutil.Process(sandbox._zygote.process.pid)  # type: ignore[union-attr]
    deadline = time.monotonic() + 20
    while zygote.children(recursive=True) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert zygote.children(recursive=True) == []
    assert run(sandbox, "1").status == "done", "the next submission is none the worse"


def lives(mark: str) -> bool:
    """Whether a process with ``mark`` in its command line is left."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = []
        for process in psutil.process_iter(["cmdline"]):
            lines.append(" ".join(process.info["cmdline"] or []))
        if not any(mark in line for line in lines):
            return False
        time.sleep(0.1)
    return True


ENDLESS = {
    "plain": "while True: pass",
    "sleeps": "import time; time.sleep(1000)",
    "swallows": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "no alarm": "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass",
    "no timer": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0)\nwhile True: pass",
    "blocked": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
    "while True: pass",
    "in C": "import re; re.match('(a?){60}a{60}', 'a' * 60)",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_cell_costs_only_what_comes_after(sandbox: Workers, kind: str) -> None:
    cells = (RIGHT, CHECK, ENDLESS[kind], "print('on')")
    ran = run(sandbox, *cells, cell_seconds=0.5)
    assert earned(ran) == 4, "what was done before counts"
    assert ran.cells[2] == "timeout"
    if kind in ("plain", "sleeps", "in C"):  # these can be interrupted
        assert ran.status == "done"
    if ran.status == "done":
        assert said(ran, 3) == "on\n"
    else:
        assert ran.status == "timeout" and ran.cells[3] == "not-run"
        assert ran.reason and said(ran, 2) == ran.reason


def test_the_whole_submission_has_a_limit_too(sandbox: Workers) -> None:
    cells = ["import time; time.sleep(0.7)"] * 20
    ran = run(sandbox, *cells, wall_seconds=2)
    assert (ran.status, ran.reason) == ("timeout", "took longer than 2 s")
    statuses = list(ran.cells.values())
    assert statuses[0] == "ok" and statuses.count("timeout") == 1 and statuses[-1] == "not-run"


def test_an_endless_answer(sandbox: Workers) -> None:
    hung = (
        "def linear(*a):\n while True:\n  try:\n   while True: pass\n  except BaseException: pass"
    )
    forever = hung.replace("while True: pass", "linear()")
    twice = "def double(x):\n    return x + x"
    ran = run(sandbox, twice, ("drill.double", "double"), forever, CHECK, cell_seconds=6)
    assert earned(ran, "drill.double") == 2
    assert ran.cells[3] in ("ok", "timeout")
    assert ran.cells[3] == "timeout" or earned(ran) == 0


def test_a_check_has_its_exercises_limit(sandbox: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of other cells, which may be shorter or longer; and it says what a notebook says."""
    monkeypatch.setattr(following, "GRACE", 0.0)
    monkeypatch.setattr(following, "CHECK_GRACE", 0.3)
    slow = RIGHT.replace("    return", "    time.sleep(1.2)\n    return")
    deaf = ENDLESS["blocked"].replace("\n", "\n    ")
    cells = (
        Cell(0, "import time\n" + slow),
        Cell(1, "", *CHECK, seconds=5.0),
        Cell(2, f"def double(x):\n    {deaf}"),
        Cell(3, "", "drill.double", "double", seconds=0.7),
    )
    for cell_seconds in (1.0, 60.0):
        work = Work("one", cells, None, replace(LIMITS, cell_seconds=cell_seconds), WORD)
        started = time.monotonic()
        ran = sandbox.run(work)
        assert earned(ran) == 4
        assert (ran.status, ran.cells[3]) == ("timeout", "timeout")
        assert time.monotonic() - started < 30
        assert running._why_nothing(work, ran, cells[3]) == "it was stopped after 0.7 seconds"
    exercise = find("drill.double")
    monkeypatch.setattr(exercise, "limit", 0.7)
    said_here = [item.message for item in grade(exercise.id, lambda x: time.sleep(5), 0).items]
    assert any("was stopped after 0.7 seconds" in message for message in said_here)


def test_processor_time(sandbox: Workers) -> None:
    ran = run(sandbox, "while True: pass", cpu_seconds=1)
    assert (ran.status, ran.reason) == ("timeout", "used more CPU seconds than it may")
    spread = "import os\nfor _ in range(4): os.fork() or os.setsid()\nwhile True: pass"
    ran = run(sandbox, spread, cpu_seconds=3, cell_seconds=30, wall_seconds=60)
    assert ran.status == "timeout"


def test_memory(sandbox: Workers) -> None:
    much = 400 * 2**20
    ran = run(
        sandbox,
        "hoard = bytearray(2**30)",
        "import torch\nhoard = torch.ones(2**28)",
        "import mmap\nmmap.mmap(-1, 2**28)",
        "import os, ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.memfd_create(b'm', 0), libc.shmget(1, 2**28, 0o1600))",
        "print('on')",
        memory_bytes=much,
    )
    assert list(ran.cells.values()) == ["error", "error", "error", "ok", "ok"]
    assert said(ran, 3) == "-1 -1\n" and said(ran, 4) == "on\n"


def test_memory_of_many_processes_together(sandbox: Workers) -> None:
    many = (
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n"
        "        hoard = bytearray(os.urandom(2**20)) * 100\n        time.sleep(60)\n"
        "time.sleep(60)"
    )
    ran = run(sandbox, "print('first')", many, memory_bytes=300 * 2**20, cell_seconds=30)
    assert (ran.status, ran.reason) == ("memory", "used more than 300 MiB of memory")
    assert said(ran) == "first\n" and ran.cells[1] == "killed"


def test_fork_bomb(sandbox: Workers) -> None:
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except BaseException: pass"
    ran = run(sandbox, RIGHT, CHECK, bomb, cell_seconds=1, processes=40)
    assert ran.status == "timeout" and earned(ran) == 4
    count = "import os\nn = 0\ntry:\n    while os.fork(): n += 1\n    import time; time.sleep(60)\n"
    ran = run(sandbox, count + "except BlockingIOError: print(n)", processes=40)
    assert 20 < int(said(ran)) < 40, "the limit is on this submission's processes alone"


def test_threads(sandbox: Workers) -> None:
    many = (
        "import threading, time\ntry:\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "except RuntimeError: print('no more')"
    )
    ran = run(sandbox, many, processes=40)
    assert ran.status == "done" and said(ran) == "no more\n"


def test_disk_filler(sandbox: Workers) -> None:
    fill = (
        "import os\nfor folder in ('.', '/tmp', '/dev/shm'):\n    total = 0\n    try:\n"
        "        for n in range(100):\n"
        "            with open(f'{folder}/{n}', 'wb') as file:\n"
        "                total += file.write(bytes(2**22))\n"
        "    except OSError as error: print(error.errno)\n    print(total <= 2**25)"
    )
    one = "open('one', 'wb').write(bytes(2**26))"
    ran = run(sandbox, one, fill, RIGHT, CHECK, file_bytes=2**24)
    assert ran.cells[0] == "error" and said(ran, 1) == "28\nTrue\n" * 3
    assert earned(ran) == 4, "a full disk is not in the way of a check"


def test_empty_files(sandbox: Workers) -> None:
    many = (
        "n = 0\ntry:\n    while True:\n        open(f'/tmp/{n}', 'w').close()\n        n += 1\n"
        "except OSError: print(n)"
    )
    ran = run(sandbox, many, RIGHT, CHECK)
    assert 10_000 < int(said(ran)) < 20_000 and earned(ran) == 4


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("import os; os._exit(0)", "its process ended by itself, with exit code 0"),
        ("import ctypes; ctypes.string_at(0)", "its process was ended by SIGSEGV"),
        ("import os; os.abort()", "its process was ended by SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "its process was ended by SIGKILL"),
        ("import os; os.kill(os.getppid(), 9)", "its process was ended by SIGKILL"),
        ("import os; os.kill(-1, 9); import time; time.sleep(60)", "it"),
        ("import os; os.kill(2, 9); import time; time.sleep(60)", "it"),
        ("import os; os.closerange(0, 256); os._exit(0)", "its process ended by itself, with"),
    ],
)
def test_an_end_by_force(sandbox: Workers, how: str, reason: str) -> None:
    ran = run(sandbox, RIGHT, CHECK, how, "1")
    assert ran.status == "killed" and ran.reason.startswith(reason)
    assert ran.cells == {0: "ok", 1: "ok", 2: "killed", 3: "not-run"} and earned(ran) == 4


def test_the_first_process_cannot_be_killed_from_inside(sandbox: Workers) -> None:
    ran = run(sandbox, "import os; os.kill(1, 9)", "import os; print(os.getppid())")
    assert ran.status == "done" and said(ran, 1) == "0\n"


def test_a_child_that_runs_on_in_the_next_cell(sandbox: Workers) -> None:
    ran = run(sandbox, "import os\nos.fork()", "print('once')", RIGHT, CHECK)
    assert ran.status == "done" and said(ran, 1) == "once\n" and earned(ran) == 4


def test_a_daemon_of_a_daemon(sandbox: Workers) -> None:
    mark = f"9876{os.getpid()}"
    daemon = (
        "import os, subprocess\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        f"        os.set_inheritable(3, True)\n        os.execvp('sleep', ['sleep', '{mark}'])\n"
        "    os._exit(0)\n"
        f"subprocess.Popen(['sleep', '{mark}'], start_new_session=True, close_fds=False)\n'started'"
    )
    ran = run(sandbox, daemon)
    assert ran.status == "done" and said(ran) == "'started'"
    assert not lives(f"sleep {mark}")


LOUD = {
    "print": "print('x' * 200_000_000)",
    "many": "for _ in range(200_000): print('y' * 1000)",
    "descriptor": "import os\nfor _ in range(200): os.write(1, b'z' * 2**20)",
    "child": "import subprocess\nsubprocess.run('yes | head -c 200000000', shell=True)",
    "value": "'v' * 200_000_000",
    "display": "from IPython.display import HTML, display\ndisplay(HTML('h' * 200_000_000))",
    "error": "raise ValueError('e' * 200_000_000)",
}


@pytest.mark.parametrize("kind", LOUD)
def test_too_much_output(sandbox: Workers, kind: str) -> None:
    ran = run(sandbox, LOUD[kind], RIGHT, CHECK, output_bytes=10_000)
    assert ran.status == "done" and earned(ran) == 4
    assert len(json.dumps(ran.outputs)) < 20_000
    if kind != "error":  # its text is cut by us, whatever IPython makes of the rest
        assert ran.cells[0] in ("output-capped", "error")


def test_odd_outputs(sandbox: Workers) -> None:
    odd = (
        "from IPython.display import display\n"
        "display({'text/plain': 'a\\ud800b', 'application/json': {'n': float('nan')}}, raw=True)",
        "loop = {}\nloop['loop'] = loop\n"
        "display({'application/json': loop, 'text/plain': 'x'}, raw=True)",
        "display({'text/plain': object(), 5: 6}, raw=True)",
        "class Odd:\n    def __repr__(self): raise SystemExit\nOdd()",
        "class Odder(Exception):\n    def __str__(self): raise KeyboardInterrupt\nraise Odder",
        "print('a\\ud800b\\0c')",
    )
    ran = run(sandbox, *odd, RIGHT, CHECK)
    assert ran.status == "done" and earned(ran) == 4
    text = json.dumps(ran.outputs, allow_nan=False)
    assert "\\ud800" not in text and "\\u0000" not in text


ODD_VALUES = {
    "unpicklable": "(lambda: 1, open('/dev/null'))",
    "cyclic": "(loop := [1], loop.append(loop), loop)[2], loop",
    "huge": "torch.zeros(2**25), lambda dy: (torch.zeros(2**25),)",
    "huge int": "10**100_000, -(10**100_000)",
    "nan": "torch.full((5, 4), float('nan')), lambda dy: float('inf')",
    "expanded": "torch.zeros(1).expand(2**40), None",
    "deep": "functools.reduce(lambda a, _: [a], range(5000), 0), None",
    "many": "list(range(10**6)), None",
    "lying": "type('T', (torch.Tensor,), {'shape': (1,), 'numel': lambda s: 0})(), None",
    "text": "'t' * 10**8, None",
    "meta": "torch.empty(2**40, device='meta'), None",
}


@pytest.mark.parametrize("kind", ODD_VALUES)
def test_odd_values(sandbox: Workers, kind: str) -> None:
    answer = f"import functools, torch\ndef linear(x, w, b):\n    return {ODD_VALUES[kind]}"
    twice = "def double(x):\n    return x + x"
    ran = run(sandbox, answer, CHECK, twice, ("drill.double", "double"))
    assert ran.status == "done" and earned(ran) == 0
    assert len(ran.messages[CHECK[0]]) < 40 * 2**20
    assert earned(ran, "drill.double") == 2


def test_messages_have_a_limit_together(sandbox: Workers) -> None:
    large = "import torch\ndef linear(x, w, b):\n    return torch.zeros(2**18), None"
    ran = run(sandbox, RIGHT, CHECK, large, CHECK, message_bytes=2**19)
    assert ran.status == "done" and list(ran.cells.values()) == ["ok", "ok", "ok", "error"]
    assert "too many" in said(ran, 3) and earned(ran) == 4


def test_two_submissions_see_nothing_of_each_other(sandbox: Workers) -> None:
    import threading

    first = (
        "import os, time\nfor folder in ('/tmp', '/dev/shm', '.'):\n"
        "    open(folder + '/canary-of-one', 'w').write('canary of one')\n"
        "import builtins\nbuiltins.canary = 'canary of one'\ntime.sleep(2.5)"
    )
    second = (
        "import os, time, builtins\ntime.sleep(1)\n"
        "print([os.listdir(f) for f in ('/tmp', '/dev/shm', '.')], hasattr(builtins, 'canary'))\n"
        "print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))"
    )
    thread = threading.Thread(target=run, args=(sandbox, first))
    thread.start()
    text = said(run(sandbox, second))
    thread.join()
    assert "canary" not in text and "False" in text
    assert text.split("\n")[1] == "[1, 2, 3]"


def test_a_hundred_in_a_row_leave_nothing_behind(
    sandbox: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    cells = ("import os\nif os.fork() == 0:\n    import time; time.sleep(60)", RIGHT, CHECK)
    zygote = psutil.Process(sandbox._zygote.process.pid)  # type: ignore[union-attr]
    here = psutil.Process()

    def state() -> tuple[object, ...]:
        mounts = Path("/proc/self/mountinfo").read_text()
        ours = here.num_fds(), here.num_threads(), mounts
        if os.getuid():  # it lets nobody of its own user look into it; who isn't root can't mount
            return ours
        return *ours, zygote.num_fds(), Path(f"/proc/{zygote.pid}/mountinfo").read_text()

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run(sandbox, *cells, files=tmp_path)
    before = state()
    spent = []
    for _ in range(100):
        ran = run(sandbox, *cells, files=tmp_path)
        assert ran.status == "done" and len(ran.messages) == 1
        spent.append(ran.cpu_seconds)
    deadline = time.monotonic() + 20
    while zygote.children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert state() == before and not any(scratch.iterdir())
    print(f"CPU seconds: median {sorted(spent)[50]:.3f}")


GRADER = """
import sys
sys.path[:0] = {path!r}
from course.submitted import run
from roofline.course.sandbox import Workers
with Workers(1) as workers:
    workers.start()
    print("ready", flush=True)
    run(workers, "import os\\nfor _ in range(3): os.fork()\\nimport time; time.sleep(600)")
"""


def test_nothing_outlives_a_grader_that_is_killed(sandbox: Workers) -> None:
    path = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    command = [sys.executable, "-c", GRADER.format(path=path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as grader:
        assert grader.stdout and grader.stdout.readline() == b"ready\n"
        above = psutil.Process(grader.pid)
        deadline = time.monotonic() + 60
        # The zygote, a supervisor, one between, eight of the submission, bubblewrap's three.
        while len(family := above.children(recursive=True)) < 14 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(family) >= 14
        grader.kill()
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []
