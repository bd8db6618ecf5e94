"""The catalogue: complete, honest about its sources, and sound where arithmetic can tell."""

from __future__ import annotations

import pytest
from roofline.hardware.catalogue import CONFIDENCES, UNITS, Device, Figure, devices, find, recorded

WANTED = """
RTX 3090, RTX 4090, RTX 5090, T4, V100, A10, A100 40GB, A100 80GB, L40S, H100 PCIe, H100 SXM, H200,
B200, MI250X, MI300X, TPU v4, TPU v5e, TPU v5p, Gaudi 3, Ascend 910B, M1 Max, M2 Ultra, M4 Max,
EPYC, Xeon
""".replace("\n", " ").split(",")


def labelled() -> list[tuple[str, Figure]]:
    return [(device.name, figure) for device in devices() for figure in device.figures]


def test_every_device_asked_for_is_there() -> None:
    found = {find(name).name for name in WANTED}
    assert len(found) == len(WANTED) == 25


@pytest.mark.parametrize("device", devices(), ids=lambda device: device.name)
def test_figures_say_where_they_are_from(device: Device) -> None:
    assert 2016 < device.year < 2027
    assert device.peaks and device.note is not None
    for figure in device.figures:
        assert figure.confidence in CONFIDENCES
        assert figure.unit in UNITS
        assert figure.source and figure.date
        assert 0 < figure.low <= figure.high
        assert (figure.low < figure.high) == figure.disputed, "a range is disputed, and only that"
        if figure.confidence == "vendor":
            assert figure.url.startswith("https://"), "who says vendor can say where"
        if "not looked up" in figure.source:
            assert figure.confidence in ("recalled", "disputed"), "who recalls says so"
        if figure.confidence == "recalled":
            assert "recalled" in figure.source and "(recalled)" in str(figure)
        if figure.confidence == "computed":
            assert figure.check, "computed from what?"
    for dtype, figure in (*device.peaks.items(), *device.achieved.items()):
        assert figure.dtype == dtype and figure.dense is True
    assert device.power is None or device.power.unit == "W"


CHECKED = [(name, figure) for name, figure in labelled() if figure.computed is not None]


@pytest.mark.parametrize(
    ("name", "figure"), CHECKED, ids=[f"{name}: {figure}" for name, figure in CHECKED]
)
def test_a_figure_equals_its_parts(name: str, figure: Figure) -> None:
    """Peak = units · operations · clock; bandwidth = bus · rate. Makers round by up to 3%."""
    assert figure.computed is not None
    assert figure.low * 0.97 <= figure.computed <= figure.high * 1.03


def test_most_of_what_can_be_checked_is() -> None:
    assert sum(device.bandwidth.computed is not None for device in devices()) >= 24
    checked = [d for d in devices() if any(f.computed is not None for f in d.peaks.values())]
    assert len(checked) >= 20


def test_halving_the_bits_never_slows() -> None:
    for device in devices():
        order = [device.peaks[d] for d in ("fp32", "tf32", "bf16", "fp8") if d in device.peaks]
        assert all(a.low <= b.high for a, b in zip(order, order[1:], strict=False)), device.name


@pytest.mark.parametrize(
    ("name", "ridge"),
    [
        ("v100", 139), ("a100 80gb", 153), ("h100 sxm", 295), ("h200", 206),
        ("mi300x", 247), ("tpu v4", 224), ("tpu v5e", 240.5), ("tpu v5p", 166), ("rtx 3090", 76),
        ("rtx 4090", 164),
    ],
)  # fmt: skip
def test_ridge_points(name: str, ridge: float) -> None:
    low, high = find(name).ridge()
    assert low == high == pytest.approx(ridge, abs=0.6)


def test_training_peak_accumulates_in_fp32() -> None:
    assert find("3090").peak("fp16").low == 71, "not 142"
    assert find("rtx 4090").peak().low == 165.2


def test_a_disputed_figure_is_a_range() -> None:
    ascend = find("ascend 910b")
    low, high = ascend.ridge("fp16")
    assert low < high / 3, "both of its parts are disputed"
    assert str(ascend.peak()) == "256 to 376 TFLOP/s (disputed)"
    assert ascend.peak().bounds[0] < ascend.peak().value < ascend.peak().bounds[1]
    assert find("b200").ridge() == pytest.approx((281, 292), abs=0.6)
    gaudi = find("gaudi3").peak("bf16")
    assert gaudi.low == pytest.approx(8 * 256**2 * 2 * 1.6 / 1000, rel=1e-3)
    assert gaudi.high == pytest.approx(8 * 256**2 * 2 * 1.75 / 1000, rel=1e-3)


def test_what_was_achieved_is_below_the_peak() -> None:
    achieved = [d for d in devices() if d.achieved]
    assert len(achieved) == 4
    for device in achieved:
        for dtype, figure in device.achieved.items():
            assert 0.4 < figure.value / device.peak(dtype).value < 0.95


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("h100 sxm", "H100 SXM"), ("NVIDIA H100 80GB HBM3", "H100 SXM"), ("RTX4090", "RTX 4090"),
        ("geforce rtx 3090", "RTX 3090"), ("a10", "A10"), ("t4", "T4"), ("4090", "RTX 4090"),
        ("m4 max", "M4 Max"), ("v5e", "TPU v5e"), ("mi300", "MI300X"), ("xeon", "Xeon 8480+"),
        ("  A100-80GB ", "A100 80GB SXM"), ("nvidia gb200", "GB200"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB SXM"),
    ],
)  # fmt: skip
def test_find(said: str, meant: str) -> None:
    assert find(said).name == meant


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("h100", "could be H100 PCIe, H100 SXM; say which"),
        ("tpu v5", "TPU v5e, TPU v5p"),
        ("h100 smx", "H100 SXM"),
        ("rtx 4080", "RTX 4090"),
        ("abacus!!", "there are 27"),
        ("", "no device named"),
        ("x" * 500, "in the catalogue"),
    ],
)
def test_an_unknown_name_is_one_line(said: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        find(said)
    message = str(caught.value)
    assert expected in message and "\n" not in message and len(message) < 160


def test_no_peak_of_that_dtype() -> None:
    with pytest.raises(ValueError, match="V100 SXM2 has no peak for 'bf16'; give one of fp32, fp1"):
        find("v100").peak("bf16")
    assert find("v100").training_dtype == "fp16"
    link = find("h100 sxm").link
    assert link is not None and link.value == 450e9
    assert all(device.link is not None for device in devices())


def test_prices_are_of_an_hour_or_of_one_and_say_of_what() -> None:
    priced = [device for device in devices() if device.prices]
    assert len(priced) == len(devices()) - 1, "of the MI250X none is known"
    for device in priced:
        for kind, figure in device.prices.items():
            assert figure.unit == {"rent": "USD/h", "buy": "USD"}[kind] and figure.note
    assert str(find("h100 sxm").prices["rent"]) == "2.69 to 12.29 USD/h (disputed)"


def test_the_month_of_the_catalogue() -> None:
    year, month = recorded().split("-")
    assert 2026 <= int(year) and 1 <= int(month) <= 12
