# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown] name="question"
# # 5 · Convolutional networks
#
# **Why share weights across an image?**
#
# | minutes | know first | peak memory | device |
# |---|---|---|---|
# | 120 | chapters 2 to 4 | under 1 GB | any CPU; a GPU is used if you have one |
#
# A picture is a grid. What lies beside what matters, and a cat is a cat wherever it sits. A [**dense layer**](../glossary.md#dense-layer),
# the [linear layer](../glossary.md#linear-layer) of chapter 2, knows neither: it has a weight of its own for every pixel. A convolution has a few weights and uses
# them everywhere. In this chapter you build one, find out what it costs and where, repair a network that
# is often copied, and train on clothes, surfaces, cats and dogs.
#
# In every exercise, leave the arguments as they are, return their dtype, and write what is asked for yourself.
# PyTorch's or the library's own function for it earns nothing. Exceptions are named.

# %% name="setup"
import itertools
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from roofline import autograd, lab, losses, nn, optim
from roofline import train as training
from roofline.autograd import Tensor
from roofline.data import augment, fashion_mnist, loader, picture_folder, read_picture
from roofline.data import textures, write_cats_and_dogs
from roofline.data.drawings import draw
from roofline.device import device
from roofline.grading import check, predict, progress, reconcile
from roofline.hardware.count import count
from roofline.hardware.trace import measure_in_turn
from roofline.lab import style
from roofline.models import TwoConvNet, summary

torch.manual_seed(0)
torch.set_num_threads(1)  # small pictures: more threads would wait for each other
style.use()
where = device()
progress("05_cnn")

# %% [markdown] name="photographs"
# ## From a photograph to a tensor
#
# Photographs come in all sizes. A batch has one. So each picture is resized and then either cropped,
# which
# loses its edges, or squeezed, which bends what it shows. It becomes a tensor of shape
# ([channels](../glossary.md#channel), height, width) with numbers from 0 to 1. Grey replaces the three channels by one, a
# weighted mean, where colour tells nothing.
#
# Set the environment variable `ROOFLINE_PHOTOS` to a folder with one sub-folder for each of two or more
# kinds, and this chapter runs on your own photographs. Without it, a program draws cats and dogs, and the
# chapter says so: no photographs of them came with a free licence. Both go through the same reader.

# %% name="folder" tags=["nbval-check-output"]
scratch = tempfile.TemporaryDirectory()
own = os.environ.get("ROOFLINE_PHOTOS")
folder = Path(own or write_cats_and_dogs(Path(scratch.name, "drawings"), count=600, size=96))
pictures = picture_folder(folder, size=48)
print("your own photographs" if own else "drawings by a program: nobody photographed these animals")
print(f"{len(pictures)} pictures of {' and '.join(pictures.classes)}")

# %% name="picture-steps"
example = Path(pictures.files[0]) if own else Path(scratch.name, "wide.png")
if not own:
    draw("cat", 224, seed=3).crop((0, 32, 224, 192)).save(example)
squeezed, cropped = (read_picture(example, 64, crop=crop) for crop in (False, True))
grey = read_picture(example, 64, grey=True)
normal, mean, deviation = augment.normalise(cropped[None])
random = torch.Generator().manual_seed(0)
moved = augment.shift(12)(augment.flip(cropped[None], random), random)[0]
steps = {
    "the file": torch.tensor(np.asarray(Image.open(example).convert("RGB"))).permute(2, 0, 1),
    "squeezed": squeezed,
    "cropped": cropped,
    "grey": grey,
    "normalised": (normal[0] / 4 + 0.5).clamp(0, 1),
    "augmented": moved,
}
figure, axes = plt.subplots(1, 6, figsize=(9.5, 2.1))
for (name, picture), axis in zip(steps.items(), axes, strict=True):
    axis.imshow(picture.permute(1, 2, 0).squeeze(), cmap="gray")
    axis.set_title(f"{name}\n{'×'.join(map(str, picture.shape))}", fontsize=8)
    axis.axis("off")
plt.show()
print(
    f"normalised: mean {normal.mean().abs():.2f}, deviation {normal.std():.2f}, shown here around grey"
)

# %% [markdown] exercise="cnn.standardise"
# [Augmenting](../glossary.md#augmentation) means to change a training picture in ways that keep what it shows: mirrored, moved, a little
# darker. The network never sees quite the same picture twice. Test pictures stay as they are.
#
# ### Exercise: one scale, from the training set
#
# Networks train best on numbers around 0 with a spread around 1. Subtract from each channel its mean and
# divide by its [standard deviation](../glossary.md#standard-deviation), both over all pictures and all places of the [**training set**](../glossary.md#training-set). The
# [test set](../glossary.md#test-set) gets the same two numbers for each channel. Its own would let the test leak into the
# preparation, and a single picture in the field has no set to take a mean of.
#
# A channel that never changes in training has a deviation of 0, up to rounding: a mean of many 0.1 may be
# its neighbour. Let it come out as zeros there, in the test set as zeros or as its difference
# from the mean.
#
# <details><summary>nan where a channel is constant</summary>
# 0/0. What could you divide by instead, so that zeros stay zeros?
# </details>
# <details><summary>The test set is huge where a channel is constant</summary>
# Print the deviation. Is it exactly 0?
# </details>


# %% solution="cnn.standardise"
def standardise(train, test):
    """Return both sets, (n, channels, h, w), in units of the training set's channels."""
    ### BEGIN SOLUTION
    mean = train.mean((0, 2, 3), keepdim=True)
    deviation = train.std((0, 2, 3), keepdim=True)
    deviation = torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
    return (train - mean) / deviation, (test - mean) / deviation
    ### END SOLUTION


# %% check="cnn.standardise"
check("cnn.standardise", standardise)

# %% [markdown] name="windows"
# ## A window that slides
#
# Take a small grid of weights, a [**kernel**](../glossary.md#kernel) of $k \times k$. Lay it on the picture, multiply what lies on
# each other, add up, and write the sum down. Move one place and repeat. (The kernels
# that a device launches are programs, another thing.) All sums together are a [**map**](../glossary.md#feature-map):
#
# $$y_{ij} = b + \sum_{u=0}^{k-1} \sum_{v=0}^{k-1} w_{uv}\, x_{i+u,\,j+v} .$$
#
# Mathematicians call this a [cross-correlation](../glossary.md#cross-correlation); their [convolution](../glossary.md#convolution)
# flips the kernel first. A network learns its kernels, so it makes no difference, and everybody says convolution. Here are two kernels
# that nobody had to learn.


# %% name="slide"
def slide(x, kernel):
    """Correlate one grey picture, (height, width), with one kernel, place by place."""
    k = len(kernel)
    y = torch.empty(x.shape[0] - k + 1, x.shape[1] - k + 1)
    for i, j in itertools.product(*map(range, y.shape)):
        y[i, j] = (x[i : i + k, j : j + k] * kernel).sum()
    return y


upright = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
level = upright.T
edges = {
    "grey": grey[0],
    "upright edges": slide(grey[0], upright),
    "level edges": slide(grey[0], level),
}
figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.6))
for (name, picture), axis in zip(edges.items(), axes, strict=True):
    axis.imshow(picture, cmap="gray")
    axis.set_title(f"{name}, {'×'.join(map(str, picture.shape))}", fontsize=9)
    axis.axis("off")
plt.show()
lost = grey.shape[1] - edges["level edges"].shape[0]
print(f"grey means no edge, white and black its two directions; the map is {lost} rows smaller")

# %% [markdown] exercise="cnn.stack"
# The map is smaller because the window has to fit in. [**Padding**](../glossary.md#padding) $p$ adds a border of zeros all around.
# [**Stride**](../glossary.md#stride) $s$ moves the window by more than one place and makes the map smaller on purpose. A place
# into which the window doesn't fit whole is left out.
#
# One window sees $k \times k$ pixels. A window on the maps of another layer sees what those saw. The part
# of the picture that one number of the last layer depends on is its [**receptive field**](../glossary.md#receptive-field). After a
# stride of 2, neighbours in the map are two pixels apart, and every later window reaches twice as far.
#
# ### Exercise: how large, and how far it sees
#
# `layers` lists `(kernel, stride, padding)` from the picture on; pooling layers count like any other.
# Return the side of the last map for a square picture, and the side of the receptive field in pixels
# (the border counts as pixels too).
#
# <details><summary>The field is right until the first stride</summary>
# Keep a second number: how many pixels apart two neighbours of the current map are.
# </details>


# %% solution="cnn.stack"
def stack(layers, side):
    """Return (side of the last map, side of its receptive field), two whole numbers."""
    ### BEGIN SOLUTION
    field, apart = 1, 1
    for kernel, stride, padding in layers:
        side = (side + 2 * padding - kernel) // stride + 1
        field += (kernel - 1) * apart
        apart *= stride
    return side, field
    ### END SOLUTION


# %% check="cnn.stack"
check("cnn.stack", stack)

# %% [markdown] exercise="cnn.convolve"
# A picture has several channels, and a layer has several kernels, called [filters](../glossary.md#filter). Each filter has weights
# for every channel and sums over all of them: $W$ is $(o, c, k, k)$, the picture $(n, c, h, w)$, the
# result
# $(n, o, h', w')$.
#
# ### Exercise: a convolution as one matrix product
#
# As loops, a convolution is millions of tiny steps. What a processor does well is one large
# matrix product. Copy every window into a column of a matrix, $c k^2$
# numbers high. The filters are the rows of another. The product has all results.
#
# `torch.nn.functional.unfold` makes such columns, `x.unfold` a view of the windows along one dimension,
# and `torch.nn.functional.pad` the border. Kernels needn't be square. Your answer is counted: all FLOPs in
# torch's matrix products, no more than the result needs, at most 8 [launches](../glossary.md#launch) for a whole batch, the arithmetic of indices included, and
# no tensor larger than the columns.
#
# <details><summary>The shape is right and the values look shuffled</summary>
# A reshape doesn't move anything. In what order does your product have pictures, places and filters?
# </details>
# <details><summary>The check says that a tensor is too large</summary>
# Multiplying first and summing later writes every term into memory. A product never does.
# </details>


# %% solution="cnn.convolve"
def convolve(x, weight, bias, stride=1, padding=0):
    """Convolve x, (n, c, h, w), with weight, (o, c, high, wide), and add bias, (o,): (n, o, h', w')."""
    ### BEGIN SOLUTION
    n, o, (high, wide) = len(x), len(weight), weight.shape[2:]
    columns = torch.nn.functional.unfold(x, (high, wide), stride=stride, padding=padding)
    y = weight.reshape(o, -1) @ columns + bias[:, None]  # (n, o, places)
    rows = (x.shape[2] + 2 * padding - high) // stride + 1
    return y.reshape(n, o, rows, -1)
    ### END SOLUTION


# %% check="cnn.convolve"
check("cnn.convolve", convolve)

# %% [markdown] name="ways"
# The library has both: the product over columns, to be read, and the device's own convolution, to be
# run. Compare what they ask of the machine. As a third, the loop from above, on one channel.

# %% name="count-ways"
x = torch.rand(8, 16, 32, 32, device=where)
weight = torch.rand(32, 16, 3, 3, device=where)
ways = {
    "columns": lambda: autograd.conv2d(Tensor(x), Tensor(weight), fast=False),
    "kernel": lambda: autograd.conv2d(Tensor(x), Tensor(weight), fast=True),
}
for name, way in ways.items():
    counts = count(way)
    print(
        f"counted: {name:<8}{counts.flops / 1e6:6.1f} million FLOPs, {counts.launches:2} launches, "
        f"largest tensor {counts.largest_allocation / x.nbytes:4.1f} times the pictures"
    )
print(
    f"counted: a loop over one grey 64×64 picture, {count(slide, grey[0], upright).launches:,} launches"
)
clock = measure_in_turn({f"cnn.{name}": way for name, way in ways.items()}, device=where)
ratio = clock["cnn.columns"].median / clock["cnn.kernel"].median
print(f"by the clock, columns take {ratio:.1f} times as long ({clock['cnn.kernel'].label})")

# %% [markdown] name="ways-after"
# The same FLOPs. The columns hold every pixel up to $k^2$ times, and a machine that waits for memory
# waits longer. The device's kernel makes the columns in pieces, in fast memory, or
# not at all: not less arithmetic, fewer bytes moved.

# %% [markdown] exercise="cnn.weight_gradient"
# ## One weight, many places
#
# Chapter 2 said that a value used many times collects the sum of its gradients. Here it is at work: the
# weight $w_{oc,uv}$ is used at every place of every picture. So
#
# $$\frac{\partial L}{\partial w_{oc,uv}} = \sum_{n,i,j} dy_{noij}\; x_{nc,\,si+u,\,sj+v} .$$
#
# That sum over $n$, $i$ and $j$ is why a filter learns from few pictures: each one is hundreds of
# examples
# to it. It is also a matrix product with the same columns as before.
#
# ### Exercise: the gradient of a weight that is used everywhere
#
# `x` is $(n, c, h, w)$, `dy` the gradient of the result, $(n, o, h', w')$; kernels are `kernel` by
# `kernel`, without padding. Return $(dW, db)$. No autograd, and again one product of torch's,
# at most 8 launches.
#
# <details><summary>dW is right for one picture</summary>
# A batched product gives one matrix a picture. What happens to them then?
# </details>
# <details><summary>Right with stride 1, wrong with 2</summary>
# The columns must be those windows that the forward pass used, and only those.
# </details>


# %% solution="cnn.weight_gradient"
def weight_gradient(x, dy, kernel, stride=1):
    """Return (dW, db), (outputs, channels, kernel, kernel) and (outputs,), of a convolution."""
    ### BEGIN SOLUTION
    columns = torch.nn.functional.unfold(x, kernel, stride=stride)  # (n, c·k·k, places)
    shares = torch.einsum("nop,nkp->ok", dy.flatten(2), columns)
    return shares.reshape(dy.shape[1], x.shape[1], kernel, kernel), dy.sum((0, 2, 3))
    ### END SOLUTION


# %% check="cnn.weight_gradient"
check("cnn.weight_gradient", weight_gradient)

# %% [markdown] exercise="cnn.max_pool"
# ## Pooling
#
# A [max pooling](../glossary.md#max-pooling) layer keeps the largest number of each window of $s \times s$ and moves by $s$: *somewhere
# here was an edge*. The map gets $s^2$ times smaller, and with it all later work. There is nothing to
# learn in it.
#
# ### Exercise: a pullback that forgets the picture
#
# Write it with its pullback, as in chapter 2. The gradient of each result goes to the one place that won;
# if several are equal, to any one of them, whole. Sides are multiples of `size`. The pullback may hold at
# most 8 bytes for each window, or 1 for each number of it: where the largest stood is enough.
#
# <details><summary>The gradient is too large where numbers are equal</summary>
# Comparing with the maximum finds all who share it. After a relu that is often a whole window of zeros.
# </details>
# <details><summary>It remembers too much</summary>
# Does your pullback mention <code>x</code>, even for its shape? A view keeps all of its memory too.
# </details>


# %% solution="cnn.max_pool"
def max_pool(x, size):
    """Return the maxima of x's windows, (n, c, h / size, w / size), and the pullback dy -> (dx,)."""
    ### BEGIN SOLUTION
    n, c, h, w = x.shape
    tiles = x.reshape(n, c, h // size, size, w // size, size).transpose(3, 4)
    y, place = tiles.flatten(-2).max(-1)

    def pullback(dy):
        dx = dy.new_zeros(*dy.shape, size * size)
        dx.scatter_(-1, place[..., None], dy[..., None])
        dx = dx.reshape(n, c, h // size, w // size, size, size)
        return (dx.transpose(3, 4).reshape(n, c, h, w),)

    return y, pullback
    ### END SOLUTION


# %% check="cnn.max_pool"
check("cnn.max_pool", max_pool)

# %% [markdown] name="translation"
# ## Translation
#
# Move the picture and the map moves along: the same weights meet the same pixels, elsewhere. That is
# [**equivariance**](../glossary.md#equivariance), and it comes with sharing; no training is needed. A mean over the whole map
# then hardly notices the move: [**invariance**](../glossary.md#invariance). Below, networks with random weights and a picture
# of noise, in which no two places are alike. For each, how much does the answer change when the picture
# moves, in units of how much it varies at all?


# %% name="shift-table"
def blocks(*widths, norm=False):
    """3×3 convolutions that keep the side, each with a pooling by 2, a batch norm if asked, a relu."""
    layers = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(2)]
        layers += [nn.BatchNorm2d(after)] if norm else []
        layers.append(nn.ReLU())
    return layers


noise = torch.rand(1, 1, 64, 64)


def changed(network, pixels, factor):
    """Mean change of a map when the noise moves, the map moved back; edges left out."""
    before, after = (network(Tensor(p)).data for p in (noise, noise.roll(pixels, -1)))
    if factor:  # by how much smaller the map is; 0 if no map is left
        inner = slice(8 // factor, -8 // factor)
        before = before.roll(pixels // factor, -1)[..., inner, inner]
        after = after[..., inner, inner]
    return ((after - before).abs().mean() / before.std()).item()


torch.manual_seed(0)
conv, pooled = nn.Conv2d(1, 8, 3, padding=1), nn.Sequential(*blocks(1, 8))
averaged = nn.Sequential(pooled, nn.AdaptiveAvgPool2d(1))
dense = nn.Linear(64 * 64, 64 * 64)
flat = lambda x: dense(x.reshape(1, -1)).reshape(1, 1, 64, 64)
networks = {
    "convolution": (conv, 1),
    "and pooling": (pooled, 2),
    "and a mean of each map": (averaged, 0),
    "dense layer": (flat, 1),
}
for name, (network, factor) in networks.items():
    shares = [f"{changed(network, pixels, factor):.3f}" for pixels in (1, 2)]
    print(f"{name}: change {shares[0]} when moved by 1 pixel, {shares[1]} by 2")

# %% [markdown] name="translation-after"
# The convolution moves along exactly. With pooling it does so for even moves only: a stride looks at
# every
# second place, and an odd move shows it other places ([Zhang 2019](https://arxiv.org/abs/1904.11486)).
# The mean of each map evens that out. "A CNN
# is invariant to translation" is therefore true of its parts and roughly true of the whole.
#
# ## Where the parameters are, and where the work is
#
# Take a network for 224×224 pictures, as many introductions build it: 32 filters, pooling, 64 filters,
# pooling, all maps flattened into one vector, a dense layer for ten classes. A second one is for grey
# pictures and has a dense layer of 64 in between. Before you count: in the first one, how many percent
# of the
# parameters sit in the dense layer? And how many percent of the FLOPs are in the convolutions?

# %% name="predict-shares"
predict("cnn.dense", None, "percent of the parameters in the dense layer")  # None -> your number
predict("cnn.work", None, "percent of the FLOPs in the convolutions")  # None -> your number

# %% name="count-article" tags=["nbval-check-output"]
with torch.device("meta"):  # shapes without numbers: nothing is computed, nothing needs memory
    first = summary(TwoConvNet(), torch.empty(1, 3, 224, 224))
    second = summary(TwoConvNet(channels=1, hidden=64), torch.empty(1, 1, 224, 224))
print(first)
print(
    f"TwoConvNet's own row is what its relus keep; the picture, {3 * 224**2 * 4:,} bytes, comes on top"
)
for name, found in (("first", first), ("second", second)):
    fullest = max(row.parameters for row in found.rows) / found.parameters
    work = sum(row.flops for row in found.rows if row.kind == "Conv2d") / found.flops
    print(
        f"{name} network: {found.parameters:,} parameters, {fullest:.1%} of them in one dense layer; "
        f"{found.flops:,} FLOPs, {work:.1%} in convolutions"
    )
rows = {row.name: row for row in first.rows}
reconcile("cnn.dense", 100 * rows["head"].parameters / first.parameters, "percent", how="counted")
work = 100 * (rows["conv1"].flops + rows["conv2"].flops) / first.flops
reconcile("cnn.work", work, "percent", how="counted")

# %% [markdown] name="reuse"
# Storage and work are in different places, because of reuse. For one picture a weight of a dense layer is read
# once and works once: 2 FLOPs for 4 bytes. A weight of a filter works at every place. The
# first kind of layer
# fills memory and waits for it. The second needs hardly any memory for weights and keeps the
# arithmetic busy. And every parameter costs again in training: with Adam in float32, 16 bytes.

# %% name="count-reuse" tags=["nbval-check-output"]
for layer in ("conv1", "conv2", "head"):
    row = rows[layer]
    print(
        f"{layer}: {row.flops / row.parameters:9,.0f} FLOPs a picture for each parameter, "
        f"{16 * row.parameters / 1e6:5.1f} MB to train with Adam"
    )

# %% [markdown] name="move-shares"
# Both shares change with the side of the pictures, the filters and the strides. Commit to a number first, then
# move the controls. For which side does the dense layer have fewest parameters? Does it ever do most of the
# work?
#
# <details><summary>What you can find</summary>
# Fewest for the smallest side. It does most of the work with few filters and a wide hidden layer, such as
# 16 and 1,024.
# </details>

# %% name="experiment"
lab.convnet()

# %% [markdown] exercise="cnn.account"
# The repair is one line. Instead of flattening the last maps, take the mean of each: [**global average
# pooling**](../glossary.md#global-average-pooling) ([Lin, Chen and Yan 2013](https://arxiv.org/abs/1312.4400)). The dense layer then sees one
# number for
# each filter, whatever the side of the picture.
#
# ### Exercise: the account
#
# `channels` lists the channels from the picture on, such as `(3, 32, 64)`. Each step is a 3×3 convolution
# with bias and without padding, then a pooling by 2 that leaves out an odd last row. Then comes the
# dense layer to
# `classes`, on all flattened numbers or, if `pooled`, on one mean for each channel. Work out
#
# - `parameters`;
# - `forward`: FLOPs of a batch, convolutions and dense layer only, 2 for each multiply-add; the additions
#   of biases aren't counted;
# - `remembered`: bytes in float32 of the inputs of those layers, which their weights' gradients need.
#   (What the
#   pooling layers remember comes on top.)
#
# <details><summary>forward is far too small</summary>
# How often does a filter's weight work for one picture?
# </details>
# <details><summary>Right for 224, wrong for other sides</summary>
# A side may be odd before it is pooled.
# </details>


# %% solution="cnn.account"
def account(channels, side, batch, classes, pooled=False):
    """Return a dict of whole numbers: parameters, forward (FLOPs), remembered (bytes)."""
    ### BEGIN SOLUTION
    parameters = products = inputs = 0
    for c, o in itertools.pairwise(channels):
        inputs += c * side**2
        side -= 2
        parameters += o * (9 * c + 1)
        products += 9 * c * o * side**2
        side //= 2
    features = channels[-1] * (1 if pooled else side**2)
    return {
        "parameters": parameters + classes * (features + 1),
        "forward": 2 * batch * (products + features * classes),
        "remembered": 4 * batch * (inputs + features),
    }
    ### END SOLUTION


# %% check="cnn.account"
check("cnn.account", account)

# %% name="count-repair" tags=["nbval-check-output"]
with torch.device("meta"):
    body = (
        nn.Conv2d(3, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )
    repaired = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    for side in (224, 448):
        found = summary(repaired, torch.empty(1, 3, side, side))
        print(
            f"repaired, {side} pixels a side: {found.parameters:,} parameters, {found.flops:,} FLOPs"
        )
print(f"{first.parameters / found.parameters:.0f} times fewer parameters than before")

# %% [markdown] name="trained"
# The FLOPs nearly stay, since few of them were in the dense layer. What is lost is *where* in the picture
# something was. For most pictures that is no loss. For clothes that always hang in the middle it may be
# one, so there we keep the dense layer.
#
# ## Does it learn better?
#
# First a fair fight: crops of photographs of brick, grass and gravel. Their grey values alone would give
# many away. So each pixel becomes its rank within the crop. Then all crops have the same grey values,
# and only the pattern tells them apart. A dense network against a convolutional one.
# The test crops come from another part of the photographs.


# %% name="textures" tolerance=0.1
def fit(model, data, epochs, rate, batch=32, transform=None):
    """Train with AdamW on a data set of (images, labels)."""
    batches = loader(data, batch, shuffle=True, transform=transform)
    steps = epochs * len(batches)
    schedule = optim.warmup_cosine(min(20, steps // 4), steps)
    adamw = lambda parameters: optim.AdamW(parameters, lr=rate)
    return training.train(model, batches, optimizer=adamw, schedule=schedule, epochs=epochs)


def share_right(model, data):
    measured = training.evaluate(model, loader(data, 256), metrics={"right": training.accuracy})
    return measured["right"]


def contest(train_crops, test_crops):
    """Train a dense and a convolutional network; print what they reach."""
    for name in ("dense", "convolutional"):
        torch.manual_seed(0)
        dense = [nn.Flatten(), nn.Linear(1024, 32), nn.ReLU(), nn.Linear(32, 3)]
        narrow = [*blocks(1, 8, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)]
        model = nn.Sequential(*(dense if name == "dense" else narrow))
        fit(model, train_crops, epochs=8, rate=3e-3 if name == "dense" else 2e-2)
        seen, new = share_right(model, train_crops), share_right(model, test_crops)
        size = sum(p.data.numel() for p in model.parameters())
        print(
            f"{name:<14}{size:6,} parameters: {seen:.2f} right of its own crops, {new:.2f} of new ones"
        )


def ranked(data):
    """Give every crop the same grey values in even steps, mean 0 and deviation 1."""
    ranks = data.images.flatten(1).argsort(1).argsort(1)
    even = (ranks / (ranks.shape[1] - 1) - 0.5) * 12**0.5
    return replace(data, images=even.reshape(data.images.shape))


crops, new_crops = (ranked(part) for part in textures(count=300))
contest(crops, new_crops)

# %% [markdown] name="textures-after"
# The dense network learned its own crops by heart. It has to learn a pattern anew for every place. The
# other one learns it once. Compare the distance between the two numbers in each line.
#
# ## Clothes
#
# Now the same kind of network, small, on Fashion-MNIST.

# %% name="fashion" tolerance=0.05
train_set, test_set = fashion_mnist(standardise=True)
torch.manual_seed(0)
clothes = nn.Sequential(*blocks(1, 8, 16), nn.Flatten(), nn.Linear(16 * 7 * 7, 10))
history = fit(clothes, train_set, epochs=2, rate=1e-2, batch=64)
scores = training.predict(clothes, test_set.images)
guesses = scores.argmax(1)
print(f"loss of the last 100 batches {sum(history.loss[-100:]) / 100:.2f}")
print(
    f"accuracy on {len(test_set):,} new pictures {(guesses == test_set.labels).float().mean():.3f}"
)

# %% name="confusion" tolerance=0.1
table = torch.zeros(10, 10, dtype=torch.int64)
table.index_put_((test_set.labels, guesses), torch.tensor(1), accumulate=True)
figure, axis = plt.subplots(figsize=(6, 5.2))
axis.imshow(table, cmap="cividis")
for i, j in itertools.product(range(10), range(10)):
    if table[i, j]:
        color = "black" if table[i, j] > 100 else "white"
        axis.text(j, i, int(table[i, j]), ha="center", va="center", color=color, fontsize=8)
axis.set_xticks(range(10), test_set.classes, rotation=60, ha="right")
axis.set_yticks(range(10), test_set.classes)
axis.set(xlabel="what the network says", ylabel="what it is")
axis.grid(False)
plt.tight_layout()
plt.show()
print("how often a class of a row is taken for the class of a column")
errors = table - table.diag().diag()
share = table.diag() / table.sum(1)
hardest = test_set.classes[int(share.argmin())]
print(
    f"{int(errors.sum())} mistakes; the hardest class is {hardest}, {share.min():.2f} of it right"
)

# %% [markdown] name="animals"
# ## Cats and dogs
#
# Two classes, from files, with everything from the beginning of the chapter: read, cropped, divided
# into a
# training and a test set, put on one scale. Between the layers the scale can go astray again, so this
# network
# also has [**batch normalisation**](../glossary.md#batch-normalisation): it standardises every channel over the batch, as you did over the
# set, and then
# learns a factor and an offset for each ([Ioffe and Szegedy 2015](https://arxiv.org/abs/1502.03167)).
# In use it takes running means
# from training instead of the batch. And here the training pictures are augmented: each batch mirrors some.

# %% name="train-animals" tolerance=0.1
learned, unseen = (part.load() for part in pictures.split(0.25))
learned_images, mean, deviation = augment.normalise(learned.images)
unseen_images = augment.normalise(unseen.images, mean, deviation)[0]
learned, unseen = replace(learned, images=learned_images), replace(unseen, images=unseen_images)
torch.manual_seed(0)
kinds = len(learned.classes)
animals = nn.Sequential(
    *blocks(3, 8, 16, 32, norm=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, kinds)
)
mirror = augment.augment(augment.flip)
history = fit(animals, learned, epochs=10, rate=1e-2, batch=16, transform=mirror)
last = history.loss[-20:]
print(f"loss of the last {len(last)} batches {sum(last) / len(last):.2f}")
print(
    f"right: {share_right(animals, learned):.2f} of {len(learned)} learned, "
    f"{share_right(animals, unseen):.2f} of {len(unseen)} new pictures"
)
if not own:
    print("drawings by one program are easy; photographs aren't")

# %% name="single-pictures" tolerance=0.2
chosen = torch.arange(0, len(unseen), max(len(unseen) // 8, 1))[:8]
odds = torch.softmax(training.predict(animals, unseen.images[chosen]), 1)
shown = unseen.images * deviation[:, None, None] + mean[:, None, None]
figure, axes = plt.subplots(1, 8, figsize=(9.5, 1.8))
right = 0
for row, p, axis in zip(chosen.tolist(), odds, axes, strict=False):
    said, true = int(p.argmax()), int(unseen.labels[row])
    right += said == true
    axis.imshow(shown[row].permute(1, 2, 0).clamp(0, 1))
    axis.set_title(
        f"{unseen.classes[said]} {p.max():.2f}\n{'right' if said == true else 'wrong'}", fontsize=8
    )
for axis in axes:
    axis.axis("off")
plt.show()
print(
    f"{right} of these {len(chosen)} are right; the number is the probability that it gives its answer"
)

# %% [markdown] name="inside"
# ## A look inside
#
# The filters of the first layer can be shown as tiny pictures, since they work on colours. Deeper ones
# work on maps, and looking at their weights says little. What you can ask for any network is:
# which pixels would change the answer most? That is one backward walk, with the picture as the
# parameter. It is called a [saliency map](../glossary.md#saliency-map) ([Simonyan et al. 2013](https://arxiv.org/abs/1312.6034)).

# %% name="saliency" tolerance=0.2
filters = animals[0].weight.data.cpu()
filters = (filters - filters.amin((1, 2, 3), True)) / (
    filters.amax((1, 2, 3), True) - filters.amin((1, 2, 3), True)
)
figure, axes = plt.subplots(2, 8, figsize=(9.5, 2.8))
for number, (axis, picture) in enumerate(zip(axes[0], filters, strict=True), 1):
    axis.imshow(picture.permute(1, 2, 0))
    axis.set_title(f"filter {number}", fontsize=8)
focus = []
animals.eval()  # running means, not those of a batch of one
for column, row in zip(range(0, 8, 2), chosen[1::2].tolist(), strict=False):
    x = Tensor(unseen.images[row : row + 1].to(where), requires_grad=True)
    animals(x)[0, int(unseen.labels[row])].backward()
    strength = x.grad.abs().amax(1)[0].cpu()
    strongest = strength.flatten().sort(descending=True).values
    focus.append((strongest[: len(strongest) // 10].sum() / strongest.sum()).item())
    axes[1, column].imshow(shown[row].permute(1, 2, 0).clamp(0, 1))
    axes[1, column].set_title(unseen.classes[int(unseen.labels[row])], fontsize=8)
    axes[1, column + 1].imshow(strength, cmap="cividis")
    axes[1, column + 1].set_title("its saliency", fontsize=8)
for axis in axes.flat:
    axis.axis("off")
plt.show()
for parameter in animals.parameters():
    parameter.grad = None
print(
    f"above the {len(filters)} filters of layer 1; below pictures, and how much each pixel matters: "
    "yellow most, dark blue not at all"
)
print("a filter light on one side and dark on the other looks for an edge; one tint, for a colour")
print(
    f"a tenth of the pixels holds {sum(focus) / len(focus):.0%} of the saliency; even would be 10%"
)

# %% [markdown] name="inside-after"
# A saliency map shows where the answer is sensitive, not why.
#
# ## The same in PyTorch
#
# The layers have torch's names and take its weights. Same weights, same batch: same logits, same
# gradients.

# %% name="same-in-pytorch" tags=["nbval-check-output"]
twin = torch.nn.Sequential(
    *(torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.MaxPool2d(2), torch.nn.ReLU()),
    *(torch.nn.Conv2d(8, 16, 3, padding=1), torch.nn.MaxPool2d(2), torch.nn.ReLU()),
    *(torch.nn.Flatten(), torch.nn.Linear(16 * 7 * 7, 10)),
).to(where)
twin.load_state_dict(clothes.state_dict())
batch, answers = test_set.images[:64].to(where), test_set.labels[:64].to(where)
logits, theirs = clothes(Tensor(batch)), twin(batch)
torch.testing.assert_close(logits.data, theirs.detach(), rtol=1e-4, atol=1e-4)
for parameter in clothes.parameters():
    parameter.grad = None
losses.cross_entropy(logits, answers).backward()
torch.nn.functional.cross_entropy(theirs, answers).backward()
for ours, other in zip(clothes.parameters(), twin.parameters(), strict=True):
    torch.testing.assert_close(ours.grad, other.grad, rtol=1e-3, atol=1e-5)
print("logits and all six gradients agree with PyTorch's")

# %% [markdown] name="claim"
# ## Often said, and isn't so
#
# > "The formula of a CNN is y = f(Wx + b)."
#
# That is the formula of a dense layer. A convolution is linear, so some matrix $W$ does it, too. Look at that matrix. Its columns are the layer's answers to pictures with a single
# bright pixel.

# %% name="count-claim" tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(0)
kernels, bias = torch.randn(2, 1, 3, 3, generator=generator), torch.randn(2, generator=generator)
pixels = torch.eye(64).reshape(64, 1, 8, 8)
W = autograd.conv2d(Tensor(pixels), Tensor(kernels)).data.flatten(1).T  # (2·6·6, 8·8)
picture = torch.rand(1, 1, 8, 8, generator=generator)
y = autograd.conv2d(Tensor(picture), Tensor(kernels), Tensor(bias)).data
torch.testing.assert_close(W @ picture.flatten() + bias.repeat_interleave(36), y.flatten())
print(
    f"two 3×3 filters on an 8×8 picture: W is {W.shape[0]} by {W.shape[1]}, {W.numel():,} entries"
)
print(
    f"{(W == 0).float().mean():.0%} of them are zero, the others have {len(W[W != 0].unique())} values"
)
entries = (32 * 222 * 222) * (3 * 224 * 224)
print(
    f"first layer of the network for 224×224: {entries:.1e} entries, {rows['conv1'].parameters} parameters"
)

# %% [markdown] name="claim-shuffle"
# The formula leaves out what makes it a CNN: which entries are zero ([**locality**](../glossary.md#locality)) and which are equal
# ([**sharing**](../glossary.md#sharing)). A free $W$ doesn't know which pixels are neighbours. Here is the proof: shuffle the
# pixels
# of all crops by one fixed permutation and repeat the contest.

# %% name="shuffled" tolerance=0.1
order = torch.randperm(1024, generator=torch.Generator().manual_seed(1))
shuffle = lambda data: replace(data, images=data.images.flatten(1)[:, order].reshape(-1, 1, 32, 32))
contest(shuffle(crops), shuffle(new_crops))

# %% [markdown] name="summary"
# For the dense network nothing has changed but the order of its columns. The convolutional one has lost
# what it was built on. With the same grey values in every crop, little is left for it to see: guessing
# gets 0.33. An architecture is an assumption about the data, written as zeros and
# equal entries. Pooling and depth, which the formula leaves out too, then let small windows see far.
#
# ## Summary
#
# - A convolution is a dense layer whose matrix is mostly zeros and repeats few values: locality and
#   sharing.
# - As columns and one product it is fast; the columns are $k^2$ times the picture, so good kernels
#   never store them.
# - A shared weight collects its gradient from every place: many examples from one picture.
# - Flattening puts the parameters into one dense layer; the FLOPs are in the convolutions. Global
#   pooling takes
#   the parameters away.
# - Convolutions move along with the picture exactly, strides and pooling only roughly.
#
# Every term and symbol is in the [glossary](../glossary.md).
#
# ## Where to read on
#
# - LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*, Proc.
#   IEEE 86
#   (1998), [10.1109/5.726791](https://doi.org/10.1109/5.726791).
# - Dumoulin, Visin, *A guide to convolution arithmetic for deep learning*,
#   [1603.07285](https://arxiv.org/abs/1603.07285).
# - Chetlur et al., *cuDNN: efficient primitives for deep learning*,
#   [1410.0759](https://arxiv.org/abs/1410.0759): how
#   the columns are made without being stored.
# - Lin, Chen, Yan, *Network in network*, [1312.4400](https://arxiv.org/abs/1312.4400).
# - In the library: `roofline/autograd/conv.py`, the convolution that is to be read.
