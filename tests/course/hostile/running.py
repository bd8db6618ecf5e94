"""Hostile to the machine: too long, too much, too many, and dying on the way.

What was done before a submission went down counts. A cell that fails or runs out of time loses
itself; one that takes the process with it loses what comes after.
"""

from __future__ import annotations

from typing import Any

from course.hostile.world import (
    ALL,
    BEFORE_TRAIN,
    World,
    answered,
    before,
    first,
    hostile,
    last,
    solved,
)

DOWN = "time|kill|ended|died|exit|stopp|signal|memory|process"


@hostile(ALL)
def raises(world: World) -> Any:
    """A cell of the student's own that fails."""
    return first(solved(), "1 / 0")


@hostile(ALL)
def leaves(world: World) -> Any:
    """Cells that raise SystemExit and KeyboardInterrupt."""
    notebook = first(solved(), "import sys\nsys.exit('I am done')")
    return before(notebook, "train", "raise KeyboardInterrupt")


@hostile(ALL)
def asks(world: World) -> Any:
    """A cell that waits for somebody to type."""
    return first(solved(), "name = input('your name? ')\nimport getpass\ngetpass.getpass()")


@hostile(ALL, word="output|capped|too much|MB")
def floods(world: World) -> Any:
    """200 MB of output from one cell."""
    return first(solved(), "line = 'x' * (2**20 - 1)\nfor _ in range(200):\n    print(line)")


@hostile(ALL)
def floods_with_displays(world: World) -> Any:
    """A million small outputs, and a picture of 50 MB."""
    code = """
    from IPython.display import display
    display({"image/png": "A" * (50 * 2**20)}, raw=True)
    for number in range(1_000_000):
        display(number)
    """
    return last(solved(), code)


@hostile(ALL)
def writes_to_descriptors(world: World) -> Any:
    """Megabytes to the descriptors 0, 1 and 2, past Python."""
    code = """
    import os
    for number in (1, 2, 0):
        for _ in range(50):
            os.write(number, b"y" * 2**20)
    """
    return last(solved(), code)


@hostile(ALL, word="time|second|stopp")
def loops(world: World) -> Any:
    """An endless loop that can be interrupted."""
    return first(solved(), "while True:\n    pass")


@hostile(BEFORE_TRAIN, word=DOWN)
def loops_and_swallows(world: World) -> Any:
    """An endless loop that swallows every exception, KeyboardInterrupt too."""
    code = """
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
    """
    return before(solved(), "train", code)


@hostile(ALL - 4, word="second|time")
def loops_in_an_answer(world: World) -> Any:
    """An answer that never returns."""
    return answered(solved(), "silu", "def silu(x):\n    while True:\n        pass")


@hostile(ALL - 4, word=DOWN)
def sleeps_in_c(world: World) -> Any:
    """An answer that sleeps with every signal blocked."""
    code = """
def silu(x):
    import signal, time
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass
"""
    return answered(solved(), "silu", code)


@hostile(ALL)
def forks(world: World) -> Any:
    """A fork bomb, after everything is solved."""
    return last(solved(), "import os\nwhile True:\n    os.fork()")


@hostile(BEFORE_TRAIN, ALL)
def forks_on_the_way(world: World) -> Any:
    """A fork bomb in the middle that swallows what stops it: every child goes on with the rest."""
    code = """
    import os
    for _ in range(10_000):
        try:
            os.fork()
        except OSError:
            pass
    """
    return before(solved(), "train", code)


@hostile(ALL)
def threads(world: World) -> Any:
    """Threads without end."""
    code = """
    import threading, time
    while True:
        threading.Thread(target=time.sleep, args=(3600,)).start()
    """
    return last(solved(), code)


@hostile(ALL)
def asks_for_much_memory(world: World) -> Any:
    """64 GB at once."""
    return first(solved(), "hoard = bytearray(64 * 2**30)")


@hostile(ALL)
def eats_memory(world: World) -> Any:
    """Memory in small pieces, until there is none."""
    return last(solved(), "hoard = []\nwhile True:\n    hoard.append(bytearray(2**20) + b'x')")


@hostile(ALL)
def fills_the_disk(world: World) -> Any:
    """Files without end, wherever one can be written."""
    code = """
    import os
    for folder in (".", "/tmp", "/dev/shm", os.path.expanduser("~"), "<outside>"):
        try:
            with open(os.path.join(folder, "full"), "wb") as file:
                for _ in range(2_000):
                    file.write(b"z" * 2**20)
        except OSError as error:
            print(folder, error)
    """
    return first(solved(), world.file(code))


@hostile(BEFORE_TRAIN, word=DOWN)
def exits_at_once(world: World) -> Any:
    """os._exit(0): gone without a word, and with the code of success."""
    return before(solved(), "train", "import os\nos._exit(0)")


@hostile(BEFORE_TRAIN, word=DOWN)
def segfaults(world: World) -> Any:
    """Reads address 0."""
    return before(solved(), "train", "import ctypes\nctypes.string_at(0)")


@hostile(ALL - 4, word=DOWN)
def exits_in_an_answer(world: World) -> Any:
    """The last answer ends the process."""
    return answered(solved(), "silu", "import os\ndef silu(x):\n    os._exit(0)")


@hostile(BEFORE_TRAIN, ALL)
def kills_the_parent(world: World) -> Any:
    """Kills its parent, its group, and everything that it may."""
    code = """
    import os, signal
    for number in (os.getppid(), 1, -1, 0):
        for which in (signal.SIGTERM, signal.SIGKILL):
            try:
                if number or which is signal.SIGKILL:
                    os.kill(number, which)
            except OSError:
                pass
    """
    return before(solved(), "train", code)


@hostile(ALL)
def stops_itself(world: World) -> Any:
    """Stops its own process with SIGSTOP, so that it neither ends nor runs; after everything."""
    return last(solved(), "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)")


@hostile(ALL)
def leaves_a_child(world: World) -> Any:
    """A daemonised grandchild that outlives the notebook, holds every descriptor, and waits to
    write where it may not."""
    code = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3)
            for _ in range(600):
                try:
                    open("<outside>/grandchild", "w").write("still here")
                except OSError:
                    pass
                time.sleep(0.1)
        os._exit(0)
    """
    return first(solved(), world.file(code))


@hostile(ALL)
def recurses(world: World) -> Any:
    """Recursion without a limit."""
    code = "import sys\nsys.setrecursionlimit(10**9)\ndef f(n):\n    return f(n + 1)\nf(0)"
    return last(solved(), code)


@hostile(ALL)
def grows_a_number(world: World) -> Any:
    """One expression that computes for ever in C, where no signal is looked at."""
    return last(solved(), "10 ** 10 ** 10 % 7")
