"""A seccomp filter in classic BPF: system calls that no notebook needs, and an attacker does.

The sandbox stands without it: namespaces, no capabilities, rlimits. The filter makes the kernel
that an attacker can reach smaller. Most of what it refuses answers EPERM, so that a program which
tries goes on; ``clone3`` answers ENOSYS, so that the C library falls back to ``clone``, whose flags
a filter can read.

Numbers are from the kernel's ``arch/x86/entry/syscalls/syscall_64.tbl`` and
``include/uapi/asm-generic/unistd.h`` (arm64).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from roofline.course.sandbox.kernel import prctl

# name: (x86-64, arm64); None where the architecture hasn't got it.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    # namespaces and mounts
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "setns": (308, 268),
    "unshare": (272, 97),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    # kernel interfaces with a history
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "acct": (163, 89),
    # the machine
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # memory that no limit counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
_CLONE, _CLONE3, _SOCKET, _IOCTL = (56, 220), (435, 435), (41, 198), (16, 29)
_MMAP = (9, 222)
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_AF_UNIX = 1
_TERMINAL = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX: typing into somebody's terminal

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# Offsets in struct seccomp_data.
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND, _FOURTH = 0, 4, 16, 24, 40
_PR_SET_SECCOMP, _MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38


def supported() -> bool:
    """Whether there is a filter for this machine's architecture, and its kernel takes it.

    Tried in a child, for a filter stays; call it where no other thread runs.
    """
    if platform.machine() not in _ARCHITECTURES:
        return False
    child = os.fork()
    if child == 0:
        try:
            prctl(_PR_SET_NO_NEW_PRIVS, 1)
            install()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def program(machine: str) -> bytes:
    """The filter: a list of ``struct sock_filter``. KeyError for an unknown ``machine``."""
    column, architecture = _ARCHITECTURES[machine]
    code: list[tuple[int, int, int, int]] = []

    def emit(operation: int, value: int, yes: int = 0, no: int = 0) -> None:
        code.append((operation, yes, no, value))

    def refuse(error: int) -> None:
        emit(_RETURN, _ERRNO | error)

    emit(_LOAD, _ARCHITECTURE)
    emit(_EQUAL, architecture, 1, 0)
    emit(_RETURN, _KILL)
    emit(_LOAD, _NUMBER)
    if machine == "x86_64":  # the x32 calls have other numbers
        emit(_AT_LEAST, 0x40000000, 0, 1)
        refuse(errno.EPERM)
    for numbers in REFUSED.values():
        number = numbers[column]
        if number is not None:
            emit(_EQUAL, number, 0, 1)
            refuse(errno.EPERM)
    emit(_EQUAL, _CLONE3[column], 0, 1)
    refuse(errno.ENOSYS)
    emit(_EQUAL, _CLONE[column], 0, 4)
    emit(_LOAD, _FIRST)
    emit(_ANY_BIT, _NEW_NAMESPACES, 0, 1)
    refuse(errno.EPERM)
    emit(_RETURN, _ALLOW)
    emit(_EQUAL, _SOCKET[column], 0, 4)
    emit(_LOAD, _FIRST)
    emit(_EQUAL, _AF_UNIX, 1, 0)
    refuse(errno.EAFNOSUPPORT)
    emit(_RETURN, _ALLOW)
    emit(_EQUAL, _IOCTL[column], 0, 5)
    emit(_LOAD, _SECOND)
    emit(_EQUAL, _TERMINAL[0], 1, 0)
    emit(_EQUAL, _TERMINAL[1], 0, 1)
    refuse(errno.EPERM)
    emit(_RETURN, _ALLOW)
    # Shared memory without a file belongs to no process, so that no limit counts it. MAP_SHARED
    # and MAP_SHARED_VALIDATE have this bit.
    emit(_EQUAL, _MMAP[column], 0, 5)
    emit(_LOAD, _FOURTH)
    emit(_ANY_BIT, _MAP_SHARED, 0, 2)
    emit(_ANY_BIT, _MAP_ANONYMOUS, 0, 1)
    refuse(errno.EPERM)
    emit(_RETURN, _ALLOW)
    emit(_RETURN, _ALLOW)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install() -> None:
    """Filter this process and all that come of it, for good. Needs no_new_privs."""
    text = program(platform.machine())
    buffer = ctypes.create_string_buffer(text, len(text))
    block = _Program(len(text) // 8, ctypes.addressof(buffer))
    prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(block))
