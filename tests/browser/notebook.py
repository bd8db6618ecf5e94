"""A notebook that is open in JupyterLab, and its cells by the names in the chapter's source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from browser.laboratory import SCREENSHOTS, Server

# The notebook, and whether its kernel is connected and has nothing to do.
CURRENT = "const notebook = window.jupyterapp?.shell?.currentWidget;"
IDLE = f"""() => {{ {CURRENT}
    const kernel = notebook?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel?.status === 'idle'; }}"""


@dataclass
class Notebook:
    """A notebook in a Playwright page."""

    page: Any

    def cells(self) -> list[dict[str, Any]]:
        """Type, source and execution count of every cell."""
        return self.page.evaluate(f"""() => {{ {CURRENT}
            return [...notebook.content.model.cells].map(cell => ({{
                id: cell.id, type: cell.type, source: cell.sharedModel.getSource(),
                count: cell.executionCount ?? null,
                outputs: cell.type === 'code' ? cell.outputs.toJSON() : [] }})); }}""")

    def index(self, name: str) -> int:
        """Where the cell called ``name`` in the chapter's source is; its id ends so."""
        found = [i for i, cell in enumerate(self.cells()) if cell["id"].endswith(f"-{name}")]
        assert len(found) == 1, f"{len(found)} cells are called {name!r}"
        return found[0]

    def idle(self, seconds: float = 120) -> None:
        self.page.wait_for_function(IDLE, timeout=1000 * seconds)

    def command(self, name: str, **arguments: str) -> None:
        """One of JupyterLab's commands, as its menus call them; waits until it is done."""
        self.page.evaluate(
            "([name, given]) => window.jupyterapp.commands.execute(name, given)", [name, arguments]
        )

    def run_all(self, seconds: float) -> None:
        self.page.evaluate(
            "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
        )
        self.page.wait_for_function(
            f"""() => {{ {CURRENT}
            return [...notebook.content.model.cells].every(
                cell => cell.type !== 'code' || !cell.sharedModel.getSource().trim()
                    || (cell.executionCount && cell.executionState !== 'running')); }}""",
            timeout=1000 * seconds,
        )
        self.idle()

    def show(self, index: int) -> Any:
        """Scroll to a cell and give its element."""
        self.page.evaluate(
            f"""async index => {{ {CURRENT}
            notebook.content.activeCellIndex = index;
            await notebook.content.scrollToItem(index, 'start'); }}""",
            index,
        )
        cell = self.page.locator(".jp-Notebook .jp-Cell.jp-mod-active")
        cell.wait_for()
        return cell

    def write(self, index: int, source: str) -> None:
        self.page.evaluate(
            f"""([index, source]) => {{ {CURRENT}
            notebook.content.model.cells.get(index).sharedModel.setSource(source); }}""",
            [index, source],
        )

    def run(self, index: int) -> Any:
        """Run one cell and give its element, outputs included."""
        cell = self.show(index)
        self.command("notebook:run-cell")
        self.idle()
        return cell

    def picture(self, name: str) -> None:
        """A screenshot of the whole window."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


def open_notebook(page: Any, server: Server, path: str) -> Notebook:
    """Open ``path`` in a fresh workspace and wait for its kernel."""
    page.goto(f"{server.url}/lab/tree/{path}?reset&token={server.token}")
    notebook = Notebook(page)
    notebook.idle()
    return notebook
