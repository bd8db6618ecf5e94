"""Grading the graders: what the tests in this folder prove about every chapter's exercises."""

from __future__ import annotations

import ast
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from roofline.grading import check, exercises
from roofline.grading.answers import Answer, answers, complaint
from roofline.grading.registry import VISIBLE, case_seed

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WRONG, RIGHT = 4, 2
SECRETS = (VISIBLE, "first", "second")


def modules(folder: Path = HERE) -> list[str]:
    """The chapters whose answers stand in a folder."""
    own = {"graded", "conftest", "__init__"}
    return sorted(
        p.stem for p in folder.glob("*.py") if p.stem not in own and "test_" not in p.stem
    )


def load(chapter: str, folder: Path = HERE) -> ModuleType:
    """Import a chapter's answers, once."""
    name = f"answers_of_{chapter}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, folder / f"{chapter}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@dataclass(frozen=True)
class Row:
    """One exercise: how many wrong answers were caught, right ones accepted, and what is amiss."""

    exercise: str
    wrong: int
    caught: int
    right: int
    accepted: int
    blank: float
    complaints: tuple[str, ...]


def row(exercise: str, secrets: tuple[str, ...] = SECRETS) -> Row:
    """Grade the grader of one exercise, on the cases of several seeds."""
    seeds = [case_seed(secret, exercise) for secret in secrets]
    found: list[str] = []

    def fine(answer: Answer) -> bool:
        complaints = [c for c in (complaint(answer, seed) for seed in seeds) if c]
        found.extend(complaints[:1])
        return not complaints

    wrong = [a for a in answers(exercise) if a.loses]
    right = [a for a in answers(exercise) if not a.loses]
    caught, accepted = sum(map(fine, wrong)), sum(map(fine, right))
    if len(wrong) < WRONG:
        found.append(f"{exercise}: {len(wrong)} wrong answers, at least {WRONG} are needed")
    if len(right) < RIGHT:
        found.append(f"{exercise}: {len(right)} right answers, at least {RIGHT} are needed")
    blank = float(check(exercise, stub))
    if blank:
        found.append(f"{exercise}: a stub that raises NotImplementedError earns {blank}")
    return Row(exercise, len(wrong), caught, len(right), accepted, blank, tuple(found))


def stub(*arguments: Any, **options: Any) -> None:
    """What a learner finds: ClearSolutions leaves this."""
    raise NotImplementedError()


def strangers(chapter: str) -> list[str]:
    """Exercises that have answers and don't exist."""
    from roofline.grading.answers import _answers

    known = {e.id for e in exercises(chapter)}
    return sorted(e for e in _answers if e.split(".")[0] == chapter and e not in known)


def table(rows: list[Row]) -> str:
    """The rows as text."""
    width = max((len(r.exercise) for r in rows), default=8)
    lines = [f"{'exercise':{width}}  wrong caught  right accepted  blank"]
    for r in rows:
        caught, accepted = f"{r.caught} of {r.wrong}", f"{r.accepted} of {r.right}"
        lines.append(f"{r.exercise:{width}}  {caught:>12}  {accepted:>14}  {r.blank:>5g}")
    return "\n".join(lines)


def notebooks(kind: str, chapter: str) -> list[Path]:
    """The chapter's notebook in ``chapters`` or ``solutions``."""
    return sorted((ROOT / kind).glob(f"[0-9][0-9]_{chapter}/[0-9][0-9]_{chapter}.ipynb"))


def scores(path: Path) -> dict[str, Any]:
    """The score of each check in a notebook, from its imports, functions and classes alone.

    The rest of the chapter (training, pictures) is left out, so this takes a moment where running
    the notebook takes a minute. A check whose answer needs more than definitions fails here.
    """
    import nbformat

    namespace: dict[str, Any] = {"__name__": "__main__"}
    found: dict[str, Any] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse("\n".join(s for s in cell.source.split("\n") if s[:1] not in "%!"))
        kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
        definitions = ast.Module([n for n in tree.body if isinstance(n, kept)], [])
        name = f"<{path.stem} {cell.id}>"
        _remember_source(name, cell.source)
        exec(compile(definitions, name, "exec"), namespace)
        for node in tree.body:
            call = node.value if isinstance(node, ast.Expr) else None
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "check":
                identity, answer = call.args
                code = compile(ast.Expression(answer), name, "eval")
                exercise = ast.literal_eval(identity)
                found[exercise] = check(exercise, eval(code, namespace))
    return found


def _remember_source(name: str, source: str) -> None:
    """Let ``inspect.getsource`` find it, as it does in a notebook."""
    import linecache

    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
