"""Which device: every one is ranked or rejected, for a reason that can be checked by hand."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline import lab
from roofline.hardware.catalogue import devices
from roofline.hardware.cost import parameters
from roofline.lab.controls import Choices
from roofline.lab.experiments.device_choice import NETWORKS, SHOWN, least_memory

SETTINGS = some.fixed_dictionaries(
    {
        name: some.sampled_from(
            control.kind.options if isinstance(control.kind, Choices) else control.kind.stops()
        )
        for name, control in lab.device_choice.controls.items()
    }
)


@settings(deadline=None, max_examples=40)
@given(SETTINGS)
def test_every_device_is_ranked_or_rejected_for_its_reason(setting):
    result = lab.device_choice.model(**setting)
    everyone = [*result.ranked, *result.rejected]
    assert sorted(c.device.name for c in everyone) == sorted(d.name for d in devices())
    prices = [c.price for c in result.ranked]
    assert prices == sorted(prices)
    for c in everyone:
        middle = math.sqrt(c.days[0] * c.days[1])
        broken = [
            name
            for name, is_broken in (
                ("memory", c.demand.memory_bytes > 0.9 * c.device.memory.bounds[0]),
                ("time", middle > setting["days"]),
                ("power", (c.kilowatts or 0) > setting["power_kw"]),
                ("price", c.price > setting["budget_usd"]),
            )
            if is_broken
        ]
        assert c.reason.split(":")[0] == (broken[0] if broken else "")
        assert "\n" not in c.reason and len(c.reason) < 120


@settings(deadline=None, max_examples=15)
@given(SETTINGS)
def test_the_text_says_what_the_picture_says(setting):
    result = lab.device_choice.model(**setting)
    line = lab.device_choice.describe(result)
    figure = lab.device_choice.draw(result)
    drawn = [text.get_text() for axis in figure.axes for text in axis.texts]
    for c in result.ranked[:SHOWN]:
        assert c.device.name in drawn
    for c in (*result.ranked, *result.rejected):
        assert c.device.name in line
        assert c.reason in line
    rejected = figure.axes[2].texts[0].get_text()
    for c in result.rejected:
        assert c.device.name in rejected
    assert f"{len(result.ranked)} can" in line
    assert figure.axes[2].get_title(loc="left") == f"{len(result.rejected)} rejected"


def test_prices_by_hand():
    result = lab.device_choice.model(budget_usd=2**24, days=512)
    found = {c.device.name: c for c in (*result.ranked, *result.rejected)}
    h100 = found["H100 PCIe"]
    hours = h100.demand.fastest / 3600
    assert h100.dollars == (pytest.approx(1.99 * hours), pytest.approx(2.89 * hours))
    gaudi = found["Gaudi 3"]
    power = 0.15 * 0.9 * gaudi.demand.slowest / 3600
    assert gaudi.dollars is not None and gaudi.dollars[1] == pytest.approx(15625 + power)
    assert found["MI250X"].reason == "price: none is known"


def test_networks_are_the_published_ones():
    billions = [0.124, 1.56, 6.74, 8.03, 70.6, 405.9]
    for shape, expected in zip(NETWORKS.values(), billions, strict=True):
        assert parameters.parameters(shape) / 1e9 == pytest.approx(expected, rel=0.01)


def test_a_looser_limit_rejects_nothing_more():
    names = {"budget_usd": 2**24, "power_kw": 1024, "days": 512}
    base = {c.device.name for c in lab.device_choice.model(devices=8).ranked}
    for name, most in names.items():
        looser = lab.device_choice.model(devices=8, **{name: most})
        assert base <= {c.device.name for c in looser.ranked}


def test_fewer_bits_let_small_cards_in():
    sixteen = lab.device_choice.model(task="infer", budget_usd=2**24, days=512)
    four = lab.device_choice.model(task="infer", budget_usd=2**24, days=512, bits="4")
    assert len(four.reasons.get("memory", [])) < len(sixteen.reasons["memory"])
    assert least_memory(four) < least_memory(sixteen) / 2


def test_all_training_is_done_in_sixteen_bits():
    results = [lab.device_choice.model(task="train", bits=bits) for bits in ("16", "4")]
    assert [c.demand.memory for c in results[0].rejected] == [
        c.demand.memory for c in results[1].rejected
    ]


def test_unknown_power_is_said_and_not_held_against_it():
    result = lab.device_choice.model(power_kw=0.125)
    assert {c.device.name for c in result.ranked} == {"TPU v5p"}
    assert "power not published" in lab.device_choice.describe(result)


def test_every_number_says_modelled_and_from_when():
    line = lab.device_choice.describe(lab.device_choice.model())
    assert re.search(r"All modelled from the catalogue of 20\d\d-\d\d", line)
    assert "assumed" in line
    assert "90% of a memory for the program" in line


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("fine-tune", "4 sequences at once on each of 16 of a kind"),
        ("infer", "4 sequences at once for each copy of the network on 16 of a kind"),
    ],
)
def test_the_line_says_whose_sequences_they_are(task, says):
    assert says in lab.device_choice.describe(
        lab.device_choice.model(task=task, batch=4, devices=16)
    )


@pytest.mark.parametrize(
    "setting",
    [
        {"task": "dance"},
        {"network": "Llama 9"},
        {"devices": 0},
        {"devices": 5000},
        {"batch": -1},
        {"budget_usd": 0},
        {"power_kw": float("nan")},
        {"days": "never"},
        {"device": "h100"},
    ],
)
def test_a_bad_setting_is_one_line(setting):
    with pytest.raises(lab.ControlError) as caught:
        lab.device_choice.model(**setting)
    assert "\n" not in str(caught.value)
