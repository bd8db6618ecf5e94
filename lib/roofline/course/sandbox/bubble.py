"""What is to be seen in a sandbox: bubblewrap's arguments.

Read-only: ``/usr``, the Python that runs this, and the package ``roofline``. Writable:
``/home/student``, ``/tmp`` and ``/dev/shm``, each in memory, of limited size, gone with the
sandbox. There is no ``/etc`` but what fonts and libraries are found with, and nothing of the
course.
"""

from __future__ import annotations

import os
import shutil
import site
import sys
from pathlib import Path

FOLDER = "/home/student"  # where a submission runs
WRITABLE = ("/tmp", FOLDER, "/dev/shm")
# Not zero: a shared mapping of it is memory that no limit counts.
_DEVICES = ("null", "full", "random", "urandom")
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def readable() -> list[str]:
    """The folders besides ``/usr`` that Python needs, none inside another.

    They are those of the Python that runs this: its prefix, its environment, ``roofline`` itself,
    and what a user has installed for themselves, if Python looks there.
    """
    folders = {sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix}
    folders.add(str(Path(__file__).parents[2]))
    if site.ENABLE_USER_SITE and os.path.isdir(site.getusersitepackages()):
        folders.add(site.getusersitepackages())
    folders |= {os.path.realpath(folder) for folder in folders}
    kept: list[str] = []
    for folder in sorted(folders):
        if folder == "/usr" or folder.startswith("/usr/"):
            continue
        if not any(folder.startswith(above + "/") for above in kept):
            kept.append(folder)
    return kept


def arguments(folders: dict[str, str], info: int) -> list[str]:
    """The command line of one sandbox.

    ``folders``: path in the sandbox -> path outside. What it runs is ``cat``, which waits for the
    end of its input; the submission joins it. ``info``: descriptor for bubblewrap's report.

    There is no ``--dev``: with it bubblewrap makes a second user namespace, which nobody can join.
    """
    line = [_program("bwrap"), "--unshare-all", "--die-with-parent", "--new-session"]
    line += ["--info-fd", str(info), "--hostname", "sandbox", "--cap-drop", "ALL"]
    for folder in WRITABLE:
        line += ["--tmpfs", folder]
    line += ["--ro-bind", "/usr", "/usr"]
    for name in _LINKS:
        path = "/" + name
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            line += ["--ro-bind", path, path]
    line += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    line += ["--ro-bind-try", "/etc/fonts", "/etc/fonts"]
    line += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
    line += ["--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]
    for inside, outside in folders.items():
        line += ["--ro-bind", outside, inside]
    line += ["--proc", "/proc"]
    for name in _DEVICES:
        line += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        line += ["--symlink", f"/proc/self/fd/{number}", f"/dev/{name}"]
    line += ["--symlink", "/proc/self/fd", "/dev/fd"]
    line += ["--remount-ro", "/", "--chdir", "/", "--", _program("cat")]
    return line


def _program(name: str) -> str:
    """Where a program is. FileNotFoundError if there is none."""
    found = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin:/usr/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found
