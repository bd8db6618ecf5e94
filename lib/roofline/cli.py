"""The command ``roofline``. Thin: each command calls a function of the room that it is about.

Imports stand inside the commands, so that ``roofline --help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from roofline.course import commands, more_commands
from roofline.course.options import Json
from roofline.course.terminal import bar

# Click's, which typer takes from that package or brings along: what was typed can't be run.
UsageError: Any = typer.BadParameter.__mro__[1]


class OneLine(TyperGroup):
    """Says in one line what is wrong with what was typed, and ends with exit code 2."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _one_line():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _one_line():
            return super().invoke(ctx)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # no mistake: the help was asked for
            raise
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "roofline"
        message = " ".join(error.format_message().split())
        end = "" if message.endswith((".", "?")) else "."
        _stop(f"{command}: {message[:1].lower()}{message[1:]}{end} See {command} --help")


app = typer.Typer(
    name="roofline",
    cls=OneLine,
    help="Under the Roofline: deep learning, on the hardware that you have.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(commands.app)
app.command()(more_commands.serve_grader)


@app.callback()
def roofline() -> None:
    """Keeps commands by their names, however few there are."""


@app.command()
def check(
    chapter: Annotated[str, typer.Argument(help="02_backprop, backprop, or a notebook's path.")],
    as_json: Json = False,
) -> None:
    """Run all checks of a notebook. Exit code 0: every point earned; 1: not; 2: it couldn't run."""
    from roofline.grading import notebook, table

    try:
        path = notebook.locate(chapter)
        with bar(f"running {path.name}", as_json) as step:
            report = notebook.run(path, step)
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
    as_json: Json = False,
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
    seconds: Annotated[
        float, typer.Option(min=1.0, max=3600.0, help="How long to measure, about.")
    ] = 16.0,
    picture: Annotated[Path | None, typer.Option(help="Where the PNG goes.")] = None,
    as_json: Json = False,
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
