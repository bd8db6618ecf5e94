"""``roofline class ...``: each command calls a function of this room and prints what it gives.

Imports stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roofline.course.options import HERE, Assignment, DryRun, Json, Students, Trust, Where, Workers
from roofline.course.terminal import bar, one_line, show, show_rows

app = typer.Typer(
    name="class",
    help="A class: release assignments, collect, grade in a sandbox, give feedback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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
    with one_line():
        from roofline.course import folder as courses
        from roofline.course.gradebook import Book
        from roofline.course.roster import read_roster

        roster = read_roster(students) if students else {}
        if dry_run:
            courses.check_place(folder)
            said = {"folder": str(folder.resolve()), "students": len(roster), "written": False}
        else:
            course = courses.create(folder, name, database)
            try:
                with Book(course) as book:
                    book.add_students(roster)
            except BaseException:  # no gradebook, no course: the next try isn't told there is one
                (course.root / courses.SETTINGS).unlink()
                raise
            said = {"folder": str(course.root), "students": len(roster), "written": True}
    verb = "would be made" if dry_run else "is made"
    show(as_json, said, [f"{said['folder']} {verb}, with {len(roster)} students"])


@app.command("students")
def students_(
    add: Annotated[Path | None, typer.Option(help="CSV of students to add or update.")] = None,
    course: Where = HERE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """List the students in the gradebook, or add some from a CSV file."""
    with one_line():
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
    show(as_json, roster if roster else there, lines)


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
    with one_line():
        from roofline.course import assign
        from roofline.course.folder import open_course

        opened = open_course(course)
        when = assign.read_due(due) if due is not None else None
        said = (
            assign.preview(opened, assignment, origin, when)
            if dry_run
            else assign.release(opened, assignment, origin, when)
        )
    verb = "would be released" if dry_run else "released"
    notebooks = ", ".join(said["notebooks"])
    show(as_json, said, [f"{assignment} {verb}: {notebooks}", f"in {said['folder']}"])


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
    with one_line(), bar("collecting", as_json) as step:
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
    show_rows(as_json, rows, ("name", "student", "status", "reason"))


@app.command()
def grade(
    assignment: Assignment,
    student: Students = None,
    exercise: Annotated[
        str | None, typer.Option(help="Only this one again, for all: backprop.linear.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also what hasn't changed.")] = False,
    trust: Trust = False,
    workers: Workers = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, to run on a cluster.")
    ] = None,
    course: Where = HERE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Grade what was handed in or changed since the last run. Exit code 1: some have to be tried
    again."""
    with one_line(), bar("grading", as_json) as step:
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
    show_rows(as_json, rows, ("student", "score", "max_score", "status", "reason"))
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
    with one_line(), bar("writing pages", as_json) as step:
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
    show_rows(as_json, rows, ("student", "status", "path"))
