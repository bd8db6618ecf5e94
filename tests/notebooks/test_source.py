"""Mistakes in a source are named with file and line, one line each."""

from __future__ import annotations

from pathlib import Path

import pytest
from roofline.classroom.source import SourceError, checked_name, read_source, solution_lines

SAMPLE = "solutions/90_sample.py"


def test_the_sample_reads(course: Path) -> None:
    chapter = read_source(course / SAMPLE)
    assert chapter.name == "90_sample"
    assert chapter.exercises() == ["sample.double", "sample.square"]
    by_name = {cell.name: cell for cell in chapter.cells}
    assert by_name["question"].kind == "markdown" and by_name["setup"].kind == "code"
    assert by_name["deterministic"].tags == ("nbval-check-output",)
    assert by_name["measured"].tolerance == 0.5
    solution, check = by_name["double-solution"], by_name["double-check"]
    assert solution_lines(solution)[0].strip() == "secret_of_doubling = x + x"
    assert checked_name(check) == "double"
    lines = (course / SAMPLE).read_text().splitlines()
    for cell in chapter.cells:
        assert lines[cell.line - 1].startswith("# %%")
        assert cell.text.splitlines()[0] in lines[cell.line].removeprefix("# ")


CASES = {
    "no name": ('# %% name="picture"', "# %%", "a cell without a name"),
    "two of a name": ('name="picture"', 'name="setup"', "'setup' is taken by line"),
    "bad name": ('name="picture"', 'name="The Picture"', "expected small letters"),
    "long name": ('name="picture"', f'name="{"x" * 60}"', "too long: at most 54"),
    "bad option": ('name="picture"', 'name="picture" colour="red"', "unknown cell option 'colour'"),
    "bad tolerance": ("tolerance=0.5", "tolerance=5", "expected a fraction"),
    "bad tags": ('tags=["nbval-check-output"]', 'tags="x"', "'x' is not of type 'array'"),
    "two roles": (
        '# %% check="sample.double"',
        '# %% check="sample.double" solution="sample.double"',
        "both solution and check",
    ),
    "unknown exercise": ("sample.double", "sample.duoble", "did you mean sample.double"),
    "another chapter's": ("sample.double", "backprop.linear", "in chapter 90_sample"),
    "no begin": ("    ### BEGIN SOLUTION\n", "", "needs one line ### BEGIN SOLUTION"),
    "no end": ("    ### END SOLUTION\n", "", "needs one line ### BEGIN SOLUTION"),
    "solution elsewhere": ("# Little.", "# ### BEGIN SOLUTION", "outside a solution cell"),
    "hidden by hand": ("# Little.", "# ### BEGIN HIDDEN TESTS", "the build writes it"),
    "check without solution": ('# %% solution="sample.double"', '# %% name="d"', "outside a sol"),
    "check without exercise": (
        '# %% [markdown] exercise="sample.double"',
        '# %% [markdown] name="d"',
        "sample.double has the cells solution, check",
    ),
    "lead-in as code": (
        '# %% [markdown] exercise="sample.double"\n# ### Twice\n#\n# Return twice `x`.',
        '# %% exercise="sample.double"',
        "exercise cell of sample.double must be [markdown]",
    ),
    "check of another name": (
        'check("sample.double", double)',
        'check("sample.double", triple)',
        "takes triple, which the solution cell in line",
    ),
    "check of another exercise": (
        'check("sample.double", double)',
        'check("sample.square", double)',
        'must hold check("sample.double", NAME)',
    ),
    "check and more": (
        'check("sample.double", double)',
        'check("sample.double", double)\nprint("done")',
        "and nothing else",
    ),
    "marker in a string": (
        "# %% [markdown] name",
        '# %% name="s"\ns = """\n# %% a\n"""\n# %% [markdown] name',
        "inside a string",
    ),
    "text before the first cell": ("# ---\n\n# %%", "# ---\nimport os\n\n# %%", "before the first"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_named_with_its_line(course: Path, case: str) -> None:
    old, new, said = CASES[case]
    path = course / SAMPLE
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    with pytest.raises(SourceError) as raised:
        read_source(path, SAMPLE)
    lines = str(raised.value).splitlines()
    where, line, what = next(text for text in lines if said in text).split(":", 2)
    assert where == SAMPLE
    assert path.read_text().splitlines()[int(line) - 1].startswith("# %%")


def test_a_file_name_that_is_no_chapter(course: Path) -> None:
    path = (course / SAMPLE).rename(course / "solutions" / "Sample.py")
    with pytest.raises(SourceError, match=r"^Sample.py:1: 'Sample' is no chapter"):
        read_source(path)


def test_all_mistakes_come_at_once(course: Path) -> None:
    path = course / SAMPLE
    text = path.read_text().replace('# %% name="picture"', "# %%").replace("0.5", "5.0")
    path.write_text(text)
    with pytest.raises(SourceError) as raised:
        read_source(path)
    assert len(str(raised.value).splitlines()) == 2
