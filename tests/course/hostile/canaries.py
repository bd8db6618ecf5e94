"""What must not be touched, and who listens for it."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path


class Listener:
    """Sockets that nobody should talk to; ``heard`` has whatever did."""

    def __init__(self, folder: Path):
        self.heard: list[str] = []
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.tcp.getsockname()[1])
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.named = socket.socket(socket.AF_UNIX)
        self.named.bind(str(folder / "canary.socket"))
        os.chmod(folder / "canary.socket", 0o777)
        self.sockets = [self.tcp, self.udp, self.named]
        if os.uname().sysname == "Linux":
            abstract = socket.socket(socket.AF_UNIX)
            abstract.bind(f"\0canary-{self.port}")
            self.sockets.append(abstract)
        for one in self.sockets:
            if one is not self.udp:
                one.listen()
            threading.Thread(target=self._listen, args=(one,), daemon=True).start()

    def _listen(self, one: socket.socket) -> None:
        with suppress(OSError):
            while True:
                if one is self.udp:
                    self.heard.append(f"udp {one.recv(100)!r}")
                else:
                    line, _ = one.accept()
                    self.heard.append(f"{one.getsockname()!r} {line.recv(100)!r}")
                    line.close()

    def close(self) -> None:
        for one in self.sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def snapshot(*folders: Path) -> dict[str, tuple[int, int, int]]:
    """Every file under some folders: its size, its mode and when it was changed."""
    found = {}
    for folder in folders:
        for here, names, files in os.walk(folder):
            names[:] = [name for name in names if name != "__pycache__"]
            for name in [*files, "."]:
                path = os.path.join(here, name)
                with suppress(OSError):
                    about = os.lstat(path)
                    changed = 0 if name == "." else about.st_mtime_ns
                    found[path] = (0 if name == "." else about.st_size, about.st_mode, changed)
    return found
