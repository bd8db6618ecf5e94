"""Recomputing: the same gradients to the last bit, from less memory."""

from __future__ import annotations

import pytest
import torch
from devices import DEVICES, float_type
from roofline import nn
from roofline.autograd import Tensor, checkpoint, kept, no_grad
from roofline.models import GPT, RecurrentClassifier, ResNet
from roofline.optim import SGD
from roofline.train import token_loss, train
from roofline.train.recompute import recomputed

from .small import batches, close, net, same, weights

QUIET = {"progress": False}


class Deep(nn.Module):
    """A stack of blocks with dropout, as wide as they are deep."""

    def __init__(self, blocks: int = 4, width: int = 16):
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
            for _ in range(blocks)
        )
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):
        for block in self.blocks:
            x = x + self.dropout(block(x))
        return x


def gradients(model, x: torch.Tensor, names: tuple[str, ...]) -> tuple[dict, int]:
    torch.manual_seed(3)
    given = Tensor(x, requires_grad=True)
    with recomputed(model, names):
        loss = (model(given) ** 2).sum()
        memory = kept(loss, model.parameters()).total
        loss.backward()
    after = torch.rand(3)
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    return {**found, "input": given.grad, "random numbers afterwards": after}, memory


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_are_the_same_and_memory_is_less(device):
    torch.manual_seed(0)
    model = Deep().to(device, float_type(device))
    x = torch.randn(32, 16, device=device, dtype=float_type(device))
    plain, all_kept = gradients(model, x, ())
    again, some_kept = gradients(model, x, ("blocks.*",))
    assert same(plain, again)
    # A block keeps its input (1 part) in place of input, two hidden layers of 4 parts, and output.
    assert some_kept < 0.5 * all_kept


def test_dropout_inside_drops_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.ReLU(), nn.Linear(64, 8))
    model = nn.Sequential(model, nn.Dropout(0.5))
    x = torch.randn(5, 8, dtype=torch.float64)
    model = model.to(torch.float64)
    assert same(gradients(model, x, ())[0], gradients(model, x, ("0",))[0])


def test_parameters_used_inside_and_outside_and_twice():
    linear = nn.Linear(4, 4)
    x = torch.randn(3, 4)

    def grads(call) -> tuple[torch.Tensor, torch.Tensor]:
        linear.zero_grad()
        (call(call(Tensor(x))) * linear(Tensor(x))).sum().backward()
        return linear.weight.grad.clone(), linear.bias.grad.clone()

    plain, again = grads(linear), grads(lambda x: checkpoint(linear, x))
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other)


def test_functions_of_several_inputs_and_other_values():
    x, y = (Tensor(torch.randn(3), requires_grad=True) for _ in range(2))
    mask = torch.tensor([1.0, 0.0, 1.0])

    def function(x, mask, y, power):
        assert isinstance(x, Tensor) and isinstance(mask, torch.Tensor) and power == 2
        return x * y**power * mask

    checkpoint(function, x, mask, y, 2).sum().backward()
    torch.testing.assert_close(x.grad, y.data**2 * mask)
    torch.testing.assert_close(y.grad, 2 * x.data * y.data * mask)


def test_first_layer_whose_input_needs_no_gradient():
    linear = nn.Linear(4, 2)
    checkpoint(linear, Tensor(torch.ones(3, 4))).sum().backward()
    torch.testing.assert_close(linear.weight.grad, torch.full((2, 4), 3.0))
    linear.zero_grad()
    checkpoint(linear.forward, Tensor(torch.ones(3, 4))).sum().backward()
    torch.testing.assert_close(linear.weight.grad, torch.full((2, 4), 3.0))


def test_nested():
    torch.manual_seed(0)
    model = Deep(2).to(torch.float64)
    x = torch.randn(4, 16, dtype=torch.float64)
    plain = gradients(model, x, ())[0]
    given = Tensor(x, requires_grad=True)
    torch.manual_seed(3)
    with recomputed(model, ("blocks.0",)):
        (checkpoint(model, given) ** 2).sum().backward()
    assert torch.equal(given.grad, plain["input"])


def test_nothing_is_recorded_where_nothing_is_to_be():
    linear = nn.Linear(4, 2)
    with no_grad():
        assert not checkpoint(linear, Tensor(torch.ones(3, 4))).requires_grad


def test_training_with_recomputed_layers_changes_no_bit():
    plain, again = net(dropout=0.5), net(dropout=0.5)
    train(plain, batches(), epochs=2, **QUIET)
    train(again, batches(), epochs=2, recompute=("first", "dropout"), **QUIET)
    assert same(weights(plain), weights(again))
    assert "forward" not in vars(again.first), "the layers are as they were"


def test_running_means_see_each_batch_once():
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8)
    results = []
    for names in ((), ("blocks.*",)):
        torch.manual_seed(0)
        model = ResNet(1)
        train(model, [(images, labels)], optimizer=SGD, recompute=names, epochs=2, **QUIET)
        results.append(weights(model))
    close(*results, 1e-4)


def test_an_argument_given_by_name_may_be_on_the_tape():
    """Both halves use what the first layer made, one of them by name."""

    class Halves(nn.Module):
        def __init__(self):
            self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)
            self.halves = nn.ModuleList([Half(), Half()])

        def forward(self, x):
            memory = x = self.first(Tensor(x))
            for half in self.halves:
                x = half(x, memory=memory)
            return self.last(x)

    class Half(nn.Module):
        def __init__(self):
            self.linear = nn.Linear(6, 6)

        def forward(self, x, memory):
            return self.linear(x) * memory

    results = []
    for names in ((), ("halves.*",)):
        torch.manual_seed(0)
        model = Halves()
        train(model, batches(), optimizer=SGD, recompute=names, **QUIET)
        results.append(weights(model))
    close(*results, 1e-6)


def test_a_layer_that_returns_several_things_is_refused():
    model = RecurrentClassifier("lstm", 5, 4, 4, 2)
    with recomputed(model, ("recurrent",)):
        with pytest.raises(TypeError, match="only what returns one Tensor is recomputed"):
            model(torch.zeros(2, 3, dtype=torch.long))


def test_a_gpt_with_recomputed_blocks_in_16_bits():
    results = []
    tokens = torch.randint(0, 20, (4, 9), generator=torch.Generator().manual_seed(0))
    for names in ((), ("blocks.layers.*",)):
        torch.manual_seed(0)
        model = GPT(20, 8, 16, 2, 2, dropout=0.1)
        history = train(
            model,
            [(tokens[:, :-1], tokens[:, 1:])],
            token_loss,
            recompute=names,
            precision="bf16",
            epochs=3,
            **QUIET,
        )
        results.append((weights(model), history.loss))
    assert results[0][1] == results[1][1] and same(results[0][0], results[1][0])


def test_only_the_outermost_of_the_layers_that_a_name_fits():
    model = Deep(3)
    with recomputed(model, ("blocks.*",)) as count:
        assert count == 3
    with pytest.raises(ValueError, match="no layer is named 'layers.*': there are blocks, "):
        with recomputed(model, ("layers.*",)):
            pass
