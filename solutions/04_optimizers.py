# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown] name="question"
# # 4 · Optimizers
#
# **How does a gradient become a step, and what does the memory of past steps cost?**
#
# | minutes | know first | peak memory | device |
# |---|---|---|---|
# | 90 | chapters 2 and 3; [eigenvalues](../glossary.md#eigenvalue) help | under 1 GB | any CPU; a GPU is used if you have one |
#
# A gradient says which way is down. It doesn't say how far to go, and it is only a sample: another
# [batch](../glossary.md#batch) would have said something else. [Optimizers](../glossary.md#optimizer) answer both with a memory of past gradients. You
# will build the ones in use, see why each was needed, and then weigh them. For a model with seven
# billion parameters the memory of an optimizer decides how many cards you buy.
#
# In every exercise, leave the arguments as they are, return their dtype, and write what is asked for yourself.
# PyTorch's or the library's own function for it earns nothing. Exceptions are named.

# %% name="setup"
import itertools
import math
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from tqdm.auto import tqdm

from roofline import autograd, losses, nn, optim
from roofline.autograd import Tensor, no_grad
from roofline.data import fashion_mnist
from roofline.device import device
from roofline.grading import check, predict, progress, reconcile
from roofline.hardware.count import count
from roofline.hardware.trace import measure_in_turn
from roofline.lab import style

torch.manual_seed(0)
torch.set_num_threads(1)  # small matrices: more threads would wait for each other
style.use()
progress("04_optimizers")

# %% [markdown] name="valley"
# ## A valley
#
# Near a minimum, every smooth loss looks like a bowl. Take the plainest one with two directions,
# one steep and one flat:
#
# $$f(\theta) = \tfrac{1}{2}(\lambda_1 \theta_1^2 + \lambda_2 \theta_2^2), \qquad
#   \theta \leftarrow \theta - \eta\, \nabla f(\theta).$$
#
# The directions don't mix: each step multiplies $\theta_k$ by $1 - \eta\lambda_k$. So everything
# about [gradient descent](../glossary.md#gradient-descent) here is in that factor. If it is larger than 1 in size, that coordinate
# grows without end. If it is close to 1, nothing happens. One rate $\eta$ has to serve both
# directions.

# %% [markdown] exercise="optimizers.rates"
# ### Exercise: the best rate of a bowl
#
# `curvatures` lists the $\lambda_k > 0$, the [curvature](../glossary.md#curvature) in each direction of a bowl, however many there are.
# Work out three numbers:
#
# - `limit`: the rate above which some coordinate grows;
# - `best`: the rate for which the slowest coordinate shrinks fastest;
# - `factor`: what a step at that rate multiplies the slowest coordinate's size by.
#
# The last one depends on $\kappa = \lambda_\text{max}/\lambda_\text{min}$ alone, the [**condition number**](../glossary.md#condition-number).
#
# <details><summary>I find limit and am stuck at best</summary>
# Draw $|1-\eta\lambda|$ against $\eta$ for the largest and the smallest curvature. Where is the larger
# of the two lowest?
# </details>


# %% solution="optimizers.rates"
def rates(curvatures):
    """Return (limit, best, factor) of gradient descent on a bowl: three Python floats."""
    ### BEGIN SOLUTION
    low, high = float(min(curvatures)), float(max(curvatures))
    return 2 / high, 2 / (low + high), (high - low) / (high + low)
    ### END SOLUTION


# %% check="optimizers.rates"
check("optimizers.rates", rates)


# %% name="picture-valley"
def descend(rule, steps, start=(-10.0, 1.5), curvatures=(1.0, 25.0)):
    """The path that ``rule(theta, gradient)`` takes down a bowl: (steps + 1, 2)."""
    bend, theta = torch.tensor(curvatures), torch.tensor(start)
    path = [theta]
    for _ in range(steps):
        theta = rule(theta, bend * theta)
        path.append(theta)
    return torch.stack(path)


def heavy_ball(rate, beta):
    velocity = torch.zeros(2)

    def rule(theta, gradient):
        nonlocal velocity
        velocity = beta * velocity + gradient
        return theta - rate * velocity

    return rule


paths = {
    "rate 0.02": descend(lambda t, g: t - 0.02 * g, 40),
    "rate 0.077, the best": descend(lambda t, g: t - 0.077 * g, 40),
    "its best with momentum 0.45": descend(heavy_ball(0.11, 0.45), 40),
}
x, y = torch.meshgrid(torch.linspace(-11, 4, 120), torch.linspace(-3.2, 3.2, 60), indexing="xy")
figure, axis = plt.subplots(figsize=(7, 3.2))
axis.contour(
    x, y, 0.5 * (x**2 + 25 * y**2), levels=[1, 4, 10, 20, 40, 60], colors="#BBBBBB", linewidths=0.7
)
for (name, path), mark in zip(paths.items(), ("o-", "s--", "^-"), strict=True):
    axis.plot(path[:, 0], path[:, 1], mark, markersize=3, linewidth=0.9, label=name)
axis.set(xlabel="flat direction θ₁", ylabel="steep direction θ₂", ylim=(-3.2, 4.4))
axis.legend(loc="upper right", ncols=3, fontsize=8)
plt.show()
for name, path in paths.items():
    print(f"{name}: distance to the minimum after 40 steps {path[-1].norm():.3f}")

# %% [markdown] exercise="optimizers.momentum"
# ### Exercise: momentum
#
# At the best rate the steep coordinate changes sign from step to step while the flat one always points
# the same way. A running sum of gradients, [**momentum**](../glossary.md#momentum), cancels the first and adds up the second:
#
# $$v \leftarrow \beta v + g, \qquad \theta \leftarrow \theta - \eta v .$$
#
# Write one step. Return the new $\theta$ and $v$ and leave the arguments as they are. With `nesterov`,
# the step uses $g + \beta v$ with the new $v$ instead of $v$: the gradient of now counts once more.
#
# A constant gradient $g$ makes $v$ grow to $g/(1-\beta)$. So a momentum of 0.9 is also a rate ten times
# larger. Whoever compares optimizers at equal rates compares nothing.
#
# <details><summary>The first step is right, the second isn't</summary>
# The velocity that you return is the one that comes back. Does it hold the rate already?
# </details>


# %% solution="optimizers.momentum"
def momentum(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    """One step of gradient descent with momentum: return the new (theta, velocity)."""
    ### BEGIN SOLUTION
    velocity = beta * velocity + gradient
    step = gradient + beta * velocity if nesterov else velocity
    return theta - rate * step, velocity
    ### END SOLUTION


# %% check="optimizers.momentum"
check("optimizers.momentum", momentum)

# %% [markdown] exercise="optimizers.clip"
# ### Exercise: clipping
#
# One odd batch can send a gradient a thousand times longer than usual, and one such step undoes an
# hour of training. [**Clipping**](../glossary.md#clipping) limits the length. Scale **all** gradients by one factor so that their
# norm together, over all parameters, is at most `largest`; leave shorter ones as they are. Return the
# new gradients and the norm that was found. A direction is what you want to keep, so don't clip
# tensor by tensor.
#
# <details><summary>The gradients grow</summary>
# Short gradients are to be left alone: the factor is never above 1.
# </details>


# %% solution="optimizers.clip"
def clip(gradients, largest):
    """Scale a list of tensors to a joint norm of at most largest: return (list, norm as a float)."""
    ### BEGIN SOLUTION
    norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))
    factor = min(1.0, largest / norm) if norm > 0 else 1.0
    return [g * factor for g in gradients], norm
    ### END SOLUTION


# %% check="optimizers.clip"
check("optimizers.clip", clip)

# %% [markdown] name="noise"
# ## The gradient is a sample
#
# The gradient that you follow is the mean over a batch, an estimate of the mean over all pictures.
# Statistics says how good: independent examples, so the error shrinks with the square root of the
# batch. Four times the work halves the noise. Here is the error of batch gradients against the
# gradient of the whole training set, for a network after two epochs.

# %% name="picture-noise"
train_set, test_set = fashion_mnist()
where = device()
images, labels = train_set.images.reshape(-1, 784).to(where), train_set.labels.to(where)
test_images, test_labels = test_set.images.reshape(-1, 784).to(where), test_set.labels.to(where)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)).to(where)


def fit(model, optimizer, epochs, batch=64, pictures=12_000, schedule=None):
    """Train on shuffled batches; return the loss of every step."""
    generator, record = torch.Generator().manual_seed(0), []
    for _ in range(epochs):
        for rows in torch.randperm(pictures, generator=generator).split(batch):
            loss = losses.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if schedule is not None:
                schedule.step()
            record.append(loss.item())
    return record


def accuracy(model):
    with no_grad():
        return (model(test_images).data.argmax(1) == test_labels).float().mean().item()


def gradient(model, rows):
    losses.cross_entropy(model(images[rows]), labels[rows]).backward()
    flat = torch.cat([p.grad.flatten() for p in model.parameters()])
    for p in model.parameters():
        p.grad = None
    return flat


model = network()
fit(model, optim.SGD(model.parameters(), lr=0.1), epochs=2)
whole = gradient(model, slice(None))
generator = torch.Generator().manual_seed(1)
sizes, errors = [1, 4, 16, 64, 256, 1024], []
for size in sizes:
    draws = [torch.randint(12_000, (size,), generator=generator) for _ in range(20)]
    squares = [(gradient(model, rows) - whole).pow(2).sum().item() for rows in draws]
    errors.append(math.sqrt(sum(squares) / len(squares)) / whole.norm().item())
slope = math.log(errors[-1] / errors[0]) / math.log(sizes[-1] / sizes[0])
figure, axis = plt.subplots(figsize=(7, 3.2))
axis.loglog(sizes, errors, "o-", label="measured error")
axis.loglog(sizes, [errors[0] / math.sqrt(s) for s in sizes], ":", label="1/√batch")
axis.axhline(1, color=style.GREY, linewidth=0.8, label="as long as the gradient")
axis.set(xlabel="pictures in the batch", ylabel="error / length of the gradient", xticks=sizes)
style.plain_ticks(axis.yaxis)
axis.xaxis.set_major_formatter("{x:g}")
axis.legend()
plt.show()
print(
    f"the error falls as batch^{slope:.2f}; at batch 1 it is {errors[0]:.1f} times the gradient itself"
)

# %% [markdown] name="noise-after"
# Descent along such samples is called [**stochastic gradient descent**](../glossary.md#stochastic-gradient-descent), SGD.
# Above the grey line there is more noise than gradient in every step, and training works all the
# same, because noise averages out over many steps and the gradient doesn't. This is why a batch is
# chosen by what the hardware does well, up to the size at which noise stops being the limit
# ([McCandlish et al. 2018](https://arxiv.org/abs/1812.06162) measure that size).

# %% [markdown] exercise="optimizers.accumulate"
# ### Exercise: a large batch in a small memory
#
# If a batch doesn't fit, run it in pieces and let the gradients add up: the walk of chapter 2 does
# that anyway. `loss_of(x, y)` returns the **mean** loss of a piece, on the tape. Leave in every
# `p.grad` the gradient of the mean over the whole batch, as if it had been run at once, and return that
# mean as a float. Pieces hold `size` rows, the last one what is left. Only one piece's tape may be alive
# at a time.
#
# <details><summary>Right if the pieces are equal, else slightly wrong</summary>
# The mean of means isn't the mean if the parts differ in size. What share of the batch is this piece?
# <code>backward</code> takes a gradient to start from: <code>torch.tensor(share)</code>.
# </details>


# %% solution="optimizers.accumulate"
def accumulate(parameters, loss_of, x, y, size):
    """Leave the gradient of the batch's mean loss in p.grad, piece by piece; return that mean."""
    ### BEGIN SOLUTION
    total = 0.0
    for rows in torch.arange(len(x)).split(size):
        loss = loss_of(x[rows], y[rows]) * (len(rows) / len(x))
        loss.backward()
        total += loss.item()
    return total
    ### END SOLUTION


# %% check="optimizers.accumulate"
check("optimizers.accumulate", accumulate)


# %% name="accumulation" tags=["nbval-check-output"]
def in_pieces(model, size, rows=512):
    """The gradient of the first rows' mean loss, from pieces, and the bytes that a piece keeps."""
    total = torch.zeros(sum(p.data.numel() for p in model.parameters()), device=where)
    for part in torch.arange(rows).split(size):
        total += gradient(model, part) * len(part) / rows
    loss = losses.cross_entropy(model(images[part]), labels[part])
    return total, autograd.kept(loss, besides=model.parameters()).total


once, bytes_at_once = in_pieces(model, 512)
for size in (256, 64, 16):
    pieces, bytes_of_a_piece = in_pieces(model, size)
    same = (pieces - once).norm().item() / once.norm().item() < 1e-5
    print(
        f"pieces of {size:3}: the same gradient to five digits: {same}; "
        f"kept {bytes_of_a_piece / bytes_at_once:.3f} of the bytes"
    )

# %% [markdown] name="adam"
# ## Adam: a rate for every parameter
#
# Momentum still uses one rate for all parameters. Adam divides each parameter's step by the size that
# its gradients usually have ([Kingma and Ba 2014](https://arxiv.org/abs/1412.6980)). It keeps running
# means of the gradient and of its square:
#
# $$m \leftarrow \beta_1 m + (1-\beta_1) g, \quad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
# \hat m = \frac{m}{1-\beta_1^t}, \quad \hat v = \frac{v}{1-\beta_2^t}, \quad
# \theta \leftarrow \theta - \eta \frac{\hat m}{\sqrt{\hat v} + \epsilon}.$$
#
# Both means start at zero and are too small at first. The hats undo that: after one step
# $\hat m = g$ and $\hat v = g^2$, so the first step has the size $\eta$ whatever the gradient is. Without
# the hats the first step would be about $(1-\beta_1)/\sqrt{1-\beta_2} \approx 3$ times too long.

# %% [markdown] exercise="optimizers.adamw"
# ### Exercise: AdamW
#
# Write one step, number `t` counted from 1. `decay` ([**weight decay**](../glossary.md#weight-decay)) pulls weights towards zero by
# $\theta \leftarrow (1 - \eta\lambda)\,\theta$ before the step, beside the gradient and not through it
# ([Loshchilov and Hutter 2017](https://arxiv.org/abs/1711.05101)). Return new tensors for $\theta$, $m$ and
# $v$, and leave the arguments as they are.
#
# <details><summary>The first steps are far too long or too short</summary>
# Which of the two means got its hat? The powers use t, and t starts at 1.
# </details>
# <details><summary>Right for large gradients, wrong for tiny ones</summary>
# Is epsilon inside the root or outside? And which v stands under it?
# </details>


# %% solution="optimizers.adamw"
def adamw(theta, gradient, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    """One step of AdamW: return the new (theta, m, v)."""
    ### BEGIN SOLUTION
    beta1, beta2 = betas
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    step = m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + epsilon)
    return (1 - rate * decay) * theta - rate * step, m, v
    ### END SOLUTION


# %% check="optimizers.adamw"
check("optimizers.adamw", adamw)

# %% name="compare-rates"
candidates = {
    "SGD": lambda p, lr: optim.SGD(p, lr=lr),
    "momentum 0.9": lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9),
    "Adam": lambda p, lr: optim.Adam(p, lr=lr),
}
grid = [3 * 10.0 ** (-k / 2) for k in range(10)]
found = {name: [] for name in candidates}
for name, rate in tqdm(list(itertools.product(candidates, grid)), desc="runs", leave=False):
    model = network()
    record = fit(model, candidates[name](model.parameters(), rate), epochs=1, pictures=6_000)
    found[name].append(min(sum(record[-20:]) / 20, 3.0))
figure, axis = plt.subplots(figsize=(7, 3.4))
for (name, values), mark in zip(found.items(), ("o-", "s--", "^:"), strict=True):
    axis.semilogx(grid, values, mark, label=name)
axis.set(xlabel="learning rate", ylabel="loss after one epoch (nats)", ylim=(0.4, 3.6))
axis.legend(loc="upper center", ncols=3)
plt.show()
for name, values in found.items():
    best = min(values)
    good = sum(v < best + 0.1 for v in values)
    print(
        f"{name:<13} best {best:.2f} at rate {grid[values.index(best)]:.2g}; "
        f"{good} of {len(grid)} rates come within 0.1 nats of it"
    )

# %% [markdown] name="compare-after"
# Three valleys of rates, in three different places (a loss above 3 is drawn at 3). Momentum's lies about ten times lower than plain
# descent's, as $1/(1-\beta)$ says. At their own best rates the three differ less on this easy task than
# most of them differ from themselves at a rate ten times off. The reason to use Adam is large models, in
# which the gradients of an embedding and of a normalisation layer differ by orders of magnitude.
#
# ## Schedules
#
# Large steps travel, small steps settle. A [**schedule**](../glossary.md#schedule) does both: it [warms up](../glossary.md#warm-up) while Adam's means are still
# poor, holds or falls slowly, and ends near zero, where noise is averaged away.

# %% name="schedules"
steps = 6 * math.ceil(12_000 / 64)
plans = {
    "constant": optim.constant(),
    "cosine": optim.cosine(steps),
    "warm-up, then cosine": optim.warmup_cosine(50, steps),
}
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
results = {}
for (name, plan), line in zip(plans.items(), ("-", "--", ":"), strict=True):
    model = network()
    optimizer = optim.AdamW(model.parameters(), lr=5e-3)
    record = torch.tensor(fit(model, optimizer, epochs=6, schedule=optim.Schedule(optimizer, plan)))
    left.plot([5e-3 * plan(s) for s in range(steps)], line)
    means = record.unfold(0, 60, 10).mean(1)
    right.plot([60 + 10 * k for k in range(len(means))], means, line, label=name)
    results[name] = record[-100:].mean().item(), accuracy(model)
left.set(xlabel="step", ylabel="learning rate")
right.set(xlabel="step", ylabel="training loss (nats), mean of 60", xlim=(0, None), ylim=(0.1, 0.9))
right.legend(fontsize=8)
plt.tight_layout()
plt.show()
for name, (loss, score) in results.items():
    print(f"{name:<21} last training loss {loss:.3f}, test accuracy {score:.3f}")

# %% [markdown] name="weighing"
# What falls is the training loss. Whether the test accuracy follows is another matter, and on a small task
# it often doesn't: read both columns.
#
# ## What the memory of past steps weighs
#
# Momentum keeps one number for each parameter, Adam two, and they are kept from step to step: no
# recomputation saves them. In [**mixed precision**](../glossary.md#mixed-precision), where the network runs on 16-bit weights, the optimizer
# also keeps a 32-bit copy of the weights, because small steps vanish when they are added to a 16-bit
# number.

# %% [markdown] exercise="optimizers.state_bytes"
# ### Exercise: bytes for each parameter
#
# Add up what a training keeps for each parameter from step to step: weights, gradients, [optimizer
# state](../glossary.md#optimizer-state). `optimizer` is `"sgd"`, `"momentum"` or `"adam"`. With `precision="fp32"` everything has 4 bytes.
# With `"mixed"`, weights and gradients have 2, and the optimizer works on a 4-byte copy of the weights with
# 4-byte state. Return bytes as an `int` for `parameters` parameters. Activations aren't part of it.
#
# You will find that the total doesn't fall. What mixed precision saves is arithmetic, traffic and
# activations. The case of Adam is a number that you will meet again in every paper on large models
# ([Rajbhandari et al. 2019](https://arxiv.org/abs/1910.02054), section 3.1).


# %% solution="optimizers.state_bytes"
def state_bytes(parameters, optimizer, precision="fp32"):
    """Bytes of weights, gradients and optimizer state for a number of parameters, an int."""
    ### BEGIN SOLUTION
    slots = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer]
    if precision == "fp32":
        return parameters * (4 + 4 + 4 * slots)
    return parameters * (2 + 2 + 4 + 4 * slots)
    ### END SOLUTION


# %% check="optimizers.state_bytes"
check("optimizers.state_bytes", state_bytes)

# %% [markdown] name="seven-billion"
# Seven billion parameters, mixed precision, Adam. How many gigabytes before the first activation?

# %% name="predict-bytes"
predict("optimizers.bytes", None, "GB for 7 billion parameters")  # None -> your number


# %% name="count-bytes" tags=["nbval-check-output"]
def counted_bytes(optimizer_class, **settings):
    """Bytes for each parameter that the library's optimizer holds, weights and gradients included."""
    model = nn.Linear(512, 512, bias=False)
    optimizer = optimizer_class(model.parameters(), lr=1e-3, **settings)
    held = sum(
        tensor.numel() * tensor.element_size()
        for flat in optimizer.flats
        for tensor in (flat.data, flat.grad, *flat.state.values())
    )
    return held / (512 * 512)


for name, held in (
    ("SGD", counted_bytes(optim.SGD)),
    ("momentum", counted_bytes(optim.SGD, momentum=0.9)),
    ("AdamW", counted_bytes(optim.AdamW)),
):
    print(f"counted, float32: {name:<9} {held:.0f} bytes for each parameter")
mixed = 2 + 2 + 4 + 4 + 4
print(f"modelled: weights alone to run the model in 16 bits: {2 * 7e9 / 1e9:.0f} GB")
reconcile("optimizers.bytes", mixed * 7e9 / 1e9, "GB", how="modelled")

# %% [markdown] exercise="optimizers.lean_adam"
# ### Exercise: a step that isn't limited by arithmetic
#
# Adam needs a dozen operations for each parameter, and a processor does those in no time. What takes time
# is memory: $\theta$, $g$, $m$ and $v$ are read and three of them written. Every intermediate result, such
# as `(1 - beta2) * gradient**2`, is one more tensor written and read again.
#
# Write the step of AdamW (without decay) [**in place**](../glossary.md#in-place) on flat tensors, with as few passes as you can. It
# is counted: one temporary of the size of $\theta$ in all, and at most 8 kernel launches. Leave the gradient
# as it is. Names that end in an underscore change their tensor: `mul_`, `lerp_`, `addcmul_`, `addcdiv_`,
# `sqrt_`, `add_`.
#
# <details><summary>Too many temporaries</summary>
# <code>a * b + c</code> writes two tensors. <code>addcmul_</code> writes none. And the hats? They are
# two numbers, not two tensors: put them into the rate and into epsilon.
# </details>


# %% solution="optimizers.lean_adam"
def lean_adam(theta, gradient, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    """One step of Adam, in place on theta, m and v, all of one flat shape. Returns nothing."""
    ### BEGIN SOLUTION
    beta1, beta2 = betas
    m.lerp_(gradient, 1 - beta1)
    v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    root = math.sqrt(1 - beta2**t)
    scale = v.sqrt().add_(epsilon * root)
    theta.addcdiv_(m, scale, value=-rate * root / (1 - beta1**t))
    ### END SOLUTION


# %% check="optimizers.lean_adam"
check("optimizers.lean_adam", lean_adam)


# %% name="count-passes"
def as_printed(theta, g, m, v, t=1, rate=1e-3):
    """Adam line by line as in the formula, a new tensor for every result."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    return theta - rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8), m, v


weights = Tensor(torch.rand(4_000_000, device=where), requires_grad=True)
optimizer = optim.Adam([weights])


def in_place(theta, g, m, v):
    """The library's step, on one flat tensor of the same size."""
    weights.grad = g
    optimizer.step()


size = 4_000_000
tensors = [torch.rand(size, device=where) for _ in range(4)]
for step in (as_printed, in_place):
    counts = count(step, *tensors)
    print(
        f"counted: {step.__name__:<11} {counts.launches:2} launches, "
        f"{counts.bytes_moved / size:5.0f} bytes moved and "
        f"{counts.bytes_allocated / size:3.0f} allocated for each parameter"
    )
clock = measure_in_turn(
    {
        f"optimizers.{step.__name__}": (lambda step=step: step(*tensors))
        for step in (as_printed, in_place)
    },
    device=where,
)
ratio = clock["optimizers.as_printed"].median / clock["optimizers.in_place"].median
print(
    f"by the clock the first takes {ratio:.1f} times as long ({clock['optimizers.in_place'].label})"
)
print(
    f"modelled: at least {4 * (4 + 3)} bytes for each parameter must move: 4 tensors read, 3 written, once each"
)

# %% [markdown] name="zeros"
# The library starts more kernels than your step, because it works in blocks that fit into a cache: there a
# second pass over the same numbers is nearly free. Counted bytes don't know about caches; the clock does.
#
# ## The same count, another time
#
# Counts don't know about values either. Take the root, and nothing else, of three tensors of one size:
# ordinary numbers; zeros; and [**subnormal**](../glossary.md#subnormal) numbers, too small for float32 to keep all of their digits.
# It is one kernel, with the same bytes and the same FLOPs each time. Guess both ratios, then run it. NumPy
# does the same beside it.

# %% name="time-zeros"
size = 65_536  # a block of the library's, small enough for a cache
smallest = torch.finfo(torch.float32).smallest_normal
contents = {
    "ordinary": torch.rand(size, device=where) + 1,
    "zeros": torch.zeros(size, device=where),
    "subnormal": torch.full((size,), smallest / 4, device=where),
}
roots = {f"optimizers.root_{name}": values.sqrt for name, values in contents.items()}
for name, values in contents.items():
    roots[f"optimizers.numpy_root_{name}"] = partial(np.sqrt, values.cpu().numpy())
clock = measure_in_turn(roots, device=where)
for name in contents:
    ratio, numpy_ratio = (
        clock[f"optimizers.{way}_{name}"].median / clock[f"optimizers.{way}_ordinary"].median
        for way in ("root", "numpy_root")
    )
    print(f"{name:<9} {ratio:5.1f} times as long as ordinary, by NumPy {numpy_ratio:5.1f} times")
print(clock["optimizers.root_ordinary"].label)

model = network()
optimizer = optim.Adam(model.parameters())
losses.cross_entropy(model(images[:32]), labels[:32]).backward()
optimizer.step()
v = optimizer.state_dict()["state"][0]["exp_avg_sq"]
print(
    f"counted: after a batch of 32 pictures {(v == 0).float().mean():.0%} of the first layer's v are 0"
)

# %% [markdown] name="pytorch"
# There are two reasons. With most x86 processors PyTorch takes roots with Intel's MKL, which handles zeros one
# by one; NumPy does without it. And subnormal numbers are slow in many processors themselves
# ([Andrysco et al. 2015](https://doi.org/10.1109/SP.2015.44)). Other machines, and graphics cards, print other
# ratios.
#
# Zeros in $v$ are common: a pixel that is black in every picture of the batch has gradients of exactly 0, and so
# has the row of an embedding whose token didn't occur. The library's Adam therefore raises $v$ to the smallest
# normal number before the root. Its root is $10^{-19}$, and beside $\epsilon = 10^{-8}$ that is nothing.
#
# ## The same in PyTorch
#
# Fifty steps side by side, from the same weights on the same batches.

# %% name="same-in-pytorch" tags=["nbval-check-output"]
for name, ours, theirs in (
    ("SGD", optim.SGD, torch.optim.SGD),
    ("AdamW", optim.AdamW, torch.optim.AdamW),
):
    model = network()
    twin = torch.nn.Sequential(torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    twin = twin.to(where)
    twin.load_state_dict(model.state_dict())
    here = ours(model.parameters(), lr=1e-2)
    there = theirs(twin.parameters(), lr=1e-2)
    for rows in torch.arange(50 * 32).split(32):
        losses.cross_entropy(model(images[rows]), labels[rows]).backward()
        torch.nn.functional.cross_entropy(twin(images[rows]), labels[rows]).backward()
        for optimizer in (here, there):
            optimizer.step()
            optimizer.zero_grad()
    for ours_p, theirs_p in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours_p.data, theirs_p.detach(), rtol=1e-2, atol=1e-3)
    print(f"{name}: the same weights after 50 steps, to a hundredth of each")

# %% [markdown] name="claim"
# ## Often said, and isn't so
#
# > "Weight decay is the same as an L2 penalty."
#
# The [penalty](../glossary.md#l2-penalty) $\tfrac{\lambda}{2}\lVert\theta\rVert^2$ adds $\lambda\theta$ to the gradient. Under plain gradient
# descent that is exactly a decay by $1 - \eta\lambda$. Adam divides the gradient by its usual size,
# penalty included. So how strongly a weight is pulled to zero depends on how large its gradients are.
# Two weights of size 1 without any other pull, one with gradients a hundred times noisier:


# %% name="count-claim" tags=["nbval-check-output"]
def shrink(kind, decay=0.1, rate=1e-2, steps=300):
    """Two weights of 1 with noise of size 0.1 and 10 for gradients: what is left of each."""
    generator = torch.Generator().manual_seed(0)
    classes = {"SGD": optim.SGD, "Adam, penalty": optim.Adam, "AdamW, decay": optim.AdamW}
    weights = Tensor(torch.ones(2, 2000), requires_grad=True)
    optimizer = classes[kind]([weights], lr=rate, weight_decay=decay)
    for _ in range(steps):
        noise = torch.randn(2, 2000, generator=generator) * torch.tensor([[0.1], [10.0]])
        weights.grad = noise
        optimizer.step()
    return weights.data.mean(1)


for kind in ("SGD", "Adam, penalty", "AdamW, decay"):
    quiet, noisy = shrink(kind)
    print(f"{kind:<14} quiet weight {quiet:.2f}, noisy weight {noisy:.2f}")
print(f"what a decay of 1 - ηλ leaves after 300 steps: {(1 - 1e-3) ** 300:.2f}")

# %% [markdown] name="summary"
# Under Adam the penalty shrinks the quiet weight far more than the noisy one, and neither by what was
# asked. AdamW decays both alike. That is the whole difference between the two names, and the reason why
# settings for one don't carry over to the other.
#
# ## Summary
#
# - Curvature limits the rate; the ratio of the largest to the smallest sets the number of steps.
# - Momentum adds up what agrees and cancels what alternates. It also multiplies the rate by 1/(1 − β).
# - A batch's gradient is a sample: noise falls with the square root of the batch.
# - Adam gives each parameter its own rate, for two more numbers to keep: 16 bytes a parameter in all.
# - The update is limited by bytes moved, not by arithmetic: fewer passes, not fewer FLOPs.
# - Counts don't see values: a root of zeros can take many times as long as one of other numbers.
#
# Every term and symbol is in the [glossary](../glossary.md).
#
# ## Where to read on
#
# - Goh, *Why momentum really works*, Distill (2017), [10.23915/distill.00006](https://doi.org/10.23915/distill.00006).
# - Kingma, Ba, *Adam: a method for stochastic optimization*, [1412.6980](https://arxiv.org/abs/1412.6980).
# - Loshchilov, Hutter, *Decoupled weight decay regularization*, [1711.05101](https://arxiv.org/abs/1711.05101).
# - McCandlish et al., *An empirical model of large-batch training*, [1812.06162](https://arxiv.org/abs/1812.06162).
# - Rajbhandari et al., *ZeRO*, [1910.02054](https://arxiv.org/abs/1910.02054).
