"""The loop: equal to PyTorch's, equal to the large batch, repeatable, and it knows when to stop."""

from __future__ import annotations

import io
import sys

import pytest
import torch
from devices import DEVICES, float_type
from roofline import losses
from roofline.optim import SGD, AdamW, cosine
from roofline.train import Diverged, History, Settings, accuracy, train

from .small import batches, close, net, points, same, weights

QUIET = {"progress": False}


@pytest.mark.parametrize("device", DEVICES)
def test_follows_pytorch(device):
    """Second oracle: torch.nn, torch.autograd and torch.optim, the same batches, 30 updates."""
    dtype = float_type(device)
    model = net(dtype=dtype)
    twin = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    twin.to(dtype).load_state_dict(dict(zip(twin.state_dict(), weights(model).values())))  # noqa: B905
    twin.to(device)
    history = train(
        model,
        batches(dtype=dtype),
        optimizer=lambda p: AdamW(p, lr=0.01),
        schedule=cosine(30),
        epochs=10,
        clip=0.5,
        device=device,
        **QUIET,
    )
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.01)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine(30))
    losses, norms = [], []
    for _, (images, labels) in ((e, b) for e in range(10) for b in batches(dtype=dtype).batches(e)):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(twin(images.to(device)), labels.to(device))
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5).item())
        optimizer.step()
        rates.step()
        losses.append(loss.item())
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    assert history.loss == pytest.approx(losses, abs=tolerance)
    assert history.norm == pytest.approx(norms, abs=tolerance)
    assert history.rate == pytest.approx([0.01 * cosine(30)(i) for i in range(30)])
    close(dict(zip(weights(model), twin.state_dict().values())), weights(model), tolerance)  # noqa: B905


@pytest.mark.parametrize("device", DEVICES)
def test_accumulated_batches_equal_the_large_batch(device):
    dtype = float_type(device)
    large, small = net(dtype=dtype), net(dtype=dtype)
    # 50 points: batches of 15 are grouped 15+15, 15+5, as the large ones are 30, 20.
    options = {"optimizer": lambda p: SGD(p, lr=0.1), "epochs": 3, "device": device, **QUIET}
    one = train(large, batches(50, 30, dtype), **options)
    two = train(small, batches(50, 15, dtype), accumulate=2, **options)
    assert one.updates == two.updates == 6
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert one.loss == pytest.approx(two.loss, abs=tolerance)
    close(weights(large), weights(small), tolerance)


def test_accumulation_counts_targets_and_not_rows():
    """Half of the targets of one batch are -100: it counts half."""
    data = points(40, torch.float64)
    labels = data.labels.clone()
    labels[:10] = -100
    large, small = net(dtype=torch.float64), net(dtype=torch.float64)
    options = {"optimizer": lambda p: SGD(p, lr=0.1), **QUIET}
    train(large, [(data.images, labels)], **options)
    halves = [(data.images[:20], labels[:20]), (data.images[20:], labels[20:])]
    train(small, halves, accumulate=2, **options)
    close(weights(large), weights(small), 1e-12)


def test_a_batch_without_a_target_adds_nothing_to_the_others():
    data = points(20, torch.float64)
    one, two = net(dtype=torch.float64), net(dtype=torch.float64)
    train(one, [data[:]], **QUIET)
    history = train(two, [data[:], (data.images, data.labels * 0 - 100)], accumulate=2, **QUIET)
    assert history.updates == 1
    close(weights(one), weights(two), 1e-12)


def test_the_seed_decides_everything():
    runs = []
    for seed in (1, 1, 2):
        model = net(dropout=0.5)
        history = train(model, batches(), epochs=2, seed=seed, **QUIET)
        runs.append((weights(model), history.loss))
    assert same(runs[0][0], runs[1][0]) and runs[0][1] == runs[1][1]
    assert not same(runs[0][0], runs[2][0])


def test_learns_and_measures():
    model = net()
    history = train(
        model,
        batches(300, 20),
        optimizer=lambda p: AdamW(p, lr=0.02),
        validation=batches(60, 60),
        metrics={"accuracy": accuracy},
        epochs=4,
        **QUIET,
    )
    assert history.updates == 60 and history.items == 1200 and history.stopped == "epochs"
    updates, values = history.curve("accuracy")
    assert updates == [15, 30, 45, 60] and values[-1] > 0.95
    assert history.curve()[1][-1] < history.curve()[1][0]
    assert history.seconds > 0 and history.items_per_second > 0 and history.peak_bytes > 1e6
    assert "60 updates" in repr(history) and "accuracy" in repr(history)


def test_model_comes_back_as_it_was_and_stays_usable():
    model = net(dropout=0.5).eval()
    train(model, batches(), validation=batches(), **QUIET)
    assert not model.training and not model.dropout.training
    optimizer = AdamW(model.parameters(), lr=0.01)
    history = train(model.train(), batches(), optimizer=optimizer, epochs=2, **QUIET)
    assert model.training and history.updates == 6


def test_steps_stop_in_the_middle_of_an_epoch():
    history = train(net(), batches(), epochs=9, steps=4, **QUIET)
    assert history.updates == 4 and history.stopped == "steps"
    part, whole = net(), net()
    train(part, batches(), epochs=9, steps=3, **QUIET)
    train(whole, batches(), epochs=1, **QUIET)
    assert same(weights(part), weights(whole))


def test_patience_and_the_best_weights():
    """A learning rate that ruins the model: the first evaluation is the best one."""
    model, seen = net(), []

    def remember(output, target):
        seen.append(weights(model))
        return 0.0

    history = train(
        model,
        batches(),
        optimizer=lambda p: SGD(p, lr=1.0),
        schedule=lambda step: 0.01 if step < 3 else 30.0,
        validation=[points()[:]],
        metrics={"_": remember},
        patience=2,
        keep_best=True,
        epochs=50,
        **QUIET,
    )
    measured = history.curve()[1]
    best = measured.index(min(measured))
    assert history.stopped == "patience" and len(measured) == best + 3 < 50
    assert same(weights(model), seen[best])


def test_evaluate_every():
    history = train(net(), batches(), validation=batches(), evaluate_every=2, epochs=2, **QUIET)
    assert history.curve()[0] == [2, 4, 6]
    history = train(net(), batches(), validation=batches(), steps=5, epochs=2, **QUIET)
    assert history.curve()[0] == [3, 5]


def test_a_loss_that_is_not_a_number():
    with pytest.raises(Diverged, match="loss of update [0-9]+ is (nan|inf): lower the learning"):
        train(net(), batches(), optimizer=lambda p: SGD(p, lr=1e30), epochs=5, **QUIET)


def test_other_losses_and_several_inputs():
    class Sum(type(net())):
        def forward(self, x, y):
            return super().forward(x + y)

    torch.manual_seed(0)
    x, y, target = torch.randn(8, 6), torch.randn(8, 6), torch.randn(8, 3)
    history = train(
        Sum(),
        [(x, y, target)],
        losses.mse,
        lambda p: AdamW(p, lr=0.05),
        epochs=60,
        **QUIET,
    )
    assert history.loss[-1] < 0.2 * history.loss[0]


def test_workers_and_fixed_lists_of_batches_train_alike():
    models = [net() for _ in range(3)]
    train(models[0], batches(shuffle=False), epochs=2, **QUIET)
    train(models[1], batches(shuffle=False, workers=2), epochs=2, **QUIET)
    train(models[2], list(batches(shuffle=False)), epochs=2, **QUIET)
    assert same(weights(models[0]), weights(models[1]))
    assert same(weights(models[0]), weights(models[2]))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs is 0, expected at least 1"),
        ({"accumulate": 0}, "accumulate is 0, expected at least 1"),
        ({"clip": -1.0}, "clip is -1.0, expected a norm above 0"),
        ({"precision": "fp8"}, "precision is 'fp8', expected fp32, bf16, fp16"),
        ({"recompute": "first"}, "recompute is 'first', expected a tuple of names"),
        ({"recompute": ("second",)}, "no layer is named 'second': there are first, relu"),
        ({"patience": 2}, "need evaluations: pass validation="),
        ({"keep_best": True}, "need evaluations: pass validation="),
        ({"save": "."}, "save is ., which is a folder"),
        ({"loss": torch.nn.functional.cross_entropy}, "one of torch's: take one from roofline"),
        ({"loss": torch.nn.CrossEntropyLoss()}, "one of torch's"),
        ({"loss": lambda x, y: losses.cross_entropy(x, y, reduction="none")}, "of one number"),
        ({"metrics": [accuracy], "validation": batches()}, "metrics needs names"),
        ({"epoch": 3}, "'epoch' is not a setting: there are epochs, steps"),
        ({"device": "gpu"}, "device is 'gpu', expected cpu"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        train(net(), batches(), **{**QUIET, **options})


def test_a_validation_set_without_batches_is_found_before_training():
    model = net()
    before = weights(model)
    with pytest.raises(ValueError, match="there is no batch"):
        train(model, batches(), validation=[], **QUIET)
    assert same(weights(model), before)


@pytest.mark.parametrize("given", [[], None, 3, torch.zeros(3), points()])
def test_wrong_batches(given):
    with pytest.raises(ValueError, match="there is no batch|expected roofline.data.loader"):
        train(net(), given, **QUIET)
    with pytest.raises(ValueError, match="a batch is a Tensor, expected a tuple"):
        train(net(), [torch.zeros(3, 6)], **QUIET)
    with pytest.raises(ValueError, match="NumPy array: torch.as_tensor"):
        train(net(), [tuple(value.numpy() for value in points(4)[:])], **QUIET)


def test_settings_can_be_given_as_one():
    history = train(net(), batches(), settings=Settings(epochs=2, progress=False), steps=5)
    assert history.updates == 5


def test_progress_bar_says_speed_and_memory(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    train(net(), batches(), epochs=3, progress=True)
    text = screen.getvalue()
    assert "9/9" in text and "items/s" in text and "GB" in text and "loss" in text
    screen.truncate(0)
    monkeypatch.setenv("ROOFLINE_MEASURE", "replay")
    train(net(), batches())
    assert not screen.getvalue().strip("\0")


def test_deterministic_is_switched_back(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    during = []

    def loss(output, target):
        during.append(torch.are_deterministic_algorithms_enabled())
        return losses.cross_entropy(output, target)

    train(net(), batches(), loss, deterministic=True, **QUIET)
    assert all(during) and not torch.are_deterministic_algorithms_enabled()


def test_empty_history():
    assert History().items_per_second == 0 and History().updates == 0
