"""Run the benchmarks: every module beside this file that defines ``run() -> dict``.

    python tests/bench [name ...]

Each module runs in a process of its own, so that the threads, caches and memory of one don't colour
the next, and its result stands under its name in ``build/bench.json``. A run that names modules
replaces their results and keeps the others. A benchmark that fails has its error there; the others
still run, and the command ends with 1.
"""

from __future__ import annotations

import ast
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REPORT = ROOT / "build" / "bench.json"

# What the child does: import the module, run it, write the result where the parent reads it.
CHILD = """
import importlib, json, sys
result = importlib.import_module(sys.argv[1]).run()
with open(sys.argv[2], "w") as report:
    json.dump(result, report)
"""


def modules() -> list[str]:
    """The names of the benchmarks: modules of this folder with a function ``run`` at their top."""
    return [
        path.stem
        for path in sorted(HERE.glob("[!_]*.py"))
        if any(
            isinstance(node, ast.FunctionDef) and node.name == "run"
            for node in ast.parse(path.read_text(encoding="utf-8")).body
        )
    ]


def run(name: str, report: Path) -> dict:
    """Run one benchmark and return its result, or ``{"error": last line}`` where it failed."""
    paths = [str(HERE), str(ROOT / "lib"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, name, str(report)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    if child.returncode:
        sys.stderr.write(child.stderr)
        return {"error": (child.stderr.strip().splitlines() or [f"exit {child.returncode}"])[-1]}
    result: dict = json.loads(report.read_text(encoding="utf-8"))
    report.unlink()
    return result


def main(asked: list[str]) -> int:
    known = modules()
    unknown = sorted(set(asked) - set(known))
    if unknown:
        print(f"no benchmark {', '.join(unknown)}: there are {', '.join(known)}", file=sys.stderr)
        return 2
    REPORT.parent.mkdir(exist_ok=True)
    results = json.loads(REPORT.read_text(encoding="utf-8")) if asked and REPORT.exists() else {}
    results["machine"] = {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }
    for name in asked or known:
        print(f"{name} ...", flush=True)
        results[name] = run(name, REPORT.with_suffix(f".{name}.json"))
        print(json.dumps(results[name], indent=2), flush=True)
        REPORT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written to {REPORT.relative_to(ROOT)}")
    return int(any("error" in results[name] for name in asked or known))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
