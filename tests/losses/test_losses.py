"""Every loss, as function and layer, against torch's; and what 16 bits do at large logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from devices import DEVICES, float_type
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline import losses, nn
from roofline.autograd import Tensor, gradcheck

torch.manual_seed(0)
SCORES, OTHERS = torch.randn(6, 4), torch.randn(6, 4)
SHARES = torch.rand(6, 4)
CLASSES = torch.tensor([0, 3, -100, 1, 1, 2])
IMAGE, LABELS = torch.randn(2, 4, 3, 5), torch.randint(0, 4, (2, 3, 5))
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 3.0])
LOG_P = OTHERS.log_softmax(-1)
ONE_HOT = torch.eye(6, 4)

CASES: list[tuple[str, Any, torch.Tensor, torch.Tensor, dict[str, Any]]] = [
    ("mse", F.mse_loss, SCORES, OTHERS, {}),
    ("l1", F.l1_loss, SCORES, OTHERS, {}),
    ("huber", F.huber_loss, SCORES, OTHERS, {}),
    ("huber", F.huber_loss, SCORES, OTHERS, {"delta": 0.3}),
    ("kl_divergence", F.kl_div, LOG_P, SHARES, {}),
    ("kl_divergence", F.kl_div, LOG_P, ONE_HOT, {}),
    ("kl_divergence", F.kl_div, LOG_P, SHARES.log(), {"log_target": True}),
    ("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits, SCORES, SHARES, {}),
    (
        "binary_cross_entropy_with_logits",
        F.binary_cross_entropy_with_logits,
        SCORES,
        SHARES,
        {"weight": WEIGHT, "pos_weight": WEIGHT.flip(0)},
    ),
    ("nll", F.nll_loss, LOG_P, CLASSES, {}),
    ("nll", F.nll_loss, LOG_P, CLASSES, {"weight": WEIGHT, "ignore_index": 1}),
    ("nll", F.nll_loss, IMAGE, LABELS, {"weight": WEIGHT}),
    ("cross_entropy", F.cross_entropy, SCORES, CLASSES, {}),
    ("cross_entropy", F.cross_entropy, SCORES, CLASSES, {"label_smoothing": 0.2}),
    (
        "cross_entropy",
        F.cross_entropy,
        SCORES,
        CLASSES,
        {"weight": WEIGHT, "label_smoothing": 0.2},
    ),
    ("cross_entropy", F.cross_entropy, IMAGE, LABELS, {"ignore_index": 2, "weight": WEIGHT}),
]

LAYERS = {
    "mse": "MSELoss",
    "l1": "L1Loss",
    "huber": "HuberLoss",
    "kl_divergence": "KLDivLoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
    "nll": "NLLLoss",
    "cross_entropy": "CrossEntropyLoss",
}


def valid(options: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
    """Targets of which none is -100 if the options ignore another number."""
    return targets.clamp_min(0) if "ignore_index" in options else targets


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
@pytest.mark.parametrize(("name", "theirs", "x", "target", "options"), CASES)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_values_and_gradients_equal_torchs(
    name: str, theirs: Any, x: Any, target: Any, options: Any, reduction: str, device: str
) -> None:
    if reduction == "batchmean" and name != "kl_divergence":
        return
    dtype = float_type(device)
    options = {
        key: value.to(device, dtype) if isinstance(value, torch.Tensor) else value
        for key, value in options.items()
    }
    target = valid(options, target).to(device)
    target = target.to(dtype) if target.is_floating_point() else target
    our, their = Tensor(x.to(device, dtype), True), x.to(device, dtype).requires_grad_()
    expected = theirs(their, target, reduction=reduction, **options)
    loss = getattr(losses, name)(our, target, reduction=reduction, **options)
    bound = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {}
    torch.testing.assert_close(loss.data, expected.detach(), **bound)
    torch.manual_seed(1)
    grad = torch.randn(expected.shape).to(expected)
    loss.backward(grad)
    expected.backward(grad)
    torch.testing.assert_close(our.grad, their.grad, **bound)
    layer = getattr(losses, LAYERS[name])(reduction=reduction, **options)
    torch.testing.assert_close(layer(our, target).data, expected.detach(), **bound)


def test_every_loss_is_checked() -> None:
    """A new loss, or a new layer of one, fails here until it stands in the tables above."""
    own = {n: f for n, f in vars(losses).items() if getattr(f, "__module__", "") == losses.__name__}
    functions = {name for name, f in own.items() if not isinstance(f, type) and name[0] != "_"}
    layers = {name for name, f in own.items() if isinstance(f, type)}
    assert functions == set(LAYERS) == {name for name, *_ in CASES}
    assert layers == set(LAYERS.values())


@pytest.mark.parametrize(("name", "_", "x", "target", "options"), CASES)
@settings(max_examples=6, deadline=None, derandomize=True, database=None)
@given(
    reduction=st.sampled_from(["mean", "sum", "none"]),
    rows=st.integers(0, 3),
    gaps=st.booleans(),
)
def test_gradients_are_difference_quotients(
    name: str, _: Any, x: Any, target: Any, options: Any, reduction: str, rows: int, gaps: bool
) -> None:
    """Of no row to three, whole and as a view with gaps; of the target too, if it has one."""
    x, target = x[:rows].double(), valid(options, target)[:rows]
    options = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    if gaps:
        x = torch.stack([x, x], -1)[..., 0]
    leaves = [Tensor(x, True)]
    if name in ("mse", "l1", "huber"):
        leaves.append(Tensor(target.double(), True))
    elif target.is_floating_point():
        target = target.double()

    def loss(x: Tensor, y: Any = target) -> Tensor:
        return getattr(losses, name)(x, y, reduction=reduction, **options)

    if loss(*leaves).data.isfinite().all():  # the mean of nothing is NaN
        assert gradcheck(loss, *leaves, atol=1e-6)
    else:
        assert rows == 0 or name in ("nll", "cross_entropy")


def test_both_sides_of_a_distance_get_a_gradient() -> None:
    for name in ("mse", "l1", "huber"):
        x, y = Tensor(SCORES, True), Tensor(OTHERS, True)
        getattr(losses, name)(x, y).backward()
        assert x.grad.any() and torch.equal(x.grad, -y.grad)


def test_class_weights_move_and_are_saved_with_the_layer() -> None:
    layer = losses.CrossEntropyLoss(weight=WEIGHT)
    assert list(layer.state_dict()) == list(torch.nn.CrossEntropyLoss(WEIGHT).state_dict())
    assert layer.to(torch.float64).weight.dtype == torch.float64
    assert losses.CrossEntropyLoss().state_dict() == {}


HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("size", [1e4, 3e4])
def test_classification_in_16_bits_is_finite_at_large_logits(
    dtype: torch.dtype, size: float, device: str
) -> None:
    """Right and wrong answers at logits of ±size: float32 losses, exact gradients, any batch."""
    logits = torch.full((64, 3), -size)
    logits[:, 0] = size
    logits = logits.to(device, dtype)
    for target, expected in ((0, 0.0), (1, 2 * float(logits[0, 0]))):
        targets = torch.full((64,), target, device=device)
        for loss, x in (
            (losses.cross_entropy, logits),
            (losses.nll, logits.float().log_softmax(-1).clamp(-6e4).to(dtype)),
        ):
            x = Tensor(x, True)
            value = loss(x, targets)
            assert value.dtype == torch.float32
            assert value.item() == pytest.approx(expected, rel=0.01)
            value.backward()
            assert x.grad.dtype == dtype and x.grad.isfinite().all()
    x = Tensor(logits, True)
    losses.cross_entropy(x, torch.full((64,), 1, device=device), reduction="sum").backward()
    assert torch.equal(x.grad, torch.tensor([1.0, -1.0, 0.0]).expand(64, 3).to(x.grad))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALVES)
def test_binary_classification_in_16_bits_is_finite_at_large_logits(
    dtype: torch.dtype, device: str
) -> None:
    x = Tensor(torch.tensor([1e4, 1e4, -1e4, -1e4], device=device, dtype=dtype), True)
    targets = torch.tensor([1.0, 0.0, 1.0, 0.0], device=device, dtype=dtype)
    loss = losses.binary_cross_entropy_with_logits(x, targets, reduction="none")
    assert loss.data.tolist() == [0, float(x.data[0]), float(x.data[0]), 0]
    loss.backward(torch.ones(4, device=device))
    assert x.grad.tolist() == [0, 1, -1, 0]


@pytest.mark.parametrize("dtype", HALVES)
def test_the_other_losses_at_large_numbers_are_finite(dtype: torch.dtype) -> None:
    x = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], dtype=dtype)
    q = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]], dtype=dtype)
    for name, target, expected in (
        ("l1", -x, 2e4 * 5 / 6),
        ("huber", -x, (2e4 - 0.5) * 5 / 6),
        ("kl_divergence", q, (0.5 * 1e4 + 1e4) / 6),
    ):
        leaf = Tensor(-x.abs() if name == "kl_divergence" else x, True)
        value = getattr(losses, name)(leaf, target)
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected, rel=0.01)
        value.backward()
        assert leaf.grad.dtype == dtype and leaf.grad.isfinite().all()


@pytest.mark.parametrize("dtype", HALVES)
def test_squares_of_16_bit_numbers_do_not_overflow(dtype: torch.dtype) -> None:
    x = Tensor(torch.tensor([1e4, -1e4], dtype=dtype), True)
    loss = losses.mse(x, torch.zeros(2, dtype=dtype))
    assert loss.item() == pytest.approx(1e8, rel=0.01)
    loss.backward()
    assert x.grad.tolist() == pytest.approx([1e4, -1e4], rel=0.01)


def test_nothing_but_ignored_targets_is_nan_as_in_torch() -> None:
    """And nothing is learned from it."""
    ignored = torch.full((6,), -100)
    for loss in (losses.cross_entropy, losses.nll):
        x = Tensor(LOG_P, True)
        value = loss(x, ignored)
        assert value.data.isnan()
        value.backward()
        assert torch.equal(x.grad, torch.zeros(6, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.mse(SCORES, OTHERS[:, :1]), r"\(6, 4\) and \(6, 1\)"),
        (lambda: losses.l1(SCORES, OTHERS[0]), "equal shapes"),
        (lambda: losses.huber(SCORES, OTHERS, "median"), "reduction"),
        (lambda: losses.cross_entropy(SCORES, SHARES), "class numbers"),
        (lambda: losses.cross_entropy(IMAGE, LABELS[0]), "targets"),
        (lambda: losses.nll(LOG_P, CLASSES[:3]), r"\(3,\)"),
        (lambda: losses.cross_entropy(SCORES, CLASSES, reduction="batchmean"), "reduction"),
        (lambda: losses.huber(torch.ones(2), torch.ones(2), delta=0.0), "above 0"),
        (
            lambda: losses.cross_entropy(
                torch.ones(2, 3), torch.tensor([0, 1]), None, -100, "sum", 2
            ),
            "from 0 to 1",
        ),
    ],
)
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.nll])
@pytest.mark.parametrize("wrong", [4, -1, -100])
def test_a_target_that_is_no_class_is_named(loss: Any, wrong: int) -> None:
    """Ignored it costs nothing; else the message has its number and those that there are."""
    for x, targets in ((LOG_P, CLASSES), (IMAGE, LABELS)):
        targets = targets.clamp_min(0)
        targets[-1] = wrong
        loss(x, targets, ignore_index=wrong)
        with pytest.raises(IndexError, match=f"target is {wrong}, but there are 4 classes, 0 to 3"):
            loss(x, targets, ignore_index=7)


def test_losses_are_layers() -> None:
    assert all(issubclass(getattr(losses, name), nn.Module) for name in LAYERS.values())


def test_yes_and_no_are_targets_too() -> None:
    x, answers = Tensor([1.0, -2.0], requires_grad=True), torch.tensor([True, False])
    losses.binary_cross_entropy_with_logits(x, answers).backward()
    torch.testing.assert_close(x.grad, (x.data.sigmoid() - answers.float()) / 2)
