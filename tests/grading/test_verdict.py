"""Items: what is right passes, what is wrong is named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline.grading import (
    Call,
    Item,
    at_most,
    call,
    compare,
    quiet,
    raises,
    require,
    unchanged,
    where,
)
from roofline.grading.values import Strange

X = torch.tensor([[1.0, -2.0, 3.5], [0.25, 5.0, -6.0]])


def said(got: Any, expected: Any, *mistakes: tuple[Any, str], **options: Any) -> str:
    """Message and hint of a lost item; an item that isn't lost is a failure here."""
    item = compare("it", 1, got, expected, mistakes, **options)
    assert item.earned == 0
    return f"{item.message} | {item.hint}"


def right(got: Any, expected: Any, **options: Any) -> bool:
    return not compare("it", 1, got, expected, **options).lost


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (X.clone(), X),
        (X * (1 + 2e-6), X),
        (X.T.contiguous().T, X),
        (
            torch.tensor([math.nan, math.inf, -math.inf]),
            torch.tensor([math.nan, math.inf, -math.inf]),
        ),
        (torch.empty(0, 3), torch.empty(0, 3)),
        (torch.tensor(2.0), torch.tensor(2.0)),
        (X.half(), X.half() * (1 + 1e-3)),
        (X > 0, X > 0),
        (torch.arange(3), torch.arange(3)),
        (torch.complex(X, X), torch.complex(X, X)),
        (3, 3),
        (3.0, 3),
        (torch.tensor(3), 3),
        (torch.tensor([[3]]), 3),
        (0.1 + 0.2, 0.3),
        (torch.tensor(0.1), 0.1),
        ("text", "text"),
        (True, True),
        (None, None),
        ([X, (1, 2)], (X, [1, 2])),
        ({"a": 1, "b": X}, {"b": X, "a": 1}),
    ],
)
def test_equal_values_earn_the_points(got: Any, expected: Any) -> None:
    item = compare("it", 2.5, got, expected)
    assert (item.earned, item.message, item.hint) == (2.5, "as expected", "")


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        (None, X, "it returned None, expected a tensor of shape (2, 3) | a return is missing"),
        (1.0, torch.tensor(1.0), "it returned a float, expected a tensor of shape ()"),
        ([1.0], X, "it returned a list of 1, expected a tensor"),
        (Strange("a generator"), X, "it returned a generator, expected a tensor"),
        (X.T, X, "shape (3, 2), expected (2, 3) | the values are right but transposed"),
        (X.reshape(6), X, "shape (6,), expected (2, 3) | the values are right: only the shape"),
        (X.reshape(1, 2, 3) + 1, X, "one dimension too many"),
        (X.sum(), X, "shape (), expected (2, 3) | it was added up to a single number"),
        (X.double(), X, "dtype float64, expected float32"),
        (X.long(), X.long().int(), "dtype int64, expected int32"),
        (X.to("meta"), X, "its tensor is on device meta, the arguments are on cpu"),
        (X * math.nan, X, "6 of 6 values are NaN | look for 0/0"),
        (torch.where(X == 5, math.nan, X), X, "1 of 6 values are NaN"),
        (X / 0, X, "6 of 6 values are infinite"),
        (-X, X, "6 of 6 values differ, most at [1, 2]: 6, expected -6 | the sign is wrong everywh"),
        (3 * X, X, "every value is 3 times what it should be"),
        (X / 8, X, "every value is 0.125 times what it should be"),
        (X + 0.5, X, "every value is 0.5 too large"),
        (X - 2, X, "every value is 2 too small"),
        (0 * X, X, "it is zero everywhere"),
        (torch.where(X == 5, 4.0, X), X, "1 of 6 values differ, most at [1, 1]: 4, expected 5 | "),
        (X > 0, X < 0, "6 of 6 values differ"),
        (2, 3, "2, expected 3 | "),
        (-3, 3, "-3, expected 3 | the sign is wrong"),
        (6.0, 3.0, "6, expected 3 | it is 2 times what it should be"),
        (1.0, 4.0, "1, expected 4 | it is 1/4 times what it should be"),
        (0, 3, "0, expected 3 | "),
        (3, 0, "3, expected 0 | "),
        (math.nan, 3.0, "nan, expected 3 | look for 0/0"),
        (10**12, 10**12 + 1, "1,000,000,000,000, expected 1,000,000,000,001"),
        (True, 1, "it returned True, expected a number"),
        (None, 1, "it returned None, expected a number | a return is missing"),
        ("a", 1, "it returned a str, expected a number"),
        ("a", "b", "it returned 'a', expected 'b'"),
        (1, True, "it returned 1, expected True"),
        (X, (X, X), "it returned a tensor of shape (2, 3), expected a tuple of 2"),
        ((X,), (X, X), "it returned 1 values, expected 2"),
        ((X, -X), (X, X), "value 1: 6 of 6 values differ"),
        ({"a": 1}, {"b": 1}, "its keys differ: 'b' is missing, 'a' is too much"),
        ({"a": (1, 2)}, {"a": (1, 3)}, "value 'a': value 1: 2, expected 3"),
        (3, {"a": 1}, "it returned an int, expected a dict of 1"),
    ],
)
def test_what_is_wrong_is_said(got: Any, expected: Any, words: str) -> None:
    assert words in said(got, expected)


def test_a_known_mistake_is_recognised_by_its_value() -> None:
    wrong = [
        (lambda: X @ X, "cannot be made with these shapes"),
        (X, "would be right, so it is no mistake"),
        (2 * X, "twice"),
        (lambda: 3 * X, "three times"),
    ]
    assert said(3 * X, X, *wrong).endswith("| three times")
    assert said(2 * X, X, *wrong).endswith("| twice")
    assert "6 of 6 values differ" in said(2 * X, X, *wrong)
    assert right(X, X)
    shape = said(X.T, X, (lambda: X.T.double(), "the other way round"))
    assert shape == "shape (3, 2), expected (2, 3) | the other way round"
    assert said(7, 3, (7, "seven")) == "7, expected 3 | seven"
    assert said((X, X), (X, 2 * X), ((X, X), "the pair")).endswith("| the pair")


def test_tolerances() -> None:
    assert not right(X * (1 + 1e-3), X)
    assert right(X * (1 + 1e-3), X, rtol=1e-2)
    assert not right(X.double() * (1 + 1e-6), X.double())
    assert right(X.double() * (1 + 1e-6), X, dtype=False)
    small = torch.full((3,), 1e-9)
    assert not right(torch.zeros(3), small), "a small gradient is not nothing"
    assert right(X.double(), X, dtype=False)
    assert not right(3.0001, 3.0)
    assert right(3.0001, 3.0, rtol=1e-3)
    assert not right(3, 4, rtol=0.1) and right(3, 4, rtol=0.3)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 10**6))
def test_another_order_of_adding_up_is_no_mistake(rows: int, inner: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    a, b = torch.randn(rows, inner, generator=random), torch.randn(inner, 3, generator=random)
    by_hand = sum(a[:, i : i + 1] * b[i] for i in reversed(range(inner)))
    assert right(by_hand, (a.double() @ b.double()).float())


def test_a_call_without_a_value_loses_the_item_and_says_why() -> None:
    for status, fault, words in (
        ("raised", "raised ValueError: no", "it raised ValueError: no (your line 3: x)"),
        ("stopped", "was stopped after 2 seconds", "it was stopped after 2 seconds (your line"),
        ("unreached", "raised ValueError: no", "it raised ValueError: no"),
    ):
        failed = Call(status, fault=fault, line="line 3: x")
        items = [
            compare("it", 1, failed, X),
            at_most("it", 1, failed, 3),
        ]
        for item in items:
            assert item.earned == 0 and words in item.message
    blank = Call("blank", fault="is not attempted yet")
    for item in (
        compare("it", 1, blank, X),
        at_most("it", 1, blank, 3),
        unchanged("it", 1, blank),
        quiet("it", 1, blank),
        raises("it", 1, blank, ValueError),
    ):
        assert (item.earned, item.message) == (0, "not attempted yet")


def test_parts_of_a_call() -> None:
    pair = call(lambda: (X, {"a": 3}))
    assert right(pair[0], X) and right(pair[1]["a"], 3)
    assert pair[-1]["a"].value == 3
    assert said(pair[2], X).startswith("it returned a tuple of 2, expected at least 3 values")
    assert said(pair[1]["b"], X).startswith("it returned a dict of 1, expected 'b' in it")
    assert said(pair[0][0], X).startswith("it returned a tensor of shape (2, 3), expected at least")
    assert said(call(lambda: 1 / 0)[3], X).startswith("it raised ZeroDivisionError")


def test_a_call_on_a_failed_call_is_not_made() -> None:
    made = call(lambda: (X, None))
    after = call(made[1], X)
    assert after.status == "blank"
    failed = call(lambda: X)[1]
    assert call(failed, X).status == "unreached"
    assert call(lambda x: x, failed).fault == failed.fault
    assert call(made[0], X).fault == "is a tensor of shape (2, 3), expected a function"


def test_counted_cost() -> None:
    counted = call(lambda x: x @ x.T, X, count=True)
    assert counted.counts["flops"] == 2 * 2 * 2 * 3
    assert at_most("flops", 1, counted, 24, "FLOPs", "flops").message == "24 FLOPs"
    item = at_most("flops", 1, counted, 12, "FLOPs", "flops", [(24, "once too often")])
    assert (item.earned, item.message, item.hint) == (
        0,
        "24 FLOPs, at most 12 asked",
        "once too often",
    )
    assert at_most("n", 1, 5, 5).earned == 1
    assert at_most("n", 1, call(lambda: torch.tensor(6)), 5).message == "6, at most 5 asked"
    assert "expected a number" in at_most("n", 1, call(lambda: "six"), 5).message
    assert at_most("n", 1, Call(counts={}), 5, count="flops").earned == 0
    assert at_most("n", 1, math.nan, 5).earned == 0


def test_raises() -> None:
    failing = call(lambda: [][1])
    assert raises("it", 1, failing, IndexError).earned == 1
    assert raises("it", 1, failing, LookupError, "check first").hint == "check first"
    assert raises("it", 1, call(lambda: 3), ValueError).message == (
        "it returned an int, expected ValueError"
    )


def test_changes_noise_and_conditions() -> None:
    def noisy(x: torch.Tensor) -> torch.Tensor:
        print("here")
        return x.mul_(2)

    made = call(noisy, X)
    assert X[0, 0] == 1, "a call gets a copy"
    assert unchanged("kept", 1, made).message == "it changed its argument x in place"
    assert compare("value", 1, made, 2 * X).message == "it changed its argument x in place"
    assert compare("value", 1, made, 2 * X, may_change=True).earned == 1
    assert quiet("silence", 1, made).message == "it was not quiet: printed 'here\\n'"
    allowed = call(noisy, X, may_change=(0,))
    assert unchanged("kept", 1, allowed).earned == 1
    assert quiet("silence", 1, call(lambda: 1)).earned == 1
    assert require("so", 2, True).earned == 2
    assert require("so", 2, False, "not so", "why") == Item("so", 2, 0.0, "not so", "why")


def test_what_a_call_sees_of_its_arguments() -> None:
    class Wrapped:
        def __init__(self, data: torch.Tensor):
            self.data = data

    def change(rows: list, table: dict, wrapped: Wrapped, number: int) -> None:
        rows.append(1)
        table["b"] = 2
        wrapped.data = wrapped.data + 1

    made = call(change, [X], {"a": 1}, Wrapped(X), 3)
    assert made.changed == ["rows", "table", "wrapped"]
    kept = call(lambda *many: None, X, X * math.nan, [1, "a", None])
    assert kept.changed == []
    assert call(lambda *many: many[1].zero_(), X, X).changed == ["number 2"]
    assert call(lambda x, *, scale: x * scale, X, scale=torch.tensor(2.0)).ok
    assert call(lambda x: x, X).gave_back == "x"
    assert said(call(lambda x: x, X), 2 * X).endswith("| it returns its argument x")


def test_unwrapping() -> None:
    class Wrapped:
        def __init__(self, data: torch.Tensor):
            self.data = data

    assert right(call(lambda: [Wrapped(X)], unwrap=True)[0], X)
    assert "a Wrapped" in said(call(lambda: Wrapped(X)), X)
    assert isinstance(call(lambda: torch.nn.Parameter(X), unwrap=True).value, torch.nn.Parameter)


@pytest.mark.parametrize(
    ("points", "earned"), [(1, 2), (1, -1), (1, math.nan), (math.inf, 0), (-1, -1), (math.nan, 0)]
)
def test_an_item_is_between_nothing_and_its_points(points: float, earned: float) -> None:
    with pytest.raises(ValueError, match="item 'it'"):
        Item("it", points, earned)


@pytest.mark.parametrize("number", ["int64", "float32", "float64"])
def test_a_numpy_number_is_a_number(number: str) -> None:
    made = call(lambda: getattr(np, number)(12))
    assert compare("twelve", 1, made, 12 if number == "int64" else 12.0).earned == 1


def test_numbers_that_differ_late_are_shown_to_differ() -> None:
    item = compare("close", 1, 1.10231, 1.10236)
    assert item.lost
    came, right = item.message.split(", expected ")
    assert came != right


def test_an_item_about_several_calls_names_the_one() -> None:
    names = ("the first", "the second")
    lost = compare("it", 1, [1.0, 2.0], [1.0, 3.0])
    assert where(lost, names).message == lost.message.replace("value 1", "the second")
    assert where(lost, names[:1]) == lost
    held = compare("it", 1, [1.0, 3.0], [1.0, 3.0])
    assert where(held, names) == held
