"""Hostile, or awkward, as archives: what comes in the zip files of Canvas and Moodle."""

from __future__ import annotations

import io
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

from course.hostile.world import ALL, CHAPTER, FILE, SIGMOID, World, as_bytes, released, solved


@dataclass(frozen=True)
class Archived:
    """One entry of an archive, and what its student should get; None: not graded, with a reason."""

    student: str
    entry: str
    content: bytes
    score: float | None
    word: str = ""
    about: str = ""
    first_name: str = ""
    last_name: str = ""
    lms_user_id: str = ""
    known: bool = True


def canvas(world: World) -> list[Archived]:
    """What Canvas's download of all submissions has in it."""
    full, part, none = as_bytes(solved()), as_bytes(solved("sigmoid")), as_bytes(released())

    def one(
        student: str,
        number: int,
        content: bytes,
        score: float | None,
        word: str = "",
        about: str = "",
        name: str = "",
        file: str = FILE,
        upload: int = 0,
        known: bool = True,
    ) -> Archived:
        name = name or student
        entry = f"{name}_{number}_{upload or 9000 + number}_{file}"
        return Archived(
            student,
            entry,
            content,
            score,
            word,
            about,
            last_name=name,
            lms_user_id=str(number),
            known=known,
        )

    return [
        one(
            "zoë_ångström",
            101,
            full,
            ALL,
            name="ångströmzoë",
            about="Accents in the id and in the file's name.",
        ),
        one("学生一", 102, full, ALL, about="A name in Chinese."),
        one("twice", 103, none, ALL, about="Two uploads: the later one counts."),
        one(
            "twice",
            103,
            full,
            ALL,
            "handed in|latest|uploads|2_backprop",
            upload=9990,
            about="Two uploads: the later one counts.",
            file=f"{CHAPTER}-1.ipynb",
        ),
        one("clash_a", 104, full, ALL, name="same", about="Two students of one name."),
        one("clash_b", 105, part, SIGMOID, name="same", about="Two students of one name."),
        one(
            "stranger",
            999,
            full,
            None,
            "no student",
            about="Nobody knows this student.",
            known=False,
        ),
        one(
            "bomber",
            106,
            bomb(),
            0,
            "unpacks|large|times|bytes|not handed in",
            file="work.zip",
            about="A zip file of 50 kB that unpacks to gigabytes.",
        ),
        one(
            "climber",
            107,
            climbing(world),
            SIGMOID,
            "leads out|link",
            file="work.zip",
            about="A zip file whose paths lead out of it, to others and to the root.",
        ),
        one(
            "linker",
            108,
            linking(world),
            0,
            "link|not handed in",
            file="work.zip",
            about="A zip file in which the notebook is a link to the secret.",
        ),
        one(
            "corrupt",
            109,
            corrupted(),
            0,
            "zip|unpacked|not handed in",
            file="work.zip",
            about="A zip file with a wrong checksum.",
        ),
        one(
            "liar",
            110,
            lying(),
            0,
            "unpacks|zip|unpacked|not handed in",
            file="work.zip",
            about="A zip file whose header says that it is small.",
        ),
    ]


def moodle(world: World) -> list[Archived]:
    """What Moodle's download of all submissions has in it."""
    return [
        Archived(
            *("ünï", f"Ünï Cödé_201_assignsubmission_file_/{FILE}", as_bytes(solved()), ALL),
            about="Matched by name, with accents.",
            first_name="Ünï",
            last_name="Cödé",
        ),
        Archived(
            *("apostrophe", f"Máire O'Brien-Ní_202_assignsubmission_file_/Copy of {FILE}"),
            *(as_bytes(solved("sigmoid")), SIGMOID),
            about="An apostrophe, a hyphen, and a file with a name of its own.",
            first_name="Máire",
            last_name="O'Brien-Ní",
        ),
    ]


def write(path: Path, entries: list[Archived]) -> None:
    """The archive, with two entries more that lead out of it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in entries:
            archive.writestr(one.entry, one.content)
        archive.writestr("../../../../outside/evil_1_2_x.ipynb", b"{}")
        archive.writestr("/outside/evil_3_4_x.ipynb", b"{}")


def bomb() -> bytes:
    """Zeros: a thousandfold, in ten files, and in a zip file of zip files."""
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        zeros = bytes(24 * 2**20)
        archive.writestr(FILE, zeros)
        for number in range(3):
            archive.writestr(f"more-{number}.bin", zeros)
    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FILE, bytes(24 * 2**20))
        for number in range(100):
            archive.writestr(f"bomb-{number}.zip", inside.getvalue())
    return outside.getvalue()


def climbing(world: World) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(FILE, as_bytes(solved("sigmoid")))
        for name in (
            f"../../everything/{CHAPTER}/{FILE}",
            f"{world.outside}/climbed",
            "..\\..\\climbed",
            "a/../../climbed",
            "C:/climbed",
        ):
            archive.writestr(name, b"climbed")
    return made.getvalue()


def linking(world: World) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        link = zipfile.ZipInfo(FILE)
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(world.course / "secret"))
    return made.getvalue()


def corrupted() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(FILE, as_bytes(solved()))
    content = bytearray(made.getvalue())
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def lying() -> bytes:
    """The sizes in the central directory are a tenth of the truth."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FILE, as_bytes(solved()))
        size = archive.infolist()[0].file_size
    content = made.getvalue()
    at = content.rindex(b"PK\x01\x02")
    return content[:at] + content[at:].replace(
        size.to_bytes(4, "little"), (99).to_bytes(4, "little")
    )
