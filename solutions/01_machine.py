# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown] name="question"
# # 1 · The machine
#
# **What sets the speed and the size of what you can train?**
#
# | minutes | know first | peak memory | device |
# |---|---|---|---|
# | 85 | Python, the matrix product | under 1 GB | any CPU; a GPU is used if you have one |
#
# Deep learning is a few kinds of arithmetic on large arrays, called [tensors](../glossary.md#tensor). How fast it runs is decided by three
# numbers of your machine: how much arithmetic it does in a second, how many bytes it moves in a second,
# and how many bytes it holds. In this chapter you measure all three, learn to say **before** you run
# something which of them you will wait for, and check yourself by counting.
#
# This is the only chapter about nothing but hardware. The others use what you find here.
#
# In every exercise, leave the arguments as they are, return their [dtype](../glossary.md#dtype), and write what is asked for yourself.
# PyTorch's or the library's own function for it earns nothing. Exceptions are named.

# %% name="setup"
import math

import matplotlib.pyplot as plt
import torch

from roofline import lab
from roofline.device import device
from roofline.grading import check, predict, progress, reconcile
from roofline.hardware.catalogue import find, recorded
from roofline.hardware.count import count
from roofline.hardware.probe import this_machine
from roofline.hardware.report import si
from roofline.hardware.trace import measure_in_turn
from roofline.lab import style

torch.manual_seed(0)
style.use()
progress("01_machine")

# %% [markdown] name="three-limits"
# ## Three limits, measured
#
# The next cell probes your machine, unless `roofline machine` did so before: square [matrix products](../glossary.md#matrix-product) of
# growing size for arithmetic, copies of growing size for transfer. It takes some seconds. Everything that
# it prints was [measured](../glossary.md#measured), and the label says where and when (a [replayed](../glossary.md#replayed) number was measured on another machine). If other programs were running, it says that
# too, because then the numbers are lower than the machine's own.

# %% name="profile"
where = device()
machine = this_machine("machine.profile")
peak, bandwidth = machine.peak("float32"), machine.memory_bandwidth
print(machine.label)
print(f"compute:  {si(peak, 'FLOP/s')} in float32, the fastest matrix product")
print(
    f"transfer: {si(bandwidth, 'B/s')} from main memory, {si(machine.cache_bandwidth, 'B/s')} from the nearest cache"
)
room = machine.machine["memory_bytes" if machine.device == "cpu" else "gpu_memory_bytes"]
print(f"capacity: {style.size(room)}, as the system says")
print(f"latency:  {machine.overhead * 1e6:.1f} µs for an operation on one number")

# %% [markdown] name="flops-and-bytes"
# A [**FLOP**](../glossary.md#flop) is one floating-point addition or multiplication. The product of an $(n, k)$ and a $(k, m)$ matrix
# needs $k$ multiplications and about $k$ additions for each of its $nm$ entries: $2nkm$ FLOPs. It reads
# $nk + km$ numbers and writes $nm$, if each moves only once.
#
# FLOPs divided by bytes is the [**arithmetic intensity**](../glossary.md#arithmetic-intensity) of an operation. Remember how it behaves:
# arithmetic grows with the third power of the size, bytes with the second. Large products do much work
# with each byte. Additions never do.

# %% [markdown] exercise="machine.product"
# ### Exercise: the cost of a product
#
# Return FLOPs, bytes and intensity of that product, for numbers of `size` bytes each. Count $2k$ FLOPs for
# each entry of the result. Then ask your own
# function: at which size of a square float32 product does a byte buy 10 FLOPs?
#
# <details><summary>The bytes are off by a factor</summary>
# Three matrices take part. Each moves once.
# </details>
# <details><summary>The size that you found</summary>
# In a square product of 4-byte numbers the intensity is a sixth of the side: 10 FLOPs a byte at 60.
# </details>


# %% solution="machine.product"
def product(n, k, m, size=4):
    """Return (FLOPs, bytes, intensity) of an (n, k) by (k, m) matrix product."""
    ### BEGIN SOLUTION
    flops = 2 * n * k * m
    moved = size * (n * k + k * m + n * m)
    return flops, moved, flops / moved
    ### END SOLUTION


# %% check="machine.product"
check("machine.product", product)

# %% [markdown] exercise="machine.chain"
# ### Exercise: the same result for less
#
# Before you make arithmetic fast, make it less. `matrices` is a list $A_1, \dots, A_r$ of matrices whose
# shapes fit, `v` a vector. Return $A_1 A_2 \cdots A_r v$ for 2 FLOPs an entry of the matrices, without
# `torch.linalg.multi_dot`. Only torch's products are counted.
# Multiplication of matrices is associative: the result doesn't care where you put the brackets, the bill
# does.
#
# <details><summary>Right, but too many FLOPs</summary>
# Compare the shapes of what you hold after the first product, from the left and from the right.
# </details>


# %% solution="machine.chain"
def chain(matrices, v):
    """Return the product of all matrices and the vector v, a vector."""
    ### BEGIN SOLUTION
    for matrix in reversed(matrices):
        v = matrix @ v
    return v
    ### END SOLUTION


# %% check="machine.chain"
check("machine.chain", chain)

# %% [markdown] name="roofline"
# ## The roofline
#
# While a processor computes, the next bytes can already be on their way. So the time of an operation is
# at least the longer of two: its FLOPs divided by the [peak](../glossary.md#peak), its bytes divided by the [bandwidth](../glossary.md#bandwidth). Turned
# around, the rate that an operation of intensity $I$ can reach is
#
# $$R(I) = \min(\text{peak},\; I \cdot \text{bandwidth}),$$
#
# the [**roofline**](../glossary.md#roofline) ([Williams, Waterman, Patterson 2009](https://doi.org/10.1145/1498765.1498785)). The two
# sides meet at the [**ridge**](../glossary.md#ridge), the intensity peak / bandwidth. Left of it you wait for memory, and a faster
# processor would change nothing. Right of it you wait for arithmetic, and faster memory would change
# nothing.

# %% [markdown] exercise="machine.roof"
# ### Exercise: under the roof
#
# For an operation of so many FLOPs and bytes, return the shortest time in seconds, the rate in FLOP/s that
# it then reaches, and which limit binds: `"compute"` or `"memory"`. On the ridge itself say `"compute"`.
# Operations without any FLOPs exist, a copy for example.
#
# <details><summary>Division by zero</summary>
# A copy has no FLOPs, so its rate is 0. Its time isn't.
# </details>


# %% solution="machine.roof"
def roof(flops, moved, peak, bandwidth):
    """Return (seconds, FLOP/s, "compute" or "memory") for FLOPs and bytes under a roofline."""
    ### BEGIN SOLUTION
    computing, moving = flops / peak, moved / bandwidth
    seconds = max(computing, moving)
    return seconds, flops / seconds, "compute" if computing >= moving else "memory"
    ### END SOLUTION


# %% check="machine.roof"
check("machine.roof", roof)

# %% name="picture-roofline"
side = 1024
a, b = torch.rand(side, side, device=where), torch.rand(side, side, device=where)
long, other = torch.rand(2, 8_000_000, device=where)
operations = {
    "add": lambda: long + other,
    "exp": lambda: long.exp(),
    "sum": lambda: long.sum(),
    "matrix × vector": lambda: a @ b[0],
    "matrix × 16 columns": lambda: a @ b[:, :16],
    "matrix × matrix": lambda: a @ b,
}
clock = measure_in_turn(
    {f"machine.{n.replace(' × ', '_').replace(' ', '_')}": f for n, f in operations.items()},
    device=where,
    seconds=0.3,
)
figure, axis = plt.subplots(figsize=(7, 4))
left, right = 0.03, 400.0
ridge = peak / bandwidth
axis.loglog(
    [left, ridge, right],
    [left * bandwidth, peak, peak],
    color=style.BLACK,
    label="roofline, measured",
)
for (name, function), mark, reading in zip(
    operations.items(), "os^Dv*", clock.values(), strict=True
):
    counts = count(function)
    work = counts.flops or counts.elementwise
    intensity, rate = work / counts.bytes_moved, work / reading.median
    axis.plot(intensity, rate, mark, markersize=8, label=name)
    share = rate / min(peak, intensity * bandwidth)
    print(
        f"{name:<20} {intensity:8.3f} FLOPs/byte {si(rate, 'FLOP/s'):>14}, {share:5.0%} of the roof there"
    )
axis.axvline(ridge, color=style.GREY, linestyle=":", label="ridge")
axis.set(xlabel="arithmetic intensity, FLOPs per byte", ylabel="FLOP/s")
axis.legend(fontsize=8, loc="lower right")
plt.show()
print(f"ridge of this machine in float32: {ridge:.1f} FLOPs per byte ({machine.label})")

# %% [markdown] name="roofline-after"
# Three things to take from your own picture. Additions and sums sit far left, at a small share of the
# peak, and no cleverness inside them can change that. A point above the roof isn't a miracle: its data
# may have come from a [cache](../glossary.md#cache), which has a higher roof of its own. Or it hardly writes: the bandwidth was
# measured with copies, and a sum only reads. A point far below the roof waits for something that the roofline doesn't know, such as the start of an operation, or a function
# like $\exp$ that costs more than one FLOP.
#
# Put other operations of the course on it, with a GPU's roofline beside yours. Commit to a number first.

# %% name="experiment-roofline"
lab.roofline()

# %% [markdown] name="batches"
# ## Why everything comes in batches
#
# A linear layer with a weight matrix of $(\text{out}, \text{in})$ reads the whole matrix, whether it
# serves one input row or a hundred. One row: two FLOPs for each weight of 4 bytes. That is left of every
# ridge there is. With a [batch](../glossary.md#batch) of $b$ rows the same bytes serve $b$ times the FLOPs, until the ridge is
# reached. Up to there, more rows are nearly free.
#
# How far is that on your machine? Write down your number, then let it measure. Afterwards choose a card of the
# [catalogue](../glossary.md#catalogue), and a narrower layer.

# %% name="experiment-batching"
lab.batching()

# %% [markdown] name="batch-after"
# [**Latency**](../glossary.md#latency) is the left picture, [**throughput**](../glossary.md#throughput) the right one. Where the time hardly grows, a larger batch costs
# nobody anything. Where it grows in proportion, throughput has stopped rising, and every row more only
# makes the others wait.

# %% [markdown] exercise="machine.ridge_batch"
# ### Exercise: how large a batch
#
# From the model alone: which is the smallest batch for which a linear layer (`inputs` by `outputs`, numbers
# of `size` bytes) waits for compute rather than memory? Count the bytes of the input, the weight and the
# result. If no batch is large enough, because the layer is too narrow, return `None`.
#
# <details><summary>Off by one</summary>
# The smallest whole number that satisfies an inequality, and on the ridge it counts as compute.
# </details>
# <details><summary>When can there be none, or a division by zero?</summary>
# With a huge batch the weight's bytes don't matter any more. What does the intensity tend to?
# </details>


# %% solution="machine.ridge_batch"
def ridge_batch(inputs, outputs, peak, bandwidth, size=4):
    """Return the smallest batch at which the layer is bound by compute, an int, or None."""
    ### BEGIN SOLUTION
    ridge = peak / bandwidth
    # 2 b i o >= ridge * size * (i o + b (i + o)), solved for b
    gain = 2 * inputs * outputs - ridge * size * (inputs + outputs)
    if gain <= 0:
        return None
    return max(1, math.ceil(ridge * size * inputs * outputs / gain))
    ### END SOLUTION


# %% check="machine.ridge_batch"
check("machine.ridge_batch", ridge_batch)

# %% [markdown] name="latency"
# ## The third time: getting started
#
# Every operation also has a fixed price: Python calls PyTorch, PyTorch picks a [kernel](../glossary.md#kernel), the kernel starts: a [**launch**](../glossary.md#launch).
# You measured it above. It doesn't depend on the size, so small operations pay mostly for starting. A GPU
# computes while Python prepares the next operation, which hides the price as long as Python is faster.

# %% [markdown] exercise="machine.program"
# ### Exercise: the time of a program
#
# `operations` is a list of pairs (FLOPs, bytes), run one after the other. Each takes its time under the
# roof, but never less than `overhead` seconds. Return the total, and the share of it that goes to operations
# that only pay for starting, between 0 and 1. An empty program takes no time, and has a share of 0.
#
# <details><summary>The total is too large</summary>
# Starting overlaps with computing: an operation takes the longest of its times, not their sum.
# </details>


# %% solution="machine.program"
def program(operations, peak, bandwidth, overhead):
    """Return (seconds, share of the time in operations bound by overhead)."""
    ### BEGIN SOLUTION
    total = starting = 0.0
    for flops, moved in operations:
        under_roof = max(flops / peak, moved / bandwidth)
        total += max(under_roof, overhead)
        if overhead > under_roof:
            starting += overhead
    return total, starting / total if total else 0.0
    ### END SOLUTION


# %% check="machine.program"
check("machine.program", program)

# %% name="small-operations"
sizes = [10**k for k in range(1, 8)]
vectors = {n: torch.rand(2, n, device=where).unbind() for n in sizes}
clock = measure_in_turn(
    {f"machine.add={n}": (lambda x=x, y=y: x + y) for n, (x, y) in vectors.items()},
    device=where,
    seconds=0.15,
)
per_number = [clock[f"machine.add={n}"].median / n * 1e9 for n in sizes]
figure, axis = plt.subplots(figsize=(7, 3))
axis.loglog(sizes, per_number, "o-")
axis.set(xlabel="numbers in the vector", ylabel="ns for each number")
plt.show()
best = min(range(len(sizes)), key=per_number.__getitem__)
print(
    f"x + y costs {per_number[0]:.0f} ns a number for 10 numbers, "
    f"{per_number[best]:.2f} ns for {sizes[best]:,}, {per_number[-1]:.2f} ns for {sizes[-1]:,}"
)
if per_number[-1] > 1.2 * per_number[best]:
    print(
        "to the right the vectors leave the caches, and memory for the result must be fetched anew"
    )
print(clock["machine.add=10"].label)

# %% [markdown] name="precision"
# ## Fewer bits
#
# A number of 16 bits moves in half the time of one of 32 and takes half the room. The common kind is
# [bfloat16](../glossary.md#bfloat16), bf16 for short. Whether it computes
# faster depends on circuits that your processor has or hasn't. Many GPUs have them. Many CPUs haven't and
# convert each number there and back. Don't guess: this was measured by the probe.

# %% name="precisions"
for dtype in machine.dtypes:
    print(
        f"{dtype:<10} {si(machine.peak(dtype), 'FLOP/s'):>14}  {machine.peak(dtype) / peak:7.3f} of float32"
    )
print(machine.label)

# %% [markdown] name="parameter"
# ## What a parameter costs
#
# To **store** a parameter takes 2 bytes in 16 bits. To **train** it takes about 16: chapter 4 adds them up.
# To **use** it once, it must be read once. A language model that writes one token for one user reads all
# its parameters for that token and does 2 FLOPs with each. That is the matrix times vector of the picture
# above, and no processor has a ridge that low.

# %% [markdown] exercise="machine.tokens"
# ### Exercise: tokens per second
#
# A model of so many `parameters`, `size` bytes each, writes one token for each of `batch` users at a time.
# One such step reads every parameter once and does 2 FLOPs for each parameter and user. Return the tokens
# per second of all users together, or 0.0 if the parameters don't fit into `memory` bytes. Exactly full
# still fits.
#
# <details><summary>Right for one user, too high for many</summary>
# At some batch the arithmetic takes longer than the reading.
# </details>


# %% solution="machine.tokens"
def tokens(parameters, size, batch, peak, bandwidth, memory):
    """Return an upper bound on tokens per second, a float."""
    ### BEGIN SOLUTION
    if parameters * size > memory:
        return 0.0
    step = max(parameters * size / bandwidth, 2 * parameters * batch / peak)
    return batch / step
    ### END SOLUTION


# %% check="machine.tokens"
check("machine.tokens", tokens)

# %% name="devices" tags=["nbval-check-output"]
cards = [find(name) for name in ("A100 80 GB SXM", "H100 SXM", "H200 SXM", "RTX 4090")]
print(
    f"modelled from the catalogue of {recorded()}: bf16 products without sparsity, 7 billion parameters"
)
print("(vendor): its maker's data sheet says so; (secondary): another page does")
for card in cards:
    speed, memory = card.bandwidth.value, card.memory.value
    print(
        f"{card.name:<14} ridge {card.peak('bf16').value / speed:4.0f} FLOPs/byte, {card.memory!s:<17} "
        f"one user at most {speed / (2 * 7e9):4.0f} tokens/s, trains at most {memory / 16e9:.1f} billion"
    )

# %% [markdown] exercise="machine.distances"
# ### Exercise: turn bytes into FLOPs
#
# `x` is $(n, d)$, `y` is $(m, d)$. Return the squared distances $\lVert x_i - y_j \rVert^2$, an $(n, m)$
# tensor. The obvious way builds all $n \cdot m \cdot d$ differences: many bytes, few FLOPs on each. But
# $\lVert x - y\rVert^2 = \lVert x\rVert^2 + \lVert y\rVert^2 - 2\,x\!\cdot\! y$, and the last term for all
# pairs at once is an operation that you have met. Make it one matrix product, with at most 16 launches in
# all, and build nothing with more numbers than the result. Both are counted, of torch's operations alone;
# here $n$ is much larger than $m$. Rounding can make a distance slightly negative: return 0 then. The result has the dtype of `x`.
# `torch.cdist` is for comparison below and doesn't count here.
#
# <details><summary>NaN in a later square root</summary>
# A point's distance to itself may come out as −1e-6. Which function cuts that off?
# </details>


# %% solution="machine.distances"
def distances(x, y):
    """Squared Euclidean distances between the rows of x, (n, d), and of y, (m, d): (n, m)."""
    ### BEGIN SOLUTION
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1)
    return (squares - 2 * x @ y.T).clamp(min=0)
    ### END SOLUTION


# %% check="machine.distances"
check("machine.distances", distances)

# %% name="distances-measured"
x, y = torch.rand(600, 64, device=where), torch.rand(600, 64, device=where)
ways = {
    "differences": lambda: ((x[:, None] - y[None]) ** 2).sum(-1),
    "product": lambda: torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist") ** 2,
}
clock = measure_in_turn(
    {f"machine.{name}": way for name, way in ways.items()}, device=where, seconds=0.4
)
for name, way in ways.items():
    counts = count(way)
    print(
        f"{name:<12} counted: {counts.bytes_moved / 1e6:7.1f} MB moved, "
        f"largest tensor {counts.largest_allocation / 1e6:6.1f} MB"
    )
ratio = clock["machine.differences"].median / clock["machine.product"].median
print(
    f"by the clock, the differences take {ratio:.1f} times as long ({clock['machine.product'].label})"
)

# %% [markdown] name="pytorch"
# ## PyTorch's own count
#
# PyTorch has a counter of FLOPs, too. It must agree with the course's on a product, a convolution and a
# backward pass.

# %% name="same-in-pytorch" tags=["nbval-check-output"]
from torch.utils.flop_counter import FlopCounterMode


def network(x, w, k):
    hidden = torch.nn.functional.conv2d(x, k, padding=1).relu()
    return (hidden.flatten(1) @ w).sum()


images = torch.rand(4, 3, 16, 16)
weights = torch.rand(8 * 256, 10, requires_grad=True)
kernel = torch.rand(8, 3, 3, 3, requires_grad=True)
with FlopCounterMode(display=False) as theirs:
    network(images, weights, kernel).backward()
ours = count(lambda: network(images, weights, kernel).backward())
assert ours.flops == theirs.get_total_flops()
print(f"both count {ours.flops:,} FLOPs")

# %% [markdown] name="claim"
# ## Often said, and isn't so
#
# > "A GPU with twice the FLOP/s is twice as fast."
#
# You don't need two GPUs to test that. One thread and all threads of your processor are two machines that
# share a memory: the second has more arithmetic. Here is what it gains on a large product, and on a matrix
# times a vector. Compare both with the number of threads. On many machines one thread alone can't draw
# all the bandwidth; then the second machine has more of both, and the vector gains too.

# %% name="predict-threads"
predict("machine.threads", None, "times as fast: matrix × vector")  # None -> your number

# %% name="measure-claim"
threads = {"one": 1, "all": max(2, torch.get_num_threads())}
matrix, vector = torch.rand(4096, 4096), torch.rand(4096)
square = torch.rand(1024, 1024)
gains = {}
for what, function in (("product", lambda: square @ square), ("vector", lambda: matrix @ vector)):
    times = {}
    for name, number in threads.items():
        key = f"machine.{what}_{name}"
        times[name] = measure_in_turn({key: function}, threads=number, seconds=0.6)[key]
    gains[what] = times["one"].median / times["all"].median
    print(
        f"{what:<8} all threads against one: {gains[what]:.2f} times as fast ({times['all'].label})"
    )
reconcile("machine.threads", gains["vector"], "times as fast", how="measured")
number = threads["all"]
print(
    f"{number} threads: product {gains['product']:.2f}, vector {gains['vector']:.2f} times as fast"
)
if gains["product"] < 1.2:
    print("here more threads didn't help the product: they were busy, or are halves of one core")
elif gains["vector"] < 0.6 * min(gains["product"], number):
    print("here more arithmetic helped the product, and much less what waits for memory")
elif gains["vector"] > 0.8 * number:
    print("here one thread doesn't draw all the bandwidth: threads brought transfer, too")
else:
    print("too close for a verdict: threads bring some bandwidth, and the clock has noise")
a100, h100 = cards[:2]
faster = h100.peak("bf16").value / a100.peak("bf16").value
wider = h100.bandwidth.value / a100.bandwidth.value
print(
    f"modelled: H100 against A100 SXM, {faster:.2f} times the FLOP/s, but {wider:.2f} times the tokens for one user"
)

# %% [markdown] name="summary"
# What you gain is what the binding limit gains. More arithmetic speeds up what waits for arithmetic. That is
# why buyers of hardware for training read one line of a data sheet and buyers for inference another.
#
# ## Summary
#
# - Count FLOPs and bytes first; their ratio is the intensity, and it says what you will wait for.
# - The roofline is min(peak, intensity × bandwidth), and the ridge divides [memory-bound](../glossary.md#memory-bound) from [compute-bound](../glossary.md#compute-bound).
# - Batches raise the intensity of a layer until the ridge; after that they only add waiting.
# - Small operations pay for starting. Neither FLOPs nor bytes explain their time.
# - A faster processor speeds up only what waited for the processor.
#
# Every term and symbol is in the [glossary](../glossary.md).
#
# ## Where to read on
#
# - Williams, Waterman, Patterson, *Roofline: an insightful visual performance model for multicore
#   architectures*, CACM 52 (2009), [10.1145/1498765.1498785](https://doi.org/10.1145/1498765.1498785).
# - Pope et al., *Efficiently scaling transformer inference*, [2211.05102](https://arxiv.org/abs/2211.05102).
# - Ivanov et al., *Data movement is all you need: a case study on optimizing transformers*,
#   [2007.00072](https://arxiv.org/abs/2007.00072).
# - In the library: `roofline/hardware/count.py`, how counting works, and `roofline/hardware/probe.py`.
