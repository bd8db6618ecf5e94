"""Submissions as Canvas, Moodle, nbgrader's exchange and plain folders bring them, and as those
who mean harm would."""

from __future__ import annotations

import getpass
import io
import json
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
from course.made import course as made_course
from roofline.course import archive
from roofline.course.collect import Collected, collect
from roofline.course.folder import Course, CourseError, open_course
from roofline.course.gradebook import Book
from roofline.course.submissions import submissions

NAME = "01_toy"
STUDENTS = {
    "ana": {"first_name": "Ana", "last_name": "Lima", "lms_user_id": "101"},
    "ben": {"first_name": "Ben", "last_name": "O'Hara", "lms_user_id": "102"},
    "jose": {"first_name": "José", "last_name": "Núñez", "lms_user_id": ""},
    "sam1": {"first_name": "Sam", "last_name": "Lee", "lms_user_id": ""},
    "sam2": {"first_name": "Sam", "last_name": "Lee", "lms_user_id": ""},
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making a gradebook takes seconds, copying it doesn't."""
    made = made_course(tmp_path_factory.mktemp("template") / "course")
    with Book(made) as book:
        book.add_students(STUDENTS)
    return made.root


@pytest.fixture
def course(template: Path, tmp_path: Path) -> Course:
    return open_course(shutil.copytree(template, tmp_path / "course"))


def notebook(text: str) -> bytes:
    cell = {"cell_type": "code", "source": text, "metadata": {}, "outputs": []}
    return json.dumps(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    ).encode()


def packed(path: Path, files: dict[str, bytes], compress: bool = False) -> Path:
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return path


def there(course: Course, student: str) -> dict[str, bytes]:
    folder = course.submitted / student / NAME
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".collected.json"
    }


def by_status(rows: list[Collected]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.status, []).append(row.student or row.name)
    return {status: sorted(names) for status, names in found.items()}


def test_canvas(course: Course, tmp_path: Path) -> None:
    source = packed(
        tmp_path / "submissions.zip",
        {
            "limaana_101_9001_toy.ipynb": notebook("first"),
            "limaana_101_9002_toy-1.ipynb": notebook("second"),
            "limaana_101_9003_data.csv": b"1,2",
            "ohara,ben_LATE_999_9004_my answer.ipynb": notebook("ben"),
            "nunezjose_777_9005_toy.ipynb": notebook("jose"),
            "leesam_778_9006_toy.ipynb": notebook("which sam"),
            "strangerx_779_9007_toy.ipynb": notebook("who"),
            "readme": b"not a submission",
        },
    )
    rows = collect(course, NAME, source)
    assert by_status(rows) == {
        "collected": ["ana", "ben", "jose"],
        "unmatched": ["leesam_778", "strangerx_779"],
        "ignored": ["readme"],
    }
    assert there(course, "ana") == {"toy.ipynb": notebook("second"), "data.csv": b"1,2"}
    assert there(course, "ben") == {"toy.ipynb": notebook("ben")}
    reasons = {row.student or row.name: row.reason for row in rows}
    assert "the latest counts" in reasons["ana"] and "taken as toy.ipynb" in reasons["ben"]
    assert "2 students are called 'leesam': sam1, sam2" in reasons["leesam_778"]
    found = {one.student: one for one in submissions(course, NAME)}
    assert found["ben"].late and not found["ana"].late
    lost = [one for one in found.values() if one.problem]
    assert len(lost) == 2 and all(
        "students" in o.problem or "no student" in o.problem for o in lost
    )
    assert by_status(collect(course, NAME, source))["unchanged"] == ["ana", "ben", "jose"]


def test_moodle(course: Course, tmp_path: Path) -> None:
    files = {
        "Ana Lima_5551_assignsubmission_file_/toy.ipynb": notebook("ana"),
        "Ana Lima_5551_assignsubmission_onlinetext_/onlinetext.html": b"<p>hello",
        "Jose\u0301 Nu\u0301n\u0303ez_5552_assignsubmission_file/work/toy.ipynb": notebook("jose"),
        "Sam Lee_5553_assignsubmission_file_/toy.ipynb": notebook("sam"),
    }
    rows = collect(course, NAME, packed(tmp_path / "moodle.zip", files))
    assert by_status(rows) == {"collected": ["ana", "jose"], "unmatched": ["Sam Lee_5553"]}
    assert there(course, "jose") == {"toy.ipynb": notebook("jose")}
    # Unpacked by the instructor, it is the same.
    folder = tmp_path / "unpacked"
    zipfile.ZipFile(tmp_path / "moodle.zip").extractall(folder)
    assert by_status(collect(course, NAME, folder))["unchanged"] == ["ana", "jose"]


def test_two_people_of_one_name_in_moodle(course: Course, tmp_path: Path) -> None:
    files = {
        "Ana Lima_1_assignsubmission_file_/toy.ipynb": notebook("one"),
        "Ana Lima_2_assignsubmission_file_/toy.ipynb": notebook("other"),
    }
    rows = collect(course, NAME, packed(tmp_path / "moodle.zip", files))
    assert [row.status for row in rows] == ["unmatched", "unmatched"]
    assert len(list((course.unmatched / NAME).iterdir())) == 2


def test_folders_of_students_and_flat_files(course: Course, tmp_path: Path) -> None:
    files = {
        f"ana/{NAME}/toy.ipynb": notebook("ana"),
        "ana/02_other/toy.ipynb": notebook("another assignment"),
        "Ben/toy.ipynb": notebook("ben"),
        "nobody/toy.ipynb": notebook("nobody"),
    }
    rows = collect(course, NAME, packed(tmp_path / "a.zip", files))
    assert by_status(rows) == {"collected": ["ana", "ben"], "unmatched": ["nobody"]}
    assert there(course, "ana") == {"toy.ipynb": notebook("ana")}
    flat = {"class/jose.ipynb": notebook("j"), f"class/sam1_{NAME}.ipynb": notebook("s")}
    rows = collect(course, NAME, packed(tmp_path / "b.zip", flat))
    assert by_status(rows) == {"collected": ["jose", "sam1"]}
    assert there(course, "sam1") == {"toy.ipynb": notebook("s")}


def test_the_exchange(course: Course, tmp_path: Path) -> None:
    inbound = tmp_path / "exchange" / course.settings.name / "inbound"
    with Book(course) as book:
        book.add_students({getpass.getuser(): {}})
    for who, when, text in (
        (getpass.getuser(), "2026-01-09 10:00:00.000000 UTC", "early"),
        (getpass.getuser(), "2026-01-11 10:00:00.000000 UTC", "late"),
        ("ana", "2026-01-09 10:00:00.000000 UTC", "not hers"),
    ):
        folder = inbound / f"{who}+{NAME}+{when}+{text}"
        folder.mkdir(parents=True)
        (folder / "toy.ipynb").write_bytes(notebook(text))
        (folder / "timestamp.txt").write_text("2020-01-01 00:00:00.000000 UTC")
    rows = collect(course, NAME, exchange=tmp_path / "exchange")
    assert by_status(rows) == {
        "refused": ["ana"],
        "older": [getpass.getuser()],
        "collected": [getpass.getuser()],
    }
    assert there(course, getpass.getuser())["toy.ipynb"] == notebook("late")
    (one,) = submissions(course, NAME)
    assert one.timestamp is not None and one.timestamp.isoformat() == "2026-01-11T10:00:00+00:00"
    rows = collect(course, NAME, exchange=tmp_path / "exchange", check_owner=False)
    assert "ana" in by_status(rows)["collected"]
    with pytest.raises(CourseError, match="--exchange"):
        collect(course, NAME, exchange=tmp_path)


def test_paths_that_lead_out_links_and_bombs(course: Course, tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("ana/toy.ipynb", notebook("ana"))
        target.writestr("../../outside.ipynb", b"{}")
        target.writestr("/absolute.ipynb", b"{}")
        target.writestr("ben/..\\..\\windows.ipynb", b"{}")
        target.writestr("C:/drive.ipynb", b"{}")
        target.writestr("ben/new\nline.ipynb", b"{}")
        link = zipfile.ZipInfo("ben/toy.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc/passwd")
        target.writestr("jose/toy.ipynb", b"\0" * (20 * 2**20))
        target.writestr("sam1/big.csv", b"\0" * (archive.MAX_ENTRY + 1))
    rows = collect(course, NAME, path)
    assert by_status(rows)["collected"] == ["ana"]
    refused = {row.name: row.reason for row in rows if row.status == "refused"}
    assert len(refused) == 8
    assert "times its size" in refused["jose/toy.ipynb"] and "a link" in refused["ben/toy.ipynb"]
    assert not (tmp_path.parent / "outside.ipynb").exists()
    assert {p.name for p in course.submitted.iterdir()} == {"ana"}


def test_a_zip_whose_header_lies_about_its_size(course: Course, tmp_path: Path) -> None:
    """A header says 100 bytes, the data is more: what is read is checked, not what is said."""
    buffer = io.BytesIO()
    content = bytes(range(256)) * 4000
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("ana/toy.ipynb", content)
    raw = buffer.getvalue().replace(len(content).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    (tmp_path / "liar.zip").write_bytes(raw)
    (row,) = collect(course, NAME, tmp_path / "liar.zip")
    assert row.student == "ana" and len(there(course, "ana").get("toy.ipynb", b"")) <= 100


def test_a_zip_that_a_student_handed_in(course: Course, tmp_path: Path) -> None:
    inner = packed(
        tmp_path / "inner.zip",
        {"work/toy.ipynb": notebook("inner"), "work/data/x.csv": b"1", "work/../../up": b"2"},
    )
    many = packed(tmp_path / "many.zip", {f"f{i}": b"" for i in range(600)})
    files = {
        "limaana_101_1_work.zip": inner.read_bytes(),
        "ohara_102_2_work.zip": many.read_bytes(),
        "nunezjose_103_3_work.zip": b"no zip",
    }
    rows = collect(course, NAME, packed(tmp_path / "canvas.zip", files))
    assert there(course, "ana") == {"toy.ipynb": notebook("inner"), "data/x.csv": b"1"}
    reasons = {row.student or row.name: row.reason for row in rows}
    assert "leads out" in reasons["ana"] and "600 entries" in reasons["ben"]
    assert "no zip file" in reasons["jose"]
    assert there(course, "ben") == {}


def test_a_file_and_a_folder_of_one_name(course: Course, tmp_path: Path) -> None:
    files = {"ana/toy.ipynb": notebook("a"), "ana/x": b"1", "ana/x/y": b"2"}
    (row,) = collect(course, NAME, packed(tmp_path / "a.zip", files))
    assert row.status == "collected" and there(course, "ana")["toy.ipynb"] == notebook("a")


def test_nothing_of_ours_comes_from_a_submission(course: Course, tmp_path: Path) -> None:
    files = {
        "ana/toy.ipynb": notebook("a"),
        "ana/timestamp.txt": b"2000-01-01 00:00:00.000000 UTC",
        "ana/.collected.json": b'{"late": false}',
    }
    collect(course, NAME, packed(tmp_path / "a.zip", files))
    (one,) = submissions(course, NAME)
    assert one.timestamp is None
    assert json.loads((one.folder / ".collected.json").read_text())["from"] == "ana"


def test_a_dry_run_writes_nothing(course: Course, tmp_path: Path) -> None:
    rows = collect(course, NAME, packed(tmp_path / "a.zip", {"ana/toy.ipynb": b"{}"}), dry_run=True)
    assert by_status(rows) == {"would collect": ["ana"]} and not list(course.submitted.iterdir())


def test_what_a_killed_collecting_took_away_is_put_back(course: Course, tmp_path: Path) -> None:
    """Killed between taking the earlier submission away and putting the newer one there."""
    first = packed(tmp_path / "a.zip", {"ana/toy.ipynb": notebook("first")})
    collect(course, NAME, first)
    folder = course.submitted / "ana" / NAME
    folder.rename(folder.with_name(f".{NAME}.old"))
    collect(course, NAME, packed(tmp_path / "b.zip", {"ben/toy.ipynb": notebook("b")}))
    assert there(course, "ana")["toy.ipynb"] == notebook("first")


def test_what_is_no_source_is_said_in_one_line(course: Course, tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK nonsense")
    for source in (tmp_path / "none.zip", tmp_path / "broken.zip"):
        with pytest.raises(CourseError) as caught:
            collect(course, NAME, source)
        assert "\n" not in str(caught.value)
    with pytest.raises(CourseError, match="release"):
        collect(course, "02_other", tmp_path)
