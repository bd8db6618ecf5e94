"""16 bits: the arithmetic of Micikevicius et al., step for step, and what protects it."""

from __future__ import annotations

import pytest
import torch
from devices import DEVICES
from roofline import losses
from roofline.autograd import Tensor
from roofline.nn import Linear, Module, Parameter
from roofline.optim import SGD
from roofline.train import evaluate, predict, train
from roofline.train.precision import LossScale, low_precision, type_of

from .small import batches, close, net, points, same, weights

QUIET = {"progress": False}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_one_update_equals_the_recipe_in_pytorch(precision, device):
    """16-bit copies, 16-bit forward and backward, float32 loss, gradient and update."""
    dtype, scale = type_of(precision), 65536.0 if precision == "fp16" else 1.0
    model = net()
    masters = {n: v.clone().to(device).requires_grad_() for n, v in weights(model).items()}
    images, labels = points()[:]
    copies = {name: value.detach().to(dtype).requires_grad_() for name, value in masters.items()}
    hidden = torch.relu(images.to(device, dtype) @ copies["first.weight"].T + copies["first.bias"])
    logits = (hidden @ copies["last.weight"].T + copies["last.bias"]).float()
    loss = torch.nn.functional.cross_entropy(logits, labels.to(device))
    (loss * scale).backward()
    expected = {
        name: (masters[name] - 0.1 * copies[name].grad.float() / scale).detach() for name in masters
    }
    history = train(
        model,
        [(images, labels)],
        optimizer=lambda p: SGD(p, lr=0.1),
        precision=precision,
        device=device,
        **QUIET,
    )
    assert history.skipped == 0 and history.loss == pytest.approx([loss.item()], rel=1e-2)
    # The sums may run in another order, and a bit of a 16-bit number is a large one.
    close(weights(model), expected, 2e-3)
    assert all(value.dtype == torch.float32 for value in weights(model).values())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_learns_nearly_as_in_32_bits(precision):
    full, half = net(), net()
    one = train(full, batches(120), epochs=5, **QUIET)
    two = train(half, batches(120), epochs=5, precision=precision, **QUIET)
    assert two.loss == pytest.approx(one.loss, rel=0.05) and two.loss != one.loss


def test_small_updates_are_not_lost():
    """1 + 1e-4 is 1 in bfloat16; a hundred such updates must still move the weight."""

    class Weight(Module):
        def __init__(self):
            self.w = Parameter(torch.ones(1))

        def forward(self, x):
            return x * self.w

    model = Weight()
    data = [(torch.ones(1, 1), torch.zeros(1, 1))] * 100

    def loss(output, target):
        return output.sum()

    train(model, data, loss, lambda p: SGD(p, lr=1e-4), precision="bf16", **QUIET)
    assert float(model.w.data) == pytest.approx(0.99, abs=1e-4)


def test_accumulated_gradients_are_added_in_32_bits():
    """One 16-bit gradient of 1 and 300 of 2^-9: added in bfloat16 those would vanish."""
    model = Linear(1, 1, bias=False)
    model.weight.data.zero_()
    x = torch.tensor([[1.0]] + [[2.0**-9]] * 300)
    data = [(row[None], torch.zeros(1, 1)) for row in x]

    def loss(output, target):
        return output.sum()

    train(model, data, loss, lambda p: SGD(p, lr=301.0), precision="bf16", accumulate=301, **QUIET)
    assert float(model.weight.data) == pytest.approx(-(1 + 300 * 2.0**-9), rel=1e-2)


def test_an_overflow_is_left_out_and_the_scale_halved():
    model, start = net(), weights(net())
    images, labels = points()[:]
    # The loss is so large that times 65536 its gradient is more than float16 holds.
    history = train(
        model,
        [(images, labels)],
        lambda o, t: 1e3 * losses.cross_entropy(o, t),
        lambda p: SGD(p, lr=1e-4),
        precision="fp16",
        epochs=20,
        **QUIET,
    )
    assert 0 < history.skipped < 20 and history.updates == 20
    assert not same(weights(model), start)
    assert all(torch.isfinite(value).all() for value in weights(model).values())


def test_the_scale_grows_again():
    parameter = Parameter(torch.zeros(2))
    scale = LossScale(scale=8.0, interval=3)
    for expected in (8.0, 8.0, 16.0, 16.0):
        parameter.grad = torch.full((2,), 8.0)
        assert scale.unscale([parameter]) and scale.scale == expected
    parameter.grad = torch.tensor([1.0, float("inf")])
    assert not scale.unscale([parameter]) and scale.scale == 8.0 and scale.good == 0
    assert LossScale().unscale([Parameter(torch.zeros(1))])


def test_shared_and_frozen_parameters_stay_so():
    class Tied(Module):
        def __init__(self):
            self.one = Linear(3, 3, bias=False)
            self.two = Linear(3, 3, bias=False)
            self.two.weight = self.one.weight
            self.frozen = Linear(3, 3)
            self.frozen.requires_grad_(False)

        def forward(self, x):
            return self.two(self.frozen(self.one(x)))

    model = Tied()
    shared = model.one.weight
    with low_precision(model, torch.bfloat16):
        assert model.one.weight is model.two.weight is not shared
        assert model.one.weight.data.dtype == torch.bfloat16
        assert not model.frozen.weight.requires_grad
        model(Tensor(torch.ones(2, 3, dtype=torch.bfloat16))).sum().backward()
    assert model.one.weight is model.two.weight is shared
    assert shared.grad.dtype == torch.float32 and float(shared.grad.abs().sum()) > 0
    assert model.frozen.weight.grad is None


def test_an_error_inside_leaves_the_model_as_it_was():
    model = net()
    before = dict(model.named_parameters())
    with pytest.raises(KeyError), low_precision(model, torch.bfloat16):
        raise KeyError
    assert all(value is before[name] for name, value in model.named_parameters())


def test_evaluating_and_predicting_in_16_bits():
    model = net()
    full, half = (predict(model, points().images, precision=p) for p in ("fp32", "bf16"))
    assert half.dtype == torch.bfloat16 and torch.allclose(full, half.float(), atol=0.05)
    one, two = (evaluate(model, batches(), precision=p) for p in ("fp32", "fp16"))
    assert two["loss"] == pytest.approx(one["loss"], rel=0.01)
