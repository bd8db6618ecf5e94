"""``roofline lab``: list the experiments, or open one alone in JupyterLab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from roofline.lab.experiment import Experiment, find, names

OFFLINE = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    f"--LabApp.app_settings_dir={(Path(__file__).parent / 'jupyter').as_posix()}",
)
"""What keeps JupyterLab from asking for news and updates, and from asking whether it may."""


def listing() -> str:
    """One line for each experiment: its name and its title."""
    width = max(map(len, names()))
    return "\n".join(f"{name:{width}}  {find(name).title}" for name in names())


def notebook(experiment: Experiment, folder: Path) -> str:
    """A notebook with nothing but ``experiment``, as JSON; trials are saved in ``folder``."""
    call = f"from roofline import lab\n\nlab.show(lab.{experiment.name}, folder={str(folder)!r})"
    cells = [
        {
            "id": "title",
            "cell_type": "markdown",
            "metadata": {},
            "source": f"# {experiment.title}\n\nClick into the cell below and press Shift+Enter.",
        },
        {
            "id": "experiment",
            "cell_type": "code",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": call,
        },
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1)


def open_alone(name: str, arguments: tuple[str, ...] = ()) -> int:
    """Open experiment ``name`` in JupyterLab until the learner stops it; gives the exit status.

    The notebook is temporary. Trials are saved in the folder that this was called from.
    ``arguments`` are handed to JupyterLab, such as ``("--no-browser", "--port=8899")``.
    """
    experiment = find(name)
    with tempfile.TemporaryDirectory(prefix="roofline-lab-") as folder:
        path = Path(folder) / f"{name}.ipynb"
        path.write_text(notebook(experiment, Path.cwd()), encoding="utf-8")
        root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [sys.executable, "-m", "jupyterlab", str(path), *OFFLINE, *root, *arguments]
        try:
            return subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return 0
