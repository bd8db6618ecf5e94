"""All checks of a notebook, run from outside it: what ``roofline check`` does."""

from __future__ import annotations

import difflib
import logging
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roofline.grading.registry import Item, chapter_of
from roofline.grading.result import Result

CELL_LIMIT = 600  # seconds; a check's own limit is far below


class NotRun(RuntimeError):
    """A notebook that couldn't be found, read or run. The message is one line."""


@dataclass
class Report:
    """The results of a notebook's checks, in their order, and the cells that failed."""

    notebook: Path
    results: list[Result] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def earned(self) -> float:
        return sum(r.earned for r in self.results)

    @property
    def points(self) -> float:
        return sum(r.points for r in self.results)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "notebook": str(self.notebook),
            "earned": self.earned,
            "points": self.points,
            "checks": [r.as_dict() for r in self.results],
            "errors": self.errors,
        }


def released(start: Path | None = None) -> list[Path]:
    """The chapters in ``chapters/`` of the current folder, or of ``start``, and of those above."""
    start = (start or Path.cwd()).resolve()
    return [
        path
        for folder in (start, *start.parents)
        for path in sorted((folder / "chapters").glob("*/*.ipynb"))
        if path.stem == path.parent.name
    ]


def locate(name: str, start: Path | None = None) -> Path:
    """The notebook of a chapter (``"02_backprop"``, ``"backprop"``), or the one at a path.

    A chapter is looked for in ``chapters/`` of the current folder and of those above it. Raises
    :class:`NotRun`.
    """
    path = Path(name)
    if path.suffix == ".ipynb":
        if path.is_file():
            return path
        raise NotRun(f"there is no notebook {name}")
    found = released(start)
    for notebook in found:
        if name in (notebook.stem, chapter_of(notebook.stem)):
            return notebook
    known = [notebook.stem for notebook in found]
    near = difflib.get_close_matches(name, known, cutoff=0.4)
    if not known:
        more = "; go to the course's folder, or give the path of a notebook"
    elif near:
        more = f"; did you mean {' or '.join(near)}?"
    else:
        more = f"; there are {', '.join(known)}"
    raise NotRun(f"there is no chapter {name!r} in chapters/ here or above{more}")


def run(path: Path, on_cell: Callable[[int, int], None] = lambda done, of: None) -> Report:
    """Run a notebook from top to bottom in a fresh kernel, and collect its checks.

    The notebook's file is left as it is. A cell that fails is reported and the next one runs.
    ``on_cell`` is told how many code cells are done, of how many. Raises :class:`NotRun`.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from nbformat.reader import NotJSONError

    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, NotJSONError, nbformat.ValidationError, ValueError, AttributeError) as error:
        raise NotRun(f"{path} can't be read as a notebook: {type(error).__name__}") from None
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs = []
    done = 0

    def executed(**_: Any) -> None:
        nonlocal done
        done += 1
        on_cell(done, len(code))

    client = NotebookClient(
        notebook,
        kernel_manager_class=_this_python(),
        kernel_name="python3",
        timeout=CELL_LIMIT,
        allow_errors=True,
        resources={"metadata": {"path": str(path.resolve().parent)}},
        on_cell_executed=executed,
        log=_silent(),
    )
    report = Report(path)
    try:
        client.execute(stderr=subprocess.DEVNULL)  # the kernel's own log; cells' output is apart
    except DeadKernelError:
        report.errors.append("the kernel died: what follows was not run")
    except CellTimeoutError:
        report.errors.append(
            f"a cell took longer than {CELL_LIMIT} seconds: what follows was not run"
        )
    for number, cell in enumerate(code, 1):
        _collect(report, number, cell)
    return report


def _silent() -> logging.Logger:
    """What goes wrong is in the report."""
    log = logging.getLogger("roofline.grading.notebook")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    return log


def _this_python() -> type:
    """A class of kernel managers that run the Python that runs this, whatever kernels there are."""
    import ipykernel.kernelspec
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from traitlets import default

    class OneSpec(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(
                resource_dir=ipykernel.kernelspec.RESOURCES,
                **ipykernel.kernelspec.get_kernel_dict(),
            )

    class ThisPython(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return OneSpec()

    return ThisPython


def _collect(report: Report, number: int, cell: Any) -> None:
    """Add what one cell showed to the report. A check that was run twice counts once, the last."""
    for output in cell.outputs:
        if output.output_type == "error":
            said = " ".join(str(output.evalue).split())[:200]
            report.errors.append(f"code cell {number}: {output.ename}: {said}")
        found = output.get("metadata", {}).get("roofline")
        if not isinstance(found, dict) or "items" not in found:
            continue
        fields = {key: value for key, value in found.items() if key != "earned"}
        fields["items"] = [Item(**item) for item in fields["items"]]
        result = Result(**fields)
        report.results = [r for r in report.results if r.exercise != result.exercise] + [result]
