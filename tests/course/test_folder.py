"""A course's folder, its settings, its students; and what is refused, in one line."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from roofline.course import folder
from roofline.course.folder import CourseError, Late, create, open_course, valid_id
from roofline.course.roster import read_roster


def test_a_new_course_keeps_its_secret_to_itself(tmp_path: Path) -> None:
    made = create(tmp_path / "a", "Deep learning")
    other = create(tmp_path / "b")
    assert made.secret != other.secret and len(made.secret) == 64
    assert made.secret not in repr(made)
    if sys.platform != "win32":
        assert stat.S_IMODE((made.root / "secret").stat().st_mode) == 0o600
    assert "secret" in (made.root / ".gitignore").read_text().split()
    word = made.word("02_backprop")
    assert word == open_course(made.root / "submitted").word("02_backprop")
    assert word not in (made.word("03_other"), other.word("02_backprop"))
    assert made.secret not in word
    # The word is one way: HMAC-SHA256, checked by hand.
    import hmac

    assert word == hmac.digest(made.secret.encode(), b"02_backprop", "sha256").hex()


def test_where_no_course_can_be(tmp_path: Path) -> None:
    create(tmp_path / "a")
    (tmp_path / "file").write_text("")
    checkout = Path(folder.__file__).parents[3]
    for place, why in (
        (tmp_path / "a", "a course already"),
        (tmp_path / "file", "is a file"),
        (checkout / "build" / "course", "inside the checkout"),
    ):
        with pytest.raises(CourseError, match=why) as caught:
            create(place)
        assert "\n" not in str(caught.value)
    assert not (checkout / "build" / "course").exists()
    with pytest.raises(CourseError, match="class init"):
        open_course(tmp_path)


def test_settings_are_read_and_mistakes_named(tmp_path: Path) -> None:
    course = create(tmp_path / "a")
    assert course.settings.late == Late() and course.settings.unknown_students == "report"
    path = course.root / folder.SETTINGS
    whole = path.read_text()
    path.write_text(whole.replace("percent_per_day = 0", "percent_per_day = 12.5"))
    assert open_course(course.root).settings.late.percent_per_day == 12.5
    for wrong, why in (
        ("[late]\npercent = 1", "unknown setting 'percent'"),
        ("[limits]\nwall_seconds = 'long'", "wall_seconds = 'long', expected float"),
        ("[late]\ngrace_minutes = -1", "expected 0 or more"),
        ("unknown_students = 'drop'", "expected 'add' or 'report'"),
        ("workers = true", "expected int"),
        ("name = ", "course.toml"),
        ("limits = 5", "expected a table"),
    ):
        path.write_text(wrong)
        with pytest.raises(CourseError) as caught:
            open_course(course.root)
        assert why in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are POSIX's")
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    course = create(tmp_path / "a")
    (course.root / "secret").chmod(0o644)
    with pytest.raises(CourseError, match="chmod 600"):
        open_course(course.root)


@pytest.mark.parametrize(
    ("late", "hours", "fraction"),
    [
        (Late(percent_per_day=10), 0, 0),
        (Late(percent_per_day=10), -5, 0),
        (Late(percent_per_day=10), 1, 0.1),
        (Late(percent_per_day=10), 24, 0.1),
        (Late(percent_per_day=10), 24.1, 0.2),
        (Late(percent_per_day=10, grace_minutes=60), 1, 0),
        (Late(percent_per_day=10, grace_minutes=60), 1.1, 0.1),
        (Late(percent_per_day=10, maximum_percent=30), 24 * 9, 0.3),
        (Late(percent_per_day=60), 24 * 9, 1),
        (Late(zero_after_days=7), 24 * 7, 0),
        (Late(zero_after_days=7), 24 * 7 + 1, 1),
    ],
)
def test_what_lateness_costs(late: Late, hours: float, fraction: float) -> None:
    assert late.fraction(3600 * hours) == pytest.approx(fraction)


def test_ids_that_can_be_folders() -> None:
    for good in ("ana", "a.b-c_d@e.org", "José", "学生", "o'hara", "12345", "a b"):
        assert valid_id(good), good
    for bad in ("", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", " a", "x" * 129, "a*"):
        assert not valid_id(bad), bad
    assert not valid_id("Jose\u0301")  # two folders that look the same


def test_students_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "students.csv"
    path.write_text("id;first_name;last_name;email\nana;Ana;Lima;a@x.org\n\nben;Ben;;\n")
    found = read_roster(path)
    assert found["ana"] == {
        "first_name": "Ana",
        "last_name": "Lima",
        "email": "a@x.org",
        "lms_user_id": "",
    }
    assert list(found) == ["ana", "ben"]
    path.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section\n"
        "    Points Possible,,,,\n"
        '"Lima, Ana",101,S1,ana,A\n',
        encoding="utf-8-sig",
    )
    assert read_roster(path) == {
        "ana": {"first_name": "Ana", "last_name": "Lima", "email": "", "lms_user_id": "101"}
    }
    path.write_text("First name,Surname,ID number,Email address\nAna,Lima,7,a@x.org\n")
    assert read_roster(path)["7"]["last_name"] == "Lima"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("name,age\nana,3\n", "no column of ids"),
        ("id\nana\nana\n", ":3: the id 'ana' is there twice"),
        ("id\n../x\n", ":2: id '../x' can't be a folder's name"),
        ("id,email\n,a@x\n", ":2: id ''"),
    ],
)
def test_a_csv_with_a_mistake_names_the_line(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "students.csv"
    path.write_text(text)
    with pytest.raises(CourseError) as caught:
        read_roster(path)
    assert why in str(caught.value) and "\n" not in str(caught.value)


def test_a_csv_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes("id\nJos\u00e9\n".encode("latin-1"))
    with pytest.raises(CourseError, match="UTF-8"):
        read_roster(tmp_path / "s.csv")
    with pytest.raises(CourseError, match="can't be read"):
        read_roster(tmp_path / "none.csv")


def test_what_needs_no_torch_does_not_wait_for_it() -> None:
    """Nor for the grammar that jsonschema loads where it finds one: it takes twice as long."""
    code = (
        "import sys\n"
        "from roofline.course import collect, commands, feedback, more_commands, roster, sandbox\n"
        "import nbformat, nbgrader.api\n"
        "print([name for name in ('torch', 'lark', 'matplotlib') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
