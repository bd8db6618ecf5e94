"""Where bundled data came from, and reading it with its checksum verified.

Every set lies in ``bundled/<set>/``: the files, ``source.json`` (title, licence, attribution,
origin, sha256 of each file), the licence text, and ``make.py``, the script that made them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

BUNDLED = Path(__file__).parent / "bundled"


@dataclass(frozen=True)
class Source:
    """Who made a data set and what you may do with it.

    ``files`` maps each file name to the sha256 of its bytes. ``generated`` is True where nothing
    was observed: a program drew it.
    """

    name: str
    title: str
    licence: str
    attribution: str
    origin: str
    files: dict[str, str]
    generated: bool = False

    def __str__(self) -> str:
        made = " (generated, not photographed)" if self.generated else ""
        return f"{self.title}{made}. {self.attribution}. Licence: {self.licence}. {self.origin}"


def source(name: str) -> Source:
    """The source of the bundled set ``name``.

    Raises:
        ValueError: no such set; the message lists those there are.
    """
    path = BUNDLED / name / "source.json"
    if not path.is_file():
        raise ValueError(f"no bundled data set {name!r}: there are {', '.join(bundled())}")
    return Source(name=name, **json.loads(path.read_text(encoding="utf-8")))


def bundled() -> list[str]:
    """The names of the bundled sets."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/source.json"))


def read(name: str, file: str) -> bytes:
    """The bytes of one bundled file, after its checksum was compared.

    Raises:
        ValueError: the bytes differ from those that were published with the course.
    """
    path = BUNDLED / name / file
    data = path.read_bytes()
    verify(data, source(name).files[file], str(path))
    return data


def verify(data: bytes, expected: str, what: str) -> None:
    """Raise ValueError unless the sha256 of ``data`` is ``expected``."""
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ValueError(
            f"{what} is damaged: its sha256 starts {found[:12]}, expected {expected[:12]}; "
            f"install the course again"
        )


def write_source(
    folder: Path,
    *,
    title: str,
    licence: str,
    attribution: str,
    origin: str,
    generated: bool = False,
    files: tuple[str, ...],
) -> None:
    """Write ``source.json`` for the files that a ``make.py`` has put into ``folder``."""
    record = {
        "title": title,
        "licence": licence,
        "attribution": attribution,
        "origin": origin,
        "generated": generated,
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files},
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (folder / "source.json").write_text(text, encoding="utf-8")
