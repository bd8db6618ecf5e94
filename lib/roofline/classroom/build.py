"""Build the notebooks from their sources: ``python -m roofline.classroom.build``.

``solutions/02_backprop.py`` → ``solutions/02_backprop/02_backprop.ipynb``, executed, outputs kept →
``chapters/02_backprop/02_backprop.ipynb``, made by nbgrader. Sources, ids and metadata come out the
same every time; outputs that are the same as the committed ones stay as committed (see ``settle``).
What running took goes to ``build/notebooks.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

from roofline.classroom import anatomy
from roofline.classroom.assemble import assemble, to_bytes
from roofline.classroom.execute import CellError, Run, execute
from roofline.classroom.release import CONFIG, ReleaseError, release
from roofline.classroom.settle import kept, problem, settle
from roofline.classroom.source import Chapter, SourceError, read_source

REPORT = Path("build", "notebooks.json")


class BuildError(Exception):
    """What stops a build: one or more lines for whoever wrote the chapter."""


@dataclass(frozen=True)
class Built:
    """The files of a build, by path relative to the root, and what running each chapter took."""

    files: dict[Path, bytes]
    runs: dict[str, Run]


def sources(root: Path, only: list[str] | None = None) -> list[Chapter]:
    """The chapters of ``root``, or those named in ``only``. All mistakes come in one error."""
    paths = sorted(Path(root, "solutions").glob("*.py"))
    names = [path.stem for path in paths]
    if unknown := sorted(set(only or []) - set(names)):
        raise BuildError(f"no chapter {unknown[0]!r} in solutions/: there is {', '.join(names)}")
    chapters, problems = [], []
    for path in paths:
        if only and path.stem not in only:
            continue
        try:
            chapters.append(read_source(path, path.relative_to(root).as_posix()))
        except SourceError as error:
            problems.append(str(error))
    if problems:
        raise BuildError("\n".join(problems))
    return chapters


def solution_path(chapter: str) -> Path:
    return Path("solutions", chapter, f"{chapter}.ipynb")


def release_path(chapter: str) -> Path:
    return Path("chapters", chapter, f"{chapter}.ipynb")


def build(
    root: Path,
    only: list[str] | None = None,
    *,
    run: bool = True,
    fresh: bool = False,
    on_cell: Callable[[str], Any] = lambda chapter: None,
) -> Built:
    """Build the notebooks of ``root`` in memory. ``on_cell`` is told the chapter after each cell.

    With ``run=False`` nothing is executed and the committed outputs are taken as they are, which
    still shows whether sources, ids and metadata are what they should be. With ``fresh`` outputs
    are taken as they came, also where the committed ones are the same. Raises :class:`BuildError`.
    """
    chapters = sources(root, only)
    assembled = {chapter.name: assemble(chapter) for chapter in chapters}
    files: dict[Path, bytes] = {}
    runs: dict[str, Run] = {}
    for chapter in chapters:
        path = solution_path(chapter.name)
        committed = _read(root / path)
        if run:
            made, runs[chapter.name] = _run(chapter, assembled[chapter.name], on_cell)
            if committed is not None and not fresh:
                made = settle(made, committed)
        else:
            made = _with_outputs(assembled[chapter.name], committed)
        files[path] = to_bytes(made)
    try:
        released = release(assembled, root) if assembled else {}
    except ReleaseError as error:
        raise BuildError(str(error)) from None
    files |= {release_path(name): to_bytes(notebook) for name, notebook in released.items()}
    return Built(files, runs)


def _run(
    chapter: Chapter, notebook: NotebookNode, on_cell: Callable[[str], Any]
) -> tuple[NotebookNode, Run]:
    """Execute a chapter and bring its outputs into the form in which they are kept."""
    lines = {
        cell.id: source.line for cell, source in zip(notebook.cells, chapter.cells, strict=True)
    }

    def where(cell: NotebookNode, line: int | None = None) -> str:
        at = lines.get(cell.id, 0) + (line or 0)
        return (
            f"solutions/{chapter.path.name}:{at}: cell {cell.id.removeprefix(chapter.name)[1:]!r}"
        )

    try:
        executed, run = execute(notebook, lambda: on_cell(chapter.name))
    except CellError as error:
        raise BuildError(f"{where(error.cell, error.line)} fails: {error.message}") from None
    complaints = []
    for cell in executed.cells:
        if cell.cell_type == "code":
            cell.outputs = kept(cell.outputs)
            if what := problem(cell.outputs):
                complaints.append(f"{where(cell)} {what}")
    if complaints:
        raise BuildError("\n".join(complaints))
    return executed, run


def _read(path: Path) -> NotebookNode | None:
    """The notebook in ``path``, or None if there is none that can be read."""
    try:
        return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    except (FileNotFoundError, nbformat.reader.NotJSONError):
        return None


def _with_outputs(assembled: NotebookNode, committed: NotebookNode | None) -> NotebookNode:
    """``assembled``, with the outputs of the committed cells of the same ids."""
    notebook = nbformat.from_dict(assembled)
    outputs = {cell.id: cell for cell in (committed or notebook).cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id in outputs:
            cell.outputs = outputs[cell.id].outputs
            cell.execution_count = outputs[cell.id].execution_count
    return notebook


def differing(root: Path, built: Built, *, whole: bool = True) -> list[str]:
    """Which files of ``root`` aren't what was built, and why: one line each.

    With ``whole``, notebooks that no source stands behind are named too.
    """
    lines = []
    for path, content in sorted(built.files.items()):
        if not (root / path).is_file():
            lines.append(f"{path.as_posix()} is missing")
        elif (root / path).read_bytes() != content:
            lines.append(f"{path.as_posix()} is not what its source builds")
    if whole:
        lines += [f"{path.as_posix()} has no source" for path in _orphans(root, built)]
    return lines


def _orphans(root: Path, built: Built) -> list[Path]:
    found = [path for top in ("solutions", "chapters") for path in (root / top).rglob("*.ipynb")]
    there = {path.relative_to(root) for path in found if ".ipynb_checkpoints" not in path.parts}
    return sorted(there - set(built.files))


def write_files(root: Path, built: Built) -> list[Path]:
    """Write what changed, and return its paths. Unchanged files keep their time."""
    changed = []
    for path, content in built.files.items():
        target = root / path
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            changed.append(path)
    return changed


def report(root: Path, built: Built) -> dict[str, Any]:
    """What is known of each chapter that was run, written to ``build/notebooks.json``."""
    path = root / REPORT
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for chapter in sources(root, sorted(built.runs)) if built.runs else []:
        run = built.runs[chapter.name]
        counted = anatomy.anatomy(chapter)
        sizes = [len(built.files[path(chapter.name)]) for path in (solution_path, release_path)]
        known[chapter.name] = asdict(counted) | {
            "seconds": round(run.seconds, 1),
            "peak_bytes": run.peak_bytes,
            "solution_bytes": sizes[0],
            "release_bytes": sizes[1],
            "problems": anatomy.problems(counted)
            + anatomy.heavy(run.seconds, run.peak_bytes, max(sizes)),
        }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return known


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m roofline.classroom.build")
    parser.description = "Build solutions/*/*.ipynb and chapters/ from solutions/*.py."
    parser.add_argument("chapters", nargs="*", help="such as 02_backprop; all if left out")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if files differ"
    )
    parser.add_argument(
        "--no-run",
        action="store_true",
        help="execute nothing, keep the outputs that are there: for prose, or a quick --check",
    )
    parser.add_argument("--fresh", action="store_true", help="take every output as it came")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository's top folder")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    if not (root / CONFIG).is_file():
        print(f"no {CONFIG} in {root}: run this from the repository's top folder", file=sys.stderr)
        return 1
    try:
        chapters = sources(root, options.chapters)
        cells = sum(cell.kind == "code" for chapter in chapters for cell in chapter.cells)
        with tqdm(total=cells, unit="cell", disable=options.no_run) as bar:

            def on_cell(chapter: str) -> None:
                bar.set_description(chapter, refresh=False)
                bar.update()

            built = build(
                root, options.chapters, run=not options.no_run, fresh=options.fresh, on_cell=on_cell
            )
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    if options.check:
        differences = differing(root, built, whole=not options.chapters)
        print("\n".join(differences) if differences else "every notebook is what its source builds")
        return 1 if differences else 0
    for path in write_files(root, built):
        print(f"wrote {path.as_posix()}")
    for name, facts in report(root, built).items():
        if name in built.runs:
            print(f"{name}: {facts['seconds']} s, peak {facts['peak_bytes'] / 1e9:.2f} GB")
            print("".join(f"{name}: {what}\n" for what in facts["problems"]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
