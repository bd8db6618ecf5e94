"""What fills memory in training: the paper's formula, the count on the tape, and what is shown."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline import lab
from roofline.hardware.cost import Transformer, memory
from roofline.lab import style
from roofline.lab import transformer_layer as work
from roofline.lab.experiments import training_memory as room

RANDOM_STATE = torch.get_rng_state().nbytes
"""What a recomputation with dropout keeps to draw the same numbers again."""


@settings(deadline=None, max_examples=40)
@given(
    some.integers(1, 64), some.integers(1, 512), some.integers(1, 16), some.integers(1, 64),
    some.sampled_from(list(work.DTYPES)), some.sampled_from(["none", "selective", "full"]),
)  # fmt: skip
def test_the_tape_counts_the_inventory_of_the_paper(b, s, a, width, precision, recompute):
    h, size = a * width, work.DTYPES[precision].itemsize
    inventory = memory.activations(
        Transformer(1, h, a, 100, s), b, recompute=recompute, mask_bytes=size, element_bytes=size
    )
    # Beside it: mean and deviation of each row of both norms, in float32, and the random state.
    rows = 0 if recompute == "full" else 2 * 2 * 4 * b * s
    again = 0 if recompute == "none" else RANDOM_STATE
    assert work.measured_bytes(b, s, h, a, precision, recompute) == inventory + rows + again


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_tensors_without_numbers_count_as_those_with(precision, recompute):
    setting = (2, 16, 24, 3, precision, recompute)
    assert work.measured_bytes(*setting) == work.measured_bytes(*setting, device="cpu")


@pytest.mark.parametrize(("b", "s", "h", "a"), [(4, 2048, 2048, 16), (1, 2048, 12288, 96)])
def test_the_formula_is_the_paper_s(b, s, h, a):
    # Korthikanti et al., 2205.05198, equation 2, and table 2: selective sbh · 34, full 2sbh.
    assert work.modelled_bytes(b, s, h, a, "bf16", "none") == s * b * h * (34 + 5 * a * s / h)
    assert work.modelled_bytes(b, s, h, a, "mixed", "selective") == 34 * s * b * h
    assert work.modelled_bytes(b, s, h, a, "bf16", "full") == 2 * s * b * h


def test_gpt_3_s_attention_keeps_two_thirds():
    # Section 5 of the paper: 5as/h is 80 of 114 bytes for GPT-3, hidden 12,288, 96 heads.
    share = work.modelled_bytes(1, 2048, 12288, 96, "bf16", "selective")
    assert 1 - share / work.modelled_bytes(1, 2048, 12288, 96, "bf16", "none") == pytest.approx(
        80 / 114
    )


def test_parts_by_hand():
    result = lab.training_memory.model(layers=2, hidden=256, heads=4, sequence=128, batch=1)
    # 12 h² and 13 h in a layer; embeddings, positions and the last norm.
    count = 2 * (12 * 256**2 + 13 * 256) + (51200 + 128) * 256 + 2 * 256
    assert result.parameters == count
    parts = result.parts["none"]
    # Mixed precision with Adam: 2 + 2 + (4 + 4 + 4) bytes, 1910.02054, section 3.1.
    assert (parts["weights"], parts["gradients"], parts["optimizer"]) == (
        2 * count, 2 * count, 12 * count
    )  # fmt: skip
    assert parts["temporary"] == 4 * 128 * 51200
    in_fp32 = lab.training_memory.model(
        layers=2, hidden=256, heads=4, sequence=128, batch=1, precision="fp32", optimizer="sgd"
    )
    assert in_fp32.parts["none"]["optimizer"] == 0
    assert in_fp32.parts["none"]["weights"] == 4 * count


def test_text_and_picture_have_the_same_numbers():
    result = lab.training_memory.model(recompute="selective", sequence=4096)
    line = lab.training_memory.describe(result)
    figure = lab.training_memory.draw(result)
    bars, lines = figure.axes
    for part, drawn in zip(room._PARTS, bars.collections[1:], strict=True):
        ends = [path.get_extents() for path in drawn.get_paths()]
        sizes = [parts[part] for parts in result.parts.values()]
        assert [end.width for end in ends] == pytest.approx(sizes)
    totals = [sum(parts.values()) for parts in result.parts.values()]
    assert [end.x1 for end in ends] == pytest.approx(totals)
    for part in result.parts["selective"].values():
        assert style.size(part) in line
    assert style.size(sum(result.parts["selective"].values())) in line
    points = lines.lines[-1]
    shown = dict(zip(points.get_xdata(), points.get_ydata(), strict=True))
    assert 10 ** shown[12] == pytest.approx(result.here)
    assert style.size(result.here) in line
    for size in result.measured.values():
        assert style.size(size) in line


def test_the_first_setting_does_not_fit_and_recomputing_makes_it_fit():
    first = lab.training_memory.model()
    assert first.total > 80e9 > lab.training_memory.model(recompute="selective").total
    assert "more than the 80 GB of one H100 SXM" in lab.training_memory.describe(first)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"heads": 3}, "3 heads don't divide hidden 2048"),
        ({"hidden": 0}, "choose a whole number from 128 to 16,384"),
        ({"batch": -4}, "choose a whole number from 1 to 64"),
        ({"sequence": 10**9}, "choose a whole number from 128 to 32,768"),
        ({"optimizer": "lion"}, "choose one of sgd"),
        ({"tokens": 3}, "there is no control 'tokens'"),
    ],
)
def test_a_bad_setting_is_one_line(setting, says):
    with pytest.raises(lab.ControlError) as caught:
        lab.training_memory.model(**setting)
    assert says in str(caught.value) and "\n" not in str(caught.value)
