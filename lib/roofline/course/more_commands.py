"""``roofline class report`` and ``export``, and ``roofline serve-grader``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from roofline.course.commands import app
from roofline.course.options import HERE, Assignment, DryRun, Trust, Where, Workers
from roofline.course.terminal import bar, one_line


@app.command()
def report(
    assignment: Assignment,
    to: Annotated[
        Path | None, typer.Option(help="Where the page goes; reports/ASSIGNMENT.html by default.")
    ] = None,
    course: Where = HERE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the summary; write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all figures as JSON; write no page.")
    ] = False,
) -> None:
    """How a graded class did: scores, exercises, rubric items. One HTML page, pictures included."""
    from roofline.course import analysis, report
    from roofline.course.folder import open_course

    with one_line(), bar("reading", as_json) as step:
        opened = open_course(course)
        step(0, 2)
        found = analysis.analyse(opened, assignment)
        step(1, 2)
        page = to or opened.root / "reports" / f"{assignment}.html"
        if not (as_json or dry_run):
            report.write(found, page)
        step(2, 2)
    if as_json:
        print(json.dumps(found.as_dict(), indent=1))
        return
    lines = report.summary(found)
    print("\n".join([*lines, str(page)] if not dry_run else lines))


@app.command()
def export(
    assignment: Annotated[
        list[str] | None, typer.Argument(help="Only these; all by default.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="csv, json, canvas or moodle.")] = "csv",
    to: Annotated[
        Path | None, typer.Option(help="A file; printed by default.", show_default=False)
    ] = None,
    course: Where = HERE,
    dry_run: DryRun = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Grades as CSV or JSON, or as Canvas and Moodle import them."""
    from roofline.course import export as exporting
    from roofline.course.folder import open_course

    form = "json" if as_json else form
    with one_line(), bar("exporting", to is None) as step:
        opened = open_course(course)
        step(0, 1)
        text = exporting.export(opened, form, assignment)
        rows = exporting.rows(form, text)
        if to is not None and not dry_run:
            exporting.write(text, form, to)
        step(1, 1)
    if to is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    else:
        print(f"{rows} rows {'would be' if dry_run else 'were'} written to {to}")


def serve_grader(
    folder: Annotated[Path, typer.Argument(help="The folder to watch.")],
    assignment: Annotated[
        str | None,
        typer.Option(
            help="What files at its top are for; those in a folder of an assignment's "
            "name are for that one."
        ),
    ] = None,
    course: Where = HERE,
    workers: Workers = None,
    trust: Trust = False,
    once: Annotated[bool, typer.Option("--once", help="Grade what is there, and end.")] = False,
    dry_run: DryRun = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON for each submission.")
    ] = False,
) -> None:
    """Watch a folder, and write score and feedback as JSON beside each submission in it."""
    import signal
    import threading

    from roofline.course.folder import open_course
    from roofline.course.serve import Server

    lock = threading.Lock()

    def say(path: Path, score: dict[str, Any]) -> None:
        name = path.relative_to(folder).as_posix()
        with lock:
            if as_json:
                print(json.dumps({"file": name, **score}), flush=True)
            else:
                points = f"{score['score']:g} of {score.get('max_score', 0):g}"
                line = f"{name}: {points} {score['status']} {score['reason']}"
                print("".join(c if c.isprintable() else " " for c in line).strip(), flush=True)

    with one_line():
        server = Server(
            *(open_course(course), folder, assignment, workers or 0, trust), on_graded=say
        )
        if dry_run:
            for path in server.waiting():
                print(path.relative_to(folder).as_posix())
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop.set())
        server.warm()
        if not as_json:
            print(f"watching {folder}; end with Ctrl-C", file=sys.stderr, flush=True)
        graded = server.serve(once)
    if not as_json:
        print(f"{graded} graded", file=sys.stderr)
