"""What a submission's process sends is read as an enemy's: any bytes, in any pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from course.submitted import CHECK, RIGHT, earned, run, work
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline.course.sandbox import Workers
from roofline.course.sandbox.frames import Forged, Reader
from roofline.course.work import Ran

STREAM = {"output_type": "stream", "name": "stdout", "text": "hi"}


def line(frame: Any) -> bytes:
    return json.dumps(frame).encode() + b"\n"


def cell(index: int, *outputs: Any, status: str = "ok") -> bytes:
    return line({"cell": index, "status": status, "outputs": list(outputs)})


def start(index: int) -> bytes:
    return line({"start": index})


END = line({"end": True})
GOOD = (
    start(0)
    + cell(0, STREAM)
    + start(1)
    + line({"message": CHECK[0], "bytes": 5})
    + b"a\nb{}"
    + cell(1)
    + END
)


def read(data: bytes, piece: int = 1 << 20, **limits: Any) -> tuple[Reader, Ran]:
    """Two cells, of which the second is a check."""
    ran = Ran("one", "done")
    reader = Reader(work("1", CHECK, **limits), ran)
    for i in range(0, len(data), piece):
        reader.feed(data[i : i + piece])
    return reader, ran


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
def test_frames_in_pieces(piece: int) -> None:
    reader, ran = read(GOOD, piece)
    assert reader.ended and ran.messages == {CHECK[0]: b"a\nb{}"}
    assert ran.cells == {0: "ok", 1: "ok"} and ran.outputs == {0: [STREAM], 1: []}


FORGED = {
    "noise": b"\xff\xfe\0\n",
    "no object": b"[1]\n",
    "nan": b'{"start": NaN}\n',
    "a number for a name": b"1\n",
    "deep": b"[" * 50_000 + b"]" * 50_000 + b"\n",
    "long number": b'{"start": ' + b"1" * 10_000 + b"}\n",
    "unknown": line({"start": 0, "more": 1}),
    "unknown cell": start(7),
    "a cell twice": start(0) + cell(0) + start(0),
    "backwards": start(1) + cell(1) + start(0),
    "true is no cell": line({"start": True}),
    "a cell inside a cell": start(0) + start(1),
    "the end of another": start(0) + cell(1),
    "an end before a start": cell(0),
    "a status that isn't": start(0) + cell(0, status="full marks"),
    "a list for a status": start(0) + line({"cell": 0, "status": [], "outputs": []}),
    "outputs that aren't": start(0) + line({"cell": 0, "status": "ok", "outputs": {}}),
    "an end inside a cell": start(0) + END,
    "more after the end": start(0) + cell(0) + END + start(1),
    "a message early": line({"message": CHECK[0], "bytes": 5}) + b"abcde",
    "a message of another cell": start(0) + line({"message": CHECK[0], "bytes": 5}),
    "of another exercise": start(1) + line({"message": "backprop.relu", "bytes": 5}),
    "a second message": start(1) + (line({"message": CHECK[0], "bytes": 1}) + b"a") * 2,
    "huge": start(1) + line({"message": CHECK[0], "bytes": 2**62}),
    "less than nothing": start(1) + line({"message": CHECK[0], "bytes": -1}),
    "a float of bytes": start(1) + line({"message": CHECK[0], "bytes": 5.0}),
    "failed, too late": start(0) + line({"failed": "no"}),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("piece", [3, 1 << 20])
def test_what_the_runner_would_not_send(name: str, piece: int) -> None:
    with pytest.raises(Forged):
        read(FORGED[name], piece)


ODD_OUTPUTS = {
    "no object": 5,
    "no type": {},
    "a list as type": {"output_type": []},
    "unknown type": {"output_type": "update"},
    "unknown stream": {**STREAM, "name": "result"},
    "no text": {**STREAM, "text": ["hi"]},
    "no traceback": {"output_type": "error", "ename": "a", "evalue": "b", "traceback": "c"},
    "no data": {"output_type": "display_data", "metadata": {}},
    "odd kind": {"output_type": "display_data", "data": {"../x" * 50: "a"}, "metadata": {}},
    "numbers": {"output_type": "display_data", "data": {"text/plain": 1}, "metadata": {}},
    "a count of true": {
        **{"output_type": "execute_result", "data": {}, "metadata": {}},
        "execution_count": True,
    },
    "beyond 64 bits": {
        **{"output_type": "display_data", "metadata": {}},
        "data": {"application/json": 2**64},
    },
}


@pytest.mark.parametrize("name", ODD_OUTPUTS)
def test_outputs_that_no_notebook_holds(name: str) -> None:
    with pytest.raises(Forged):
        read(start(0) + cell(0, ODD_OUTPUTS[name]))


def test_an_output_keeps_the_fields_of_its_type_and_no_others() -> None:
    more = {**STREAM, "text": "a\ud800\0b", "metadata": {"nbgrader": {"grade": True}}}
    _, ran = read(start(0) + cell(0, more))
    assert ran.outputs[0] == [{**STREAM, "text": "a?\N{REPLACEMENT CHARACTER}b"}]


def test_what_came_before_stays() -> None:
    ran = Ran("one", "done")
    reader = Reader(work("1", CHECK), ran)
    with pytest.raises(Forged):
        reader.feed(start(0) + cell(0, STREAM) + b"noise\n")
    assert ran.outputs == {0: [STREAM]} and not reader.ended


def test_lengths_are_counted_before_anything_is_parsed() -> None:
    long = {**STREAM, "text": "x" * 500_000}
    with pytest.raises(Forged, match="bytes"):
        read(start(0) + cell(0, long), output_bytes=1000)
    with pytest.raises(Forged, match="bytes"):
        read(b"x" * 200_000, piece=1000, output_bytes=1000)
    many = start(0) + cell(0, *[STREAM] * 10_001)
    with pytest.raises(Forged, match="length"):
        read(many)
    together = work(*["1"] * 9, output_bytes=1000)
    reader = Reader(together, Ran("one", "done"))
    text = {**STREAM, "text": "x" * 60_000}
    with pytest.raises(Forged, match="outputs"):
        for i in range(9):
            reader.feed(start(i) + cell(i, text))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6))
def test_flipped_bytes(flips: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, value in flips:
        data[place] = value
    try:
        _, ran = read(bytes(data), piece=11)
    except Forged:
        return
    json.dumps(ran.outputs, allow_nan=False)
    assert set(ran.cells) <= {0, 1} and set(ran.messages) <= {CHECK[0]}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes(data: bytes, inside: bool) -> None:
    try:
        reader, _ = read((start(0) if inside else b"") + data)
    except Forged:
        return
    assert reader.running == (0 if inside else None) or b"\n" in data


SEND = "import os, json\nos.write(3, {!r})"


def test_bytes_of_its_own_from_inside(sandbox: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    from course.conftest import DRILLS

    monkeypatch.setenv("ROOFLINE_EXERCISES", str(DRILLS))
    cells = (RIGHT, CHECK, SEND.format(b"noise\n"), "1")
    ran = run(sandbox, *cells)
    assert ran.status == "output" and "bytes of its own" in ran.reason
    assert ran.cells == {0: "ok", 1: "ok", 2: "killed", 3: "not-run"} and earned(ran) == 4
    # It may well end its own cell and the whole, and gets what that is worth: nothing more.
    early = SEND.format(cell(0) + END)
    ran = run(sandbox, early, "1", RIGHT, CHECK)
    assert ran.messages == {} and ran.cells[3] == "not-run"
    # A message that claims a full result is refused by the judge: it isn't one of a probe.
    claim = line({"message": CHECK[0], "bytes": 9}) + b'{"ok": 1}'
    ran = run(sandbox, SEND.format(cell(0) + start(1) + claim + cell(1) + END), CHECK)
    assert ran.messages == {CHECK[0]: b'{"ok": 1}'} and earned(ran) == 0
    flood = "import os\nwhile True: os.write(3, bytes(2**20))"
    ran = run(sandbox, flood)
    assert ran.status == "output" and ran.cells[0] == "killed"
    held = "import os, time\nos.write(3, b'{'); time.sleep(60)"
    assert run(sandbox, held, cell_seconds=0.5).cells[0] in ("timeout", "killed")
