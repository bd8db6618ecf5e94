"""What crosses: everything plain comes out as it went in, everything else is refused or named."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline.grading.calling import Call
from roofline.grading.protocol import MAX_BYTES, Outcome, Refused, pack, unpack
from roofline.grading.values import Strange

NAME = "drill.double"


def crossed(value: Any) -> Any:
    return unpack(pack(NAME, value), NAME)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and bool(((a == b) | ((a != a) & (b != b))).all())
        )
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


tensors = st.builds(
    lambda shape, dtype: torch.arange(math.prod(shape)).reshape(shape).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(
        [torch.float64, torch.float32, torch.bfloat16, torch.int8, torch.bool, torch.complex64]
    ),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | tensors
)
plain = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(plain)
def test_plain_data_comes_out_as_it_went_in(value: Any) -> None:
    expected = json.loads(json.dumps(value)) if isinstance(value, str) else value
    try:
        json.dumps(value, ensure_ascii=False).encode() if isinstance(value, str) else None
    except UnicodeEncodeError:  # half a surrogate pair crosses as a question mark
        return
    assert same(expected, crossed(value))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(Refused):
        unpack(noise, NAME)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_message_with_one_byte_changed_is_refused_or_read(position: int, byte: int) -> None:
    message = bytearray(pack(NAME, Outcome({"y": Call(value=torch.ones(3))})))
    message[position % len(message)] = byte
    try:
        unpack(bytes(message), NAME)
    except Refused as error:
        assert "\n" not in str(error)


def test_a_call_and_an_outcome_come_out_whole() -> None:
    call = Call("raised", None, "raised ValueError", "line 3", "text", ["w"], ["x"], "", "cpu")
    call.counts = {"flops": 3}
    outcome = crossed(Outcome({"a": call, "b": [call]}, "", False, False, ["torch.x"], ["note"]))
    assert outcome.forbidden == ["torch.x"] and outcome.notes == ["note"]
    for each in (outcome.outputs["a"], outcome.outputs["b"][0]):
        assert vars(each) == vars(call)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (lambda: 0, "a function"),
        ((i for i in ()), "a generator"),
        (numpy.ones(3), "a NumPy array of shape (3,)"),
        (object(), "an object"),
        ({1, 2}, "a set"),
        ({(1, 2): 3}, "a dict of 1"),
        (2**63, "an int beyond 64 bits"),
        (torch.ones(2).to_sparse(), "a sparse_coo tensor"),
        (3 + 4j, "a complex"),
        (b"bytes", "a bytes"),
    ],
)
def test_what_is_no_data_crosses_as_its_name(value: Any, kind: str) -> None:
    assert crossed([value]) == [Strange(kind)]


def test_tensors_of_all_sorts_cross() -> None:
    base = torch.randn(4, 6)
    views = [base.T, base[1:, ::2], base[:, :1].expand(4, 5), torch.tensor(2.0), torch.empty(0, 3)]
    parameter = torch.nn.Parameter(base)
    came = crossed([*views, parameter, base, base, base.requires_grad_()])
    for value, result in zip([*views, base, base, base, base], came, strict=True):
        assert torch.equal(value.detach(), result)
        assert not result.requires_grad
    doubled = crossed(torch.view_as_complex(torch.randn(3, 2, dtype=torch.float64)).conj())
    assert doubled.dtype == torch.complex128
    meta = crossed(torch.empty(2, 3, dtype=torch.int64, device="meta"))
    assert meta.device.type == "meta" and meta.shape == (2, 3) and meta.dtype == torch.int64


def test_where_a_tensor_was_is_remembered() -> None:
    message = _forge({"tensor": "t0", "device": "cuda:1"}, t0=torch.ones(2))
    assert unpack(message, NAME).came_from == "cuda:1"
    assert not hasattr(crossed(torch.ones(2)), "came_from")


def test_too_much_of_one_call_leaves_the_others() -> None:
    huge = Call(value=torch.ones(1).expand(MAX_BYTES))
    outputs = crossed({"first": Call(value=1), "huge": huge, "last": Call(value=torch.ones(2))})
    assert outputs["first"].value == 1
    assert outputs["huge"].status == "raised"
    assert "more than 32 MB" in outputs["huge"].fault
    assert torch.equal(outputs["last"].value, torch.ones(2))


def deep(levels: int) -> list:
    value: list = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [torch.ones(1).expand(MAX_BYTES), [0] * 30_000, deep(40), ["x" * 20_000] * 1000]
)
def test_too_much_altogether_is_refused(value: Any) -> None:
    with pytest.raises(Refused) as refused:
        pack(NAME, value)
    assert "\n" not in str(refused.value)


def _forge(value: Any, text: str | None = None, **tensors: torch.Tensor) -> bytes:
    """A message as somebody might write one by hand."""
    if text is None:
        text = json.dumps({"protocol": 1, "exercise": NAME, "value": value})
    return safetensors.torch.save(tensors, {"roofline": text})


def body(**changes: Any) -> str:
    return json.dumps({"protocol": 1, "exercise": NAME, "value": None} | changes)


OUTCOME = {
    "outputs": None,
    "fault": "",
    "broken": False,
    "blank": False,
    "forbidden": [],
    "notes": [],
}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "not a message"),
        (struct.pack("<Q", 2**63), "not a message"),
        (b"\x80\x04cos\nsystem\n", "not a message"),
        (safetensors.torch.save({}), "not a message"),
        (_forge(None, "{"), "not a message"),
        (_forge(None, "[]"), "does not have the keys"),
        (_forge(None, body(more=1)), "does not have the keys"),
        (_forge(None, body(protocol=2)), "protocol 2, expected 1"),
        (_forge(None, body(exercise="drill.linear")), "outputs of 'drill.linear'"),
        (_forge(None, body(value=0)[:-2] + "NaN}"), "the number NaN"),
        (_forge(None, body(value=0)[:-2] + "1e999}"), "too large"),
        (_forge(None, body(value=0)[:-2] + "9" * 30 + "}"), "more than 64 bits"),
        (_forge(None, body(value=0)[:-2] + "9" * 5000 + "}"), "not a message"),
        (_forge(None, body()[:-1] + ', "value": 3}'), "a key twice"),
        (_forge(None, "[" * 100_000 + "]" * 100_000), "nested"),
        (_forge(deep(100)), "nested too deeply"),
        (_forge({"pickle": "gASV"}), "an object with the keys ['pickle']"),
        (_forge({}), "an object with the keys []"),
        (_forge({"tensor": "t9", "device": "cpu"}), "not in the message"),
        (_forge({"tensor": ["t0"], "device": "cpu"}), "not in the message"),
        (_forge({"complex": "t0", "device": "cpu"}, t0=torch.ones(3)), "not pairs"),
        (_forge({"complex": "t0", "device": "cpu"}, t0=torch.ones(2, dtype=torch.int8)), "pairs"),
        (_forge({"meta": [[2**62, 2**62], "float32"]}), "a meta tensor without"),
        (_forge({"meta": [[-1], "float32"]}), "a meta tensor without"),
        (_forge({"meta": [[1], "no"]}), "a meta tensor without"),
        (_forge({"number": "1"}), "an object with the keys ['number']"),
        (_forge({"dict": [["a", 1], ["a", 2]]}), "a dict with a key twice"),
        (_forge({"dict": [[["a"], 1]]}), "a dict that is not a list of keys"),
        (_forge({"dict": {"a": 1}}), "an object with the keys ['dict']"),
        (_forge({"tuple": 3}), "an object with the keys ['tuple']"),
        (_forge({"call": {"status": "returned"}}), "a call with other fields"),
        (_forge({"outcome": OUTCOME | {"extra": 1}}), "an outcome with other fields"),
        (_forge({"outcome": OUTCOME | {"blank": 0}}), "an outcome whose blank is an int"),
        (_forge({"outcome": OUTCOME | {"notes": [1]}}), "an outcome whose notes is not plain"),
        (_forge({"outcome": OUTCOME | {"forbidden": None}}), "an outcome whose forbidden is None"),
        (b"\0" * (MAX_BYTES + 6 * 2**20), "bytes, at most"),
    ],
)
def test_a_forged_message_is_refused_with_a_reason(message: bytes, reason: str) -> None:
    with pytest.raises(Refused, match=r".") as refused:
        unpack(message, NAME)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_forger_used_here_can_write_a_good_message() -> None:
    assert unpack(_forge({"outcome": OUTCOME}), NAME) == Outcome()
    assert unpack(_forge({"meta": [[2, 3], "float32"]}), NAME).shape == (2, 3)
