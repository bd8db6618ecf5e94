"""``roofline class ...``: each command calls a function of this room and prints what it gives.

Imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="class",
    help="A class: release assignments, collect, grade in a sandbox, give feedback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Where = Annotated[
    Path, typer.Option("--course", "-C", help="The course's folder, or one inside it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Assignment = Annotated[str, typer.Argument(help="Such as 02_backprop.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
Students = Annotated[
    list[str] | None, typer.Option("--student", help="Only this one; may be given again.")
]
HERE = Path(".")


@app.callback()
def classroom() -> None:
    """A class: release assignments, collect, grade in a sandbox, give feedback."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where the course should be; made if need be.")],
    name: Annotated[str, typer.Option(help="The course's name; the folder's by default.")] = "",
    students: Annotated[
        Path | None, typer.Option(help="CSV: id, first_name, last_name, email, lms_user_id.")
    ] = None,
    database: Annotated[
        str, typer.Option(help="Gradebook's URL; a file in the folder by default.")
    ] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make a course: folders, settings, gradebook, secret, students."""
    with _one_line():
        from roofline.course import folder as courses
        from roofline.course.gradebook import Book
        from roofline.course.roster import read_roster

        roster = read_roster(students) if students else {}
        if dry_run:
            courses.check_place(folder)
            said = {"folder": str(folder.resolve()), "students": len(roster), "written": False}
        else:
            course = courses.create(folder, name, database)
            with Book(course) as book:
                book.add_students(roster)
            said = {"folder": str(course.root), "students": len(roster), "written": True}
    verb = "would be made" if dry_run else "is made"
    _print(as_json, said, [f"{said['folder']} {verb}, with {len(roster)} students"])


@app.command("students")
def students_(
    add: Annotated[Path | None, typer.Option(help="CSV of students to add or update.")] = None,
    course: Where = HERE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """List the students in the gradebook, or add some from a CSV file."""
    with _one_line():
        from roofline.course.folder import open_course
        from roofline.course.gradebook import Book
        from roofline.course.roster import read_roster

        roster = read_roster(add) if add else {}
        with Book(open_course(course)) as book:
            if roster and not dry_run:
                book.add_students(roster)
            there = book.students()
    lines = [f"{s}  {p['first_name']} {p['last_name']}".rstrip() for s, p in sorted(there.items())]
    if roster:
        lines = [f"{len(roster)} students {'would be' if dry_run else 'were'} added or updated"]
    _print(as_json, roster if roster else there, lines)


@app.command()
def release(
    assignment: Assignment,
    origin: Annotated[
        Path | None, typer.Option("--from", help="A solved notebook, or a folder of them.")
    ] = None,
    due: Annotated[
        str | None, typer.Option(help='Such as "2026-12-01 23:59 UTC"; UTC if no zone is given.')
    ] = None,
    course: Where = HERE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make an assignment for the class, without solutions and hidden tests."""
    with _one_line():
        from roofline.course import assign
        from roofline.course.folder import open_course

        opened = open_course(course)
        when = assign.read_due(due) if due else None
        said = (
            assign.preview(opened, assignment, origin, when)
            if dry_run
            else assign.release(opened, assignment, origin, when)
        )
    verb = "would be released" if dry_run else "released"
    notebooks = ", ".join(said["notebooks"])
    _print(as_json, said, [f"{assignment} {verb}: {notebooks}", f"in {said['folder']}"])


@app.command()
def collect(
    assignment: Assignment,
    source: Annotated[
        Path | None,
        typer.Argument(help="A folder, or a zip from Canvas or Moodle; without it, the exchange."),
    ] = None,
    exchange: Annotated[
        Path | None, typer.Option(help="nbgrader's exchange: the folder that holds the course's.")
    ] = None,
    check_owner: Annotated[
        bool, typer.Option(help="In the exchange, files must belong to the user they name.")
    ] = True,
    course: Where = HERE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take in submissions. The latest of each student counts."""
    with _one_line(), _bar("collecting", as_json) as step:
        from roofline.course import collect as collecting
        from roofline.course.folder import open_course

        rows = collecting.collect(
            open_course(course),
            assignment,
            source,
            exchange=exchange,
            check_owner=check_owner,
            dry_run=dry_run,
            on_progress=lambda done, of, row: step(done, of),
        )
    _print_rows(as_json, rows, ("name", "student", "status", "reason"))


@app.command()
def grade(
    assignment: Assignment,
    student: Students = None,
    exercise: Annotated[
        str | None, typer.Option(help="Only this one again, for all: backprop.linear.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also what hasn't changed.")] = False,
    trust: Annotated[
        bool,
        typer.Option("--trust-submissions", help="Without a sandbox, if there is none."),
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many at once; one for each core by default.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, to run on a cluster.")
    ] = None,
    course: Where = HERE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Grade what was handed in or changed since the last run. Exit code 1: some have to be tried
    again."""
    with _one_line(), _bar("grading", as_json) as step:
        from roofline.course import grading
        from roofline.course.folder import open_course
        from roofline.course.rows import UNSANDBOXED

        rows = grading.grade(
            open_course(course),
            assignment,
            students=student,
            exercise=exercise,
            force=force,
            dry_run=dry_run,
            trust=trust,
            workers=workers,
            scheduler=scheduler,
            on_progress=lambda done, of, row: step(done, of),
        )
    _print_rows(as_json, rows, ("student", "score", "max_score", "status", "reason"))
    if any(UNSANDBOXED in row.reason for row in rows) and not as_json:
        print("sandbox: none; what was run could have read and changed everything here")
    if any(row.status == "failed" for row in rows):
        raise typer.Exit(1)


@app.command()
def feedback(
    assignment: Assignment,
    student: Students = None,
    force: Annotated[bool, typer.Option("--force", help="Also pages that are up to date.")] = False,
    course: Where = HERE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write a page for each graded submission: scores, what was checked, comments."""
    with _one_line(), _bar("writing pages", as_json) as step:
        from roofline.course import feedback as pages
        from roofline.course.folder import open_course

        rows = pages.feedback(
            open_course(course),
            assignment,
            students=student,
            force=force,
            dry_run=dry_run,
            on_progress=lambda done, of: step(done, of),
        )
    _print_rows(as_json, rows, ("student", "status", "path"))


@contextmanager
def _one_line() -> Iterator[None]:
    """What an instructor can put right ends the command with one line and exit code 2."""
    from roofline.course.folder import CourseError
    from roofline.course.sandbox import NoSandbox

    try:
        yield
    except (CourseError, NoSandbox) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None


@contextmanager
def _bar(what: str, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, gone when it is done."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, disable=hidden or not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _print(as_json: bool, data: Any, lines: list[str]) -> None:
    if as_json:
        print(json.dumps(data, indent=1))
    else:
        print("\n".join(lines))


def _print_rows(as_json: bool, rows: list[Any], columns: tuple[str, ...]) -> None:
    """Rows as JSON, or as a table and a line that counts them."""
    if as_json:
        print(json.dumps([row.as_dict() for row in rows], indent=1))
        return
    cells = [[_cell(row.as_dict()[name]) for name in columns] for row in rows]
    widths = [max((len(line[i]) for line in cells), default=0) for i in range(len(columns) - 1)]
    for line in cells:
        padded = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        print("  ".join([*padded, line[-1]]).rstrip())
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.status] = counts.get(row.status, 0) + 1
    said = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    print(f"{len(rows)} submissions: {said}" if rows else "no submissions")


def _cell(value: Any) -> str:
    """One cell of a table; what a submission wrote can't move the cursor."""
    if value is None:
        return "-"
    text = f"{round(value, 2):g}" if isinstance(value, float) else str(value)
    return "".join(c if c.isprintable() else " " for c in text)
