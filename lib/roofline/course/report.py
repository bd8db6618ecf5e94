"""The page about a graded class: one HTML file that needs nothing else, pictures included."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roofline.course.analysis import FEW, Analysis, ExerciseLine
from roofline.course.folder import CourseError
from roofline.course.rows import UNSANDBOXED
from roofline.course.writing import write_whole

# Okabe and Ito's palette, told apart with every kind of colour vision.
BLUE, GREEN, VERMILION, GREY = "#0072B2", "#009E73", "#D55E00", "#666666"

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
tr { border-bottom: 1px solid #8884 }
img { max-width: 100%; background: white }
.warning { border-left: 4px solid #D55E00; padding-left: .8rem }
"""


def write(analysis: Analysis, to: Path) -> None:
    """Write the page, whole or not at all. Raises :class:`CourseError`."""
    try:
        write_whole(to, page(analysis).encode("utf-8"))
    except OSError as error:
        raise CourseError(f"{to} can't be written: {error.strerror}") from None


def page(analysis: Analysis) -> str:
    """The whole page. Names that students chose are only ever text in it."""
    title = html.escape(f"{analysis.assignment} · {analysis.course}")
    parts = [f"<h1>{title}</h1>", *map(_paragraph, summary(analysis))]
    if analysis.scores:
        parts += ["<h2>Scores</h2>", _picture(distribution(analysis), says_distribution(analysis))]
    if analysis.exercises:
        parts += ["<h2>Exercises</h2>", *_exercises(analysis)]
        if analysis.scores:
            parts.append(_picture(fractions(analysis), says_fractions(analysis)))
        parts += ["<h2>Rubric items</h2>", _items(analysis)]
    if analysis.without_score:
        parts += ["<h2>Remarks</h2>", _remarks(analysis)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def summary(analysis: Analysis) -> list[str]:
    """The report in sentences."""
    lines = [f"{analysis.submitted} of {analysis.students} students handed in."]
    if analysis.mean is not None:
        spread = f", standard deviation {analysis.deviation:.2f}" if analysis.deviation else ""
        lines[0] += (
            f" Mean {analysis.mean:.2f} of {analysis.max_score:g} points, "
            f"median {analysis.median:.2f}{spread}."
        )
    if analysis.fails_most:
        lines.append(f"The item that fails most: {analysis.fails_most}.")
    if analysis.discriminates_least:
        lines.append(f"The exercise that discriminates least: {analysis.discriminates_least}.")
    elif 0 < analysis.submitted < FEW:
        lines.append(f"Discrimination is worked out from {FEW} submissions on.")
    counts = [
        (analysis.late, "lost points for being late"),
        (analysis.waiting, "wait for a person to grade something"),
        (analysis.handed_in_again, "were graded more than once with different content"),
    ]
    lines += [f"Submissions that {what}: {number}." for number, what in counts if number]
    if analysis.unsandboxed:
        lines.append(
            f"{UNSANDBOXED}. Some submissions ran without one: their code could have read and "
            "changed anything that the grader may."
        )
    return lines


def says_distribution(analysis: Analysis) -> str:
    counts, edges = histogram(analysis.scores, analysis.max_score)
    said = [f"{a:g} to {b:g}: {n}" for n, a, b in zip(counts, edges, edges[1:], strict=False)]
    return "Submissions by score. " + ", ".join(said) + "."


def says_fractions(analysis: Analysis) -> str:
    said = [f"{line.name} {line.mean:.0%}" for line in analysis.exercises]
    return "Mean fraction of the points, by exercise: " + ", ".join(said) + "."


def histogram(scores: list[float], most: float, bins: int = 10) -> tuple[list[int], list[float]]:
    """Counts in equal ranges from 0 to the maximum, and the ranges' edges. The last range has its
    upper edge, and whatever is above it (extra credit)."""
    width = (most or 1.0) / bins
    counts = [0] * bins
    for score in scores:
        counts[min(bins - 1, max(0, int(score / width + 1e-9)))] += 1
    return counts, [round(width * i, 6) for i in range(bins + 1)]


def distribution(analysis: Analysis) -> Any:
    """A matplotlib figure of the scores."""
    figure, axes = _figure(2.8)
    counts, edges = histogram(analysis.scores, analysis.max_score)
    axes.bar(edges[:-1], counts, width=edges[1], align="edge", color=BLUE, edgecolor="white")
    axes.axvline(analysis.median, color=VERMILION, linestyle="--", label="median")
    axes.set(xlabel="points", ylabel="submissions", xlim=(0, edges[-1]))
    axes.legend(frameon=False)
    return figure


def fractions(analysis: Analysis) -> Any:
    """A matplotlib figure: who earned all, part and nothing, by exercise."""
    lines = analysis.exercises[::-1]
    figure, axes = _figure(0.8 + 0.35 * len(lines))
    names = [line.name for line in lines]
    full, nothing = [line.full for line in lines], [line.nothing for line in lines]
    part = [1 - a - b for a, b in zip(full, nothing, strict=True)]
    for values, left, color, label in (
        (full, [0.0] * len(lines), GREEN, "all points"),
        (part, full, BLUE, "part"),
        (nothing, [a + b for a, b in zip(full, part, strict=True)], VERMILION, "nothing"),
    ):
        axes.barh(names, values, left=left, color=color, label=label, edgecolor="white")
    axes.set(xlabel="fraction of the submissions", xlim=(0, 1))
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _figure(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # not pyplot: no window, no state

    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _picture(figure: Any, says: str) -> str:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
    data = base64.b64encode(png.getvalue()).decode()
    text = html.escape(says)
    return f'<img alt="{text}" src="data:image/png;base64,{data}"><p>{text}</p>'


def _paragraph(text: str) -> str:
    warning = ' class="warning"' if text.startswith(UNSANDBOXED) else ""
    return f"<p{warning}>{html.escape(text)}</p>"


def _exercises(analysis: Analysis) -> Iterable[str]:
    heads = ["exercise", "points", "mean", "all", "nothing", "not attempted"]
    heads += ["correlation", "upper-lower", "minutes (card)", "tries"]
    yield _table(heads, (_exercise_row(line) for line in analysis.exercises), numbers=range(1, 10))
    yield _paragraph(
        "Correlation: of an exercise's score with the score of all others. Upper-lower: mean "
        "fraction of the upper 27 percent less that of the lower. Near 0, an exercise says little "
        "about who knows the chapter; below 0, look at it. Minutes and tries are medians, where "
        "students handed in their record."
    )


def _exercise_row(line: ExerciseLine) -> list[str]:
    card = f" ({line.expected_minutes})" if line.expected_minutes is not None else ""
    return [
        line.name,
        f"{line.points:g}",
        f"{line.mean:.0%}",
        f"{line.full:.0%}",
        f"{line.nothing:.0%}",
        str(line.not_attempted),
        _known(line.correlation, ".2f"),
        _known(line.upper_lower, ".2f"),
        _known(line.minutes, "g") + card,
        _known(line.tries, "g"),
    ]


def _items(analysis: Analysis) -> str:
    found = [(line, item) for line in analysis.exercises for item in line.items]
    if not found:
        return _paragraph("No exercise of this assignment has a rubric.")
    found.sort(key=lambda pair: (-pair[1].rate, -pair[1].lost))
    rows = (
        [line.name, item.name, f"{item.points:g}", f"{item.lost} of {item.seen}", item.hint]
        for line, item in found
    )
    return _table(["exercise", "item", "points", "lost by", "commonest hint"], rows, (2, 3))


def _remarks(analysis: Analysis) -> str:
    return _table(["student", "what was said"], (list(p) for p in analysis.without_score.items()))


def _known(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _table(heads: list[str], rows: Iterable[list[str]], numbers: Iterable[int] = ()) -> str:
    right = set(numbers)
    kind = {i: ' class="number"' if i in right else "" for i in range(len(heads))}
    head = "".join(
        f'<th scope="col"{kind[i]}>{html.escape(name)}</th>' for i, name in enumerate(heads)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind[i]}>{html.escape(value)}</td>" for i, value in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
