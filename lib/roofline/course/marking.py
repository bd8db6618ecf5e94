"""From what came out of a sandbox and the judge to the graded notebook and its points."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import bleach
import nbformat
from bleach.css_sanitizer import CSSSanitizer
from nbformat import NotebookNode

from roofline.course.files import plain, without_formula_links
from roofline.course.gradebook import Grades
from roofline.course.master import Master
from roofline.course.plan import probes
from roofline.course.shown import TAGS
from roofline.grading import Item, Result, table

MAX_TEXT = 200_000
MAX_LINES = 1_000
_PICTURES = ("image/png", "image/jpeg")
_ATTRIBUTES = {"*": ["style", "class", "title", "colspan", "rowspan", "scope", "border"]}


def mark(
    notebook: NotebookNode, master: Master, done: dict[str, Any], only: str | None = None
) -> tuple[Grades, dict[str, Any]]:
    """Put the outputs into a cleaned notebook, and work out its points.

    ``done`` is what :func:`~roofline.course.running.grade_one` gave for the notebook. Returns the
    grades and, by exercise, the results. With ``only``, those of one exercise.
    """
    from nbgrader import utils

    checks = probes(master)
    by_id = master.by_id
    scores: dict[str, float | None] = {}
    comments: dict[str, str | None] = {}
    results: dict[str, Any] = {}
    outputs = {int(index): given for index, given in done["outputs"].items()}
    states = {int(index): state for index, state in done["cells"].items()}
    for index, cell in enumerate(notebook.cells):
        known = by_id.get(str(cell.metadata.get("nbgrader", {}).get("grade_id", "")))
        if cell.cell_type == "code":
            cell.outputs = [o for given in outputs.get(index, []) if (o := output(given))]
        if known is None:
            continue
        if known.solution or known.nbgrader.get("task"):
            untouched = utils.compute_checksum(cell) == cell.metadata.nbgrader.get("checksum")
            task = known.nbgrader.get("task")
            comments[known.grade_id] = "No response." if untouched and not task else None
        if not known.nbgrader.get("grade"):
            continue
        probe = checks.get(known.grade_id)
        if probe is not None and only in (None, probe.exercise):
            result = done["results"][probe.exercise]
            score = _set_result(cell, result, known.points)
            results[probe.exercise] = result
            scores[known.grade_id] = score
        elif only is None:
            scores[known.grade_id] = _points(cell, known.points, states.get(index, "not-run"))
    return Grades(master.name, scores, comments), results


def nothing(master: Master, why: str) -> Grades:
    """No points for a whole notebook, and nothing that waits for a person."""
    scores: dict[str, float | None] = {cell.grade_id: 0.0 for cell in master.cells if cell.graded}
    solutions = [cell.grade_id for cell in master.cells if cell.solution]
    return Grades(master.name, scores, {name: plain(why) for name in solutions[:1]})


def about(notebook: NotebookNode, lines: list[str]) -> None:
    """Say at the top what the grader did; what it says is no markup."""
    notebook.cells = [c for c in notebook.cells if not c.metadata.get("roofline", {}).get("about")]
    if lines:
        text = "".join(f"<li>{html.escape(plain(line))}</li>" for line in dict.fromkeys(lines))
        cell = nbformat.v4.new_markdown_cell(
            f"**How this was graded**\n\n<ul>{text}</ul>",
            id="about-grading",
            metadata={"roofline": {"about": True}},
        )
        notebook.cells.insert(0, cell)


def merge(path: Path, notebook: NotebookNode, exercise: str) -> NotebookNode:
    """The notebook that was graded before, with the outputs of one exercise's check from the new
    one; the new one itself if there was none."""
    try:
        before = nbformat.read(path, as_version=4)
    except Exception:  # a killed run, a full disk: it is made anew
        return notebook
    fresh = {}
    for cell in notebook.cells:
        for one in cell.get("outputs", []):
            if one.get("metadata", {}).get("roofline", {}).get("exercise") == exercise:
                fresh[cell.metadata.nbgrader.grade_id] = cell.outputs
    for cell in before.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if grade_id in fresh:
            cell.outputs = fresh[grade_id]
    return before


def to_bytes(notebook: NotebookNode) -> bytes:
    nbformat.validate(notebook)
    # Not nbformat.writes, which would validate it again.
    return (nbformat.v4.writes(notebook) + "\n").encode("utf-8", "replace")


def _set_result(cell: NotebookNode, result: dict[str, Any], points: float) -> float:
    """The table of a check and, last, its score, where nbgrader looks for partial credit."""
    if not result["points"]:  # nothing came, so nobody knew how many points there are
        result["points"] = points
        for item in result["items"]:
            item["points"] = points
    score = min(float(result["earned"]), points)
    kept = {k: v for k, v in result.items() if k != "earned"}
    made = Result(**{**kept, "items": [Item(**item) for item in kept["items"]]})
    data = {"text/plain": plain(table.text(made)), "text/html": plain(table.markup(made))}
    cell.outputs = [
        _made("display_data", data=data, metadata={"roofline": result}),
        _made("execute_result", data={"text/plain": repr(score)}, metadata={}, execution_count=1),
    ]
    return score


def _points(cell: NotebookNode, points: float, state: str) -> float | None:
    """nbgrader's points for a graded cell, where nbgrader is right.

    What is on stderr costs nothing (a warning isn't a mistake), a cell that didn't run to its end
    earns nothing, and a last value that is no number of points between 0 and the maximum is none.
    """
    from nbgrader import utils

    if cell.cell_type == "code" and not utils.is_solution(cell):
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        failed = any(o.output_type == "error" for o in cell.outputs)
        if state != "ok" and not failed and (cell.source.strip() or state != "not-run"):
            why = f"this cell did not run to its end: {state}"
            cell.outputs.append(_error("NotRun", why))
        for one in cell.outputs:
            if one.output_type == "execute_result":
                value = _number(one.data.get("text/plain", ""))
                if value is not None and not 0 <= value <= points:
                    why = f"the test gave {value!r}, expected 0 to {points:g}: 0 points"
                    cell.outputs.insert(0, _error("BadScore", why))
                elif not one.data.get("text/plain"):
                    one.data["text/plain"] = " "  # a value without text is no error
                break
    return utils.determine_grade(cell)[0]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _error(name: str, value: str) -> NotebookNode:
    return _made("error", ename=name, evalue=value, traceback=[f"{name}: {value}"])


def _made(kind: str, **fields: Any) -> NotebookNode:
    """An output by hand: nbformat's function validates each, and the whole is validated later."""
    return nbformat.from_dict({"output_type": kind, **fields})


def output(given: Any) -> NotebookNode | None:
    """One output as nbformat wants it, from something that only claims to be one.

    Pictures and text are kept as they are. HTML loses everything that could act in the browser of
    whoever grades; script, SVG and widgets are left out.
    """
    if not isinstance(given, dict):
        return None
    kind = given.get("output_type")
    if kind == "stream":
        name = "stderr" if given.get("name") == "stderr" else "stdout"
        return _made("stream", name=name, text=_text(given.get("text")))
    if kind == "error":
        lines = given.get("traceback")
        trace = [_text(line) for line in lines[:100]] if isinstance(lines, list) else []
        return _made(
            "error",
            ename=_text(given.get("ename")),
            evalue=_text(given.get("evalue")),
            traceback=trace,
        )
    if kind not in ("display_data", "execute_result") or not isinstance(given.get("data"), dict):
        return None
    data: dict[str, str] = {}
    for name, value in given["data"].items():
        if name == "text/plain":
            data[name] = _text(value)
        elif name == "text/latex":
            data[name] = without_formula_links(_text(value))
        elif name in _PICTURES and isinstance(value, str):
            data[name] = "".join(value.split())
        elif name == "text/html":
            data[name] = harmless(_text(value))
    if not data:
        return None
    more = {"execution_count": 1} if kind == "execute_result" else {}
    return _made(kind, data=data, metadata={}, **more)


def harmless(markup: str) -> str:
    """HTML without anything that acts: no script, no handlers, no forms, no links elsewhere."""
    css, tags = CSSSanitizer(), TAGS - {"img"}  # pictures are outputs of their own
    clean = bleach.clean(markup, tags=tags, attributes=_ATTRIBUTES, css_sanitizer=css, strip=True)
    return without_formula_links(clean)


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str):
        return ""
    text = plain(value[: MAX_TEXT + 1])
    lines = text[:MAX_TEXT].split("\n")
    if len(value) > MAX_TEXT or len(lines) > MAX_LINES:
        return "\n".join([*lines[:MAX_LINES], "... the rest was left out ..."])
    return text
