"""A notebook's cells without a kernel: IPython's shell, with what it shows kept as outputs."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Any as AnyTrait
from traitlets import Type
from traitlets.config import Config


class Collector:
    """The outputs of the cell that runs, in nbformat's shape, up to ``room`` bytes for all cells.

    What goes beyond is dropped, and ``capped`` is true from then on until :meth:`begin`.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.begin()

    def begin(self) -> None:
        """Start a cell."""
        self.outputs: list[dict[str, Any]] = []
        self.capped = False
        self._names: dict[str, list[dict[str, Any]]] = {}
        self._clear = False

    def text(self, name: str, text: str) -> None:
        """Something was written to ``stdout`` or ``stderr``."""
        if not text:
            return
        self._clear_now()
        if len(text) > self.room:
            text, self.capped = text[: self.room], True
        self.room -= len(text)
        last = self.outputs[-1] if self.outputs else {}
        if last.get("output_type") == "stream" and last["name"] == name:
            last["text"].append(text)
        elif text:
            self.outputs.append({"output_type": "stream", "name": name, "text": [text]})

    def add(self, output: dict[str, Any], display: str | None = None) -> None:
        """Something was displayed, returned or raised."""
        self._clear_now()
        size = _size(output)
        if size > self.room:
            self.capped = True
            return
        self.room -= size
        self.outputs.append(output)
        if display is not None:
            self._names.setdefault(display, []).append(output)

    def update(self, display: str, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        """What was displayed under a name in this cell is now something else."""
        size = _size(data) + _size(metadata)
        if size > self.room:
            self.capped = True
            return
        self.room -= size
        for output in self._names.get(display, ()):
            output["data"], output["metadata"] = data, metadata

    def clear(self, wait: bool = False) -> None:
        """Forget what was shown so far, now or at the next output."""
        self._clear = True
        if not wait:
            self._clear_now()

    def _clear_now(self) -> None:
        if self._clear:
            self.outputs.clear()
            self._names.clear()
            self._clear = False

    def taken(self) -> list[dict[str, Any]]:
        """The outputs, with the pieces of each stream joined."""
        return [
            {**o, "text": "".join(o["text"])} if o["output_type"] == "stream" else o
            for o in self.outputs
        ]


def _size(value: Any) -> int:
    """About how many bytes of JSON a value makes."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(k) + _size(v) for k, v in value.items()) + 8
    if isinstance(value, (list, tuple)):
        return sum(map(_size, value)) + 8
    return 8


class _Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` in a notebook."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, name: str, number: int, collector: Collector) -> None:
        self.name, self._number, self._collector = name, number, collector

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._collector.text(self.name, text)
        return len(text)

    def fileno(self) -> int:
        return self._number


class _Hook(DisplayHook):
    """The value of a cell's last line."""

    collector = AnyTrait()

    def start_displayhook(self) -> None:
        pass

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict, md_dict: dict | None = None) -> None:
        self.collector.add(
            {
                "output_type": "execute_result",
                "execution_count": self.prompt_count,
                "data": _data(format_dict),
                "metadata": md_dict or {},
            }
        )

    def finish_displayhook(self) -> None:
        pass


class _Publisher(DisplayPublisher):
    """``display`` and its like."""

    collector = AnyTrait()

    def publish(
        self,
        data: dict,
        metadata: dict | None = None,
        source: Any = None,
        *,
        transient: dict | None = None,
        update: bool = False,
        **rest: Any,
    ) -> None:
        name = (transient or {}).get("display_id")
        data, metadata = _data(data), metadata or {}
        if update:
            self.collector.update(str(name), data, metadata)
            return
        output = {"output_type": "display_data", "data": data, "metadata": metadata}
        self.collector.add(output, None if name is None else str(name))

    def clear_output(self, wait: bool = False) -> None:
        self.collector.clear(wait)


def _data(data: dict) -> dict:
    """A mime bundle that JSON can hold: pictures in base64, as nbformat has them."""
    import base64

    return {
        kind: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for kind, value in data.items()
    }


class Shell(InteractiveShell):
    """IPython's shell, whose errors are outputs too."""

    displayhook_class = Type(_Hook)
    display_pub_class = Type(_Publisher)
    collector = AnyTrait()
    system = InteractiveShell.system_raw  # ``!command``, without a terminal

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no window to open."""

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        self.collector.add(
            {
                "output_type": "error",
                "ename": str(getattr(etype, "__name__", etype)),
                "evalue": _message(evalue),
                "traceback": [str(line) for line in stb],
            }
        )


def _message(error: Any) -> str:
    try:
        return str(error)[:2000]
    except BaseException:  # an exception of the submission's own, which can't say what it is
        return ""


def make_shell() -> Shell:
    """The one shell of this process, without history on disk and without threads."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "Linux"
    config.InteractiveShell.show_rewritten_input = False
    shell = Shell.instance(config=config)
    collector = Collector(0)
    shell.collector = shell.displayhook.collector = shell.display_pub.collector = collector
    return shell


@contextmanager
def outputs_of_a_cell(collector: Collector, descriptors: dict[str, int]) -> Iterator[None]:
    """Collect all that is shown, written and printed in this block, C code and children included.

    ``descriptors``: stream name -> an open file, of which descriptor 1 or 2 is a copy.
    """
    import sys

    collector.begin()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Stream("stdout", 1, collector), _Stream("stderr", 2, collector)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for name, descriptor in descriptors.items():
            with suppress(OSError):
                # One byte a character at least, so this is never too little.
                os.lseek(descriptor, 0, os.SEEK_SET)
                text = os.read(descriptor, collector.room + 1)
                os.ftruncate(descriptor, 0)
                collector.text(name, text.decode("utf-8", "replace"))
