"""The command ``roofline``. Thin: each command calls a function of the room that it is about.

Imports stand inside the commands, so that ``roofline --help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from roofline.course import commands, more_commands

app = typer.Typer(
    name="roofline",
    help="Under the Roofline: deep learning, on the hardware that you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(commands.app)


more_commands.register(commands.app)
app.add_typer(commands.app)
app.command()(more_commands.serve_grader)


@app.callback()
def roofline() -> None:
    """Keeps commands by their names, however few there are."""


@app.command()
def check(
    chapter: Annotated[str, typer.Argument(help="02_backprop, backprop, or a notebook's path.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Run all checks of a notebook. Exit code 0: every point earned; 1: not; 2: it couldn't run."""
    from rich.progress import Progress

    from roofline.grading import notebook, table

    try:
        path = notebook.locate(chapter)
        from rich.console import Console

        with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
            task = bar.add_task(f"running {path.name}", total=None)
            report = notebook.run(path, lambda done, of: bar.update(task, completed=done, total=of))
    except notebook.NotRun as error:
        _stop(str(error))
    if as_json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        for result in report.results:
            print(table.text(result) + "\n")
        for line in report.errors:
            print(f"error: {line}")
        print(f"{path.stem}: {table.number(report.earned)} of {table.number(report.points)} points")
    complete = report.results and report.earned == report.points and not report.errors
    raise typer.Exit(0 if complete else 1)


@app.command()
def progress(
    chapter: Annotated[str | None, typer.Argument(help="One chapter; all by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """What is done: exercises, best points, attempts. Read from a file on this machine."""
    from roofline.grading import records, reports

    found, notes = records.done(chapter)
    if as_json:
        print(json.dumps(reports.as_dict(found, notes), indent=1))
    elif not any(found.values()) and not notes:
        _stop(f"there are no exercises in {chapter or 'any chapter'}")
    else:
        reports.print_table(found, notes)


@app.command()
def machine(
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or mps; the best by default.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to measure, about.")] = 16.0,
    picture: Annotated[Path | None, typer.Option(help="Where the PNG goes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Measure this machine: arithmetic, bandwidth, overhead. The chapters use what it saves."""
    from roofline.hardware.report import report_machine

    raise typer.Exit(report_machine(as_json, device, seconds, picture))


@app.command()
def lab(
    name: Annotated[str | None, typer.Argument(help="Which one; --list names them.")] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="For JupyterLab, after --: -- --no-browser")
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the experiments.")] = False,
) -> None:
    """Open one experiment alone in JupyterLab."""
    from roofline import lab as room

    if list_them or name is None:
        print(room.listing())
        return
    try:
        status = room.open_alone(name, tuple(arguments or ()))
    except room.ControlError as error:
        _stop(str(error))
    raise typer.Exit(status)


def _stop(message: str) -> None:
    """End with one line about what went wrong."""
    print(message, file=sys.stderr)
    raise typer.Exit(2)


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
