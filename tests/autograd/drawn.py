"""For every operation: arguments drawn by hypothesis, the operation, and what torch says of them.

``CASES[name](draw)`` gives three things: a function of Tensors, the same function of torch tensors,
and float64 values to call both with. Shapes may have sides of 0, values may be views that are
transposed, have gaps or repeat one number, and every option of the operation is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from roofline import autograd
from roofline.autograd import Tensor
from torch.nn import functional as F

Draw = Callable[[Any], Any]
Case = tuple[Callable[..., Any], Callable[..., Any], tuple[torch.Tensor, ...]]

CASES: dict[str, Callable[[Draw], Case]] = {}
PLACE = ["cpu"]  # the device that values are drawn on
some, any_, flag = st.integers(1, 3), st.integers(0, 3), st.booleans()


def case(draw_case: Callable[[Draw], Case]) -> Callable[[Draw], Case]:
    """A case under the name of its function, without the underscore that a builtin's name asks."""
    CASES[draw_case.__name__.rstrip("_")] = draw_case
    return draw_case


def shape(draw: Draw, least: int = 0, most: int = 3, side: Any = any_) -> tuple[int, ...]:
    return tuple(draw(st.lists(side, min_size=least, max_size=most)))


def value(draw: Draw, sides: Sequence[int], low: float | None = None) -> torch.Tensor:
    """Normal numbers, or such above ``low``, in memory as they stand or as a view of more."""
    sides = tuple(sides)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    layout = (
        draw(st.sampled_from(["whole", "transposed", "gaps", "repeated"])) if sides else "whole"
    )
    wide = {
        "transposed": sides[::-1],
        "gaps": (*sides[:-1], 2 * sides[-1] + 1) if sides else (),
        "repeated": (1, *sides[1:]),
    }.get(layout, sides)
    x = torch.randn(wide, generator=generator, dtype=torch.float64)
    x = (x if low is None else x.abs() + low).to(PLACE[0])
    if layout == "transposed":
        x = x.permute(*range(len(sides) - 1, -1, -1))
    elif layout == "gaps":
        x = x[..., 1::2]
    return x.expand(sides) if layout == "repeated" else x


def distinct(x: torch.Tensor) -> torch.Tensor:
    """``x`` without repeated numbers: at a tie the largest has no derivative."""
    return x + torch.linspace(0, 0.1, x.numel()).to(x).view(x.shape)


def several(draw: Draw, *sides: Sequence[int]) -> tuple[torch.Tensor, ...]:
    return tuple(value(draw, s) for s in sides)


def dimension(draw: Draw, x: torch.Tensor) -> int:
    return draw(st.integers(-x.dim(), x.dim() - 1))


def smooth(name: str, theirs: Callable, low: float | None = None) -> None:
    """A function of one number, element by element."""

    def draw_case(draw: Draw) -> Case:
        return getattr(autograd, name), theirs, (value(draw, shape(draw), low),)

    CASES[name] = draw_case


smooth("absolute", torch.abs)
smooth("cos", torch.cos)
smooth("exp", torch.exp)
smooth("log", torch.log, 0.1)
smooth("negative", torch.neg)
smooth("relu", torch.relu)
smooth("sigmoid", torch.sigmoid)
smooth("silu", F.silu)
smooth("sin", torch.sin)
smooth("softplus", F.softplus)
smooth("sqrt", torch.sqrt, 0.1)
smooth("tanh", torch.tanh)


@case
def leaky_relu(draw: Draw) -> Case:
    slope = draw(st.sampled_from([0.01, 0.3]))
    x = value(draw, shape(draw))
    return lambda x: autograd.leaky_relu(x, slope), lambda x: F.leaky_relu(x, slope), (x,)


@case
def gelu(draw: Draw) -> Case:
    form = draw(st.sampled_from(["none", "tanh"]))
    x = value(draw, shape(draw)) * 3
    return lambda x: autograd.gelu(x, form), lambda x: F.gelu(x, approximate=form), (x,)


@case
def clamp(draw: Draw) -> Case:
    low, high = draw(st.sampled_from([(-0.5, 0.7), (None, 0.3), (-0.3, None)]))
    x = value(draw, shape(draw))
    return lambda x: autograd.clamp(x, low, high), lambda x: x.clamp(low, high), (x,)


@case
def cast(draw: Draw) -> Case:
    x = value(draw, shape(draw))
    return (
        lambda x: autograd.cast(autograd.cast(x, torch.float32), torch.float64),
        lambda x: x.to(torch.float32).to(torch.float64),
        (x,),
    )


# --- two arguments that broadcast ---


def broadcast(draw: Draw, count: int) -> list[tuple[int, ...]]:
    """Shapes that broadcast: sides of one shape, some of them 1, some of the first ones missing."""
    whole = shape(draw)
    found = []
    for _ in range(count):
        sides = tuple(1 if draw(flag) and n else n for n in whole)
        found.append(sides[draw(st.integers(0, len(sides))) :])
    return found


def binary(name: str, theirs: Callable, low: tuple[float | None, float | None]) -> None:
    def draw_case(draw: Draw) -> Case:
        x, y = (value(draw, s, m) for s, m in zip(broadcast(draw, 2), low, strict=True))
        number = draw(st.sampled_from(["none", "left", "right"]))
        ours = getattr(autograd, name)
        if number == "left":
            return lambda y: ours(1.7, y), lambda y: theirs(1.7, y), (y,)
        if number == "right":
            return lambda x: ours(x, 1.7), lambda x: theirs(x, 1.7), (x,)
        return ours, theirs, (x, y)

    CASES[name] = draw_case


binary("add", lambda x, y: x + y, (None, None))
binary("subtract", lambda x, y: x - y, (None, None))
binary("multiply", lambda x, y: x * y, (None, None))
binary("divide", lambda x, y: x / y, (None, 0.3))
binary("power", lambda x, y: x**y, (0.3, None))


@case
def where(draw: Draw) -> Case:
    shapes = broadcast(draw, 3)
    condition = value(draw, shapes[0]) > 0
    x, y = value(draw, shapes[1]), value(draw, shapes[2])
    if draw(flag):
        return (
            lambda x: autograd.where(condition, x, 0.5),
            lambda x: torch.where(condition, x, 0.5),
            (x,),
        )
    return lambda *v: autograd.where(condition, *v), lambda *v: torch.where(condition, *v), (x, y)


# --- many numbers to one ---


def reduction(name: str, theirs: Callable, empty: bool, options: Any = None) -> None:
    """Over one dimension, several, or all; ``empty`` where a sum of nothing has a value."""

    def draw_case(draw: Draw) -> Case:
        x = value(draw, shape(draw, 1, side=any_ if empty else some))
        all_dims = range(x.dim())
        dims = draw(st.lists(st.sampled_from(all_dims), min_size=1, max_size=x.dim(), unique=True))
        dims = [d - x.dim() if draw(flag) else d for d in dims]
        dim = draw(st.sampled_from([None, dims[0], dims, tuple(dims)]))
        arguments = {"keepdim": draw(flag) if dim is not None else False}
        arguments |= {} if options is None else options(draw)
        return (
            lambda x: getattr(autograd, name)(x, dim, **arguments),
            lambda x: theirs(x, list(all_dims) if dim is None else dim, **arguments),
            (distinct(x),),
        )

    CASES[name] = draw_case


reduction("sum", torch.sum, True)
reduction("mean", torch.mean, True)
reduction("max", torch.amax, False)
reduction("min", torch.amin, False)
reduction("logsumexp", torch.logsumexp, True)
reduction("var", torch.var, False, lambda draw: {"correction": draw(st.integers(0, 1)) * 0.5})


@case
def cumsum(draw: Draw) -> Case:
    x = value(draw, shape(draw, 1))
    dim = dimension(draw, x)
    return lambda x: autograd.cumsum(x, dim), lambda x: x.cumsum(dim), (x,)


@case
def softmax(draw: Draw) -> Case:
    x = value(draw, shape(draw, 1)) * 3
    dim = dimension(draw, x)
    return lambda x: autograd.softmax(x, dim), lambda x: x.softmax(dim), (x,)


@case
def log_softmax(draw: Draw) -> Case:
    x = value(draw, shape(draw, 1)) * 3
    dim = dimension(draw, x)
    return lambda x: autograd.log_softmax(x, dim), lambda x: x.log_softmax(dim), (x,)


# --- numbers that move ---


@case
def reshape(draw: Draw) -> Case:
    x = value(draw, shape(draw, 1))
    sides = draw(st.permutations(list(x.shape)))
    sides = draw(st.sampled_from([sides, [x.numel()], [1, *sides]]))
    return lambda x: autograd.reshape(x, sides), lambda x: x.reshape(sides), (x,)


@case
def transpose(draw: Draw) -> Case:
    x = value(draw, shape(draw, 2))
    one, two = dimension(draw, x), dimension(draw, x)
    return lambda x: autograd.transpose(x, one, two), lambda x: x.transpose(one, two), (x,)


@case
def permute(draw: Draw) -> Case:
    x = value(draw, shape(draw, 1))
    order = draw(st.permutations(range(x.dim())))
    order = [d - x.dim() if draw(flag) else d for d in order]
    return lambda x: autograd.permute(x, order), lambda x: x.permute(order), (x,)


@case
def expand(draw: Draw) -> Case:
    sides = shape(draw)
    x = value(draw, [1 if draw(flag) else n for n in sides])
    target = [-1 if draw(flag) and a == b else b for a, b in zip(x.shape, sides, strict=True)]
    target = [2, *target] if draw(flag) else target
    return lambda x: autograd.expand(x, target), lambda x: x.expand(target), (x,)


@case
def getitem(draw: Draw) -> Case:
    x = value(draw, (3, 2, 4))
    index = draw(
        st.sampled_from(
            [
                0,
                -1,
                slice(1, None),
                (slice(None), 1, slice(None, None, 3)),
                (..., 2),
                (None, slice(0, 0)),
                [0, 0, 2],
                ([0, 2, 0], slice(None), [1, 1, 3]),
                torch.tensor([[2, 2], [0, 2]]),
                (slice(1, 3), torch.tensor([True, False])),
                torch.arange(24).view(3, 2, 4) % 3 == 0,
            ]
        )
    )
    return lambda x: autograd.getitem(x, index), lambda x: x[index], (x,)


@case
def narrow(draw: Draw) -> Case:
    x = value(draw, shape(draw, 1))
    dim = dimension(draw, x)
    start = draw(st.integers(0, x.shape[dim]))
    length = draw(st.integers(0, x.shape[dim] - start))
    return (
        lambda x: autograd.narrow(x, dim, start, length),
        lambda x: x.narrow(dim, start, length),
        (x,),
    )


@case
def pad(draw: Draw) -> Case:
    x = value(draw, shape(draw, 1))
    widths = draw(st.lists(any_, min_size=2, max_size=2 * x.dim()))
    widths = widths[: len(widths) // 2 * 2]
    number = draw(st.sampled_from([0.0, -2.5]))
    return lambda x: autograd.pad(x, widths, number), lambda x: F.pad(x, widths, value=number), (x,)


@case
def split(draw: Draw) -> Case:
    x = value(draw, shape(draw, 1, side=some))
    dim = dimension(draw, x)
    first = draw(st.integers(0, x.shape[dim]))
    size = draw(st.sampled_from([1, 2, [first, x.shape[dim] - first]]))
    left_out = draw(flag)  # a piece that the loss doesn't depend on

    def chosen(pieces: Sequence) -> list:
        return list(pieces)[1:] if left_out and len(pieces) > 1 else list(pieces)

    return (
        lambda x: chosen(autograd.split(x, size, dim)),
        lambda x: chosen(torch.split(x, size, dim)),
        (x,),
    )


@case
def cat(draw: Draw) -> Case:
    sides = list(shape(draw, 1))
    dim = draw(st.integers(-len(sides), len(sides) - 1))
    values = []
    for _ in range(draw(some)):
        sides[dim] = draw(any_)
        values.append(value(draw, sides))
    return lambda *v: autograd.cat(v, dim), lambda *v: torch.cat(v, dim), tuple(values)


@case
def stack(draw: Draw) -> Case:
    sides = shape(draw)
    dim = draw(st.integers(-len(sides) - 1, len(sides)))
    values = several(draw, *[sides] * draw(some))
    return lambda *v: autograd.stack(v, dim), lambda *v: torch.stack(v, dim), values


# --- products ---


@case
def matmul(draw: Draw) -> Case:
    n, k, m = draw(any_), draw(any_), draw(any_)
    left, right = broadcast(draw, 2)
    x, y = several(draw, (*left, n, k), (*right, k, m))
    kind = draw(st.sampled_from(["matrices", "row", "column", "both"]))
    x = value(draw, (k,)) if kind in ("row", "both") else x
    y = value(draw, (k,)) if kind in ("column", "both") else y
    return autograd.matmul, torch.matmul, (x, y)


@case
def linear(draw: Draw) -> Case:
    k, m = draw(any_), draw(any_)
    values = several(draw, (*shape(draw), k), (m, k), (m,))
    return autograd.linear, F.linear, values[: draw(st.integers(2, 3))]


@case
def embedding(draw: Draw) -> Case:
    rows = draw(some)
    indices = value(draw, shape(draw)).mul(5).long().remainder(rows)
    padding = draw(st.sampled_from([None, 0, rows - 1]))
    return (
        lambda w: autograd.embedding(w, indices, padding),
        lambda w: F.embedding(indices, w, padding),
        (value(draw, (rows, draw(some))),),
    )


# --- losses ---


def reduce(draw: Draw) -> str:
    return draw(st.sampled_from(["mean", "sum", "none"]))


@case
def mse(draw: Draw) -> Case:
    sides, how = shape(draw), reduce(draw)
    return (
        lambda x, y: autograd.mse(x, y, how),
        lambda x, y: F.mse_loss(x, y, reduction=how),
        several(draw, sides, sides),
    )


@case
def binary_cross_entropy_with_logits(draw: Draw) -> Case:
    sides = shape(draw, 1)
    targets = value(draw, sides).sigmoid()
    options = {"reduction": reduce(draw)}
    for name in ("weight", "pos_weight"):
        if draw(flag):
            options[name] = value(draw, sides[-1:], 0.1)
    return (
        lambda x: autograd.binary_cross_entropy_with_logits(x, targets, **options),
        lambda x: F.binary_cross_entropy_with_logits(x, targets, **options),
        (value(draw, sides) * 3,),
    )


@case
def cross_entropy(draw: Draw) -> Case:
    classes, n = draw(some), draw(any_)
    rest = shape(draw, 0, 2, some)
    targets = value(draw, (n, *rest)).mul(5).long().remainder(classes)
    ignored = draw(st.sampled_from([-100, 0]))
    targets = targets.where(value(draw, (n, *rest)) > -1, ignored)
    options = {
        "ignore_index": ignored,
        "label_smoothing": draw(st.sampled_from([0.0, 0.3])),
        "reduction": reduce(draw),
    }
    if draw(flag):
        options["weight"] = value(draw, (classes,), 0.1)
    return (
        lambda z: autograd.cross_entropy(z, targets, **options),
        lambda z: F.cross_entropy(z, targets, **options),
        (value(draw, (n, classes, *rest)),),
    )


# --- norms ---


@case
def layer_norm(draw: Draw) -> Case:
    trailing = shape(draw, 1, 2, st.integers(2, 3))
    kind = draw(st.sampled_from(["both", "weight", "plain"]))
    trailing = trailing[-1:] if kind == "plain" else trailing
    values = (value(draw, (*shape(draw, 0, 2), *trailing)), *several(draw, trailing, trailing))
    count = {"both": 3, "weight": 2, "plain": 1}[kind]
    return (
        lambda x, w=None, b=None: autograd.layer_norm(x, w, b, 1e-3),
        lambda x, w=None, b=None: F.layer_norm(x, trailing, w, b, 1e-3),
        values[:count],
    )


@case
def rms_norm(draw: Draw) -> Case:
    width = draw(some)
    values = several(draw, (*shape(draw, 0, 2), width), (width,))[: draw(st.integers(1, 2))]
    return (
        lambda x, w=None: autograd.rms_norm(x, w, eps=1e-3),
        lambda x, w=None: F.rms_norm(x, (width,), w, eps=1e-3),
        values,
    )


@case
def batch_norm(draw: Draw) -> Case:
    n, channels = draw(st.integers(2, 3)), draw(some)
    training, affine = draw(flag), draw(flag)
    mean, variance = value(draw, (channels,)), value(draw, (channels,), 0.2)
    values = (value(draw, (n, channels, *shape(draw, 0, 2, some))),)
    values += several(draw, (channels,), (channels,)) if affine else ()

    def run(function: Callable) -> Callable:
        # The running means move at each call, so each call gets its own; they are results too.
        def call(x: Any, w: Any = None, b: Any = None) -> list:
            moved = [mean.clone(), variance.clone()]
            y = function(x, *moved, w, b, training, 0.3, 1e-3)
            return [y, *(moved if training else [])]

        return call

    def theirs(x: torch.Tensor, mean: Any, variance: Any, w: Any, *rest: Any) -> torch.Tensor:
        # torch 2.13 gives a wrong gradient where the weight is a view with gaps.
        return F.batch_norm(x, mean, variance, None if w is None else w.contiguous(), *rest)

    return run(autograd.batch_norm), run(theirs), values


@case
def dropout(draw: Draw) -> Case:
    # Only on a processor do torch and we draw the same numbers in between.
    p = draw(st.sampled_from([0.0, 0.4, 1.0] if PLACE[0] == "cpu" else [0.0, 1.0]))
    training = draw(flag)

    def seeded(function: Callable) -> Callable:
        def call(x: Any) -> Any:
            torch.manual_seed(3)
            return function(x, p, training)

        return call

    return seeded(autograd.dropout), seeded(F.dropout), (value(draw, shape(draw)),)


# --- pictures ---


def convolution(draw: Draw, dims: int) -> Case:
    groups, n = draw(st.integers(1, 2)), draw(any_)
    kernel = [draw(some) for _ in range(dims)]
    dilation = [draw(st.integers(1, 2)) for _ in range(dims)]
    sides = [d * (k - 1) + draw(some) for k, d in zip(kernel, dilation, strict=True)]
    same = draw(flag)
    padding: Any = "same" if same else [draw(st.integers(0, 2)) for _ in range(dims)]
    stride: Any = 1 if same else draw(st.sampled_from([1, 2, [2, 1][:dims]]))
    channels, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    arguments = (stride, padding, dilation, groups)
    values = several(
        draw, (n, channels, *sides), (outputs, channels // groups, *kernel), (outputs,)
    )[: draw(st.integers(2, 3))]
    name, fast = f"conv{dims}d", draw(flag)
    return (
        lambda x, w, b=None: getattr(autograd, name)(x, w, b, *arguments, fast=fast),
        lambda x, w, b=None: getattr(F, name)(x, w, b, *arguments),
        values,
    )


@case
def conv1d(draw: Draw) -> Case:
    return convolution(draw, 1)


@case
def conv2d(draw: Draw) -> Case:
    return convolution(draw, 2)


def pooling(name: str) -> None:
    def draw_case(draw: Draw) -> Case:
        kernel = [draw(some), draw(some)]
        stride = draw(st.sampled_from([None, 1, [1, 2], 3]))
        padding = [draw(st.integers(0, k // 2)) for k in kernel]
        sides = [k + draw(any_) for k in kernel]
        arguments = (kernel, stride, padding)
        x = value(draw, (draw(any_), draw(some), *sides))
        x = distinct(x)
        return (
            lambda x: getattr(autograd, name)(x, *arguments),
            lambda x: getattr(F, name)(x, *arguments),
            (x,),
        )

    CASES[name] = draw_case


pooling("max_pool2d")
pooling("avg_pool2d")


@case
def adaptive_avg_pool2d(draw: Draw) -> Case:
    size = draw(st.sampled_from([1, 2, (3, 1), (2, 4)]))
    return (
        lambda x: autograd.adaptive_avg_pool2d(x, size),
        lambda x: F.adaptive_avg_pool2d(x, size),
        (value(draw, (draw(any_), draw(some), draw(some), draw(some))),),
    )


# --- sequences ---


def plain_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> torch.Tensor:
    """The formula, key heads written out, on torch's tape; zeros where nothing may be seen."""
    groups, (t, s) = q.shape[-3] // k.shape[-3], (q.shape[-2], k.shape[-2])
    k, v = k.repeat_interleave(groups, -3), v.repeat_interleave(groups, -3)
    scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    allowed = torch.ones(t, s, dtype=torch.bool, device=q.device)
    allowed = allowed.tril(s - t) if causal else allowed
    if mask is not None and mask.dtype == torch.bool:
        allowed = allowed & mask
    elif mask is not None:
        allowed, scores = allowed & (mask > -torch.inf), scores + mask.clamp_min(-1e9)
    p = scores.masked_fill(~allowed, -1e9).softmax(-1) if s else scores
    return (p * allowed) @ v


@case
def attention(draw: Draw) -> Case:
    groups, key_heads = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    batch = shape(draw, 0, 2, st.integers(0, 2))
    heads, t, s, d, width = groups * key_heads, draw(some), draw(some), draw(some), draw(some)
    mask = None
    kind = draw(st.sampled_from(["none", "padding", "by head", "numbers"]))
    if kind != "none":
        rows, columns = (1, 1) if kind == "padding" else (heads, t)
        mask = value(draw, (*batch, rows, columns, s))
        mask = mask.masked_fill(mask < -0.5, -torch.inf) if kind == "numbers" else mask > -0.5
    causal, scale = draw(flag), draw(st.sampled_from([None, 0.7]))
    recompute = draw(flag)
    values = several(
        draw, (*batch, heads, t, d), (*batch, key_heads, s, d), (*batch, key_heads, s, width)
    )
    return (
        lambda q, k, v: autograd.attention(q, k, v, mask, causal, scale, recompute),
        lambda q, k, v: plain_attention(q, k, v, mask, causal, scale),
        values,
    )


Cell = Callable[[torch.Tensor, torch.Tensor, list], list]


def rnn_cell(a: torch.Tensor, b: torch.Tensor, state: list) -> list:
    return [torch.tanh(a + b)]


def relu_cell(a: torch.Tensor, b: torch.Tensor, state: list) -> list:
    return [torch.relu(a + b)]


def lstm_cell(a: torch.Tensor, b: torch.Tensor, state: list) -> list:
    i, f, g, o = (a + b).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return [o.sigmoid() * c.tanh(), c]


def gru_cell(a: torch.Tensor, b: torch.Tensor, state: list) -> list:
    (ar, az, an), (br, bz, bn) = a.chunk(3, -1), b.chunk(3, -1)
    z = (az + bz).sigmoid()
    return [(1 - z) * torch.tanh(an + (ar + br).sigmoid() * bn) + z * state[0]]


def plain_recurrence(
    cell: Cell, x: torch.Tensor, states: list, weights: Any, lengths: Any, reverse: bool
) -> list:
    """Sequence by sequence, step by step: outputs, and the last states."""
    w, u, *biases = weights
    bias, other = biases or (0.0, 0.0)
    outputs, lasts = [], []
    for n in range(x.shape[1]):
        length = x.shape[0] if lengths is None else int(lengths[n])
        state = [s[n] for s in states]
        row = [torch.zeros_like(states[0][n])] * x.shape[0]
        for t in range(length - 1, -1, -1) if reverse else range(length):
            state = cell(w @ x[t, n] + bias, u @ state[0] + other, state)
            row[t] = state[0]
        outputs.append(torch.stack(row) if row else states[0].new_zeros((0, *states[0].shape[1:])))
        lasts.append(state)
    if not outputs:
        return [states[0].new_zeros((x.shape[0], *states[0].shape)), *states]
    return [torch.stack(outputs, 1), *[torch.stack(last) for last in zip(*lasts, strict=True)]]


def recurrent(name: str, gates: int, count: int, cells: dict[str, Cell]) -> None:
    def draw_case(draw: Draw) -> Case:
        steps, batch, inputs, hidden = draw(some), draw(any_), draw(some), draw(some)
        width, bias, reverse = gates * hidden, draw(flag), draw(flag)
        lengths = None
        if draw(flag):
            lengths = torch.tensor([draw(st.integers(1, steps)) for _ in range(batch)]).long()
        kind = draw(st.sampled_from(list(cells)))
        options = {"lengths": lengths, "reverse": reverse}
        options |= {"nonlinearity": kind} if name == "rnn" else {}
        shapes = [(steps, batch, inputs), *[(batch, hidden)] * count]
        shapes += [(width, inputs), (width, hidden), *[(width,)] * (2 * bias)]

        def theirs(x: torch.Tensor, *rest: torch.Tensor) -> list:
            states, weights = list(rest[:count]), rest[count:]
            return plain_recurrence(cells[kind], x, states, weights, lengths, reverse)

        return (
            lambda *v: getattr(autograd, name)(*v, **options),
            theirs,
            several(draw, *shapes),
        )

    CASES[name] = draw_case


recurrent("rnn", 1, 1, {"tanh": rnn_cell, "relu": relu_cell})
recurrent("lstm", 4, 2, {"": lstm_cell})
recurrent("gru", 3, 1, {"": gru_cell})


@case
def checkpoint(draw: Draw) -> Case:
    sides = shape(draw)
    return (
        lambda x, y: autograd.checkpoint(lambda a, b: autograd.tanh(a * b) + a, x, y),
        lambda x, y: torch.tanh(x * y) + x,
        several(draw, sides, sides),
    )


def joined(outputs: Any) -> Any:
    """One output as it is; of several, all their numbers in a row."""
    if not isinstance(outputs, list | tuple):
        return outputs
    if any(isinstance(o, Tensor) for o in outputs):
        return autograd.cat([autograd.reshape(o, (-1,)) for o in outputs])
    return torch.cat([o.reshape(-1) for o in outputs])
