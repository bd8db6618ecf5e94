"""Every layer of one input against its torch twin: first values, names, outputs, gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from devices import DEVICES, float_type
from roofline import nn
from roofline.autograd import Tensor, kept
from twins import compare, twins

CASES: dict[str, tuple[str, tuple, dict[str, Any], tuple[int, ...]]] = {
    "Linear": ("Linear", (4, 3), {}, (5, 4)),
    "Linear of a sequence": ("Linear", (4, 3, False), {}, (2, 5, 4)),
    "Linear of one": ("Linear", (4, 3), {}, (4,)),
    "Flatten": ("Flatten", (), {}, (2, 3, 4, 5)),
    "Flatten from": ("Flatten", (2,), {}, (2, 3, 4, 5)),
    "Flatten between": ("Flatten", (0, 1), {}, (2, 3, 4, 5)),
    "Dropout of nothing": ("Dropout", (0.0,), {}, (2, 3)),
    "ReLU": ("ReLU", (), {}, (2, 3)),
    "GELU": ("GELU", (), {}, (2, 3)),
    "GELU tanh": ("GELU", ("tanh",), {}, (2, 3)),
    "SiLU": ("SiLU", (), {}, (2, 3)),
    "Sigmoid": ("Sigmoid", (), {}, (2, 3)),
    "Tanh": ("Tanh", (), {}, (2, 3)),
    "Softmax": ("Softmax", (1,), {}, (2, 3, 4)),
    "LayerNorm": ("LayerNorm", (4,), {}, (2, 3, 4)),
    "LayerNorm of a shape": ("LayerNorm", ((3, 4), 1e-3), {}, (2, 3, 4)),
    "LayerNorm plain": ("LayerNorm", ((3, 4), 1e-3, False), {}, (2, 3, 4)),
    "LayerNorm without bias": ("LayerNorm", (4, 1e-5, True, False), {}, (2, 3, 4)),
    "RMSNorm": ("RMSNorm", (4,), {}, (2, 3, 4)),
    "RMSNorm plain": ("RMSNorm", (4, 1e-3, False), {}, (2, 3, 4)),
    "BatchNorm1d": ("BatchNorm1d", (3,), {}, (6, 3)),
    "BatchNorm1d of sequences": ("BatchNorm1d", (3, 1e-3, None), {}, (6, 3, 5)),
    "BatchNorm1d plain": ("BatchNorm1d", (3, 1e-3, 0.2, False), {}, (6, 3, 5)),
    "BatchNorm2d": ("BatchNorm2d", (3, 1e-4, 0.3), {}, (2, 3, 4, 5)),
    "BatchNorm2d of batches only": ("BatchNorm2d", (3, 1e-4, 0.3, True, False), {}, (2, 3, 4, 5)),
    "Conv1d": ("Conv1d", (4, 6, 3), {}, (2, 4, 9)),
    "Conv1d with all": ("Conv1d", (4, 6, 3, 2, 1, 2, 2, False), {}, (2, 4, 9)),
    "Conv2d": ("Conv2d", (4, 6, 3), {}, (2, 4, 7, 8)),
    "Conv2d with all": ("Conv2d", (4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2), {}, (2, 4, 7, 8)),
    "Conv2d same": ("Conv2d", (4, 6, 3), {"padding": "same", "bias": False}, (2, 4, 7, 8)),
    "MaxPool2d": ("MaxPool2d", (2,), {}, (2, 3, 6, 7)),
    "MaxPool2d with all": ("MaxPool2d", (3, 2, 1), {}, (2, 3, 6, 7)),
    "AvgPool2d": ("AvgPool2d", (2,), {}, (2, 3, 6, 7)),
    "AvgPool2d with all": ("AvgPool2d", ((3, 2), (2, 1), (1, 1)), {}, (2, 3, 6, 7)),
    "AdaptiveAvgPool2d": ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 6, 7)),
    "AdaptiveAvgPool2d uneven": ("AdaptiveAvgPool2d", ((4, None),), {}, (2, 3, 6, 7)),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_a_layer_equals_its_twin(case: str, device: str) -> None:
    name, args, options, shape = CASES[case]
    our, their = twins(
        lambda: getattr(nn, name)(*args, **options),
        lambda: getattr(torch.nn, name)(*args, **options),
        device,
    )
    torch.manual_seed(2)
    for _ in range(3):  # running means move from batch to batch
        compare(our, their, torch.randn(shape, dtype=float_type(device), device=device))
    for key, value in their.state_dict().items():
        torch.testing.assert_close(our.state_dict()[key], value)
    our.eval(), their.eval()
    compare(our, their, torch.randn(shape, dtype=float_type(device), device=device))


@pytest.mark.parametrize("wrong", [5, -1])
def test_an_index_without_a_row_is_named(wrong: int) -> None:
    with pytest.raises(IndexError, match=f"index is {wrong}, but the table has 5 rows, 0 to 4"):
        nn.Embedding(5, 3)(torch.tensor([[1, wrong], [2, 9]]))
    with pytest.raises((IndexError, RuntimeError), match="int"):  # torch's own for what else fails
        nn.Embedding(5, 3)(torch.tensor([1.0]))


@pytest.mark.parametrize("device", DEVICES)
def test_embedding_equals_its_twin(device: str) -> None:
    indices = torch.tensor([[1, 4, 1], [0, 3, 4]], device=device)
    for padding in (None, 4, -1):
        our, their = twins(
            lambda p=padding: nn.Embedding(5, 3, p),
            lambda p=padding: torch.nn.Embedding(5, 3, p),
            device,
        )
        compare(our, their, indices)
    assert not nn.Embedding(5, 3, -1).weight.data[4].any()


def test_dropout_draws_what_torch_draws() -> None:
    our, their, x = nn.Dropout(0.3), torch.nn.Dropout(0.3), torch.randn(40, 50)
    torch.manual_seed(3)
    dropped = our(Tensor(x)).data
    torch.manual_seed(3)
    torch.testing.assert_close(dropped, their(x))
    assert 0.2 < (dropped == 0).float().mean() < 0.4
    assert our.eval()(x) is x


def test_a_layer_takes_a_torch_tensor_too() -> None:
    assert isinstance(nn.Linear(4, 3)(torch.ones(2, 4)), Tensor)
    assert isinstance(nn.LayerNorm(4)(torch.ones(2, 4)), Tensor)
    assert isinstance(nn.Conv2d(1, 2, 3)(torch.ones(2, 1, 4, 4)), Tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_layer_norm_of_equal_numbers_is_its_bias(dtype: torch.dtype) -> None:
    norm = nn.LayerNorm(8).to(dtype)
    norm.bias.data.copy_(torch.arange(8))
    for number in (0.0, 1.0, -300.0):
        x = Tensor(torch.full((2, 8), number, dtype=dtype), True)
        y = norm(x)
        assert torch.equal(y.data, torch.arange(8, dtype=dtype).expand(2, 8))
        y.backward(torch.randn(2, 8).to(dtype))
        assert x.grad.isfinite().all() and norm.weight.grad.isfinite().all()


def test_softmax_of_nothing_but_minus_infinity_is_nan_and_of_one_number_is_1() -> None:
    """There is no distribution over nothing: NaN, as in torch; attention gives 0 instead."""
    rows = torch.tensor([[-torch.inf, -torch.inf], [-torch.inf, 3.0], [1e4, -1e4]])
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        p = nn.Softmax()(rows.to(dtype)).data
        assert p[0].isnan().all() and p[1].tolist() == [0, 1] and p[2].tolist() == [1, 0]


def test_no_batch_at_all_moves_no_running_mean() -> None:
    layer = nn.BatchNorm1d(3)
    assert layer(Tensor(torch.zeros(0, 3))).shape == (0, 3)
    assert layer.running_mean.tolist() == [0] * 3 and layer.running_var.tolist() == [1] * 3


@pytest.mark.parametrize("kernel", [(1, 300), (300, 2)])
def test_a_window_may_be_longer_than_a_byte_counts(kernel: tuple[int, int]) -> None:
    x = torch.randn(1, 1, kernel[0] + 1, kernel[1] + 2)
    ours, theirs = Tensor(x, requires_grad=True), x.clone().requires_grad_()
    nn.MaxPool2d(kernel, 1)(ours).sum().backward()
    torch.nn.functional.max_pool2d(theirs, kernel, 1).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (lambda: nn.Linear(784, 10), (32, 28, 28), r"takes 784 features .* \(32, 28, 28\)"),
        (lambda: nn.LayerNorm(5), (2, 4), r"\(5,\)"),
        (lambda: nn.RMSNorm(5), (2, 4), r"\(5,\)"),
        (lambda: nn.BatchNorm1d(3), (2, 3, 4, 5), "takes 2 or 3 dimensions"),
        (lambda: nn.BatchNorm2d(3), (2, 4, 5, 5), "3 channels"),
        (lambda: nn.BatchNorm1d(3), (1, 3), "more than one value"),
        (lambda: nn.Conv2d(3, 4, 3), (2, 1, 5, 5), "1 channels"),
        (lambda: nn.Conv2d(3, 4, 3), (3, 5, 5), "4 dimensions"),
        (lambda: nn.MaxPool2d(2), (3, 5, 5), r"takes \(n, c, h, w\)"),
        (lambda: nn.Conv2d(3, 4, 7), (2, 3, 5, 5), "does not fit|too large|Kernel size"),
    ],
)
def test_a_wrong_shape_is_named(layer: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises((ValueError, RuntimeError), match=message):
        layer()(Tensor(torch.zeros(shape)))


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Embedding(3, 2, 5),
        lambda: nn.Dropout(1.5),
        lambda: nn.GELU("cubic"),
        lambda: nn.RMSNorm((3, 4)),
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: nn.Conv2d(3, 4, 3, padding="full"),
        lambda: nn.MultiheadAttention(6, 4),
        lambda: nn.MultiheadAttention(8, 4, kv_heads=3),
        lambda: nn.TransformerEncoderLayer(8, 2, activation="cubic"),
        lambda: nn.RotaryPositions(4, 3),
    ],
)
def test_impossible_settings_are_refused(build: Any) -> None:
    with pytest.raises(ValueError):
        build()


def test_what_layers_keep_is_told_by_layer() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.GELU()), nn.Linear(8, 2))
    x = torch.ones(3, 4)
    report = kept(model(x).sum(), besides=[*model.parameters(), x])
    # GELU keeps its slope; the last Linear its input.
    assert report.by_layer == {"1.0": 3 * 8 * 4, "2": 3 * 8 * 4}
