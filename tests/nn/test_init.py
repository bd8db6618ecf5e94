"""First values: the published variances, and torch's own draws from the same seed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from roofline.nn import init

SHAPES = [(300, 200), (100, 50, 5), (64, 32, 3, 3)]


def expected_variance(name: str, fan_in: int, fan_out: int) -> float:
    return {
        "lecun_normal_": 1 / fan_in,
        "glorot_uniform_": 2 / (fan_in + fan_out),
        "glorot_normal_": 2 / (fan_in + fan_out),
        "he_normal_": 2 / fan_in,
        "he_uniform_": 2 / fan_in,
        "torch_default_": 1 / (3 * fan_in),
    }[name]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "name",
    ["lecun_normal_", "glorot_uniform_", "glorot_normal_", "he_normal_", "he_uniform_",
     "torch_default_"],
)  # fmt: skip
def test_the_variance_is_the_published_one(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    kernel = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * kernel, shape[0] * kernel
    weight = torch.empty(shape)
    assert getattr(init, name)(weight) is weight
    assert init.fans(weight) == (fan_in, fan_out)
    variance = expected_variance(name, fan_in, fan_out)
    assert weight.var().item() == pytest.approx(variance, rel=0.05)
    assert abs(weight.mean().item()) < 5 * math.sqrt(variance / weight.numel())
    if "uniform" in name or name == "torch_default_":
        assert weight.abs().max().item() == pytest.approx(math.sqrt(3 * variance), rel=0.01)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (init.glorot_uniform_, torch.nn.init.xavier_uniform_),
        (init.glorot_normal_, torch.nn.init.xavier_normal_),
        (init.he_normal_, torch.nn.init.kaiming_normal_),
        (init.he_uniform_, torch.nn.init.kaiming_uniform_),
        (init.torch_default_, lambda w: torch.nn.init.kaiming_uniform_(w, a=math.sqrt(5))),
        (init.orthogonal_, torch.nn.init.orthogonal_),
    ],
)
def test_one_seed_draws_what_torch_draws(ours: Any, theirs: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    weight = ours(torch.empty(shape))
    torch.manual_seed(1)
    torch.testing.assert_close(weight, theirs(torch.empty(shape)), rtol=1e-5, atol=1e-6)


def test_every_initialiser_is_checked() -> None:
    """A new one fails here until its variance, or torch's own draws, are compared above."""
    names = {name for name in vars(init) if name.endswith("_") and name[0] != "_"}
    assert names == {
        "glorot_normal_", "glorot_uniform_", "he_normal_", "he_uniform_", "lecun_normal_",
        "orthogonal_", "torch_default_", "torch_default_bias_",
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (4, 4), (6, 2, 2, 2)])
def test_orthogonal_is_orthogonal(shape: tuple[int, ...]) -> None:
    weight = init.orthogonal_(torch.empty(shape), gain=2.0).flatten(1)
    product = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
    torch.testing.assert_close(product, 4 * torch.eye(len(product)), atol=1e-5, rtol=0)


def test_a_bias_follows_the_fan_of_its_weight() -> None:
    bias = init.torch_default_bias_(torch.empty(10_000), torch.empty(10_000, 25))
    assert bias.abs().max().item() == pytest.approx(0.2, rel=0.01)


def test_a_vector_has_no_fans() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        init.he_normal_(torch.empty(3))
