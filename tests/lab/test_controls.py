"""Controls come from a model's declarations, and refuse the rest in one line."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as some
from roofline.lab import Choices, ControlError, Range, bounded, controls
from roofline.lab.widgets import control_widget


@bounded
def model(
    batch: Annotated[int, Range(1, 4096, doubling=True)] = 8,
    rate: Annotated[float, Range(0.0, 2.0, step=0.25)] = 1.0,
    kind: Annotated[str, Choices("plain", "fancy")] = "plain",
) -> tuple:
    return batch, rate, kind


def test_declarations_are_read_in_order_with_defaults():
    found = controls(model)
    assert list(found) == ["batch", "rate", "kind"]
    assert [c.default for c in found.values()] == [8, 1.0, "plain"]
    assert [c.whole for c in found.values()] == [True, False, False]


def test_stops_of_a_slider():
    assert Range(1, 16, doubling=True).stops() == [1, 2, 4, 8, 16]
    assert Range(3, 20, doubling=True).stops(7) == [3, 6, 7, 12, 20]
    assert Range(1, 4).stops() == [1, 2, 3, 4]
    assert Range(0.0, 1.0, step=0.25).stops() == [0.0, 0.25, 0.5, 0.75, 1.0]


@bounded
def priced(
    power_kw: Annotated[float, Range(0.125, 2, doubling=True)] = 1,
    budget_usd: Annotated[float, Range(1, 2**24, doubling=True)] = 1024,
) -> float:
    return power_kw * budget_usd


def test_a_slider_says_its_unit_and_no_digits_that_mean_nothing():
    found = controls(priced)
    assert [control.label for control in found.values()] == ["power, kW", "budget, USD"]
    slider = control_widget(found["power_kw"], 1.0)
    assert [words for words, _ in slider.options] == ["0.125", "0.25", "0.5", "1", "2"]
    assert control_widget(found["budget_usd"], 2.0**24).label == "16,777,216"
    with pytest.raises(ControlError, match=r"^power, kW is 3: choose a number from 0\.125 to 2$"):
        priced(power_kw=3)


def test_numbers_within_bounds_pass_and_get_the_declared_type():
    assert model(16.0, 1, "fancy") == (16, 1.0, "fancy")
    assert [type(value) for value in model(16.0, 1)] == [int, float, str]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"batch": 0}, "batch is 0: choose a whole number from 1 to 4,096"),
        ({"batch": 5000}, "batch is 5000: choose a whole number from 1 to 4,096"),
        ({"batch": 2.5}, "batch is 2.5: choose a whole number from 1 to 4,096"),
        ({"batch": True}, "batch is True: choose a whole number from 1 to 4,096"),
        ({"batch": "many"}, "batch is 'many': choose a whole number from 1 to 4,096"),
        ({"rate": float("nan")}, "rate is nan: choose a number from 0.0 to 2.0"),
        ({"rate": float("inf")}, "rate is inf: choose a number from 0.0 to 2.0"),
        ({"kind": "odd"}, "kind is 'odd': choose one of plain, fancy"),
        ({"kind": 3}, "kind is 3: choose one of plain, fancy"),
        ({"size": 3}, "there is no control 'size': choose of batch, rate, kind"),
    ],
)
def test_a_bad_setting_is_one_line(setting, says):
    with pytest.raises(ControlError) as caught:
        model(**setting)
    assert str(caught.value) == says


@given(some.integers())
def test_every_whole_number_is_taken_or_refused(number):
    if 1 <= number <= 4096:
        assert model(batch=number)[0] == number
    else:
        with pytest.raises(ControlError):
            model(batch=number)


def test_too_many_arguments_are_an_error_not_ignored():
    with pytest.raises(TypeError):
        model(1, 1.0, "plain", 7)


def test_an_undeclared_argument_is_the_author_s_error():
    def careless(size: int = 3) -> int:
        return size

    with pytest.raises(TypeError, match="'size'"):
        controls(careless)
