"""Reads, writes and calls what it shouldn't. All of them solved sigmoid, and earn that.

What they find they print, so that it would be in the graded notebook and the feedback.
"""

from __future__ import annotations

from typing import Any

from course.hostile.world import FILE, SIGMOID, World, first, hostile, solved

READ = """
import glob, os
def look(*patterns):
    for pattern in patterns:
        for name in glob.glob(pattern, recursive=True)[:2000]:
            try:
                with open(name, "rb") as file:
                    print(name, file.read(20_000))
            except OSError:
                pass
"""


@hostile(SIGMOID)
def reads_the_gradebook(world: World) -> Any:
    """Looks into gradebook.db, by its own path and by those of others."""
    code = READ + "look('<course>/gradebook.db*', '/proc/*/root/<course>/gradebook.db')"
    return first(solved("sigmoid"), world.file(code))


@hostile(SIGMOID)
def writes_the_gradebook(world: World) -> Any:
    """Gives itself all points in gradebook.db."""
    code = """
    import sqlite3
    for name in ("<course>/gradebook.db", "../gradebook.db", "gradebook.db"):
        try:
            with sqlite3.connect(name) as book:
                book.execute("update grade set auto_score = 1000, manual_score = 1000")
        except sqlite3.Error as error:
            print(error)
    """
    return first(solved("sigmoid"), world.file(code))


@hostile(SIGMOID)
def reads_other_students(world: World) -> Any:
    """Looks for what the others handed in, and for what was graded before."""
    code = READ + "look('<course>/submitted/**', '<course>/autograded/**', '../../**/*.ipynb')"
    return first(solved("sigmoid"), world.file(code))


@hostile(SIGMOID)
def reads_the_secret(world: World) -> Any:
    """Looks for the sealed seed, the settings and the solutions."""
    code = (
        READ + "look('<course>/secret', '<course>/course.toml', '<course>/source/**', '<course>/*')"
    )
    return first(solved("sigmoid"), world.file(code))


@hostile(SIGMOID)
def reads_the_environment(world: World) -> Any:
    """The environment and the command of its own process and of every other."""
    code = READ + "print(dict(os.environ))\nlook('/proc/[0-9]*/environ', '/proc/[0-9]*/cmdline')"
    return first(solved("sigmoid"), code)


@hostile(SIGMOID)
def reads_memory(world: World) -> Any:
    """What Python still holds of who started it: every bytes and str object, and open files."""
    code = """
    import gc, os, sys
    for thing in gc.get_objects():
        if isinstance(thing, dict):
            for key, value in list(thing.items()):
                if isinstance(value, (str, bytes)) and "canary" in str(value)[:5_000]:
                    print(key, value)
    for number in range(3, 64):
        try:
            print(number, os.readlink(f"/proc/self/fd/{number}"))
            print(os.pread(number, 5_000, 0))
        except OSError:
            pass
    """
    return first(solved("sigmoid"), code)


@hostile(SIGMOID)
def walks_the_disk(world: World) -> Any:
    """Looks everywhere for files with telling names."""
    code = READ + (
        "look('/root/*', '/home/*/*', '/tmp/*', '/tmp/*/*', '/tmp/*/*/secret', '/var/tmp/**',"
        " '/mnt/*', '/media/*', '/srv/*', '<outside>/**', '/proc/[0-9]*/cwd/*')"
    )
    return first(solved("sigmoid"), world.file(code))


@hostile(SIGMOID)
def calls_out(world: World) -> Any:
    """Asks for the listener on this machine, for a name server, and for what listens on sockets."""
    code = """
    import glob, socket
    four, six = socket.AF_INET, socket.AF_INET6
    for family, host in [(four, "127.0.0.1"), (four, "0.0.0.0"), (six, "::1")]:
        try:
            with socket.socket(family) as line:
                line.settimeout(1)
                line.connect((host, <port>))
                line.sendall(b"hello from inside")
        except OSError as error:
            print(error)
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", <port>))
    except OSError as error:
        print(error)
    for name in ["\\0canary-<port>", *glob.glob("<outside>/*.socket")]:
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(name)
                line.sendall(b"hello from inside")
        except OSError as error:
            print(error)
    """
    return first(solved("sigmoid"), world.file(code))


@hostile(SIGMOID)
def writes_outside(world: World) -> Any:
    """Writes into the course, the library, the temporary folders, and start-up files of Python."""
    code = """
    import os, site, sys, torch, roofline
    places = ["<course>", "<course>/submitted/everything", "<outside>", "/tmp", "/var/tmp"]
    places += ["/dev/shm", os.path.expanduser("~"), *site.getsitepackages(), *sys.path]
    places += [os.path.dirname(module.__file__) for module in (torch, roofline)]
    for place in places:
        for name in ("canary-was-here", "sitecustomize.py"):
            try:
                with open(os.path.join(place, name), "a") as file:
                    file.write("canary_was_here = True\\n")
            except OSError:
                pass
        try:
            os.chmod(place, 0o777)
        except OSError:
            pass
    """
    return first(solved("sigmoid"), world.file(code))


@hostile(SIGMOID)
def climbs_out(world: World) -> Any:
    """Mounts, new namespaces, chroot, ptrace, set-user-id programs: ways out of a sandbox."""
    code = """
    import ctypes, os, subprocess
    c = ctypes.CDLL(None, use_errno=True)
    for flags in (0x10000000, 0x00020000, 0x20000000, 0x40000000):
        print("unshare", c.unshare(flags))
    print("mount", c.mount(b"/proc", b"/tmp", b"proc", 0, None))
    print("remount", c.mount(None, b"/", None, 32, None))
    print("ptrace", c.ptrace(16, 1, 0, 0))
    for number in range(1, 40):
        for kind in ("mnt", "user", "pid", "net"):
            try:
                print("setns", c.setns(os.open(f"/proc/{number}/ns/{kind}", 0), 0))
            except OSError:
                pass
    for attempt, on in ((os.chroot, "/proc/1/root"), (os.setuid, 0), (os.setgroups, [0])):
        try:
            attempt(on)
            print("done")
        except OSError as error:
            print(error)
    for command in (["su", "-c", "cat <course>/secret"], ["sh", "-c", "cat <course>/secret"],
                    ["bwrap", "--bind", "/", "/", "cat", "<course>/secret"]):
        try:
            print(subprocess.run(command, capture_output=True, timeout=3).stdout)
        except (OSError, subprocess.SubprocessError) as error:
            print(error)
    """
    return first(solved("sigmoid"), world.file(code))


@hostile(SIGMOID)
def shadows_modules(world: World) -> Any:
    """Modules beside the notebook with the names of those that grading imports."""
    poison = world.file(
        "import os\n"
        "try:\n    open('<outside>/imported', 'w').write(__name__)\n"
        "except OSError:\n    pass\n"
        "raise SystemExit('shadowed')\n"
    )
    names = [
        "torch",
        "numpy",
        "roofline",
        "json",
        "random",
        "safetensors",
        "IPython",
        "sitecustomize",
    ]
    names += ["usercustomize", "conftest", "nbgrader_config", "jupyter_config", "nbgrader"]
    files = {f"{name}.py": poison for name in names}
    files |= {"roofline/__init__.py": poison, "roofline/grading/__init__.py": poison}
    files |= {"pyvenv.cfg": "home = /nowhere\n", "secret": "mine", "course.toml": "[limits]\n"}
    return {FILE: solved("sigmoid"), **files}
