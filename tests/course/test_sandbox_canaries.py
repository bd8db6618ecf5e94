"""Canaries: nothing that a submission shouldn't read is read, nothing that it calls is heard."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import roofline
from course.conftest import DRILLS
from course.submitted import run, said
from roofline.course.sandbox import Workers

CANARY = f"tweet-{os.urandom(8).hex()}"


@contextlib.contextmanager
def listeners(folder: Path) -> Iterator[dict[str, socket.socket]]:
    """Whoever calls one of these is heard: TCP, UDP, a path, an abstract name."""
    heard = {
        "tcp": socket.create_server(("127.0.0.1", 0)),
        "any": socket.create_server(("0.0.0.0", 0)),
        "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "path": socket.socket(socket.AF_UNIX),
        "abstract": socket.socket(socket.AF_UNIX),
    }
    if socket.has_ipv6:
        with contextlib.suppress(OSError):
            heard["tcp6"] = socket.create_server(("::1", 0), family=socket.AF_INET6)
    heard["udp"].bind(("127.0.0.1", 0))
    heard["path"].bind(str(folder / "door"))
    heard["abstract"].bind(f"\0{CANARY}")
    heard["path"].listen()
    heard["abstract"].listen()
    try:
        yield heard
    finally:
        for listener in heard.values():
            listener.close()


CALL = """
import socket, json
tried = {}
for name, (family, kind, address) in json.loads(%r).items():
    try:
        with socket.socket(family, kind) as caller:
            caller.settimeout(2)
            caller.connect(tuple(address) if isinstance(address, list) else address)
            caller.send(b"hello")
            tried[name] = "sent"
    except OSError as error:
        tried[name] = type(error).__name__
print(json.dumps(tried))
"""


def test_nobody_hears_a_submission(sandbox: Workers, tmp_path: Path) -> None:
    with listeners(tmp_path) as heard:
        address = {
            name: (int(s.family), int(s.type), s.getsockname())
            for name, s in heard.items()
            if name != "abstract"
        }
        address["abstract"] = (int(socket.AF_UNIX), int(socket.SOCK_STREAM), f"\0{CANARY}")
        ran = run(sandbox, CALL % json.dumps(address), "import os; os.system('cat /proc/net/dev')")
        tried = json.loads(said(ran))
        assert set(tried) == set(heard) and "sent" not in tried.values()
        assert select.select(list(heard.values()), [], [], 0)[0] == []
    devices = [line.split(":")[0].strip() for line in said(ran, 1).splitlines()[2:]]
    assert set(devices) <= {"lo"}, "and there is no network to call on"
    names = run(sandbox, "import socket; socket.getaddrinfo('example.org', 80)")
    assert names.outputs[0][0]["ename"] == "gaierror"


READ = """
import os
for path in {paths!r}:
    ways = ("", "/proc/self/root", "/proc/1/root", "/proc/2/cwd", "/proc/self/cwd/../../..")
    for name in (os.path.expanduser(path), *(way + path for way in ways)):
        try:
            with open(name, "rb") as file:
                print(path, file.read())
        except OSError:
            pass
"""

SEARCH = """
import os
found = []
for above, folders, files in os.walk("/"):
    if above == "/":
        folders[:] = [f for f in folders if f not in ("usr", "proc", "sys")]
    found += [os.path.join(above, name) for name in folders + files]
    folders[:] = [f for f in folders if f != "site-packages"]  # too many for what may be printed
print("\\n".join(found))
"""


def test_nothing_is_read(sandbox: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_SEED", CANARY)
    files = [tmp_path / name for name in ("gradebook.db", "secret", "submitted/bob/one.ipynb")]
    home = Path.home() / f".canary-{CANARY}"
    for file in (*files, home):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(CANARY)
    zygote = sandbox._zygote.process.pid  # type: ignore[union-attr]
    processes = [os.getpid(), os.getppid(), zygote]
    paths = [str(p) for p in (*files, home, DRILLS / "drill.py", Path(__file__))]
    paths += [f"/proc/{p}/{name}" for p in processes for name in ("environ", "cmdline", "maps")]
    paths += ["/etc/passwd", "/etc/shadow", "/etc/hostname", "/root/.bashrc", "~/.ssh/id_rsa"]
    try:
        ran = run(sandbox, READ.format(paths=paths), SEARCH)
    finally:
        home.unlink()
    assert ran.status == "done" and said(ran) == ""
    seen = said(ran, 1).splitlines()
    package = str(Path(roofline.__file__).parent)
    outside = [n for n in seen if "/lib/python3" not in n and not n.startswith(package)]
    assert package in seen and len(outside) > 20, "the search does find what there is"
    assert not any(CANARY in line or "gradebook" in line or "bob" in line for line in outside)
    assert not any(name.endswith(("solutions", "tests", ".git")) for name in outside)


def test_the_environment_is_clean(sandbox: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workers(1, overlay=DRILLS) as few:
        monkeypatch.setenv("CANARY", CANARY)
        few.start()
        script = (
            "import os, sys, glob\nprint(dict(os.environ), sys.argv, os.uname())\n"
            "for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
            "    print(open(path, 'rb').read())"
        )
        text = said(run(few, script))
    assert "'HOME': '/home/student'" in text
    for word in (CANARY, str(DRILLS), socket.gethostname(), "ROOFLINE_EXERCISES", "tests"):
        assert word not in text


def test_the_sealed_word_is_not_in_the_process(sandbox: Workers) -> None:
    from course.submitted import CHECK, RIGHT, WORD

    # Patterns that don't hold what they find.
    absent, present = (f"{word[:-1]}[{word[-1]}]" for word in (WORD, "a word that is there"))
    look = (
        f"import re\nkept = 'a word that is ' + 'there'\nfound = [0, 0]\n"
        f"patterns = [re.compile({absent!r}.encode()), re.compile({present!r}.encode())]\n"
        "for line in open('/proc/self/maps'):\n"
        "    start, end, mode = re.match('(.*?)-(.*?) (....)', line).groups()\n"
        "    if mode.startswith('rw') and line.split()[4] == '0':\n"
        "        with open('/proc/self/mem', 'rb', 0) as memory:\n"
        "            try:\n"
        "                memory.seek(int(start, 16))\n"
        "                data = memory.read(int(end, 16) - int(start, 16))\n"
        "            except (OSError, OverflowError, ValueError):\n"
        "                continue\n"
        "        for i in (0, 1): found[i] += len(patterns[i].findall(data))\n"
        "print(found[0], found[1] > 0)"
    )
    ran = run(sandbox, RIGHT, CHECK, look)
    assert said(ran, 2) == "0 True\n"


WRITE = """
import os
tried = []
def attempt(what, *arguments):
    try:
        what(*arguments)
        tried.append((what.__name__, arguments))
    except (OSError, ValueError):
        pass
for folder in {folders!r}:
    attempt(lambda p: open(p, "w").close(), os.path.join(folder, "canary-written"))
    attempt(os.mkdir, os.path.join(folder, "canary-made"))
    attempt(os.symlink, "/", os.path.join(folder, "canary-link"))
for file in {files!r}:
    attempt(lambda p: open(p, "a").close(), file)
    attempt(os.unlink, file)
    attempt(os.chmod, file, 0o777)
    attempt(os.rename, file, file + "x")
attempt(os.mknod, "/tmp/disk", 0o60600, os.makedev(254, 0))
attempt(os.mknod, "/home/student/memory", 0o20600, os.makedev(1, 1))
attempt(os.chroot, "/tmp")
attempt(os.setuid, 0)
attempt(os.setgroups, [0])
attempt(os.nice, -5)
print(tried)
"""


def test_nothing_is_written_outside(sandbox: Workers, tmp_path: Path) -> None:
    package = Path(roofline.__file__).parent
    torch = Path(__import__("torch").__file__)
    folders = ["/", "/usr", "/etc", "/dev", "/home", "/sys", "/proc", "/proc/sys/kernel"]
    folders += [str(tmp_path), str(package), str(torch.parent), str(Path.home())]
    files = [str(package / "__init__.py"), str(torch), "/usr/bin/env", "/etc/ld.so.cache"]
    files += ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/dev/null/x", "/lib"]
    ran = run(sandbox, WRITE.format(folders=folders, files=files))
    assert ran.status == "done" and said(ran) == "[]\n"
    for folder in folders:
        assert not any(Path(folder).glob("canary-*"))


def test_the_sandboxs_own_processes_are_out_of_reach(sandbox: Workers) -> None:
    """No limit holds them: whoever writes into their memory would have none."""
    reach = (
        "import os\nfor process in (1, 2):\n"
        "    for name in ('mem', 'environ', 'maps', 'root/tmp', 'cwd/tmp', 'fd/0'):\n"
        "        try:\n"
        "            mode = os.O_RDWR if name == 'mem' else os.O_RDONLY\n"
        "            os.close(os.open(f'/proc/{process}/{name}', mode))\n"
        "            print(process, name)\n"
        "        except PermissionError: pass"
    )
    ran = run(sandbox, reach)
    assert ran.cells == {0: "ok"} and said(ran) == ""


def test_who_a_submission_is(sandbox: Workers) -> None:
    ran = run(
        sandbox, "print(open('/proc/self/status').read())", "import os; print(os.getgroups())"
    )
    status = dict(line.split(":", 1) for line in said(ran).splitlines() if ":" in line)
    assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split()
    assert {status[f"Cap{name}"].strip() for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {
        "0" * 16
    }
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    assert said(ran, 1).strip() in ("[]", "[65534]", f"[{os.getgid()}]")
    fds = said(run(sandbox, "import os; print(sorted(os.listdir('/proc/self/fd')))"))
    assert fds == "['0', '1', '2', '3', '4', '5', '6', '7']\n", "7 reads that folder"


SYSCALLS = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    return errno.errorcode.get(ctypes.get_errno(), "") if result < 0 else "allowed"
print({name: call(*what) for name, what in %r.items()})
"""


def test_the_filter_on_system_calls(sandbox: Workers) -> None:
    import platform

    from roofline.course.sandbox import seccomp

    column = 0 if platform.machine() == "x86_64" else 1
    calls = {
        name: (numbers[column], *[0] * 6)
        for name, numbers in seccomp.REFUSED.items()
        if numbers[column] is not None and name != "reboot"
    }
    ran = run(sandbox, SYSCALLS % calls)
    found = eval(said(ran))
    assert found == dict.fromkeys(calls, "EPERM")
    clone, clone3, sock, ioctl, mmap = (
        n[column]
        for n in (seccomp._CLONE, seccomp._CLONE3, seccomp._SOCKET, seccomp._IOCTL, seccomp._MMAP)
    )
    others = {
        **{f"clone {bit}": (clone, 1 << bit | 17, 0, 0, 0, 0) for bit in range(25, 31)},
        "clone mount": (clone, 0x20000 | 17, 0, 0, 0, 0),
        "clone3": (clone3, 0, 0),
        **{f"socket {family}": (sock, family, 2, 0) for family in (2, 10, 16, 17, 38, 40)},
        "unix": (sock, 1, 1, 0),
        "type": (ioctl, 0, 0x5412, 0),
        "linux": (ioctl, 0, 0x541C, 0),
        "shared": (mmap, 0, 4096, 3, 0x21, 2**64 - 1, 0),
        "validated": (mmap, 0, 4096, 3, 0x23, 2**64 - 1, 0),
        "private": (mmap, 0, 4096, 3, 0x22, 2**64 - 1, 0),
    }
    found = eval(said(run(sandbox, SYSCALLS % others)))
    expected = dict.fromkeys(others, "EPERM")
    expected |= {name: "EAFNOSUPPORT" for name in others if name.startswith("socket")}
    expected |= {"clone3": "ENOSYS", "unix": "allowed", "private": "allowed"}
    assert found == expected
