"""Evaluation and prediction: right means, nothing changed, nothing recorded."""

from __future__ import annotations

import pytest
import torch
from devices import DEVICES
from roofline.autograd import Tensor
from roofline.optim import SGD
from roofline.train import accuracy, evaluate, predict, token_loss

from .small import batches, net, points, same, weights


@pytest.mark.parametrize("device", DEVICES)
def test_evaluate_is_the_mean_over_targets_whatever_the_batches(device):
    model, data = net(dropout=0.5), points(50)
    before = weights(model)
    results = [
        evaluate(model, batches(50, size, drop_last=False), metrics={"a": accuracy}, device=device)
        for size in (50, 16, 7)
    ]
    # Dropout is off: the oracle is torch on the weights themselves.
    w = {name: value.to(device) for name, value in weights(model).items()}
    hidden = torch.relu(data.images.to(device) @ w["first.weight"].T + w["first.bias"])
    logits = hidden @ w["last.weight"].T + w["last.bias"]
    loss = torch.nn.functional.cross_entropy(logits, data.labels.to(device)).item()
    share = (logits.argmax(1).cpu() == data.labels).float().mean().item()
    for result in results:
        assert result["loss"] == pytest.approx(loss, abs=1e-5)
        assert result["a"] == pytest.approx(share, abs=1e-6)
    assert model.training and same({n: v.cpu() for n, v in weights(model).items()}, before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("device", DEVICES)
def test_predict_gives_the_rows_in_order(device):
    model, x = net(dropout=0.5), points(50).images
    outputs = predict(model, x, batch_size=16, device=device)
    assert outputs.shape == (50, 3) and outputs.device.type == "cpu"
    expected = model.eval()(Tensor(x.to(device))).data.cpu()
    assert torch.allclose(outputs, expected, atol=1e-6)
    assert torch.equal(outputs, predict(model, (x,), batch_size=16, device=device))
    with pytest.raises(ValueError, match="nothing to predict"):
        predict(model, x[:0])


@pytest.mark.parametrize("inputs", [[[0.0] * 6], points(4).images.numpy(), points(4), ()])
def test_what_cannot_be_predicted_is_named(inputs):
    with pytest.raises(ValueError, match="expected a torch.Tensor or a tuple"):
        predict(net(), inputs)


def test_a_batch_without_a_target_counts_for_nothing():
    data = points(4)
    full, none = data[:], (data.images, data.labels * 0 - 100)
    assert evaluate(net(), [full, none]) == evaluate(net(), [full])
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(net(), [none])


def test_evaluating_leaves_the_gradients_their_place_in_the_optimizers_buffer():
    model = net()
    optimizer = SGD(model.parameters())
    evaluate(model, [points(4)[:]], device="cpu")
    model(points(4).images).sum().backward()
    storages = {p.grad.untyped_storage().data_ptr() for p in optimizer.parameters}
    assert len(storages) == 1


def test_accuracy_ignores_what_is_no_target():
    scores = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    assert accuracy(scores, torch.tensor([[0, 1], [1, 0]])) == 0.75
    assert accuracy(scores, torch.tensor([[0, -100], [1, -100]])) == 0.5
    assert accuracy(scores, torch.full((2, 2), -100)) == 0
    with pytest.raises(ValueError, match=r"got \(2, 2, 2\) and \(2, 1\)"):
        accuracy(scores, torch.zeros(2, 1))


def test_token_loss_equals_pytorch():
    scores, target = torch.randn(2, 5, 7, dtype=torch.float64), torch.randint(0, 7, (2, 5))
    target[0, :3] = -100
    expected = torch.nn.functional.cross_entropy(scores.transpose(1, 2), target)
    assert float(token_loss(Tensor(scores), target).data) == pytest.approx(float(expected))
