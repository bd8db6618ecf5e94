"""What a learner does with an experiment in a page, and what they see."""

from __future__ import annotations

from typing import Any

LAB = ".roofline-lab"


def slider(page: Any, name: str) -> Any:
    """The part of the slider called ``name`` that takes the focus."""
    row = page.locator(f"{LAB} .widget-hslider", has=page.get_by_text(name, exact=True))
    return row.locator(".noUi-handle")


def line(page: Any, words: str) -> Any:
    """The line of text under the picture, once it has ``words``: it is what is drawn last."""
    found = page.locator(f"{LAB}-line p", has_text=words)
    found.wait_for()
    return found


def picture(page: Any) -> bytes:
    """The bytes that the browser shows."""
    return bytes(
        page.locator(f"{LAB} img").evaluate(
            "async img => [...new Uint8Array(await (await fetch(img.src)).arrayBuffer())]"
        )
    )
