"""Where parameters and FLOPs live: the formulas, the count, and a torch twin agree everywhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from roofline import lab
from roofline.lab.experiments import convnet
from roofline.models import TwoConvNet
from torch.utils.flop_counter import FlopCounterMode

CONTROLS = lab.convnet.controls
IMAGE, CHANNELS, STRIDE, DENSE = (
    some.integers(int(CONTROLS[name].kind.low), int(CONTROLS[name].kind.high))
    for name in ("image", "channels", "stride", "dense")
)
COLOURS = some.sampled_from(CONTROLS["colours"].kind.options)


def twin(image: int, colours: str, channels: int, stride: int, dense: int) -> tuple[int, int]:
    """Parameters and FLOPs of the same network in torch.nn, counted by torch."""
    inputs = {"grey": 1, "colour": 3}[colours]
    with torch.device("meta"):
        layers: list[torch.nn.Module] = [
            torch.nn.Conv2d(inputs, channels, 3, stride), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(channels, 2 * channels, 3, stride), torch.nn.ReLU(),
            torch.nn.MaxPool2d(2), torch.nn.Flatten(),
        ]  # fmt: skip
        x = torch.zeros(1, inputs, image, image)
        features = torch.nn.Sequential(*layers)(x).shape[1]
        layers += [torch.nn.Linear(features, dense)] if dense else []
        layers += [torch.nn.Linear(dense or features, 10)]
        network = torch.nn.Sequential(*layers)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(x)
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops()


@settings(deadline=None, max_examples=40)
@given(IMAGE, COLOURS, CHANNELS, STRIDE, DENSE)
def test_formula_count_and_torch_agree(image, colours, channels, stride, dense):
    setting = (image, colours, channels, stride, dense)
    modelled = convnet.modelled_layers(*setting)
    assert modelled == convnet.measured_layers(*setting)
    total = tuple(sum(getattr(x, what) for x in modelled) for what in ("parameters", "flops"))
    assert total == twin(*setting)


def test_tensors_without_numbers_count_as_those_with():
    setting = (64, "colour", 8, 2, 16)
    assert convnet.measured_layers(*setting) == convnet.measured_layers(*setting, device="cpu")


def test_the_networks_of_the_articles():
    first = lab.convnet.model()
    assert (first.total("parameters"), first.total("flops")) == (1_885_642, 526_876_416)
    second = lab.convnet.model(colours="grey", dense=64)
    assert (second.total("parameters"), second.total("flops")) == (11_963_466, 490_257_920)
    for result in (first, second):
        assert result.percent("parameters", convolution=False) > 98.9
        assert result.percent("flops", convolution=True) > 95
    ours = sum(p.data.numel() for p in TwoConvNet(channels=1, hidden=64).parameters())
    assert ours == second.total("parameters")


def test_what_each_control_does():
    first = lab.convnet.model()
    larger = lab.convnet.model(image=448)
    assert larger.part("parameters", True) == first.part("parameters", True)
    assert larger.part("parameters", False) > 4 * first.part("parameters", False)
    wider = lab.convnet.model(channels=64)
    assert wider.measured[1].flops == 4 * first.measured[1].flops
    strided = lab.convnet.model(stride=2)
    assert strided.total("parameters") < first.total("parameters") / 10
    assert strided.part("parameters", True) == first.part("parameters", True)
    dense = lab.convnet.model(dense=64)
    assert dense.part("flops", True) == first.part("flops", True)
    assert len(dense.measured) == len(first.measured) + 1


@pytest.mark.parametrize("setting", [{}, {"dense": 640, "image": 320}, {"image": 100, "stride": 4}])
def test_the_lines_go_through_the_points(setting):
    result = lab.convnet.model(**setting)
    place = result.images.index(result.image)
    for what in ("parameters", "flops"):
        for where, is_convolution in (("convolutions", True), ("dense", False)):
            line = result.along[f"{what} {where}"]
            assert line[place] == result.part(what, is_convolution)
            assert list(line) == sorted(line)


def test_the_text_says_the_numbers_of_the_picture():
    result = lab.convnet.model(image=96, stride=3, dense=128)
    line = lab.convnet.describe(result)
    figure = lab.convnet.draw(result)
    drawn = [text.get_text() for text in figure.axes[0].texts]
    drawn = [said for said in drawn if said.endswith((" parameters", " FLOPs"))]
    assert len(drawn) == 2 * len(result.measured)
    for said in drawn:
        assert said in line
    assert f"{result.total('parameters'):,} parameters" in line
    shares = [bar.get_width() for bar in figure.axes[0].patches]
    assert sum(shares[:4]) == pytest.approx(100) and sum(shares[4:]) == pytest.approx(100)


@pytest.mark.parametrize(
    "setting", [{"image": 8}, {"channels": 0}, {"stride": 9}, {"dense": -1}, {"colours": "blue"}]
)
def test_a_bad_setting_is_one_line(setting):
    with pytest.raises(lab.ControlError) as caught:
        lab.convnet.model(**setting)
    assert "\n" not in str(caught.value)


def test_the_smallest_image_survives_the_largest_stride():
    assert lab.convnet.model(image=64, stride=4).measured
