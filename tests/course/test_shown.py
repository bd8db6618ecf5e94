"""Markdown that students wrote, in pages that an instructor opens."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from roofline.course import folder
from roofline.course.shown import cleaned

ROOT = Path(__file__).resolve().parents[2]

BAD = {
    "script": "<script>alert(1)</script>",
    "handler": "<img src=x onerror=alert(1)>",
    "svg": "<svg onload=alert(1)><circle/></svg>",
    "link": "[x](javascript:alert(1))",
    "entities": '<a href="&#106;ava&#x73;cript:alert(1)">x</a>',
    "blanks": '<a href="java\tscript:alert(1)">x</a>',
    "data": '<a href=" d&#97;ta:text/html,alert(1)">x</a>',
    "frame": "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "form": "<form action=/api/shutdown method=post><button>x</button></form>",
    "style": "<div style='position:fixed;inset:0;background:url(//evil)'>x</div>",
    "sheet": "<style>body{display:none}</style>",
    "base": "<base href=//evil><meta http-equiv=refresh content='0;url=//evil'>",
    "elsewhere": "![x](http://evil/x.png) ![x](//evil/x.png) ![x](\\\\evil/x.png)",
    "clobbers": "<textarea id=essay-comment name=x></textarea><p id=essay-comment>x</p>",
    "formula": r"$\href{javascript:alert(1)}{x}$",
    "hidden formula": r"$\h&#114;ef{javascript:alert(1)}{x}$",
    "attachment": "![x](attachment:a.png)",
}
ACTS = re.compile(
    r"<(script|svg|iframe|form|button|style|base|meta|textarea|input|object|embed)|\\son\w+\s*="
    r"|(href|src)=[\"']?\s*(java|data:(?!image/png)|//|http://evil)|position|url\(|\sid=|\\\\href",
    re.I,
)
ATTACHED = {"a.png": {"image/svg+xml": "PHN2Zz4="}}


@pytest.mark.parametrize("kind", BAD)
def test_nothing_acts(kind: str) -> None:
    assert not ACTS.search(cleaned(BAD[kind], ATTACHED if kind == "attachment" else None))


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("if $a<b$ then `x < 3 & y`", "if $a&lt;b$ then <code>x &lt; 3 &amp; y</code>"),
        ("```\nif a < b:\n```", "if a &lt; b:"),
        ("**b** [l](https://a.org/?x=1&y=2) [m](glossary.md#flop)", 'href="glossary.md#flop"'),
        ("|a|\n|--:|\n|1|", '<td style="text-align:right;">1</td>'),
        ("<details><summary>s</summary>\n\nhint\n\n</details>", "<p>hint</p>\n</details>"),
        ("![p](pictures/mine.png)", '<img src="pictures/mine.png" alt="p">'),
        ("$$\\begin{aligned}a &< b\\end{aligned}$$", "a &amp;&lt; b"),
        ("![p](attachment:a.png)", '<img src="data:image/png;base64,AAAA" alt="p">'),
    ],
)
def test_what_is_meant_well_stays(source: str, wanted: str) -> None:
    assert wanted in cleaned(source, {"a.png": {"image/png": "AAAA"}})


def test_an_attachment_that_is_missing_stops_nobody() -> None:
    assert cleaned("before ![p](attachment:a.png) after") == (
        '<p>before <img src="a.png" alt="p"> after</p>\n'
    )
    assert "alert" not in cleaned("![p](attachment:a.png)", {"a.png": {}})
    assert cleaned("<b>" * 30_000) == f"<pre>{'&lt;b&gt;' * 6_666}&lt;b</pre>"


def test_a_chapter_loses_no_word_and_no_picture() -> None:
    """What learners get of ours looks the same."""
    from bs4 import BeautifulSoup
    from nbconvert.filters import markdown2html

    path = ROOT / "chapters" / "02_backprop" / "02_backprop.ipynb"
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            own = BeautifulSoup(str(markdown2html(cell.source)), "html.parser")
            ours = BeautifulSoup(cleaned(cell.source), "html.parser")
            assert ours.get_text() == own.get_text()
            for tag in ("img", "a", "details", "table", "code", "li"):
                assert len(ours.find_all(tag)) == len(own.find_all(tag)), tag


def test_formgraders_pages(tmp_path: Path) -> None:
    """With a course's settings, its own template shows a submission without what acts."""
    from nbconvert.exporters import HTMLExporter
    from nbgrader.server_extensions.formgrader import handlers
    from traitlets.config import Config
    from traitlets.config.loader import PyFileConfigLoader

    folder.create(tmp_path / "course")
    notebook = nbformat.v4.new_notebook()
    for kind, source in BAD.items():
        if kind != "attachment":  # one that isn't there is an error in nbconvert
            notebook.cells.append(nbformat.v4.new_markdown_cell(source, id=kind.replace(" ", "-")))
    own = {"grade": True, "solution": True, "grade_id": "essay", "points": 1}
    notebook.cells[0].metadata["nbgrader"] = {**own, "locked": False, "schema_version": 3}
    path = tmp_path / "one.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    names = "assignment_id notebook_id submission_id base_url student last_name first_name".split()
    resources = dict.fromkeys([*names, "notebook_path"], "x") | {"index": 0, "total": 1}
    pages = {}
    for root in (None, tmp_path / "course", ROOT):
        loader = PyFileConfigLoader("nbgrader_config.py", path=str(root))
        config: Config = loader.load_config() if root else Config()
        config.HTMLExporter.template_name = "formgrade"
        config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
        page, _ = HTMLExporter(config=config).from_filename(str(path), resources=dict(resources))
        bad = r"<script>alert|onerror=\"?alert|=\"javascript:alert|srcdoc|\\href"
        pages[root] = re.findall(bad, page)
    assert len(set(pages[None])) == 5
    assert pages[tmp_path / "course"] == pages[ROOT] == []
    assert path.read_bytes() == before
