"""The cost model against numbers that others printed: published.json, one test a row.

A row: ``function`` of the cost model, ``model`` its first argument by name, ``inputs``, each a
value or a row again. What comes out over ``unit`` is ``expected``, give or take ``tolerance``: half
of the last printed digit unless ``note`` says why not. No constant of the cost model comes from a
row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from roofline.hardware import cost
from roofline.hardware.cost import CNN, RNN, Conv, Dense, Pool, Residual, Transformer

TABLE = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
ROWS = TABLE["rows"]


def vgg(widths: tuple[int, ...], depth: int) -> CNN:
    """VGG (1409.1556): the last three blocks ``depth`` deep, fewer before."""
    layers: list[Any] = []
    for number, width in enumerate(widths):
        layers += [Conv(width, 3, padding=1)] * (2 if number < 2 else depth) + [Pool(2)]
    return CNN(3, 224, 224, (*layers, Dense(4096), Dense(4096), Dense(1000)))


def resnet(blocks: tuple[int, ...], deep: bool) -> CNN:
    """ResNet (1512.03385), its stride on the 3×3 as torchvision has it."""
    layers: list[Any] = [Conv(64, 7, 2, 3, bias=False, norm=True), Pool(3, 2, 1)]
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            out = width * 4 if deep else width
            changes = not block and (deep or stage > 0)
            shortcut = (Conv(out, 1, stride, bias=False, norm=True),) if changes else ()
            three = Conv(width, 3, stride, 1, bias=False, norm=True)
            if deep:
                one = Conv(width, 1, bias=False, norm=True)
                layers.append(Residual((one, three, Conv(out, 1, bias=False, norm=True)), shortcut))
            else:
                layers.append(
                    Residual((three, Conv(width, 3, 1, 1, bias=False, norm=True)), shortcut)
                )
    return CNN(3, 224, 224, (*layers, Pool(0), Dense(1000)))


def mobilenet() -> CNN:
    """MobileNet (1704.04861), table 1."""
    layers: list[Any] = [Conv(32, 3, 2, 1, bias=False, norm=True)]
    inputs = 32
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    widths = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for width, stride in zip(widths, strides, strict=True):
        layers.append(Conv(inputs, 3, stride, 1, groups=inputs, bias=False, norm=True))
        layers.append(Conv(width, 1, bias=False, norm=True))
        inputs = width
    return CNN(3, 224, 224, (*layers, Pool(0), Dense(1000)))


def article(channels: int, *widths: int) -> CNN:
    convolutions = (Conv(32, 3), Pool(2), Conv(64, 3), Pool(2))
    return CNN(channels, 224, 224, (*convolutions, *(Dense(width) for width in widths)))


NETWORKS = {
    "alexnet": CNN(
        3, 224, 224,
        (
            Conv(64, 11, 4, 2), Pool(3, 2), Conv(192, 5, padding=2), Pool(3, 2),
            Conv(384, 3, padding=1), Conv(256, 3, padding=1), Conv(256, 3, padding=1), Pool(3, 2),
            Dense(4096), Dense(4096), Dense(1000),
        ),
    ),
    "vgg16": vgg((64, 128, 256, 512, 512), 3),
    "vgg19": vgg((64, 128, 256, 512, 512), 4),
    "resnet18": resnet((2, 2, 2, 2), deep=False),
    "resnet34": resnet((3, 4, 6, 3), deep=False),
    "resnet50": resnet((3, 4, 6, 3), deep=True),
    "resnet101": resnet((3, 4, 23, 3), deep=True),
    "resnet152": resnet((3, 8, 36, 3), deep=True),
    "mobilenet": mobilenet(),
    "article-colour": article(3, 10),
    "article-grey": article(1, 64, 10),
}  # fmt: skip


def described(name: str) -> cost.Model:
    (kind, numbers), *_ = TABLE["models"][name].items()
    if kind == "network":
        return NETWORKS[numbers]
    return {"transformer": Transformer, "rnn": RNN}[kind](**numbers)


def value(given: Any) -> Any:
    """What a cell of the table stands for: itself, a layer, or a row's own value."""
    if isinstance(given, dict):
        return Conv(**given["conv"]) if "conv" in given else computed(given)
    return given


def computed(row: dict[str, Any]) -> Any:
    module, name = row["function"].split(".")
    function = getattr(getattr(cost, module), name)
    first = [described(row["model"])] if "model" in row else []
    return function(*first, **{key: value(given) for key, given in row.get("inputs", {}).items()})


def label(row: dict[str, Any]) -> str:
    what = row.get("model") or row["source"].split(",")[0]
    return f"{row['function']} of {what}: {row['expected']}"


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_published_number(row: dict[str, Any]) -> None:
    result = computed(row)
    if isinstance(result, cost.memory.TrainingState):
        result = result.total
    # A rounding of the last bit is no difference; a zero tolerance still finds one too many.
    slack = row["tolerance"] + 1e-12 * abs(row["expected"])
    assert abs(result / row["unit"] - row["expected"]) <= slack, (
        f"{row['source']} prints {row['expected']}, the model says {result / row['unit']:.6g}"
    )


def test_the_table_is_large_and_broad_enough() -> None:
    values = {json.dumps(row, sort_keys=True) for row in ROWS}
    assert len(values) == len(ROWS) >= 60, "each row once, and at least 60"
    sources = {row["source"].split(",")[0] for row in ROWS}
    assert len(sources) >= 12
    assert all(row["source"] and row["tolerance"] >= 0 for row in ROWS)


def test_a_wide_tolerance_says_why() -> None:
    """Only a value of one or two printed digits leaves so much room."""
    wide = [label(row) for row in ROWS if row["tolerance"] > 0.03 * abs(row["expected"])]
    digits = [str(row["expected"]).replace(".", "").strip("0") for row in ROWS]
    few_digits = [label(row) for row, shown in zip(ROWS, digits, strict=True) if len(shown) <= 2]
    assert set(wide) <= set(few_digits)


def test_a_wrong_number_fails() -> None:
    """The oracle itself: one part in a hundred off is noticed in nearly every row."""
    noticed = [row for row in ROWS if row["tolerance"] < 0.01 * abs(row["expected"])]
    assert len(noticed) > 0.75 * len(ROWS)
