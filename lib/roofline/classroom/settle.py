"""The form in which outputs are kept, and when new outputs are the same as the committed ones.

**Kept form.** An experiment shows a widget, a picture and a line of text in one bundle. The widget
needs a kernel, and its id is new each time, so the saved notebook keeps the picture, and after it
the text as an output of its own: of one bundle JupyterLab, nbconvert and GitHub show the picture
alone. Progress bars are for those who wait: they are dropped. Stream chunks are joined, and a line
that was overwritten by carriage returns is kept as it ended. What can't be kept is a
:func:`problem`: an error, anything on stderr, a widget without a picture, an address or a path of
this machine.

**The same.** Processors differ in the last digits of a sum. So that a rebuild changes nothing,
committed outputs stay, byte for byte, where the new ones are the same:

- as many outputs, of the same types and streams, with the same formats;
- text (plain, HTML, SVG, JSON) equal but for numbers and the width of white space. Two numbers are
  the same if both are written with a decimal point or an exponent and differ by at most 1 in 1,000,
  or by one unit of the last digit printed. Whole numbers must be equal;
- metadata equal in the same sense;
- PNG pictures equal in size, pixels differing by at most 0.2% of full scale on average.

A cell marked ``tolerance=0.05`` allows 5% instead, of its whole numbers too and of its pixels.
Nothing is forgiven once a code cell up to this one has changed since the commit: then an output is
kept only if it is equal, so an edited picture never stays as it was. A change of the library isn't
seen that way: after one, build with ``--fresh``, which takes every output as it came.
"""

from __future__ import annotations

import base64
import io
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

WIDGET = "application/vnd.jupyter.widget-view+json"
TEXT_TOLERANCE = 1e-3
PICTURE_TOLERANCE = 2e-3

# tqdm's line: "train:  40%|████      | 4/10 [00:01<00:02,  2.50it/s]"
_BAR = re.compile(r"^.*?(\d+%\|.*\||\d+it) ?.*\[\d+:\d+.*\]\s*$")
_NUMBER = re.compile(r"(?<![\w.#])[-+−]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")


def kept(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs of one cell in the form in which they are saved."""
    result: list[NotebookNode] = []
    for output in map(deepcopy, outputs):
        if output.output_type == "stream":
            if result and result[-1].output_type == "stream" and result[-1].name == output.name:
                result[-1].text += output.text
            else:
                result.append(output)
        elif output.output_type in ("display_data", "execute_result"):
            if WIDGET in output.data and _is_bar(output.data.get("text/plain", "")):
                continue
            result += _picture_and_text(output) if "image/png" in output.data else [output]
        else:
            result.append(output)
    for output in result:
        if output.output_type == "stream":
            output.text = _without_bars(re.sub(r"^.*\r(?=[^\n])", "", output.text, flags=re.M))
    return [output for output in result if output.output_type != "stream" or output.text.strip()]


def _is_bar(text: str) -> bool:
    return bool(_BAR.match(text))


def _without_bars(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not _is_bar(line.strip()))


def _picture_and_text(output: NotebookNode) -> list[NotebookNode]:
    """A bundle with a picture as two outputs; as one if its text says nothing of the picture."""
    output.data.pop(WIDGET, None)
    text = output.data.get("text/plain", "")
    if not text or text.startswith("<"):  # "<Figure size 640x480 with 1 Axes>"
        return [output]
    del output.data["text/plain"]
    return [output, new_output("display_data", data={"text/plain": text})]


def problem(outputs: list[NotebookNode]) -> str | None:
    """Why these outputs, in kept form, can't be committed; None if they can."""
    for output in outputs:
        if output.output_type == "error":
            return f"raises {output.ename}: {output.evalue}"
        if output.output_type == "stream" and output.name == "stderr":
            return f"writes to stderr: {output.text.strip().splitlines()[0]!r}; find the cause"
        if WIDGET in output.get("data", {}):
            return "shows a widget without a picture, which is blank offline: use roofline.lab"
        for text in _texts(output):
            if _ADDRESS.search(text):
                return f"shows an address, which changes: {_ADDRESS.search(text)[0]!r}"  # type: ignore[index]
            for place in {str(Path.home()), str(Path.cwd())} - {"/"}:
                if re.search(re.escape(place) + r"(?![\w-])", text):
                    return f"shows a path of this machine: {place!r}"
    return None


def _texts(output: NotebookNode) -> list[str]:
    if output.output_type == "stream":
        return [output.text]
    return [value for key, value in output.get("data", {}).items() if key.startswith("text/")]


def settle(new: NotebookNode, committed: NotebookNode) -> NotebookNode:
    """``new``, with the committed outputs of every cell whose outputs are the same."""
    settled = deepcopy(new)
    before = {cell.id: cell for cell in committed.cells if cell.cell_type == "code"}
    forgiving = True
    for cell in settled.cells:
        if cell.cell_type != "code":
            continue
        old = before.get(cell.id)
        forgiving = forgiving and old is not None and old.source == cell.source
        if old is not None and forgiving and same(cell.outputs, old.outputs, tolerance_of(cell)):
            cell.outputs = deepcopy(old.outputs)
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = cell.execution_count
    return settled


def tolerance_of(cell: NotebookNode) -> float | None:
    return cell.metadata.get("roofline", {}).get("tolerance")


def same(new: list[NotebookNode], old: list[NotebookNode], tolerance: float | None = None) -> bool:
    """Whether two cells' outputs, both in kept form, are the same; see the head of this file."""
    return difference(new, old, tolerance) is None


def difference(
    new: list[NotebookNode], old: list[NotebookNode], tolerance: float | None = None
) -> str | None:
    """The first thing in which ``new`` differs from ``old``; None if they are the same."""
    if len(new) != len(old):
        return f"{len(new)} outputs, {len(old)} committed"
    for number, (ours, theirs) in enumerate(zip(new, old, strict=True), 1):
        if found := _output_difference(ours, theirs, tolerance):
            return f"output {number}: {found}"
    return None


def _output_difference(new: NotebookNode, old: NotebookNode, tolerance: float | None) -> str | None:
    if (new.output_type, new.get("name")) != (old.output_type, old.get("name")):
        return f"{new.output_type} {new.get('name', '')}, {old.output_type} committed"
    if new.output_type == "stream":
        return _text_difference(new.text, old.text, tolerance)
    if new.output_type == "error":
        return None if (new.ename, new.evalue) == (old.ename, old.evalue) else "another error"
    if set(new.data) != set(old.data):
        return f"formats {sorted(new.data)}, committed {sorted(old.data)}"
    for form, value in sorted(new.data.items()):
        if form == "image/png":
            found = _picture_difference(value, old.data[form], tolerance)
        else:
            found = _text_difference(_as_text(value), _as_text(old.data[form]), tolerance)
        if found:
            return f"{form}: {found}"
    found = _text_difference(_as_text(new.metadata), _as_text(old.metadata), tolerance)
    return f"metadata: {found}" if found else None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _text_difference(new: str, old: str, tolerance: float | None) -> str | None:
    ours, theirs = _NUMBER.findall(new), _NUMBER.findall(old)
    for a, b in zip(ours, theirs, strict=False):
        if not _same_number(a, b, tolerance):
            return f"{a} instead of {b}"
    words = [" ".join(_NUMBER.sub("#", text).split()) for text in (new, old)]
    if words[0] != words[1]:
        at = next(
            (i for i, (a, b) in enumerate(zip(*words, strict=False)) if a != b),
            min(map(len, words)),
        )
        return f"{words[0][at : at + 40]!r} instead of {words[1][at : at + 40]!r}"
    return None


def _same_number(new: str, old: str, tolerance: float | None) -> bool:
    if new == old:
        return True
    decimal = all(any(mark in text for mark in ".eE") for text in (new, old))
    if not decimal and tolerance is None:
        return False
    a, b = (float(text.replace(",", "").replace("−", "-")) for text in (new, old))
    last_digit = max(map(_unit, (new, old))) * 1.001
    return abs(a - b) <= max((tolerance or TEXT_TOLERANCE) * max(abs(a), abs(b)), last_digit)


def _unit(number: str) -> float:
    """The value of one unit of the last digit printed: 0.01 for 3.14, 10 for 2.5e2."""
    mantissa, _, exponent = number.lower().partition("e")
    digits = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - digits)


def _picture_difference(new: str, old: str, tolerance: float | None) -> str | None:
    if new.strip() == old.strip():
        return None
    import numpy
    from PIL import Image

    pixels = []
    for encoded in (new, old):
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
            pixels.append(numpy.asarray(picture.convert("RGBA"), dtype=numpy.float32))
    if pixels[0].shape != pixels[1].shape:
        return f"a picture of {pixels[0].shape[:2]}, {pixels[1].shape[:2]} committed"
    mean = float(abs(pixels[0] - pixels[1]).mean()) / 255
    allowed = max(tolerance or 0, PICTURE_TOLERANCE)
    return (
        f"pixels differ by {mean:.2%} on average, {allowed:.2%} allowed" if mean > allowed else None
    )
