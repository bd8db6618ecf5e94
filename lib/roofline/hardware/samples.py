"""The kernels that calibration times: a few shapes for each family, none of them a model's."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import torch

from roofline.hardware.count import Call, Counter

aten: Any = torch.ops.aten
Sample = Callable[[], object]
Samples = dict[str, list[Sample]]


def samples() -> Samples:
    """For each family, calls that run one of its kernels each."""
    generator = torch.Generator().manual_seed(0)
    random = partial(torch.randn, generator=generator)
    return {
        **_products(random),
        **_convolutions(random),
        **_fused(random),
        **_elementwise(random),
        **_rows(random),
        **_tables(random),
    }


def _products(random: Callable[..., torch.Tensor]) -> Samples:
    gemm: list[Sample] = []
    bmm: list[Sample] = []
    for m, k, n in (
        (16, 16, 16), (256, 256, 256), (512, 512, 512), (16, 512, 512), (1024, 32, 512),
        (1024, 512, 32), (459, 305, 173), (2047, 131, 19), (61, 83, 509), (507, 67, 77),
    ):  # fmt: skip
        x, w, b, y = random(m, k), random(n, k), random(n), random(m, n)
        gemm += [partial(torch.addmm, b, x, w.t()), partial(torch.mm, x, w.t())]
        gemm += [partial(torch.mm, y, w), partial(torch.mm, y.t(), x)]
    for batch, m, k, n in (
        (8, 16, 16, 16), (32, 32, 32, 32), (16, 128, 32, 128), (16, 128, 128, 32), (64, 64, 16, 64),
    ):  # fmt: skip
        x, turned = random(batch, m, k), random(batch, n, k).transpose(1, 2)
        bmm += [partial(torch.bmm, x, turned), partial(torch.bmm, x, turned.contiguous())]
    return {"gemm": gemm, "bmm": bmm}


def _convolutions(random: Callable[..., torch.Tensor]) -> Samples:
    forward: list[Sample] = []
    backward: list[Sample] = []
    for batch, side, channels, outputs, window in (
        (8, 8, 16, 16, 3), (16, 16, 16, 32, 3), (32, 28, 1, 16, 5), (16, 32, 3, 32, 3),
        (16, 16, 32, 64, 5), (32, 24, 16, 16, 3), (8, 32, 32, 16, 3), (16, 14, 48, 48, 3),
        (8, 24, 3, 20, 3), (16, 14, 20, 40, 3), (2, 6, 3, 16, 3), (4, 6, 16, 32, 5),
    ):  # fmt: skip
        x, w = random(batch, channels, side, side), random(outputs, channels, window, window)
        y, b = random(batch, outputs, side, side), random(outputs)
        shape = ([1, 1], [window // 2] * 2, [1, 1], False, [0, 0], 1)
        forward.append(partial(aten.convolution, x, w, b, *shape))
        for x_too in (True, False):
            mask = [x_too, True, True]
            backward.append(partial(aten.convolution_backward, y, x, w, [outputs], *shape, mask))
    pool: list[Sample] = []
    pool_backward: list[Sample] = []
    for side in (4, 48):
        x, two = random(8, 16, side, side), [2, 2]
        y, place = aten.max_pool2d_with_indices(x, two, two)
        pool.append(partial(aten.max_pool2d_with_indices, x, two, two))
        arguments = (y, x, two, two, [0, 0], [1, 1], False, place)
        pool_backward.append(partial(aten.max_pool2d_with_indices_backward, *arguments))
    return {
        "convolution": forward,
        "convolution_backward": backward,
        "pool": pool,
        "pool_backward": pool_backward,
    }


def _fused(random: Callable[..., torch.Tensor]) -> Samples:
    """The kernels that PyTorch's own attention and recurrent layers call, forward and backward."""
    found: Samples = {}
    for batch, heads, length, width in (
        (1, 1, 16, 16), (4, 4, 64, 32), (2, 4, 128, 32), (4, 2, 256, 16), (2, 2, 128, 64),
        (4, 4, 32, 64),
    ):  # fmt: skip
        qkv = random(batch, length, 3, heads, width).requires_grad_().permute(2, 0, 3, 1, 4)
        attend = partial(torch.nn.functional.scaled_dot_product_attention, is_causal=True)
        for call in _kernels_of(partial(attend, *qkv), "_scaled_dot_product_flash"):
            _remember(found, "attention", call)
    for length, batch, inputs, hidden in (
        (4, 8, 16, 16), (16, 16, 32, 64), (32, 8, 16, 32), (16, 32, 64, 128), (32, 16, 16, 128),
        (8, 64, 128, 256),
    ):  # fmt: skip
        layer, x = torch.nn.LSTM(inputs, hidden), random(length, batch, inputs)
        for call in _kernels_of(lambda f=layer, x=x: f(x)[0], "mkldnn_rnn_layer"):  # type: ignore[misc]
            _remember(found, "recurrent", call)
    return found


def _kernels_of(function: Callable[[], torch.Tensor], mark: str) -> list[Call]:
    """The calls of kernels with a name like ``mark`` in a forward and backward pass."""
    calls: list[Call] = []

    class Listener(Counter):
        def kernel(self, call: Call) -> None:
            if call.operator.name.startswith(mark):
                calls.append(call)

    with Listener():
        function().sum().backward()
    return calls


def _remember(found: Samples, family: str, call: Call) -> None:
    """Add a caught call to its family, to be made again alone."""
    name = call.operator.name
    args = [each.detach() if isinstance(each, torch.Tensor) else each for each in call.args]
    family = f"{family}_backward" if name.endswith("_backward") else family
    found.setdefault(family, []).append(partial(getattr(aten, name), *args, **call.kwargs))


def _elementwise(random: Callable[..., torch.Tensor]) -> Samples:
    found: Samples = {}
    for rows, width in ((4, 4), (128, 256)):
        x, y = random(rows, width).abs() + 0.1, random(rows, width)
        mask = torch.ones(rows, width, dtype=torch.bool).triu()
        adam = partial(
            torch._fused_adamw_, *([random(rows, width).abs()] for _ in range(4)), [],
            [torch.ones(())], lr=1e-3, beta1=0.9, beta2=0.999, weight_decay=0.01, eps=1e-8,
            amsgrad=False, maximize=False,
        )  # fmt: skip
        calls: dict[str, Sample] = {
            "plain": partial(torch.add, x, y),
            "exp": partial(torch.exp, y),
            "log": partial(torch.log, x),
            "erf": partial(torch.erf, y),
            "sigmoid": partial(torch.sigmoid, y),
            "tanh": partial(torch.tanh, y),
            "gelu": partial(torch.nn.functional.gelu, y),
            "gelu_backward": partial(aten.gelu_backward, x, y),
            "root": partial(torch.sqrt, x),
            "compare": partial(torch.gt, y, 0),
            "mask": partial(torch.gt, y, 0, out=torch.empty_like(y)),
            "select": partial(torch.masked_fill, y, mask, 0.0),
            "adam": adam,
        }
        for family, call in calls.items():
            found.setdefault(family, []).append(call)
    return found


def _rows(random: Callable[..., torch.Tensor]) -> Samples:
    """Kernels that work along rows: a row costs something, and each element of it."""
    found: Samples = {}
    for rows, width in ((2, 4), (128, 256), (4096, 8), (512, 64), (4096, 4)):
        x, y, g = random(rows, width), random(rows, width), random(width)
        _, mean, scale = aten.native_layer_norm(x, [width], g, g, 1e-5)
        norm = (y, x, [width], mean, scale, g, g, [True, True, True])
        calls: dict[str, Sample] = {
            "reduce": partial(torch.sum, x, -1),
            "reduce_columns": partial(torch.sum, x, 0),
            "moments": partial(torch.var_mean, x, -1),
            "moments_columns": partial(torch.var_mean, x, 0),
            "arg": partial(torch.max, x, -1),
            "arg_columns": partial(torch.max, x, 0),
            "softmax": partial(torch.softmax, y, -1),
            "softmax_backward": partial(aten._softmax_backward_data, x, y, -1, torch.float32),
            "layer_norm": partial(aten.native_layer_norm, x, [width], g, g, 1e-5),
            "layer_norm_backward": partial(aten.native_layer_norm_backward, *norm),
            "turn": x.t().contiguous,
            "copy": y[:, : width // 2].contiguous,
            "strided": partial(torch.add, x[:, ::2], y[:, ::2]),
        }
        for family, call in calls.items():
            found.setdefault(family, []).append(call)
    for side in (8, 24):  # windows of 2×2, as pooling sees them: short rows in many dimensions
        windows = random(4, 8, side, side).unfold(2, 2, 2).unfold(3, 2, 2)
        found["copy"].append(windows.contiguous)
        spread = random(4, 8, side, side)[..., ::2, ::2]
        found.setdefault("strided", []).append(
            partial(torch.Tensor.add_, spread, windows[..., 0, 1])
        )
    return found


def _tables(random: Callable[..., torch.Tensor]) -> Samples:
    gather: list[Sample] = []
    scatter: list[Sample] = []
    pick: list[Sample] = []
    place: list[Sample] = []
    for rows, width in ((4, 4), (256, 128)):
        table, values = random(rows, width), random(rows, width)
        picks = torch.arange(rows).flip(0)
        gather.append(partial(torch.index_select, table, 0, picks))
        scatter.append(partial(table.index_add_, 0, picks, values))
        places = torch.zeros(rows * width // 4, 1, dtype=torch.long)
        short = random(rows * width // 4, 4)
        pick.append(partial(torch.gather, short, 1, places))
        place.append(partial(short.scatter_, 1, places, short[:, :1].contiguous()))
    return {"gather": gather, "scatter": scatter, "pick": pick, "place": place}


# What an operator costs on the way to its kernel. Different operators in a row, because a processor
# learns to repeat a single one faster than a step ever does it.


def launches(recorded: bool = False) -> Sample:
    """Different plain kernels on almost nothing; if ``recorded``, and back through autograd."""
    x, w = torch.ones(4, 4, requires_grad=recorded), torch.ones(4, 4, requires_grad=recorded)

    def run() -> None:
        y = (x + w) * x
        y = torch.relu(y) - w
        y = torch.maximum(y, x) / w
        y = torch.addcmul(y, x, w).clamp_min(0.5)
        y = torch.lerp(y, x, 0.5).abs().sqrt()
        if recorded:
            y.backward(x)

    return run


def views() -> Sample:
    """Different views of one tensor."""
    x = torch.ones(4, 4)

    def run() -> None:
        x.view(2, 2, 4).transpose(0, 1)
        x[1].unsqueeze(0).expand(3, 4)
        x.t().narrow(0, 1, 2).reshape(2, 4)
        x.detach().permute(1, 0)

    return run


def python() -> Sample:
    """Ordinary Python, of the standard library: functions calling functions, small objects."""
    text = "A processor that waits for memory is a heater. " * 3

    def run() -> None:
        textwrap.wrap(text, 30)
        inspect.signature(textwrap.wrap)
        Fraction(3, 7) + Fraction(1, 3)

    return run
