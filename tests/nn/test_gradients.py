"""Every layer under shapes that nobody chose: finite differences, torch's twin, 16 bits.

Sizes are drawn, batches may be empty and inputs may be views with gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from devices import DEVICES, float_type
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline import nn
from roofline.autograd import Tensor, gradcheck
from twins import compare, twins

Draw = Callable[[Any], Any]
sizes = st.integers(1, 4)
batches = st.integers(0, 3)
Case = tuple[tuple, dict[str, Any], tuple[int, ...]]  # arguments, options, input shape


def linear(draw: Draw) -> Case:
    inputs, leading = draw(sizes), draw(st.lists(batches, max_size=3))
    return (inputs, draw(sizes), draw(st.booleans())), {}, (*leading, inputs)


def conv(draw: Draw, dimensions: int) -> Case:
    groups, kernel = draw(st.integers(1, 2)), [draw(st.integers(1, 3)) for _ in range(dimensions)]
    channels, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    dilation = [draw(st.integers(1, 2)) for _ in range(dimensions)]
    sides = [d * (k - 1) + draw(sizes) for k, d in zip(kernel, dilation, strict=True)]
    options = {
        "stride": draw(st.integers(1, 2)),
        "padding": tuple(draw(st.integers(0, 2)) for _ in range(dimensions)),
        "dilation": tuple(dilation),
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    return (channels, outputs, tuple(kernel)), options, (draw(batches), channels, *sides)


def pool(draw: Draw) -> Case:
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    sides = [k + draw(st.integers(0, 4)) for k in kernel]
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    return (kernel, stride, padding), {}, (draw(batches), draw(sizes), *sides)


def adaptive(draw: Draw) -> Case:
    return ((draw(sizes), draw(sizes)),), {}, (draw(batches), draw(sizes), draw(sizes), draw(sizes))


def any_shape(draw: Draw, *args: Any) -> Case:
    return args, {}, tuple(draw(st.lists(batches, min_size=1, max_size=3)))


def softmax(draw: Draw) -> Case:
    shape = draw(st.lists(sizes, min_size=1, max_size=3))
    return (draw(st.integers(-len(shape), len(shape) - 1)),), {}, tuple(shape)


def flatten(draw: Draw) -> Case:
    shape = draw(st.lists(sizes, min_size=2, max_size=4))
    first = draw(st.integers(0, len(shape) - 1))
    return (first, draw(st.integers(first, len(shape) - 1))), {}, tuple(shape)


def layer_norm(draw: Draw) -> Case:
    shape = draw(st.lists(st.integers(2, 4), min_size=1, max_size=2))
    affine = draw(st.booleans())
    return (shape, 1e-3, affine, draw(st.booleans())), {}, (draw(batches), draw(sizes), *shape)


def rms_norm(draw: Draw) -> Case:
    width = draw(sizes)
    return (width, 1e-3, draw(st.booleans())), {}, (draw(batches), draw(sizes), width)


def batch_norm(draw: Draw, dimensions: int) -> Case:
    channels, sides = draw(sizes), [draw(sizes) for _ in range(dimensions)]
    args = (channels, 1e-3, 0.3, draw(st.booleans()), draw(st.booleans()))
    return args, {}, (draw(st.integers(2, 4)), channels, *sides)


def recurrent(draw: Draw) -> Case:
    args = (draw(sizes), draw(sizes), draw(st.integers(1, 2)))
    options = {"bias": draw(st.booleans()), "bidirectional": draw(st.booleans())}
    return args, options, (draw(st.integers(1, 3)), draw(batches), args[0])


def transformer(draw: Draw) -> Case:
    heads = draw(st.integers(1, 2))
    width = heads * draw(st.integers(1, 2))
    options = {"norm_first": draw(st.booleans()), "bias": draw(st.booleans()), "batch_first": True}
    options["activation"] = "gelu"
    return (width, heads, draw(sizes), 0.0), options, (draw(batches), draw(sizes), width)


LAYERS: dict[str, Callable[[Draw], Case]] = {
    "Linear": linear,
    "Conv1d": lambda draw: conv(draw, 1),
    "Conv2d": lambda draw: conv(draw, 2),
    "MaxPool2d": pool,
    "AvgPool2d": pool,
    "AdaptiveAvgPool2d": adaptive,
    "Flatten": flatten,
    "ReLU": any_shape,
    "GELU": lambda draw: any_shape(draw, draw(st.sampled_from(["none", "tanh"]))),
    "SiLU": any_shape,
    "Sigmoid": any_shape,
    "Tanh": any_shape,
    "Softmax": softmax,
    "LayerNorm": layer_norm,
    "RMSNorm": rms_norm,
    "BatchNorm1d": lambda draw: batch_norm(draw, draw(st.integers(0, 1))),
    "BatchNorm2d": lambda draw: batch_norm(draw, 2),
    "RNN": recurrent,
    "LSTM": recurrent,
    "GRU": recurrent,
    "TransformerEncoderLayer": transformer,
}

few = settings(max_examples=8, deadline=None, derandomize=True, database=None)
fewer = settings(few, max_examples=4)


def numbers(shape: tuple[int, ...], gaps: bool) -> torch.Tensor:
    """Random float64; with ``gaps`` a view that is transposed and takes every second number."""
    torch.manual_seed(len(shape))
    if not gaps or not shape:
        return torch.randn(shape, dtype=torch.float64)
    wide = torch.randn((*shape[:-1], 2 * shape[-1]), dtype=torch.float64)
    x = wide.transpose(0, -1).contiguous().transpose(0, -1)[..., ::2]
    assert x.shape == shape
    return x


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", LAYERS)
@few
@given(data=st.data(), gaps=st.booleans())
def test_gradients_are_difference_quotients_and_torchs(
    name: str, device: str, data: Any, gaps: bool
) -> None:
    args, options, shape = LAYERS[name](data.draw)
    our, their = twins(
        lambda: getattr(nn, name)(*args, **options),
        lambda: getattr(torch.nn, name)(*args, **options),
        device,
    )
    x = numbers(shape, gaps).to(device, float_type(device))
    compare(our, their, x)
    if x.dtype != torch.float64:
        return  # MPS: differences of float32 numbers are noise
    leaf = Tensor(x, True)

    def first(*_: Any) -> Tensor:
        out = our(leaf)
        return out[0] if isinstance(out, tuple) else out

    assert gradcheck(first, leaf, *our.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LAYERS)
@few
@given(data=st.data())
def test_a_layer_stays_in_its_dtype(name: str, data: Any, dtype: torch.dtype) -> None:
    args, options, shape = LAYERS[name](data.draw)
    torch.manual_seed(0)
    layer = getattr(nn, name)(*args, **options).to(dtype)
    twin = getattr(nn, name)(*args, **options).to(torch.float64)
    twin.load_state_dict(layer.state_dict())
    x = Tensor(numbers(shape, False).to(dtype), True)
    expected = twin(Tensor(x.data.double()))
    out = layer(x)
    if isinstance(out, tuple):
        out, expected = out[0], expected[0]
    assert out.dtype == dtype
    bound = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.15}[dtype]
    torch.testing.assert_close(out.data.double(), expected.data, atol=bound, rtol=bound)
    out.backward(torch.ones_like(out.data))
    for leaf in (x, *layer.parameters()):
        assert leaf.grad is not None and leaf.grad.dtype == dtype and leaf.grad.isfinite().all()


@few
@given(data=st.data())
def test_embedding_by_difference_quotients(data: Any) -> None:
    rows, shape = data.draw(sizes), data.draw(st.lists(batches, max_size=3))
    layer = nn.Embedding(rows, data.draw(sizes)).to(torch.float64)
    indices = torch.randint(rows, shape, generator=torch.Generator().manual_seed(0))
    assert gradcheck(lambda _: layer(indices), layer.weight)


@fewer
@given(data=st.data())
def test_attention_by_difference_quotients(data: Any) -> None:
    draw = data.draw
    kv_heads, share = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    heads, width = kv_heads * share, kv_heads * share * 2
    n, t, s = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(3, 4))
    layer = nn.MultiheadAttention(width, heads, batch_first=True, kv_heads=kv_heads)
    layer = layer.to(torch.float64)
    torch.manual_seed(0)
    query = Tensor(torch.randn(n, t, width, dtype=torch.float64), True)
    memory = Tensor(torch.randn(n, s, width, dtype=torch.float64), True)
    padding = torch.rand(n, s) < 0.3 if draw(st.booleans()) else None  # now and then a whole row
    options = {"need_weights": draw(st.booleans()), "is_causal": draw(st.booleans())}
    assert gradcheck(
        lambda *_: layer(query, memory, memory, padding, **options)[0],
        query,
        memory,
        *layer.parameters(),
    )


@fewer
@given(data=st.data())
def test_decoder_layer_by_difference_quotients(data: Any) -> None:
    draw = data.draw
    layer = nn.TransformerDecoderLayer(
        2, 1, 3, 0.0, "gelu", batch_first=True, norm_first=draw(st.booleans())
    ).to(torch.float64)
    torch.manual_seed(0)
    target = Tensor(torch.randn(1, draw(sizes), 2, dtype=torch.float64), True)
    memory = Tensor(torch.randn(1, draw(sizes), 2, dtype=torch.float64), True)
    causal = draw(st.booleans())
    assert gradcheck(
        lambda *_: layer(target, memory, tgt_is_causal=causal), target, memory, *layer.parameters()
    )


@pytest.mark.parametrize("kind", ["LearnedPositions", "SinusoidalPositions", "RotaryPositions"])
@few
@given(data=st.data(), gaps=st.booleans())
def test_positions_by_difference_quotients(kind: str, data: Any, gaps: bool) -> None:
    width, t = 2 * data.draw(sizes), data.draw(sizes)
    layer = getattr(nn, kind)(4, width).to(torch.float64)
    x = Tensor(numbers((data.draw(batches), t, width), gaps), True)
    assert gradcheck(lambda *_: layer(x), x, *layer.parameters())


@pytest.mark.parametrize("kind", ["TransformerEncoder", "TransformerDecoder"])
def test_stacks_by_difference_quotients(kind: str) -> None:
    torch.manual_seed(0)
    layer = getattr(nn, f"{kind}Layer")(2, 1, 3, 0.0, "gelu", batch_first=True)
    stack = getattr(nn, kind)(layer, 2, nn.LayerNorm(2)).to(torch.float64)
    values = [Tensor(numbers((1, 2, 2), gaps), True) for gaps in (False, True)]
    values = values[:1] if kind == "TransformerEncoder" else values
    assert gradcheck(lambda *v: stack(*v[: len(values)]), *values, *stack.parameters())


def test_dropout_by_difference_quotients() -> None:
    layer = nn.Dropout(0.4)

    def seeded(x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return layer(x)

    assert gradcheck(seeded, Tensor(numbers((3, 4), False), True))


def test_padded_recurrent_batches_by_difference_quotients() -> None:
    lengths = torch.tensor([2, 4, 1])
    for kind in ("RNN", "LSTM", "GRU"):
        layer = getattr(nn, kind)(1, 2, 2, bidirectional=True).to(torch.float64)
        x = Tensor(numbers((4, 3, 1), False), True)
        assert gradcheck(lambda *_, f=layer, x=x: f(x, None, lengths)[0], x, *layer.parameters())


# Layers that the tests below check by name, and the names of those tests.
BY_NAME = {
    "Dropout": test_dropout_by_difference_quotients,
    "Embedding": test_embedding_by_difference_quotients,
    "LearnedPositions": test_positions_by_difference_quotients,
    "MultiheadAttention": test_attention_by_difference_quotients,
    "RotaryPositions": test_positions_by_difference_quotients,
    "SinusoidalPositions": test_positions_by_difference_quotients,
    "TransformerDecoder": test_stacks_by_difference_quotients,
    "TransformerDecoderLayer": test_decoder_layer_by_difference_quotients,
    "TransformerEncoder": test_stacks_by_difference_quotients,
}
NOTHING_OF_THEIR_OWN = {"Module", "ModuleList", "Sequential"}


def test_every_layer_is_checked() -> None:
    """A new layer fails here until its gradients are checked."""
    layers = {
        name
        for name in nn.__all__
        if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)
    }
    assert layers == {*LAYERS, *BY_NAME, *NOTHING_OF_THEIR_OWN}
