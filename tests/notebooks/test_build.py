"""The build, from a source of a few cells to the learner's notebook, twice over."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from roofline.classroom import build
from roofline.classroom.execute import Run

SOURCE = Path("solutions", "90_sample.py")
SOLUTION, RELEASE = build.solution_path("90_sample"), build.release_path("90_sample")


def cells(course: Path, path: Path) -> dict[str, NotebookNode]:
    """The cells of a notebook by name."""
    notebook = nbformat.read(course / path, as_version=4)
    nbformat.validate(notebook)
    return {cell.id.removeprefix("90_sample-"): cell for cell in notebook.cells}


@pytest.fixture
def copy(built_course: Path, tmp_path: Path) -> Path:
    """A copy of the built course, to be changed."""
    return Path(shutil.copytree(built_course, tmp_path / "course"))


def test_the_solution_is_executed_and_complete(built_course: Path) -> None:
    found = cells(built_course, SOLUTION)
    assert found["deterministic"].outputs[0].text == "7 cells and 3.50 points\n"
    assert "secret_of_doubling" in found["double-solution"].source
    counts = [cell.execution_count for cell in found.values() if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    check = found["double-check"]
    assert check.source.splitlines() == [
        'check("sample.double", double)',
        "### BEGIN HIDDEN TESTS",
        "from roofline.grading import sealed",
        'sealed("sample.double", double)',
        "### END HIDDEN TESTS",
    ]
    [result] = [o for o in check.outputs if o.output_type == "execute_result"]
    assert float(result.data["text/plain"]) == 2


def test_points_and_card_come_from_the_exercise(built_course: Path) -> None:
    for path in (SOLUTION, RELEASE):
        found = cells(built_course, path)
        assert found["double-check"].metadata.nbgrader.points == 2
        assert found["square-check"].metadata.nbgrader.points == 1.5
        card = found["square-exercise"].source.splitlines()[-1]
        assert card == "*Difficulty 2 of 5 · importance 5 of 5 · about 10 minutes · 1.5 points*"


def test_graded_cells_are_marked_for_nbgrader(built_course: Path) -> None:
    found = cells(built_course, RELEASE)
    check, solution = found["double-check"], found["double-solution"]
    expected = {"grade": True, "solution": False, "locked": True, "task": False}
    assert expected.items() <= check.metadata.nbgrader.items()
    expected = {"grade": False, "solution": True, "locked": False, "task": False}
    assert expected.items() <= solution.metadata.nbgrader.items()
    for cell in (check, solution):
        assert cell.metadata.nbgrader.grade_id == cell.id
        assert cell.metadata.nbgrader.schema_version == 3
        assert cell.metadata.deletable is False
    graded = {name for name, cell in found.items() if "nbgrader" in cell.metadata}
    assert graded == {"double-check", "double-solution", "square-check", "square-solution"}


def test_the_release_has_stubs_and_no_outputs(built_course: Path) -> None:
    found = cells(built_course, RELEASE)
    assert found["double-solution"].source == (
        "def double(x):\n"
        '    """Return 2 x, of x\'s shape."""\n'
        "    # YOUR CODE HERE\n"
        "    raise NotImplementedError()"
    )
    assert found["double-check"].source == 'check("sample.double", double)'
    assert list(found) == list(cells(built_course, SOLUTION))
    for cell in found.values():
        assert cell.cell_type == "markdown" or (not cell.outputs and not cell.execution_count)
    text = (built_course / RELEASE).read_text()
    assert "secret_of_doubling" not in text and "sealed" not in text and "SOLUTION" not in text


def test_notebooks_are_free_of_the_machine_and_the_hour(built_course: Path) -> None:
    for path in (SOLUTION, RELEASE):
        notebook = nbformat.read(built_course / path, as_version=4)
        assert set(notebook.metadata) == {"kernelspec", "language_info"}
        assert "version" not in notebook.metadata.language_info
        assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
        for cell in notebook.cells:
            assert "execution" not in cell.metadata
            assert re.fullmatch(r"90_sample-[a-z-]+", cell.id)


def test_saved_outputs_need_no_kernel(built_course: Path) -> None:
    found = cells(built_course, SOLUTION)
    picture, text = found["experiment"].outputs
    assert set(picture.data) == {"image/png"}
    assert text.data == {"text/plain": "batch 64: the tape keeps 3 MB"}
    [printed] = found["measured"].outputs
    assert printed.name == "stdout", "the progress bar must be gone"


def test_a_second_build_changes_nothing(
    built_course: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The measured number and the widget's id differ in each run; the files must not."""
    before = {path: (copy / path).read_bytes() for path in (SOLUTION, RELEASE)}
    assert build.main(["--root", str(copy)]) == 0
    assert "wrote" not in capsys.readouterr().out
    assert {path: (copy / path).read_bytes() for path in before} == before
    facts = json.loads((copy / build.REPORT).read_text())["90_sample"]
    assert facts["cells"] == 7 and facts["exercises"] == 2
    assert 20e6 < facts["peak_bytes"] < 2e9 and facts["seconds"] > 0
    assert "7 cells, expected 20 to 40" in facts["problems"]


def test_check_names_what_differs(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["--check", "--no-run", "--root", str(copy)]
    assert build.main(check) == 0
    source = copy / SOURCE
    source.write_text(source.read_text().replace("# Little.", "# Very little."))
    (copy / RELEASE).with_name("old.ipynb").write_text("{}")
    before = {path: path.read_bytes() for path in copy.rglob("*.ipynb")}
    capsys.readouterr()
    assert build.main(check) == 1
    assert capsys.readouterr().out.splitlines() == [
        "chapters/90_sample/90_sample.ipynb is not what its source builds",
        "solutions/90_sample/90_sample.ipynb is not what its source builds",
        "chapters/90_sample/old.ipynb has no source",
    ]
    assert before == {path: path.read_bytes() for path in copy.rglob("*.ipynb")}
    (copy / RELEASE).unlink()
    assert build.main(["90_sample", *check]) == 1
    assert "chapters/90_sample/90_sample.ipynb is missing" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["source", "id", "metadata", "notebook metadata"])
def test_check_sees_an_edit_by_hand(copy: Path, where: str) -> None:
    for path in (SOLUTION, RELEASE):
        notebook = nbformat.read(copy / path, as_version=4)
        cell = notebook.cells[1]
        if where == "source":
            cell.source += "\n"
        elif where == "id":
            cell.id = "other"
        elif where == "metadata":
            cell.metadata["collapsed"] = True
        else:
            notebook.metadata["authors"] = []
        original = (copy / path).read_bytes()
        nbformat.write(notebook, copy / path)
        lines = build.differing(copy, build.build(copy, run=False))
        assert lines == [f"{path.as_posix()} is not what its source builds"]
        (copy / path).write_bytes(original)


def test_prose_can_be_rebuilt_without_running(copy: Path) -> None:
    source = copy / SOURCE
    source.write_text(source.read_text().replace("# Little.", "# Very little."))
    before = cells(copy, SOLUTION)
    assert build.main(["--no-run", "--root", str(copy)]) == 0
    after = cells(copy, SOLUTION)
    assert after["summary"].source == "Very little."
    assert all(after[name].get("outputs") == before[name].get("outputs") for name in before)
    assert cells(copy, RELEASE)["summary"].source == "Very little."


def nbgrader(course: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("nbgrader")), *arguments]
    return subprocess.run(command, cwd=course, capture_output=True, text=True, timeout=120)


def test_stock_generate_assignment_gives_the_same_release(copy: Path) -> None:
    """Through the command, with the gradebook, from the executed solution: byte for byte."""
    expected = (copy / RELEASE).read_bytes()
    done = nbgrader(copy, "generate_assignment", "90_sample", "--force")
    assert done.returncode == 0, done.stderr
    assert (copy / "classroom" / "gradebook.db").is_file()
    assert (copy / RELEASE).read_bytes() == expected


def test_stock_validate_tells_solved_from_unsolved(built_course: Path) -> None:
    done = nbgrader(built_course, "validate", str(SOLUTION), str(RELEASE))
    assert done.returncode == 0, done.stderr
    solved, unsolved = re.findall(r"Success!|VALIDATION FAILED ON \d CELL", done.stdout)
    assert (solved, unsolved) == ("Success!", "VALIDATION FAILED ON 2 CELL"), done.stdout


FAILING = """\
# %% [markdown] name="a"
# # Fails
#
# %% name="fine"
x = 1

# %% name="breaks"
def half(y):
    return y / 0


half(x)
"""


def test_a_failing_cell_is_one_line_with_file_and_line(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (course / SOURCE).write_text(FAILING)
    assert build.main(["--root", str(course)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    line = FAILING.splitlines().index("half(x)") + 1
    assert said == (
        f"solutions/90_sample.py:{line}: cell 'breaks' fails: ZeroDivisionError: division by zero"
    )
    assert not (course / SOLUTION).exists()


def test_what_cannot_be_kept_stops_the_build(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_with_warning(notebook: NotebookNode, on_cell: object) -> tuple[NotebookNode, Run]:
        warning = nbformat.v4.new_output("stream", name="stderr", text="UserWarning: slow\n")
        next(c for c in notebook.cells if c.id == "90_sample-picture").outputs = [warning]
        return notebook, Run(1, 1)

    monkeypatch.setattr(build, "execute", run_with_warning)
    with pytest.raises(build.BuildError) as raised:
        build.build(course)
    line = (course / SOURCE).read_text().splitlines().index('# %% name="picture"') + 1
    expected = f"solutions/90_sample.py:{line}: cell 'picture' writes to stderr: "
    assert str(raised.value).startswith(expected)


def test_mistakes_of_whoever_calls(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["91_other", "--root", str(course)]) == 1
    assert "no chapter '91_other' in solutions/: there is 90_sample" in capsys.readouterr().err
    assert build.main(["--root", str(course / "solutions")]) == 1
    assert "run this from the repository's top folder" in capsys.readouterr().err


def test_the_export_reads_without_a_network(built_course: Path) -> None:
    """HTML from nbconvert: the picture and its text are in the page, and nothing that one needs to
    read it is fetched. Scripts (require.js, MathJax) may be named; without them the page reads."""
    page, _ = HTMLExporter().from_filename(str(built_course / SOLUTION))
    found = cells(built_course, SOLUTION)
    for name in ("picture", "experiment"):
        [output] = [o for o in found[name].outputs if "image/png" in o.data]
        start = "".join(output.data["image/png"].split())[:60]
        assert f"data:image/png;base64,{start}" in page
    assert "<pre>batch 64: the tape keeps 3 MB</pre>" in page
    fetched = re.findall(r'<(?:img|link|iframe|source|object)\b[^>]*?(?:src|href)="([^"]+)"', page)
    assert fetched, "the page must hold pictures"
    assert [address for address in fetched if not address.startswith("data:")] == []
    assert "@import" not in page and "jupyter-widgets" not in page
