"""Showing something: in a notebook as HTML with the plain text beside it, else as plain text."""

from __future__ import annotations

import sys
from typing import Any


def show(text: str, markup: str, metadata: dict[str, Any] | None = None) -> None:
    """Display ``markup`` in a notebook, or print ``text``. Never writes to stderr.

    ``metadata`` is kept with the output under ``roofline``, where ``roofline check`` finds it.
    """
    if in_notebook():
        from IPython.display import display

        bundle = {"text/plain": text, "text/html": markup}
        display(bundle, raw=True, metadata={"roofline": metadata} if metadata else {})
    else:
        print(text)


def in_notebook() -> bool:
    """Whether this code runs in a Jupyter kernel."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
