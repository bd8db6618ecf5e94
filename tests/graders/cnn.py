"""Chapter 5's graders, graded."""

from __future__ import annotations

import math
import threading

import numpy as np
import torch
from roofline import models, nn
from roofline.grading.answers import right, wrong
from torch.nn import functional

# --- standardise --------------------------------------------------------------------------------

TRAIN, TEST, CONSTANT = "the training set", "the test set", "a channel that never changes"
PLACES = (0, 2, 3)


def _safe(deviation):
    return torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))


@wrong("cnn.standardise", [TEST, "a channel that never changes"], "the test set's own numbers")
def each_by_its_own(train, test):
    return tuple(
        (t - t.mean(PLACES, keepdim=True)) / _safe(t.std(PLACES, keepdim=True))
        for t in (train, test)
    )


@wrong("cnn.standardise", [TRAIN, TEST, CONSTANT], "for each channel")
def one_number_for_all(train, test):
    mean, deviation = train.mean(), train.std()
    return (train - mean) / deviation, (test - mean) / deviation


@wrong("cnn.standardise", [TRAIN, TEST, CONSTANT], "not by the variance")
def by_the_variance(train, test):
    mean, variance = train.mean(PLACES, keepdim=True), _safe(train.var(PLACES, keepdim=True))
    return (train - mean) / variance, (test - mean) / variance


@wrong("cnn.standardise", [CONSTANT], "divide by 1")
def divides_by_zero(train, test):
    mean, deviation = train.mean(PLACES, keepdim=True), train.std(PLACES, keepdim=True)
    return (train - mean) / deviation, (test - mean) / deviation


@wrong("cnn.standardise", [TRAIN, TEST, CONSTANT], "pixel by pixel")
def pixel_by_pixel(train, test):
    mean, deviation = train.mean(0), _safe(train.std(0))
    return (train - mean) / deviation, (test - mean) / deviation


@wrong("cnn.standardise", [TRAIN, TEST, CONSTANT], "in place")
def changes_the_pictures(train, test):
    mean, deviation = train.mean(PLACES, keepdim=True), _safe(train.std(PLACES, keepdim=True))
    test.sub_(mean).div_(deviation)
    return train.sub_(mean).div_(deviation), test


@wrong("cnn.standardise", [CONSTANT], "divide by 1 there")
def tests_for_exactly_zero(train, test):
    mean, deviation = train.mean(PLACES, keepdim=True), train.std(PLACES, keepdim=True)
    deviation = torch.where(deviation == 0, torch.ones_like(deviation), deviation)
    return (train - mean) / deviation, (test - mean) / deviation


@wrong("cnn.standardise", [CONSTANT], "a tiny divisor")
def divides_by_at_least_a_little(train, test):
    mean, deviation = train.mean(PLACES, keepdim=True), train.std(PLACES, keepdim=True)
    deviation = deviation.clamp(min=1e-8)
    return (train - mean) / deviation, (test - mean) / deviation


@wrong("cnn.standardise", [TRAIN, TEST, CONSTANT], "you added an epsilon")
def adds_an_epsilon(train, test):
    mean, variance = train.mean(PLACES, keepdim=True), train.var(PLACES, keepdim=True)
    deviation = (variance + 1e-5).sqrt()
    return (train - mean) / deviation, (test - mean) / deviation


@wrong("cnn.standardise", [TRAIN, TEST, CONSTANT], "deviations isn't the deviation")
def mean_of_the_pictures_deviations(train, test):
    mean = train.mean(PLACES, keepdim=True)
    deviation = _safe(train.std((2, 3), keepdim=True).mean(0, keepdim=True))
    return (train - mean) / deviation, (test - mean) / deviation


@wrong("cnn.standardise", [TRAIN, TEST, CONSTANT], "both sets together")
def numbers_of_both_sets(train, test):
    every = torch.cat([train, test])
    mean, deviation = every.mean(PLACES, keepdim=True), every.std(PLACES, keepdim=True)
    return (train - mean) / deviation, (test - mean) / deviation


@wrong("cnn.standardise", [TRAIN, TEST], "a small deviation isn't 0")
def takes_little_contrast_for_none(train, test):
    mean, deviation = train.mean(PLACES, keepdim=True), train.std(PLACES, keepdim=True)
    deviation = torch.where(deviation > 1e-2, deviation, torch.ones_like(deviation))
    return (train - mean) / deviation, (test - mean) / deviation


@wrong("cnn.standardise", [TRAIN], "dtype float32, expected float64")
def always_in_single_precision(train, test):
    return on_a_flat_copy(train.float(), test.float())


@wrong("cnn.standardise", [TRAIN, TEST, CONSTANT], "batch_norm")
def torch_s_own(train, test):
    variance, mean = torch.var_mean(train, PLACES)
    variance = variance.where(variance > 1e-12, 1.0)
    return tuple(functional.batch_norm(t, mean, variance, eps=0) for t in (train, test))


@right("cnn.standardise")
def with_numpy_in_double_precision(train, test):
    wide = [t.numpy().astype(np.float64) for t in (train, test)]
    mean, deviation = (f(wide[0], axis=PLACES, keepdims=True) for f in (np.mean, np.std))
    deviation[deviation < 1e-7] = 1
    return tuple(torch.from_numpy((t - mean) / deviation).to(train.dtype) for t in wide)


@right("cnn.standardise")
def channel_by_channel(train, test):
    new_train, new_test = train.clone(), test.clone()
    for c in range(train.shape[1]):
        mean, deviation = train[:, c].mean().item(), train[:, c].std(correction=0).item()
        deviation = deviation if deviation > 1e-5 else 1.0
        new_train[:, c] = (train[:, c] - mean) / deviation
        new_test[:, c] = (test[:, c] - mean) / deviation
    return new_train, new_test


@right("cnn.standardise")
def on_a_flat_copy(train, test):
    flat = train.transpose(0, 1).flatten(1)
    mean = flat.mean(1)[:, None, None]
    deviation = ((flat**2).mean(1)[:, None, None] - mean**2).clamp_min(0).sqrt()
    deviation[deviation < 1e-3] = 1  # the difference of two squares is rounded, too
    return [(t - mean) / deviation for t in (train, test)]


# --- stack --------------------------------------------------------------------------------------

PLAIN, STRIDED = "stride 1, no padding", "strides and padding"
SIDE, FIELD = f"side, {PLAIN}", f"receptive field, {PLAIN}"
SIDES, FIELDS = f"side, {STRIDED}", f"receptive field, {STRIDED}"


def _stack(layers, side, jumps=True):
    field = jump = 1
    for kernel, stride, padding in layers:
        side = (side + 2 * padding - kernel) // stride + 1
        field += (kernel - 1) * (jump if jumps else 1)
        jump *= stride
    return side, field


@wrong("cnn.stack", [FIELDS], "further apart")
def forgets_jumps(layers, side):
    return _stack(layers, side, jumps=False)


@wrong("cnn.stack", [SIDES], "on both sides")
def pads_one_edge(layers, side):
    field = _stack(layers, side)[1]
    for kernel, stride, padding in layers:
        side = (side + padding - kernel) // stride + 1
    return side, field


@wrong("cnn.stack", [SIDES], "sticks out")
def rounds_up(layers, side):
    field = _stack(layers, side)[1]
    for kernel, stride, padding in layers:
        side = math.ceil((side + 2 * padding - kernel) / stride) + 1
    return side, field


@wrong("cnn.stack", [FIELDS], "own stride")
def multiplies_too_early(layers, side):
    field = jump = 1
    for kernel, stride, _ in layers:
        jump *= stride
        field += (kernel - 1) * jump
    return _stack(layers, side)[0], field


@wrong("cnn.stack", [FIELD], "adds nothing")
def adds_whole_kernels(layers, side):
    out, field = _stack(layers, side)
    if all(stride == 1 for _, stride, _ in layers):
        field = 1 + sum(kernel for kernel, _, _ in layers)
    return out, field


@wrong("cnn.stack", [SIDE, SIDES, FIELD, FIELDS], "return the side first")
def swapped(layers, side):
    return _stack(layers, side)[::-1]


@wrong("cnn.stack", [SIDE, SIDES], "starts at 0")
def forgets_the_first_window(layers, side):
    field = _stack(layers, side)[1]
    for kernel, stride, padding in layers:
        side = (side + 2 * padding - kernel) // stride
    return side, field


@wrong("cnn.stack", [SIDES], "round down")
def rounds_to_the_nearest(layers, side):
    field = _stack(layers, side)[1]
    for kernel, stride, padding in layers:
        side = round((side + 2 * padding - kernel) / stride) + 1
    return side, field


@wrong("cnn.stack", [FIELDS], "larger than the picture")
def field_within_the_picture(layers, side):
    out, field = _stack(layers, side)
    return out, min(field, side)


@wrong("cnn.stack", [SIDE], "in place")
def empties_the_list(layers, side):
    field = _stack(layers, side)[1]
    while layers:
        kernel, stride, padding = layers.pop(0)
        side = (side + 2 * padding - kernel) // stride + 1
    return side, field


@right("cnn.stack")
def rounds_down_once_at_the_end(layers, side):
    field = _stack(layers, side)[1]
    for kernel, stride, padding in layers:
        side = (side + 2 * padding - kernel) / stride + 1
    return math.floor(side), np.int64(field)


@right("cnn.stack")
def from_the_last_layer_back(layers, side):
    field = 1
    for kernel, stride, _ in reversed(layers):
        field = (field - 1) * stride + kernel
    for kernel, stride, padding in layers:
        side = 1 + (side - kernel + 2 * padding) // stride
    return [side, field]


@right("cnn.stack")
def by_trying(layers, side):
    first, last = 0, 0  # of the places that one output sees
    for kernel, stride, _ in reversed(layers):
        first, last = first * stride, last * stride + kernel - 1
    for kernel, stride, padding in layers:
        side = len(range(0, side + 2 * padding - kernel + 1, stride))
    return torch.tensor(side), last - first + 1


# --- convolve -----------------------------------------------------------------------------------

ONE, MANY, STEP = "one channel", "channels, filters and bias", "stride and padding"
PRODUCT, MEMORY = "one product", "memory"


def _columns(x, weight, stride=1, padding=0):
    """Columns (n, c·high·wide, places) and the sides of the result."""
    high, wide = weight.shape[2:]
    columns = functional.unfold(x, (high, wide), stride=stride, padding=padding)
    height = (x.shape[2] + 2 * padding - high) // stride + 1
    return columns, (height, columns.shape[2] // height)


def _by_unfold(x, weight, bias, stride, padding):
    columns, sides = _columns(x, weight, stride, padding)
    y = weight.flatten(1) @ columns + bias[:, None]
    return y.view(len(x), len(weight), *sides)


@wrong("cnn.convolve", [ONE, MANY, STEP, PRODUCT, MEMORY], "isn't flipped")
def flips_the_kernel(x, weight, bias, stride=1, padding=0):
    return _by_unfold(x, weight.flip(2, 3), bias, stride, padding)


@wrong("cnn.convolve", [ONE, MANY, STEP, PRODUCT, MEMORY], "bias is missing")
def forgets_the_bias(x, weight, bias, stride=1, padding=0):
    return _by_unfold(x, weight, torch.zeros_like(bias), stride, padding)


@wrong("cnn.convolve", [STEP], "padding has no effect")
def forgets_padding(x, weight, bias, stride=1, padding=0):
    return _by_unfold(x, weight, bias, stride, 0)


@wrong("cnn.convolve", [MANY, STEP, PRODUCT, MEMORY], "move them")
def reshapes_axes_away(x, weight, bias, stride=1, padding=0):
    columns, sides = _columns(x, weight, stride, padding)
    y = columns.transpose(1, 2) @ weight.flatten(1).T + bias
    return y.reshape(len(x), len(weight), *sides)


@wrong("cnn.convolve", [PRODUCT], "no loop")
def a_product_for_each_place_of_the_kernel(x, weight, bias, stride=1, padding=0):
    x = functional.pad(x, [padding] * 4)
    high, wide = weight.shape[2:]
    h, w = (x.shape[2] - high) // stride + 1, (x.shape[3] - wide) // stride + 1
    y = bias[:, None, None].repeat(len(x), 1, h, w)
    for i in range(high):
        for j in range(wide):
            part = x[:, :, i : i + stride * (h - 1) + 1 : stride]
            part = part[..., j : j + stride * (w - 1) + 1 : stride]
            y += torch.einsum("nchw,oc->nohw", part, weight[:, :, i, j])
    return y


@wrong("cnn.convolve", [PRODUCT, MEMORY], "one product makes all sums")
def with_numpy(x, weight, bias, stride=1, padding=0):
    x = np.pad(x.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))
    windows = windows[:, :, ::stride, ::stride]
    y = np.einsum("nchwkl,ockl->nohw", windows, weight.numpy(), optimize=True)
    return torch.from_numpy(np.ascontiguousarray(y)) + bias[:, None, None]


@wrong("cnn.convolve", [PRODUCT, MEMORY], "one product makes all sums")
def in_another_thread(x, weight, bias, stride=1, padding=0):
    made = []
    work = threading.Thread(
        target=lambda: made.append(_by_unfold(x, weight, bias, stride, padding))
    )
    work.start()
    work.join()
    return made[0]


@wrong("cnn.convolve", [PRODUCT, MEMORY], "one product makes all sums")
def elementwise_one_filter_at_a_time(x, weight, bias, stride=1, padding=0):
    columns, sides = _columns(x, weight[:1], stride, padding)
    rows = [(w.flatten()[:, None] * columns).sum(1) for w in weight]
    return (torch.stack(rows, 1) + bias[:, None]).view(len(x), len(weight), *sides)


@wrong("cnn.convolve", [PRODUCT, MEMORY], "the terms never exist")
def multiplies_then_sums(x, weight, bias, stride=1, padding=0):
    columns, sides = _columns(x, weight, stride, padding)
    y = (weight.flatten(1)[None, :, :, None] * columns[:, None]).sum(2)
    return (y + bias[:, None]).view(len(x), len(weight), *sides)


@wrong("cnn.convolve", [PRODUCT], "arithmetic on indices")
def by_one_gather(x, weight, bias, stride=1, padding=0):
    x = functional.pad(x, [padding] * 4)
    (h, w), (high, wide) = x.shape[2:], weight.shape[2:]
    top = torch.arange(0, h - high + 1, stride)[:, None] + torch.arange(high)
    left = torch.arange(0, w - wide + 1, stride)[:, None] + torch.arange(wide)
    places = top[:, None, :, None] * w + left[None, :, None, :]
    windows = x.flatten(2)[:, :, places]  # (n, c, h', w', high, wide)
    return torch.einsum("nchwkl,ockl->nohw", windows, weight) + bias[:, None, None]


@wrong("cnn.convolve", [PRODUCT], "windows a stride apart")
def leaves_places_out_afterwards(x, weight, bias, stride=1, padding=0):
    return _by_unfold(x, weight, bias, 1, padding)[:, :, ::stride, ::stride].contiguous()


@wrong("cnn.convolve", [STEP], "doesn't fit whole")
def rounds_the_map_up(x, weight, bias, stride=1, padding=0):
    rest = [-(x.shape[i] + 2 * padding - weight.shape[i]) % stride for i in (2, 3)]
    x = functional.pad(x, (padding, padding + rest[1], padding, padding + rest[0]))
    return _by_unfold(x, weight, bias, stride, 0)


@wrong("cnn.convolve", [STEP], "is invalid for input")
def square_maps_only(x, weight, bias, stride=1, padding=0):
    columns, sides = _columns(x, weight, stride, padding)
    if stride > 1:
        sides = [math.isqrt(columns.shape[2])] * 2
    y = weight.flatten(1) @ columns + bias[:, None]
    return y.view(len(x), len(weight), *sides)


@wrong("cnn.convolve", [ONE], "the arguments' dtype")
def a_border_in_single_precision(x, weight, bias, stride=1, padding=0):
    n, c, height, width = x.shape
    padded = torch.zeros(n, c, height + 2 * padding, width + 2 * padding)
    padded[:, :, padding : padding + height, padding : padding + width] = x
    return _by_unfold(padded, weight.float(), bias.float(), stride, 0)


@wrong("cnn.convolve", [ONE, MANY, STEP, PRODUCT, MEMORY], "slow_conv3d")
def pictures_one_frame_deep(x, weight, bias, stride=1, padding=0):
    sizes = (1, *weight.shape[2:]), bias, (1, stride, stride), (0, padding, padding)
    return torch._C._nn.slow_conv3d(x[:, :, None], weight[:, :, None], *sizes)[:, :, 0]


@right("cnn.convolve")
def with_a_linear_layer(x, weight, bias, stride=1, padding=0):
    columns = torch.nn.Unfold(weight.shape[2:], stride=stride, padding=padding)(x)
    y = functional.linear(columns.mT, weight.flatten(1), bias).mT
    return y.unflatten(2, ((x.shape[2] + 2 * padding - weight.shape[2]) // stride + 1, -1))


@right("cnn.convolve")
def picture_by_picture_as_one(x, weight, bias, stride=1, padding=0):
    def one(picture):
        windows = picture.unfold(1, weight.shape[2], stride).unfold(2, weight.shape[3], stride)
        return torch.einsum("chwkl,ockl->ohw", windows, weight) + bias[:, None, None]

    return torch.vmap(one)(functional.pad(x, [padding] * 4))


@right("cnn.convolve")
def with_strided_views(x, weight, bias, stride=1, padding=0):
    x = functional.pad(x, [padding] * 4)
    high, wide = weight.shape[2:]
    windows = x.unfold(2, high, stride).unfold(3, wide, stride)  # (n, c, h, w, k, l)
    return torch.einsum("nchwkl,ockl->nohw", windows, weight) + bias[:, None, None]


@right("cnn.convolve")
def rows_instead_of_columns(x, weight, bias, stride=1, padding=0):
    n, c, height, width = x.shape
    padded = x.new_zeros(n, c, height + 2 * padding, width + 2 * padding)
    padded[:, :, padding : padding + height, padding : padding + width] = x
    windows = padded.unfold(2, weight.shape[2], stride).unfold(3, weight.shape[3], stride)
    sides = windows.shape[2:4]
    rows = windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, weight[0].numel())
    y = torch.addmm(bias, rows, weight.flatten(1).T)
    return y.view(n, *sides, -1).permute(0, 3, 1, 2)


# --- weight gradient ----------------------------------------------------------------------------

DB, DW, STRIDE = "db", "dW", "stride"


def _both(x, dy, kernel, stride):
    columns = functional.unfold(x, kernel, stride=stride)
    dw = (dy.flatten(2) @ columns.transpose(1, 2)).sum(0)
    return dw.view(dy.shape[1], x.shape[1], kernel, kernel), dy.sum((0, 2, 3))


@wrong("cnn.weight_gradient", [DB], "sum over the places too")
def bias_over_the_batch_only(x, dy, kernel, stride=1):
    return _both(x, dy, kernel, stride)[0], dy.sum(0)


@wrong("cnn.weight_gradient", [DW, STRIDE, PRODUCT], "averages over the batch")
def averages(x, dy, kernel, stride=1):
    dw, db = _both(x, dy, kernel, stride)
    return dw / len(x), db


@wrong("cnn.weight_gradient", [STRIDE], "a stride apart")
def ignores_the_stride(x, dy, kernel, stride=1):
    h, w = dy.shape[2] + kernel - 1, dy.shape[3] + kernel - 1
    return _both(x[:, :, :h, :w], dy, kernel, 1)


@wrong("cnn.weight_gradient", [STRIDE], "as many places as dy")
def columns_of_every_place(x, dy, kernel, stride=1):
    return _both(x, dy, kernel, 1)


@wrong("cnn.weight_gradient", [STRIDE], "a stride apart")
def cuts_the_columns_off(x, dy, kernel, stride=1):
    columns = functional.unfold(x, kernel)[:, :, : dy[0, 0].numel()]
    dw = torch.einsum("nop,nkp->ok", dy.flatten(2), columns)
    return dw.view(dy.shape[1], x.shape[1], kernel, kernel), dy.sum((0, 2, 3))


@wrong("cnn.weight_gradient", [DW, STRIDE, PRODUCT], "has the shape of W")
def leaves_it_flat(x, dy, kernel, stride=1):
    dw, db = _both(x, dy, kernel, stride)
    return dw.flatten(1), db


@wrong("cnn.weight_gradient", [PRODUCT], "no loop")
def place_by_place(x, dy, kernel, stride=1):
    dw = x.new_zeros(dy.shape[1], x.shape[1], kernel, kernel)
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            top, left = i * stride, j * stride
            window = x[:, :, top : top + kernel, left : left + kernel]
            dw += torch.einsum("no,nckl->ockl", dy[:, :, i, j], window)
    return dw, dy.sum((0, 2, 3))


@wrong("cnn.weight_gradient", [PRODUCT], "one product makes all sums")
def loops_in_numpy(x, dy, kernel, stride=1):
    pixels, arriving = x.numpy(), dy.numpy()
    dw = np.zeros((dy.shape[1], x.shape[1], kernel, kernel), pixels.dtype)
    for i, j in np.ndindex(*dy.shape[2:]):
        top, left = i * stride, j * stride
        window = pixels[:, :, top : top + kernel, left : left + kernel]
        dw += np.einsum("no,nckl->ockl", arriving[:, :, i, j], window)
    return torch.from_numpy(dw), dy.sum((0, 2, 3))


@wrong("cnn.weight_gradient", [PRODUCT], "one product makes all sums")
def terms_then_sums(x, dy, kernel, stride=1):
    windows = x.unfold(2, kernel, stride).unfold(3, kernel, stride)  # (n, c, h, w, k, l)
    terms = dy[:, :, None, :, :, None, None] * windows[:, None]
    return terms.sum((0, 3, 4)), dy.sum((0, 2, 3))


@wrong("cnn.weight_gradient", [STRIDE], "here the kernel is 2 by 2")
def kernels_of_three(x, dy, kernel, stride=1):
    return _both(x, dy, 3, stride)


@wrong("cnn.weight_gradient", [DW, STRIDE, PRODUCT], "move axes")
def reshapes_pictures_into_places(x, dy, kernel, stride=1):
    columns, dy = functional.unfold(x, kernel, stride=stride), dy.transpose(0, 1).flatten(1)
    dw = dy @ columns.reshape(columns.shape[1], -1).T
    return dw.view(len(dy), x.shape[1], kernel, kernel), dy.sum(1)


@wrong("cnn.weight_gradient", [DB, DW, STRIDE, PRODUCT], "torch.autograd.backward")
def leaves_it_to_autograd(x, dy, kernel, stride=1):
    weight = x.new_zeros(dy.shape[1], x.shape[1], kernel, kernel).requires_grad_()
    y = (weight.flatten(1) @ functional.unfold(x, kernel, stride=stride)).view_as(dy)
    walk = torch.autograd.backward
    walk(y, dy)
    return weight.grad, dy.sum((0, 2, 3))


@wrong("cnn.weight_gradient", [DB, DW, STRIDE, PRODUCT], "return dW first")
def the_bias_first(x, dy, kernel, stride=1):
    return _both(x, dy, kernel, stride)[::-1]


@right("cnn.weight_gradient")
def a_row_of_ones_for_the_bias(x, dy, kernel, stride=1):
    columns = functional.unfold(x, kernel, stride=stride)
    columns = torch.cat([columns, torch.ones_like(columns[:, :1])], 1)
    both = torch.bmm(dy.flatten(2), columns.mT).sum(0)
    return both[:, :-1].reshape(-1, x.shape[1], kernel, kernel), both[:, -1]


@wrong("cnn.weight_gradient", [DW, STRIDE, PRODUCT], "outputs first")
def channels_first(x, dy, kernel, stride=1):
    dw, db = _both(x, dy, kernel, stride)
    return dw.transpose(0, 1), db


@right("cnn.weight_gradient")
def as_a_convolution(x, dy, kernel, stride=1):
    """Slide the gradient over the picture: batch and channels change places."""
    dw = functional.conv2d(x.transpose(0, 1), dy.transpose(0, 1), dilation=stride)
    return dw[:, :, :kernel, :kernel].transpose(0, 1), dy.sum(dim=(0, 2, 3))


@right("cnn.weight_gradient")
def with_einsum(x, dy, kernel, stride=1):
    windows = x.unfold(2, kernel, stride).unfold(3, kernel, stride)
    dw = torch.einsum("nohw,nchwkl->ockl", dy, windows)
    return [dw, torch.einsum("nohw->o", dy)]


# --- max pool -----------------------------------------------------------------------------------

RESULT, GRADIENT = "result", "gradient"
TIE, LESS = "equal numbers in a window", "remembers less than the picture"


def _tiles(x, size):
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // size, size, w // size, size).transpose(3, 4)
    return x.reshape(n, c, h // size, w // size, size * size)


def _back(tiles, size):
    n, c, h, w, _ = tiles.shape
    tiles = tiles.reshape(n, c, h, w, size, size).transpose(3, 4)
    return tiles.reshape(n, c, h * size, w * size)


@wrong("cnn.max_pool", [TIE, LESS], "it was multiplied")
def compares_with_the_result(x, size):
    y = _tiles(x, size).amax(-1)
    return y, lambda dy: (_back((_tiles(x, size) == y[..., None]) * dy[..., None], size),)


@wrong("cnn.max_pool", [LESS], "where the largest stood")
def looks_again(x, size):
    def pullback(dy):
        place = _tiles(x, size).argmax(-1, keepdim=True)
        tiles = dy.new_zeros(*dy.shape, size * size).scatter_(-1, place, dy[..., None])
        return (_back(tiles, size),)

    return _tiles(x, size).amax(-1), pullback


@wrong("cnn.max_pool", [TIE, LESS], "a share for each")
def shares_among_equals(x, size):
    y = _tiles(x, size).amax(-1)

    def pullback(dy):
        equal = (_tiles(x, size) == y[..., None]).float()
        return (_back(equal / equal.sum(-1, keepdim=True) * dy[..., None], size),)

    return y, pullback


@wrong("cnn.max_pool", [TIE], "a share for each")
def shares_by_a_mask(x, size):
    y = _tiles(x, size).amax(-1)
    equal = _tiles(x, size) == y[..., None]

    def pullback(dy):
        return (_back(equal / equal.sum(-1, keepdim=True) * dy[..., None], size),)

    return y, pullback


@wrong("cnn.max_pool", [LESS], "where the largest stood")
def holds_half_the_bits(x, size):
    y = _tiles(x, size).amax(-1)
    half = x.half()

    def pullback(dy):
        place = _tiles(half, size).argmax(-1, keepdim=True)
        tiles = dy.new_zeros(*dy.shape, size * size).scatter_(-1, place, dy[..., None])
        return (_back(tiles, size),)

    return y, pullback


@wrong("cnn.max_pool", [GRADIENT, TIE, LESS], "these are ones")
def returns_the_derivative(x, size):
    y, place = _tiles(x, size).max(-1)

    def pullback(dy):
        tiles = dy.new_zeros(*dy.shape, size * size).scatter_(-1, place[..., None], 1.0)
        return (_back(tiles, size),)

    return y, pullback


@wrong("cnn.max_pool", [RESULT], "may be below 0")
def starts_from_zero(x, size):
    y, place = _tiles(x, size).max(-1)

    def pullback(dy):
        tiles = dy.new_zeros(*dy.shape, size * size).scatter_(-1, place[..., None], dy[..., None])
        return (_back(tiles, size),)

    return y.clamp_min(0), pullback


@wrong("cnn.max_pool", [RESULT, GRADIENT, TIE, LESS], "the mean of each window")
def averages_windows(x, size):
    def pullback(dy):
        share = (dy / size**2)[..., None].expand(*dy.shape, size**2)
        return (_back(share, size),)

    return _tiles(x, size).mean(-1), pullback


@wrong("cnn.max_pool", [GRADIENT, TIE, LESS], "must return a tuple, (dx,)")
def returns_no_tuple(x, size):
    y, pullback = holds_places(x, size)
    return y, lambda dy: pullback(dy)[0]


@wrong("cnn.max_pool", [RESULT, GRADIENT, TIE, LESS], "numbers in a row")
def reshapes_alone(x, size):
    n, c, h, w = x.shape
    y, place = x.reshape(n, c, h // size, w // size, size * size).max(-1)

    def pullback(dy):
        rows = dy.new_zeros(*dy.shape, size * size).scatter_(-1, place[..., None], dy[..., None])
        return (rows.view(n, c, h, w),)

    return y, pullback


@wrong("cnn.max_pool", [GRADIENT, TIE, LESS], "move the axes back")
def leaves_the_windows_in_a_row(x, size):
    n, c, h, w = x.shape
    y, place = _tiles(x, size).max(-1)

    def pullback(dy):
        rows = dy.new_zeros(*dy.shape, size * size).scatter_(-1, place[..., None], dy[..., None])
        return (rows.view(n, c, h, w),)

    return y, pullback


@wrong("cnn.max_pool", [GRADIENT, LESS], "the arguments' dtype")
def a_gradient_in_single_precision(x, size):
    y, pullback = holds_places(x, size)
    return y, lambda dy: tuple(dx.float() for dx in pullback(dy))


@wrong("cnn.max_pool", [LESS], "where the largest stood")
def holds_the_picture_as_bytes(x, size):
    y, pixels, shape = _tiles(x, size).amax(-1), x.numpy().tobytes(), tuple(x.shape)
    kind = x.numpy().dtype

    def pullback(dy):
        x = torch.from_numpy(np.frombuffer(pixels, kind).copy()).view(shape)
        return holds_places(x, size)[1](dy)

    return y, pullback


@wrong("cnn.max_pool", [RESULT, GRADIENT, TIE, LESS], "max_pool")
def pools_in_three_dimensions(x, size):
    return functional.max_pool3d(x, (1, size, size)), holds_places(x, size)[1]


class Holds:
    """A pullback as an object, with a zero of no dimensions beside the places."""

    def __init__(self, place, size, zero):
        self.place, self.size, self.zero = place, size, zero

    def __call__(self, dy):
        winners = self.place == torch.arange(self.size**2)
        return (_back(torch.where(winners, dy[..., None], self.zero), self.size),)


@right("cnn.max_pool")
def with_an_object(x, size):
    tiles = _tiles(x, size)
    place = tiles.argmax(-1, keepdim=True)
    return tiles.gather(-1, place).squeeze(-1), Holds(place, size, x.new_zeros(()))


@right("cnn.max_pool")
def in_numpy(x, size):
    tiles = _tiles(x, size).numpy()
    place = tiles.argmax(-1)[..., None]
    y = torch.from_numpy(np.take_along_axis(tiles, place, -1)[..., 0])

    def pullback(dy):
        dx = np.zeros((*dy.shape, size * size), dy.numpy().dtype)
        np.put_along_axis(dx, place, dy.numpy()[..., None], -1)
        return (_back(torch.from_numpy(dx), size),)

    return y, pullback


@right("cnn.max_pool")
def holds_places(x, size):
    y, place = _tiles(x, size).max(-1)

    def pullback(dy):
        tiles = dy.new_zeros(*dy.shape, size * size)
        tiles.scatter_(-1, place[..., None], dy[..., None])
        return (_back(tiles, size),)

    return y, pullback


@right("cnn.max_pool")
def holds_bytes(x, size):
    y, place = x.unfold(2, size, size).unfold(3, size, size).flatten(-2).max(-1)
    place, offsets = place.to(torch.uint8), range(size * size)

    def pullback(dy):
        tiles = torch.stack([dy * (place == offset) for offset in offsets], -1)
        return [_back(tiles, size)]

    return y, pullback


@right("cnn.max_pool")
def holds_a_mask(x, size):
    tiles = _tiles(x, size)
    y, place = tiles.max(-1)
    winner = torch.zeros_like(tiles, dtype=torch.bool).scatter_(-1, place[..., None], True)
    return y, lambda dy: (_back(winner * dy[..., None], size),)


# --- account ------------------------------------------------------------------------------------

PARAMETERS, FORWARD, REMEMBERED = "parameters", "forward", "remembered"
POOLED = "global pooling"


def _account(channels, side, batch, classes, pooled):
    parameters = forward = remembered = 0
    for before, after in zip(channels, channels[1:], strict=False):
        remembered += 4 * batch * before * side * side
        side -= 2
        parameters += after * (9 * before + 1)
        forward += 2 * 9 * before * after * side * side * batch
        side //= 2
    features = channels[-1] * (1 if pooled else side * side)
    return {
        "parameters": parameters + (features + 1) * classes,
        "forward": forward + 2 * batch * features * classes,
        "remembered": remembered + 4 * batch * features,
    }


@wrong("cnn.account", [PARAMETERS, POOLED], "biases are missing")
def without_biases(channels, side, batch, classes, pooled=False):
    found = _account(channels, side, batch, classes, pooled)
    found["parameters"] -= sum(channels[1:]) + classes
    return found


@wrong("cnn.account", [FORWARD, POOLED], "are 2 FLOPs")
def multiplications_alone(channels, side, batch, classes, pooled=False):
    found = _account(channels, side, batch, classes, pooled)
    found["forward"] //= 2
    return found


@wrong("cnn.account", [POOLED], "no effect")
def ignores_pooling(channels, side, batch, classes, pooled=False):
    return _account(channels, side, batch, classes, False)


@wrong("cnn.account", [REMEMBERED, POOLED], "for its dW")
def forgets_the_pictures(channels, side, batch, classes, pooled=False):
    found = _account(channels, side, batch, classes, pooled)
    found["remembered"] -= 4 * batch * channels[0] * side * side
    return found


@wrong("cnn.account", [FORWARD, POOLED], "once at every place")
def each_weight_once(channels, side, batch, classes, pooled=False):
    found = _account(channels, side, batch, classes, pooled)
    weights = found["parameters"] - sum(channels[1:]) - classes
    return {**found, "forward": 2 * batch * weights}


@wrong("cnn.account", [PARAMETERS, POOLED], "for each channel that it sees")
def filters_see_one_channel(channels, side, batch, classes, pooled=False):
    found = _account(channels, side, batch, classes, pooled)
    pairs = zip(channels, channels[1:], strict=False)
    found["parameters"] -= sum(9 * (before - 1) * after for before, after in pairs)
    return found


@wrong("cnn.account", [FORWARD, POOLED], "biases aren't counted")
def counts_bias_additions(channels, side, batch, classes, pooled=False):
    found = _account(channels, side, batch, classes, pooled)
    for after in channels[1:]:
        found["forward"] += batch * after * (side - 2) ** 2
        side = (side - 2) // 2
    found["forward"] += batch * classes
    return found


@wrong("cnn.account", [PARAMETERS, FORWARD, REMEMBERED, POOLED], "a side is a whole number")
def keeps_half_pixels(channels, side, batch, classes, pooled=False):
    parameters = forward = inputs = 0
    for before, after in zip(channels, channels[1:], strict=False):
        inputs += before * side**2
        parameters += after * (9 * before + 1)
        forward += 9 * before * after * (side - 2) ** 2
        side = (side - 2) / 2
    features = channels[-1] * (1 if pooled else side**2)
    return {
        "parameters": int(parameters + classes * (features + 1)),
        "forward": int(2 * batch * (forward + features * classes)),
        "remembered": int(4 * batch * (inputs + features)),
    }


@wrong("cnn.account", [REMEMBERED, POOLED], "dW needs their inputs")
def remembers_outputs(channels, side, batch, classes, pooled=False):
    found = _account(channels, side, batch, classes, pooled)
    for before, after in zip(channels, channels[1:], strict=False):
        found["remembered"] += 4 * batch * (after * (side - 2) ** 2 - before * side**2)
        side = (side - 2) // 2
    return found


@wrong("cnn.account", [PARAMETERS, FORWARD, REMEMBERED, POOLED], "without padding")
def keeps_the_side(channels, side, batch, classes, pooled=False):
    found = {"parameters": 0, "forward": 0, "remembered": 0}
    for before, after in zip(channels, channels[1:], strict=False):
        found["remembered"] += 4 * batch * before * side * side
        found["parameters"] += after * (9 * before + 1)
        found["forward"] += 2 * 9 * before * after * side * side * batch
        side //= 2
    features = channels[-1] * (1 if pooled else side * side)
    found["parameters"] += (features + 1) * classes
    found["forward"] += 2 * batch * features * classes
    return {**found, "remembered": found["remembered"] + 4 * batch * features}


@wrong("cnn.account", [PARAMETERS, POOLED], "a bias for each class")
def without_the_dense_bias(channels, side, batch, classes, pooled=False):
    found = _account(channels, side, batch, classes, pooled)
    return {**found, "parameters": found["parameters"] - classes}


@wrong("cnn.account", [FORWARD, POOLED], "2 fewer a side")
def at_the_places_of_the_input(channels, side, batch, classes, pooled=False):
    found = _account(channels, side, batch, classes, pooled)
    for before, after in zip(channels, channels[1:], strict=False):
        found["forward"] += 18 * batch * before * after * (side**2 - (side - 2) ** 2)
        side = (side - 2) // 2
    return found


@wrong("cnn.account", [PARAMETERS, FORWARD, REMEMBERED, POOLED], "summary")
def by_the_library(channels, side, batch, classes, pooled=False):
    found = models.summary(nn.Flatten(), torch.empty(batch, channels[0]))
    account = _account(channels, side, batch, classes, pooled)
    return {**account, "parameters": account["parameters"] + found.parameters}


@right("cnn.account")
def layer_by_layer(channels, side, batch, classes, pooled=False):
    return _account(channels, side, batch, classes, pooled)


@right("cnn.account")
def counted_on_shapes(channels, side, batch, classes, pooled=False):
    shapes, weights, products = [(channels[0], side, side)], [], []
    for before, after in zip(channels, channels[1:], strict=False):
        places = (side - 2) ** 2
        weights += [before * after * 3 * 3, after]
        products.append(places * weights[-2])
        side = (side - 2) // 2
        shapes.append((after, side, side))
    last = (channels[-1],) if pooled else shapes[-1]
    weights += [math.prod(last) * classes, classes]
    products.append(weights[-2])
    inputs = [*shapes[:-1], last]
    return {
        "remembered": 4 * batch * sum(map(math.prod, inputs)),
        "forward": 2 * batch * sum(products),
        "parameters": sum(weights),
    }
