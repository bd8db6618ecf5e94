"""The few system calls of Linux that Python has no function for, by ctypes.

Each raises OSError as Python's own functions do.
"""

from __future__ import annotations

import ctypes
import os

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")

MS_NODEV, MS_NOSUID, MS_BIND, MS_REC, MS_PRIVATE = 4, 2, 4096, 16384, 1 << 18
MS_REMOUNT = 32
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 1, 4, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITIES_V3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, *arguments: int) -> int:
    """``prctl(2)``."""
    four = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(_libc.prctl(ctypes.c_int(option), *four), f"prctl {option}")


def die_with_parent(number: int) -> None:
    """Have the kernel send this signal to this process when the thread that made it ends."""
    prctl(_PR_SET_PDEATHSIG, number)


def undumpable() -> None:
    """Give this process's files under /proc to root, so that no process of its user reads them."""
    prctl(_PR_SET_DUMPABLE, 0)


def dumpable() -> None:
    """The opposite."""
    prctl(_PR_SET_DUMPABLE, 1)


def join(process: int) -> None:
    """Enter all namespaces of a process; the one of process ids holds for children only."""
    opened = []
    for name in NAMESPACES:
        try:
            opened.append((name, os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY)))
        except FileNotFoundError:  # a kernel without this kind
            continue
    for name, descriptor in opened:
        _checked(_libc.setns(descriptor, 0), f"setns {name}")
        os.close(descriptor)


def unshare_mounts() -> None:
    """A mount namespace of our own, from which nothing spreads to the one we had."""
    _checked(_libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", "", MS_REC | MS_PRIVATE)


def unshare_user() -> None:
    """A user namespace of our own, in the one we have: what is of that one is out of our reach.

    Above all its processes: without this, bubblewrap's own, which no limit holds, could be made to
    run anything by writing into their memory.
    """
    user, group = os.getuid(), os.getgid()
    _checked(_libc.unshare(CLONE_NEWUSER), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """``mount(2)``."""
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
    )
    _checked(result, f"mount {target}")


def drop_capabilities() -> None:
    """No capabilities, now or after any exec."""
    for capability in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, capability)
        except OSError:  # past the last one that this kernel knows
            break
    try:
        prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:
        pass
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _checked(_libc.capset(ctypes.byref(header), ctypes.byref(nothing)), "capset")
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
