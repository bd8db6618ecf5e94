"""What is kept of a cell's outputs, and which new outputs count as the committed ones."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nbformat
import numpy
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from roofline.classroom.settle import WIDGET, difference, kept, problem, same, settle


def stream(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def shown(**data: object) -> NotebookNode:
    return new_output("display_data", data=data)


def png(pixels: numpy.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(numpy.uint8)).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


GREY = numpy.full((40, 60, 3), 128)

BAR = "train:  40%|████      | 4/10 [00:01<00:02,  2.50it/s]"


# What is kept


def test_a_bundle_keeps_the_picture_and_the_text_but_not_the_widget() -> None:
    data = {WIDGET: {"model_id": "8d3f"}, "image/png": png(GREY), "text/plain": "batch 64: 3 MB"}
    picture, text = kept([shown(**data)])
    assert picture.data == {"image/png": data["image/png"]}
    assert text.data == {"text/plain": "batch 64: 3 MB"}


def test_a_figures_own_text_describes_nothing() -> None:
    figure = shown(**{"image/png": png(GREY), "text/plain": "<Figure size 640x480>"})
    assert kept([figure]) == [figure]


def test_progress_bars_are_dropped_as_widgets_and_as_text() -> None:
    widget = shown(**{WIDGET: {"model_id": "1f"}, "text/plain": "  0%|          | 0/10 [00:00<?]"})
    bars = stream(f"\r{BAR}\r{BAR.replace('40%', '90%')}\n", "stderr")
    endless = stream("12it [00:03,  3.99it/s]\n", "stderr")
    assert kept([widget, bars, endless, stream("done\n")]) == [stream("done\n")]


def test_a_line_that_only_looks_a_little_like_a_bar_stays() -> None:
    text = "accuracy 40% | loss 0.31 [epoch 4/10]\n"
    assert kept([stream(text)]) == [stream(text)]


def test_stream_chunks_are_joined_and_overwritten_lines_end_as_they_ended() -> None:
    assert kept([stream("a"), stream("b\n1 of 2\r2 of 2\n")]) == [stream("ab\n2 of 2\n")]
    assert len(kept([stream("a\n"), shown(**{"text/plain": "x"}), stream("b\n")])) == 3


# What can't be kept


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (stream("UserWarning: slow\n", "stderr"), "stderr"),
        (new_output("error", ename="ValueError", evalue="no", traceback=[]), "ValueError: no"),
        (shown(**{WIDGET: {"model_id": "1f"}, "text/plain": "IntSlider(value=3)"}), "widget"),
        (shown(**{"text/plain": "<function f at 0x7f3a2c0d5b20>"}), "address"),
        (stream(f"read {Path.home() / 'data'}\n"), "path of this machine"),
    ],
)
def test_what_cannot_be_committed_is_named(output: NotebookNode, said: str) -> None:
    found = problem(kept([output]))
    assert found is not None and said in found and "\n" not in found


def test_ordinary_outputs_have_no_problem() -> None:
    picture = shown(**{"image/png": png(GREY), "text/plain": "a picture"})
    assert problem(kept([stream("loss 0.31 at 0x5\n"), picture])) is None


# What is the same


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("loss 0.31254", "loss 0.31255"),
        ("accuracy 85.1%", "accuracy 85.2%"),  # one unit of the last digit
        ("error 2e-11", "error 3e-11"),
        ("9.9996 s\n", "10.000 s\n"),
        ("a  9.999\nb 12.0", "a 10.000\nb 12.0"),  # a column that widened
        ("x = −0.5000", "x = −0.5001"),
    ],
)
def test_numbers_within_rounding_are_the_same(old: str, new: str) -> None:
    assert same([stream(new)], [stream(old)])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("loss 0.3125", "loss 0.3135"),
        ("accuracy 85.1%", "accuracy 85.4%"),
        ("1,024 steps", "1,025 steps"),
        ("271 wrong", "272 wrong"),
        ("loss 0.31", "loss 0.31 nats"),
        ("loss 0.31", "error 0.31"),
        ("x = 0.5", "x = -0.5"),
        ("conv1 0.5", "conv2 0.5"),
        ("1.0 2.0", "1.0"),
        ("color: #009E73", "color: #008E73"),
        ("2", "2.0"),
    ],
)
def test_more_than_rounding_is_a_difference(old: str, new: str) -> None:
    assert not same([stream(new)], [stream(old)])
    assert not same([shown(**{"text/html": new})], [shown(**{"text/html": old})])


def test_a_tolerance_covers_whole_numbers_and_has_an_end() -> None:
    assert same([stream("271 wrong")], [stream("280 wrong")], tolerance=0.05)
    assert not same([stream("271 wrong")], [stream("290 wrong")], tolerance=0.05)
    assert not same([stream("271 right")], [stream("271 wrong")], tolerance=0.05)


def test_outputs_must_agree_in_number_kind_and_format() -> None:
    text, other = stream("1.0"), stream("1.0", "stderr")
    assert not same([text, text], [text])
    assert not same([text], [other])
    assert not same([shown(**{"text/plain": "a"})], [shown(**{"text/html": "a"})])
    assert not same([shown(**{"text/plain": "a"})], [stream("a")])
    marked = new_output("display_data", data={"text/plain": "a"}, metadata={"points": 2})
    assert not same([shown(**{"text/plain": "a"})], [marked])


def test_pictures_may_differ_a_little() -> None:
    old = [shown(**{"image/png": png(GREY)})]
    one_line, many_lines = GREY.copy(), GREY.copy()
    one_line[0, :10] = 255
    many_lines[:8] = 255
    assert same([shown(**{"image/png": png(one_line)})], old)
    found = difference([shown(**{"image/png": png(many_lines)})], old)
    assert found is not None and "pixels differ by" in found
    assert same([shown(**{"image/png": png(many_lines)})], old, tolerance=0.2)
    assert not same([shown(**{"image/png": png(GREY[:20])})], old, tolerance=0.2)


# Which cells keep what is committed


def notebook(*cells: tuple[str, str, str]) -> NotebookNode:
    made = [new_markdown_cell("prose", id="prose")]
    for count, (name, source, text) in enumerate(cells, 1):
        cell = new_code_cell(source, id=name, execution_count=count)
        result = new_output("execute_result", data={"text/plain": text}, execution_count=count)
        cell.outputs = [result]
        made.append(cell)
    return new_notebook(cells=made)


def texts(notebook: NotebookNode) -> list[str]:
    return [c.outputs[0].data["text/plain"] for c in notebook.cells if c.cell_type == "code"]


def test_settle_keeps_committed_outputs_where_they_are_the_same() -> None:
    old = notebook(("a", "f()", "0.5000"), ("b", "g()", "0.2"), ("c", "h()", "0.7000"))
    new = notebook(("a", "f()", "0.5001"), ("b", "g()", "0.9"), ("c", "h()", "0.7001"))
    assert texts(settle(new, old)) == ["0.5000", "0.9", "0.7000"]
    assert texts(new)[0] == "0.5001", "settle must not change its argument"


def test_nothing_is_forgiven_after_a_changed_cell() -> None:
    old = notebook(("a", "f()", "0.5000"), ("b", "g()", "0.2000"), ("c", "h()", "0.7000"))
    new = notebook(("a", "f()", "0.5001"), ("b", "g(1)", "0.2001"), ("c", "h()", "0.7001"))
    assert texts(settle(new, old)) == ["0.5000", "0.2001", "0.7001"]


def test_a_kept_result_has_the_new_count() -> None:
    old = notebook(("a", "f()", "0.5000"))
    new = notebook(("a", "f()", "0.5001"))
    new.cells[1].execution_count = new.cells[1].outputs[0].execution_count = 7
    settled = settle(new, old)
    assert settled.cells[1].outputs[0].execution_count == 7
    nbformat.validate(settled)


def test_a_cells_own_tolerance_is_used() -> None:
    old, new = notebook(("a", "f()", "280")), notebook(("a", "f()", "271"))
    assert texts(settle(new, old)) == ["271"]
    new.cells[1].metadata["roofline"] = {"tolerance": 0.05}
    assert texts(settle(new, old)) == ["280"]
