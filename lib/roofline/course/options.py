"""The arguments and options that several commands take, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HERE = Path(".")

Where = Annotated[
    Path, typer.Option("--course", "-C", help="The course's folder, or one inside it.")
]
Assignment = Annotated[str, typer.Argument(help="Such as 02_backprop.")]
Students = Annotated[
    list[str] | None, typer.Option("--student", help="Only this one; may be given again.")
]
Trust = Annotated[
    bool, typer.Option("--trust-submissions", help="Without a sandbox, if there is none.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="How many at once; one for each core by default.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
