"""The process that every submission is forked from, with all libraries imported.

It starts with an environment that holds nothing, knows neither the gradebook nor the sealed word,
and never sees a submission: its children do. As root it first makes the folders that Python needs
reachable for somebody who isn't (a home is often closed), in a mount namespace of its own, and
then is nobody for good.

Requests come on a socket: one byte and three descriptors, to report on, to read the work from, and
to send results to.
"""

from __future__ import annotations

import gc
import json
import os
import pwd
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from roofline.course.sandbox import bubble, kernel, seccomp, supervise
from roofline.course.sandbox.spool import unspooled

STAGE = "/mnt"  # hidden from this process and its children only, and only if it starts as root
OPEN_FILES = 256

# What a submission finds in its environment, besides what the zygote was started with.
ENVIRONMENT = {
    "HOME": bubble.FOLDER,
    "USER": "student",
    "LOGNAME": "student",
    "PWD": bubble.FOLDER,
    "TMPDIR": "/tmp",
    "SHELL": "/bin/sh",
    "IPYTHONDIR": "/tmp/ipython",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "ROOFLINE_HOME": "/tmp/roofline",
}


def main(descriptor: int) -> None:
    """Serve requests on a socket until it is closed.

    The first line on it names the ``user`` to be if started as root, and the ``overlay``: the
    folders of private exercises, which are imported here and not to be seen in a sandbox.
    """
    door = socket.socket(fileno=descriptor)
    kernel.die_with_parent(signal.SIGTERM)
    try:
        settings = json.loads(supervise.line_from(door))
        if settings["overlay"]:
            os.environ["ROOFLINE_EXERCISES"] = settings["overlay"]
        from roofline.course.sandbox.runner import Runner

        runner = Runner()
        os.environ.pop("ROOFLINE_EXERCISES", None)
        folders = settle(settings["user"])
        if len(os.listdir("/proc/self/task")) > 1:
            raise supervise.Failed("an imported library has started threads, which can't be forked")
        supervise.make(folders).end()
        filtered = seccomp.supported()
        kernel.undumpable()
    except (supervise.Failed, OSError) as error:
        door.sendall(json.dumps({"failed": str(error)[:300]}).encode() + b"\n")
        return
    door.sendall(json.dumps({"ready": True, "filtered": filtered}).encode() + b"\n")
    gc.collect()
    gc.freeze()
    _serve(door, folders, partial(_student, runner.run, filtered))


def settle(user: str) -> dict[str, str]:
    """Be nobody, if root. Returns where each folder that a sandbox needs is: inside -> outside."""
    folders = {folder: folder for folder in bubble.readable()}
    if os.getuid() == 0:
        identity = pwd.getpwnam(user)
        if identity.pw_uid == 0:
            raise supervise.Failed("submissions can't run as root: name another user")
        with suppress(OSError):  # a root without the right to mount; perhaps all is readable
            folders = staged(list(folders))
        os.setgroups([])
        os.setresgid(identity.pw_gid, identity.pw_gid, identity.pw_gid)
        os.setresuid(identity.pw_uid, identity.pw_uid, identity.pw_uid)
        if os.getresuid() != (identity.pw_uid,) * 3 or os.getgroups():
            raise supervise.Failed("root's rights could not be given up")
        kernel.dumpable()  # until everything is checked
    for folder in folders.values():
        if not os.access(folder, os.R_OK | os.X_OK):
            raise supervise.Failed(f"the user {_me()} can't read {folder}: make it readable")
    return folders


def _me() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, as a rule
        return str(os.getuid())


def staged(folders: list[str]) -> dict[str, str]:
    """Make folders that only root reaches reachable, for this process and its children."""
    kernel.unshare_mounts()
    opened = [(folder, os.open(folder, os.O_PATH | os.O_DIRECTORY)) for folder in folders]
    kernel.mount("none", STAGE, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=64k")
    made = {}
    for number, (folder, descriptor) in enumerate(opened):
        target = f"{STAGE}/{number}"
        os.mkdir(target)
        kernel.mount(f"/proc/self/fd/{descriptor}", target, "", kernel.MS_BIND | kernel.MS_REC)
        os.close(descriptor)
        made[folder] = target
    return made


def _serve(door: socket.socket, folders: dict[str, str], student: Callable[..., None]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    door.settimeout(1.0)
    while True:
        _reap()
        try:
            request, descriptors, _, _ = socket.recv_fds(door, 1, 3)
        except TimeoutError:
            continue
        if not request:
            return
        with suppress(OSError):  # no process to be had: whoever asked sees the socket close
            if os.fork() == 0:
                try:
                    door.close()
                    _one(descriptors, folders, student)
                finally:
                    os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _one(descriptors: list[int], folders: dict[str, str], student: Callable[..., None]) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    report, source, target = descriptors
    control = socket.socket(fileno=report)
    inside = partial(student, source, target)
    supervise.supervise(control, folders, inside, close=(source, target))


def _student(run: Callable[..., None], filtered: bool, source: int, target: int, held: int) -> None:
    """In the sandbox: give up what is left, read the work, and run it."""
    from roofline.course.sandbox.runner import capture_files

    try:
        os.setsid()
        kernel.dumpable()
        kernel.unshare_user()
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        # Two numbers that are ours for certain, and nothing else open.
        source, target = _moved(source, 1000), _moved(target, 1001)
        os.closerange(3, 1000)
        os.closerange(1002, 1 << 16)
        confine(filtered)
        with open(source, "rb") as file:
            work = unspooled(file, bubble.FOLDER)
        limit(work["limits"], held)
        target = _moved(target, 3)
        os.chdir(bubble.FOLDER)
        os.environ |= ENVIRONMENT
        sys.path.append(bubble.FOLDER)
        sys.argv = [""]
        files = capture_files()
        with suppress(OSError, ValueError):
            with open("/proc/self/oom_score_adj", "w") as score:
                score.write("1000")  # if the machine runs short, this one goes first
    except Exception as error:
        reason = (
            f"the submission could not be put into its sandbox: {type(error).__name__}: {error}"
        )
        os.write(target, json.dumps({"failed": reason[:300]}).encode() + b"\n")
        os._exit(1)
    run(work, target, files)
    os._exit(0)


def _moved(descriptor: int, number: int) -> int:
    if descriptor != number:
        os.dup2(descriptor, number, inheritable=False)
        os.close(descriptor)
    return number


def confine(filtered: bool) -> None:
    """No rights, and the filter on system calls, if this machine has one."""
    kernel.drop_capabilities()
    if filtered:
        seccomp.install()


def limit(limits: dict[str, Any], held: int) -> None:
    """The kernel's limits on this process and all that come of it. ``held``: see supervise."""
    memory = limits["memory_bytes"] + held
    for what, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = int(most) if hard == resource.RLIM_INFINITY else min(int(most), hard)
        # A second between the signal that says why and the one that can't be caught.
        last = most + 1 if what == resource.RLIMIT_CPU and most != hard else most
        resource.setrlimit(what, (most, last))
