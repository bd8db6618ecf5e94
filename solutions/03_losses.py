# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown] name="question"
# # 3 · Losses
#
# **What does "wrong" cost, and how does it steer?**
#
# | minutes | know first | peak memory | device |
# |---|---|---|---|
# | 90 | chapter 2; logarithms; mean and variance | under 1 GB | any CPU; a GPU is used if you have one |
#
# A network does exactly what its [loss](../glossary.md#loss) asks for. Ask with the wrong formula and it learns something
# else, or slower, or nothing, and no error message tells you. In this chapter you derive the two
# losses behind nearly all of deep learning from one idea, make them survive 16-bit numbers, find a
# wrong formula that is in circulation, and meet the largest tensor of a small language model.
#
# In every exercise, leave the arguments as they are, return their dtype, and write what is asked for yourself.
# PyTorch's or the library's own function for it earns nothing. Exceptions are named.

# %% name="setup"
import math

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from roofline import autograd, losses, nn, optim
from roofline.autograd import Tensor, no_grad
from roofline.data import fashion_mnist
from roofline.device import device
from roofline.grading import check, predict, progress, reconcile
from roofline.hardware.count import count
from roofline.lab import style

torch.manual_seed(0)
torch.set_num_threads(1)  # small matrices: more threads would wait for each other
style.use()
progress("03_losses")

# %% [markdown] name="likelihood"
# ## A loss is a likelihood
#
# Let a model say not one number but how probable each outcome is. Then one rule gives every loss
# of this chapter: **choose the parameters that make what happened most probable.** Probabilities of
# independent examples multiply. The logarithm turns the product into a sum, a minus turns most into
# least, and the mean makes batches of different sizes comparable:
#
# $$L = -\frac{1}{n} \sum_{i=1}^{n} \log p(y_i \mid x_i).$$
#
# This is the [**negative log-likelihood**](../glossary.md#negative-log-likelihood). Its unit is the [nat](../glossary.md#nat): a loss of $L$ means that the model gives
# what happened a probability of $e^{-L}$, on (geometric) average.

# %% [markdown] exercise="losses.gaussian"
# ### Exercise: what mean squared error assumes
#
# Suppose that the model predicts $\mu_i$ and that outcomes scatter around it like a Gaussian with
# [standard deviation](../glossary.md#standard-deviation) $\sigma_i$:
#
# $$p(y \mid \mu, \sigma) = \frac{1}{\sigma\sqrt{2\pi}} \exp\left(-\frac{(y-\mu)^2}{2\sigma^2}\right).$$
#
# Write the loss. Work on the formula first: the logarithm undoes the exponential, so nothing can
# underflow. With $\sigma = 1$ everywhere, what remains apart from a constant is half the mean squared
# error ([MSE](../glossary.md#mean-squared-error)). Whoever minimises it assumes that every example is equally noisy. `sigma` may be one number
# or one for each example.
#
# <details><summary>inf or nan when the prediction is far off</summary>
# Did you compute the density and then its logarithm? The density of a far outcome is 0 in floats.
# </details>
# <details><summary>Off by a constant</summary>
# The factor in front of the exponential has a logarithm too, and it depends on sigma.
# </details>


# %% solution="losses.gaussian"
def gaussian(mean, sigma, y):
    """Mean negative log-likelihood of y, (n,), under Gaussians (mean, sigma): one number."""
    ### BEGIN SOLUTION
    sigma = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
    return (torch.log(sigma) + 0.5 * math.log(2 * math.pi) + 0.5 * ((y - mean) / sigma) ** 2).mean()
    ### END SOLUTION


# %% check="losses.gaussian"
check("losses.gaussian", gaussian)

# %% [markdown] name="classes"
# ## From a coin to ten classes
#
# A coin that shows 1 with probability $p$ gives the outcome $y \in \{0, 1\}$ the probability
# $p^y (1-p)^{1-y}$. One of ten classes with probabilities $p_1 \dots p_{10}$ gives the outcome with
# [one-hot vector](../glossary.md#one-hot-vector) $y$ the probability $\prod_k p_k^{y_k}$. Minus the logarithms are the [**binary**](../glossary.md#binary-cross-entropy) and
# the [**categorical**](../glossary.md#categorical-cross-entropy) cross-entropy:
#
# $$L_\text{binary} = -\big[\, y \log p + (1-y)\log(1-p) \,\big], \qquad
#   L_\text{categorical} = -\sum_k y_k \log p_k .$$
#
# Articles on networks with a ten-way softmax sometimes print
# $-\frac{1}{n}\sum y\log p + (1-y)\log(1-p)$. Two things are wrong there. It is the formula of a
# coin, and it has lost its brackets, so the minus reaches only the first term. Does it matter? Take
# one picture of class 0 and let a network be right, unsure, and wrong about it.


# %% name="three-formulas" tags=["nbval-check-output"]
def printed(p, y):
    """The formula as printed: the minus doesn't reach the second term."""
    return (-(y * p.log()) + (1 - y) * (1 - p).log()).sum(-1)


def coins(p, y):
    """Brackets restored: ten coins, one for each class."""
    return -(y * p.log() + (1 - y) * (1 - p).log()).sum(-1)


def categorical(p, y):
    return -(y * p.log()).sum(-1)


def sure_of(k, p=0.99):
    """Probabilities: p for class k; the rest to class 0, or spread evenly if k is 0."""
    rest = torch.full((10,), (1 - p) / 9) if k == 0 else (1 - p) * torch.eye(10)[0]
    return torch.where(torch.arange(10) == k, torch.tensor(p), rest.clamp(min=1e-6))


truth = torch.eye(10)[0]
cases = {"right": sure_of(0), "unsure": torch.full((10,), 0.1), "wrong": sure_of(1)}
print(f"{'formula':<12}" + "".join(f"{name:>8}" for name in cases))
for formula in (printed, coins, categorical):
    values = [formula(p, truth).item() for p in cases.values()]
    print(f"{formula.__name__:<12}" + "".join(f"{v:8.2f}" for v in values))

# %% [markdown] name="three-formulas-after"
# Read the first line. The printed formula asks as little of the network that is sure of a wrong class
# as of the one that is right, and most of the one that admits not to know. The second term, which should
# punish confidence in a wrong class, has become a reward for it. With the brackets it is a proper loss,
# for a model whose ten outputs are ten separate coins: what you want if a picture may show several things
# at once. For one class out of ten, the third line is the likelihood, and the rest of the chapter uses it.

# %% [markdown] exercise="losses.binary"
# ### Exercise: the coin, from logits
#
# For tasks with separate yes-or-no answers the network gives a [logit](../glossary.md#logit) $x$ and
# $p = \sigma(x) = 1/(1+e^{-x})$. In float32, $\sigma(20)$ is already exactly 1, so
# $\log(1-p)$ is $-\infty$ and the first confident mistake ends the training.
#
# Put $\sigma$ into the formula and simplify until no logarithm can see a zero and no exponential a
# large number. `y` holds numbers from 0 to 1. Return one loss for each entry. PyTorch's ready-made losses,
# `softplus` and `logsigmoid` are what you are building, so they don't count. A tiny loss keeps its digits: at
# $x = 20$, $y = 1$ it is $2 \cdot 10^{-9}$, not 0.
#
# <details><summary>Right for small logits, inf or nan for large ones</summary>
# $\log(1+e^x)$ overflows for large $x$, $\log(1+e^{-x})$ for large $-x$. How do the two differ, and
# when is which one safe? <code>torch.log1p</code> is exact for small arguments.
# </details>


# %% solution="losses.binary"
def binary(x, y):
    """Binary cross-entropy of logits x with targets y in [0, 1], entry by entry, in x's dtype."""
    ### BEGIN SOLUTION
    return x.clamp(min=0) - x * y + torch.log1p(torch.exp(-x.abs()))
    ### END SOLUTION


# %% check="losses.binary"
check("losses.binary", binary)

# %% [markdown] name="softmax"
# ## Softmax, and where floats end
#
# For ten classes the network gives ten logits $z_k$, and [softmax](../glossary.md#softmax) turns them into probabilities,
# $p_k = e^{z_k} / \sum_j e^{z_j}$. Put into the categorical loss, for the class $y$ that happened:
#
# $$L = -\log p_y = \log \sum_j e^{z_j} - z_y .$$
#
# The first term is called [**log-sum-exp**](../glossary.md#log-sum-exp). Written as it stands, it ends where the exponential
# [overflows](../glossary.md#overflow). How far that is depends on the float format, and the format with the most digits is not
# the one that you will train in.

# %% name="formats" tags=["nbval-check-output"]
print(
    f"{'format':<10}{'exp overflows at':>18}{'naive at 12':>14}{'naive at 100':>14}{'steps near 12':>16}"
)
for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
    edge = math.log(torch.finfo(dtype).max)
    naive = [torch.tensor([float(z), 0.0], dtype=dtype).exp().sum().log().item() for z in (12, 100)]
    step = torch.finfo(dtype).eps * 8  # neighbours of 12 lie this far apart
    print(f"{str(dtype)[6:]:<10}{edge:18.1f}{naive[0]:14.4f}{naive[1]:14.4f}{step:16.1e}")

# %% [markdown] name="formats-after"
# [float16](../glossary.md#float16) gives up first, at a logit that a trained network passes easily. [bfloat16](../glossary.md#bfloat16) has
# [float32](../glossary.md#float32)'s range, so it overflows no earlier, but near 12 its neighbours are so far apart that a loss of
# a few hundredths of a nat vanishes. Hence two rules: subtract the largest logit first, and compute
# losses in float32 even where the network runs in 16 bits.

# %% [markdown] exercise="losses.log_sum_exp"
# ### Exercise: log-sum-exp that holds
#
# With $m = \max_j z_j$, $\log\sum_j e^{z_j} = m + \log\sum_j e^{z_j - m}$. Every exponent is now at
# most 0. Two corners need care. A logit of $-\infty$ is how masks say "impossible", and must count
# as nothing. A row in which everything is impossible has a log-sum-exp of $-\infty$, not NaN. PyTorch has
# `logsumexp`, `logaddexp`, `logcumsumexp` and `log_softmax`: do without them, and without losses that hold them.
#
# <details><summary>nan for a row of −inf</summary>
# $-\infty - (-\infty)$ is NaN. Subtract something finite in that case.
# </details>


# %% solution="losses.log_sum_exp"
def log_sum_exp(z):
    """log of the sum of exp(z) over the last dimension: (..., k) -> (...), in z's dtype."""
    ### BEGIN SOLUTION
    largest = z.max(dim=-1, keepdim=True).values
    largest = torch.where(torch.isfinite(largest), largest, torch.zeros_like(largest))
    return (z - largest).exp().sum(-1).log() + largest.squeeze(-1)
    ### END SOLUTION


# %% check="losses.log_sum_exp"
check("losses.log_sum_exp", log_sum_exp)

# %% [markdown] exercise="losses.cross_entropy"
# ### Exercise: cross-entropy and its pullback
#
# Write the mean cross-entropy of a batch of logits, and its pullback as in chapter 2. Work out the
# gradient on paper: the derivative of log-sum-exp is softmax, and the rest is one line. You should
# find that the gradient for each row is the probabilities that the model gave, minus the ones that
# would have been right. Nobody else's `backward` counts.
#
# Hold one tensor of the size of the logits, not two. For a language model this is the tensor that
# decides whether the step fits.
#
# <details><summary>The gradient is right but for a factor of n</summary>
# The loss is a mean over the batch. Its gradient is too.
# </details>
# <details><summary>It fails for one label and is right for another</summary>
# <code>probabilities[:, labels]</code> takes all columns for all rows. You want one entry a row.
# </details>


# %% solution="losses.cross_entropy"
def cross_entropy(logits, labels):
    """Mean cross-entropy of logits (n, k) with labels (n,), and its pullback dloss -> (dlogits,)."""
    ### BEGIN SOLUTION
    rows = torch.arange(len(labels), device=logits.device)
    top = logits - logits.max(dim=1, keepdim=True).values
    log_p = top - top.exp().sum(1, keepdim=True).log()
    loss = -log_p[rows, labels].mean()

    def pullback(dloss):
        gradient = log_p.exp()
        gradient[rows, labels] -= 1
        return (gradient * (dloss / len(labels)),)

    return loss, pullback
    ### END SOLUTION


# %% check="losses.cross_entropy"
check("losses.cross_entropy", cross_entropy)

# %% [markdown] name="steering"
# ## How a loss steers
#
# Only the gradient reaches the parameters. So compare losses by their gradients. A picture of class
# 0 gets logits $(z, 0, \dots, 0)$. Where $z$ is very negative, the network is sure of a mistake. How
# hard does each loss push $z$ up?

# %% name="picture-steering"
z = torch.linspace(-12, 12, 241, dtype=torch.float64)
logits = torch.zeros(len(z), 10, dtype=torch.float64)
logits[:, 0] = z
target = torch.eye(10, dtype=torch.float64)[0].expand(len(z), 10)
push = {}
for name, loss in (
    ("cross-entropy", lambda t: losses.cross_entropy(t, torch.zeros(len(z), dtype=torch.int64))),
    ("squared error of the probabilities", lambda t: losses.mse(autograd.softmax(t), target)),
):
    leaf = Tensor(logits.clone(), requires_grad=True)
    loss(leaf).backward()
    push[name] = -leaf.grad[:, 0] * len(z)
figure, axis = plt.subplots(figsize=(7, 3.2))
for (name, value), line in zip(push.items(), ("-", "--"), strict=True):
    axis.plot(z, value / value.max(), line, label=name)
axis.set(xlabel="logit of the right class, all others 0", ylabel="push, as a share of its largest")
axis.legend()
plt.show()
for name, value in push.items():
    print(f"{name}: at z = -12 the push is {value[0] / value.max():.4f} of its largest")

# %% [markdown] name="steering-after"
# Cross-entropy pushes hardest where the mistake is surest. Squared error of probabilities gives up
# on exactly those examples: softmax is flat there, and the chain rule multiplies by that flatness.
#
# So which trains better? Three runs, the same network from the same start. The two gradients have different
# sizes, so squared error runs twice: at the rate of cross-entropy, and at one of its own.

# %% name="compare-losses"
train_set, test_set = fashion_mnist()
where = device()
images, labels = train_set.images.reshape(-1, 784).to(where), train_set.labels.to(where)
test_images, test_labels = test_set.images.reshape(-1, 784).to(where), test_set.labels.to(where)


def network(width=128, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))
    return model.to(where)


def fit(model, loss, optimizer, images, labels, epochs, after=lambda: None, batch=64):
    """Train on shuffled batches, and call ``after`` at the end of every epoch."""
    generator = torch.Generator().manual_seed(0)
    for _ in tqdm(range(epochs), desc="epochs", leave=False):
        for rows in torch.randperm(len(images), generator=generator).split(batch):
            loss(model(images[rows]), labels[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
        after()
    return model


def test_logits(model):
    with no_grad():
        return model(test_images).data


def accuracy(logits):
    return (logits.argmax(1) == test_labels).float().mean().item()


def squared(logits, labels):
    return losses.mse(autograd.softmax(logits), torch.eye(10, device=where)[labels])


curves = {}
for name, loss, rate in (
    ("cross-entropy, rate 0.1", losses.cross_entropy, 0.1),
    ("squared error, rate 0.1", squared, 0.1),
    ("squared error, rate 3", squared, 3.0),
):
    model, curves[name] = network(), []
    fit(
        model,
        loss,
        optim.SGD(model.parameters(), lr=rate),
        images,
        labels,
        epochs=6,
        after=lambda: curves[name].append(accuracy(test_logits(model))),
    )
figure, axis = plt.subplots(figsize=(7, 3.2))
for (name, curve), mark in zip(curves.items(), ("o-", "s--", "^:"), strict=True):
    axis.plot(range(1, len(curve) + 1), curve, mark, label=name)
axis.set(xlabel="epoch", ylabel="test accuracy")
axis.legend()
plt.show()
for name, curve in curves.items():
    print(f"{name}: {curve[-1]:.3f} after {len(curve)} epochs")

# %% [markdown] name="compare-after"
# Read the three numbers before you believe a slogan. At cross-entropy's rate, squared error looks
# hopeless. At a rate of its own it keeps up on this easy task, and may even end ahead. What remains of
# the argument is the picture above: cross-entropy is the one that still moves when the network is sure
# and wrong.

# %% [markdown] exercise="losses.balanced"
# ### Exercise: when one class is rare
#
# If 1 example in 200 is a shirt, a network that never says "shirt" has a low loss. Weights correct
# that: let an example weigh $w_i = 1 / c_{y_i}$, where $c_k$ is how often class $k$ occurs in the
# training set. Then every class has the same say. The weighted mean divides by the weights that took
# part, not by $n$, so that the size of the loss doesn't depend on which classes a batch happens to hold:
#
# $$L = \frac{\sum_i w_i\,(-\log p_{i,y_i})}{\sum_i w_i} .$$
#
# <details><summary>nan although every logit is ordinary</summary>
# A class that never occurs has a count of 0. Does its weight of 1/0 get into your sums?
# </details>
# <details><summary>A batch of one class gives a loss that depends on its weight</summary>
# A weighted mean of equal things is that thing. Check your divisor.
# </details>


# %% solution="losses.balanced"
def balanced(logits, labels, counts):
    """Mean cross-entropy of logits (n, k), labels (n,), weighted by 1 / counts (k,) of the class."""
    ### BEGIN SOLUTION
    each = -logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
    weights = 1 / counts[labels]
    return (weights * each).sum() / weights.sum()
    ### END SOLUTION


# %% check="losses.balanced"
check("losses.balanced", balanced)

# %% name="imbalance"
shirt = train_set.classes.index("shirt")
keep = torch.ones(len(labels), dtype=torch.bool, device=where)
keep[(labels == shirt).nonzero()[60:, 0]] = False
few_images, few_labels = images[keep], labels[keep]
counts = torch.bincount(few_labels, minlength=10).float()
balance = (1 / counts) / (1 / counts).mean()
for name, weight in (("plain", None), ("weighted", balance)):
    model = network()
    fit(
        model,
        lambda z, y: losses.cross_entropy(z, y, weight=weight),
        optim.AdamW(model.parameters(), lr=1e-3),
        few_images,
        few_labels,
        epochs=8,
    )
    said = test_logits(model).argmax(1)
    recall = (said[test_labels == shirt] == shirt).float().mean().item()
    overall = (said == test_labels).float().mean().item()
    print(f"{name:<9} finds {recall:5.1%} of the shirts; accuracy over all classes {overall:.3f}")

# %% [markdown] exercise="losses.calibration"
# Accuracy over all classes hid how many shirts were lost. Whenever one class is rare, look at it alone.
#
# ### Exercise: does 90 percent mean 90 percent?
#
# A model is [calibrated](../glossary.md#calibration) if, among the pictures to which it gives a [confidence](../glossary.md#confidence) of 0.9, nine in ten
# are right. To measure it, sort predictions by the probability of the chosen class into equal bins
# of $(0, 1]$. In each bin compare the mean confidence with the share that is right. The [**expected
# calibration error**](../glossary.md#expected-calibration-error) is the mean of the differences in size, weighted by how many predictions fell
# into each bin ([Guo et al. 2017](https://arxiv.org/abs/1706.04599), eq. 3). Empty bins count for
# nothing; a confidence that equals an upper edge belongs to the bin below it.
#
# <details><summary>A confidence of exactly 1 gets lost</summary>
# Bins are open below and closed above. <code>torch.bucketize</code> does that by default.
# </details>


# %% solution="losses.calibration"
def calibration(probabilities, labels, bins=10):
    """Expected calibration error of probabilities (n, k) against labels (n,): a Python float."""
    ### BEGIN SOLUTION
    confidence, chosen = probabilities.max(1)
    right = (chosen == labels).to(confidence.dtype)
    error = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            share = inside.sum() / len(labels)
            error += float(share * (confidence[inside].mean() - right[inside].mean()).abs())
    return error
    ### END SOLUTION


# %% check="losses.calibration"
check("losses.calibration", calibration)


# %% [markdown] name="smoothing-before"
# Is a network that was trained on cross-entropy calibrated? Train it for long enough to be sure of itself,
# and compare with [**label smoothing**](../glossary.md#label-smoothing), which asks for $1-\varepsilon$ instead of 1 for the right class and
# shares $\varepsilon$ among all ([Szegedy et al. 2015](https://arxiv.org/abs/1512.00567)). AdamW, which
# chapter 4 explains, does the updates.


# %% name="smoothing"
def reliability(logits, bins=10):
    """For each bin of confidence: its mean, the share that is right, the share of all pictures."""
    confidence, chosen = logits.softmax(1).max(1)
    which = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    right = (chosen == test_labels).float()
    rows = [which == b for b in range(bins) if (which == b).any()]
    return [
        (confidence[r].mean().item(), right[r].mean().item(), r.float().mean().item()) for r in rows
    ]


history = []
half_images, half_labels = images[::2], labels[::2]
figure, axis = plt.subplots(figsize=(4.6, 4.2))
axis.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, label="calibrated")
for smoothing, mark in ((0.0, "o-"), (0.05, "s--"), (0.2, "^:")):
    model = network(256)
    after = (lambda: history.append(test_logits(model))) if smoothing == 0 else (lambda: None)
    fit(
        model,
        lambda z, y: losses.cross_entropy(z, y, label_smoothing=smoothing),
        optim.AdamW(model.parameters(), lr=2e-3),
        half_images,
        half_labels,
        epochs=24,
        after=after,
    )
    bins = reliability(test_logits(model))
    axis.plot([b[0] for b in bins], [b[1] for b in bins], mark, label=f"smoothing {smoothing}")
    error = sum(abs(mean - right) * share for mean, right, share in bins)
    mean = sum(mean * share for mean, _, share in bins)
    print(
        f"smoothing {smoothing:.2f}: accuracy {accuracy(test_logits(model)):.3f}, "
        f"mean confidence {mean:.3f}, calibration error {error:.3f}"
    )
axis.set(xlabel="confidence", ylabel="share that is right", xlim=(0.1, 1.02), ylim=(0, 1.02))
axis.legend()
plt.show()

# %% [markdown] name="smoothing-after"
# Below the diagonal the network is surer than it should be, above it less sure. (The points on the left rest on
# few pictures.) Smoothing caps the
# logits. It is a knob, not a cure: too much of it turns a boaster into a doubter, and the calibration error
# grows again.
#
# ## The largest tensor of a small language model
#
# A [language model](../glossary.md#language-model) is a classifier whose classes are the entries of its [vocabulary](../glossary.md#vocabulary), tens of
# thousands. Every position of every sequence in the batch gets that many logits. GPT-2 small has
# 124 million parameters, a vocabulary of 50,257 and sequences of 1,024. Take a batch of 8, in
# float32. How many times the size of all its parameters are the logits?

# %% name="predict-logits"
predict("losses.logits", None, "logits as a multiple of the parameters")  # None -> your number

# %% name="count-logits" tags=["nbval-check-output"]
parameters, vocabulary, positions = 124_439_808, 50_257, 8 * 1024
reconcile(
    "losses.logits", positions * vocabulary / parameters, "times the parameters", how="modelled"
)
print(f"modelled: one copy of the logits {4 * positions * vocabulary / 1e9:.2f} GB")

n, k = 256, 8192
z = torch.randn(n, k, device=where)
y = torch.randint(k, (n,), device=where)


def composed(z):
    """The loss as it is written in books: softmax, logarithm, pick."""
    return -autograd.mean(autograd.log(autograd.softmax(z))[torch.arange(n), y])


for name, loss in (("composed", composed), ("fused", lambda z: losses.cross_entropy(z, y))):
    leaf = Tensor(z, requires_grad=True)
    counts = count(lambda: loss(leaf))
    kept = autograd.kept(counts.result, besides=[leaf]).total
    print(
        f"counted on {n} rows of {k:,}: {name:<9} allocates {counts.bytes_allocated / (4 * n * k):.1f} "
        f"and keeps {kept / (4 * n * k):.1f} times the logits"
    )

# %% [markdown] exercise="losses.chunked"
# Both keep one tensor of that size, because softmax and logarithm share it. [Fusing](../glossary.md#fused) saves the others: the
# composed form allocates more copies on the way.
#
# ### Exercise: never build the logits
#
# The logits come from a linear layer, $z = h W^\top$ with $h$ of shape $(n, d)$ and $W$ of shape
# $(k, d)$, where $n$ and $k$ are large and $d$ is not. The loss needs each row once. So go through
# the rows in pieces of `chunk`: build a piece of the logits, take its loss and its gradient with
# respect to $h$, and forget it. Return both. It is counted, torch's operations alone: no tensor above an
# eighth of $n \times k$ numbers, and never more than half of them alive together.
#
# Backward is in the forward loop here. That works because the gradient of a mean of losses doesn't
# depend on anything that comes later ([Wijmans et al. 2024](https://arxiv.org/abs/2411.09009) carry the
# idea to its end).
#
# <details><summary>The last rows are missing</summary>
# n needn't be a multiple of the chunk.
# </details>
# <details><summary>The loss is right for equal chunks only</summary>
# A mean of means weighs a short last piece too much. Add up sums, divide once.
# </details>


# %% solution="losses.chunked"
def chunked(hidden, weight, labels, chunk=64):
    """Mean cross-entropy of hidden @ weight.T, and its gradient with respect to hidden, (n, d)."""
    ### BEGIN SOLUTION
    n, total, gradient = len(hidden), 0.0, torch.empty_like(hidden)
    for start in range(0, n, chunk):
        rows = slice(start, start + chunk)
        log_p = (hidden[rows] @ weight.T).log_softmax(1)
        picked = labels[rows, None]
        total = total - log_p.gather(1, picked).sum()
        p = log_p.exp()
        p.scatter_add_(1, picked, torch.full_like(p[:, :1], -1))
        gradient[rows] = p @ weight / n
    return total / n, gradient
    ### END SOLUTION


# %% check="losses.chunked"
check("losses.chunked", chunked)

# %% [markdown] name="pytorch"
# ## The same in PyTorch
#
# `torch.nn.functional` has these losses under the same names. Values and gradients agree.

# %% name="same-in-pytorch" tags=["nbval-check-output"]
z, y = torch.randn(32, 10, device=where), torch.randint(10, (32,), device=where)
weight, target = torch.rand(10, device=where), torch.rand(32, 10, device=where)
theirs = torch.nn.functional
for name, ours, reference in (
    ("cross_entropy", lambda t: losses.cross_entropy(t, y), lambda t: theirs.cross_entropy(t, y)),
    (
        "… weighted",
        lambda t: losses.cross_entropy(t, y, weight=weight),
        lambda t: theirs.cross_entropy(t, y, weight=weight),
    ),
    (
        "… smoothed",
        lambda t: losses.cross_entropy(t, y, label_smoothing=0.1),
        lambda t: theirs.cross_entropy(t, y, label_smoothing=0.1),
    ),
    ("mse", lambda t: losses.mse(t, target), lambda t: theirs.mse_loss(t, target)),
    (
        "binary_cross_entropy_with_logits",
        lambda t: losses.binary_cross_entropy_with_logits(t, target),
        lambda t: theirs.binary_cross_entropy_with_logits(t, target),
    ),
):
    leaf, twin = Tensor(z.clone(), requires_grad=True), z.clone().requires_grad_()
    value, expected = ours(leaf), reference(twin)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value.data, expected.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(leaf.grad, twin.grad, rtol=1e-4, atol=1e-6)
    print(f"{name}: value and gradient agree")

# %% [markdown] name="claim"
# ## Often said, and isn't so
#
# > "A lower loss is a better model."
#
# Take the network of the epoch with the lowest test loss and double all its logits: no decision changes,
# and the loss does. Then look at the whole training without smoothing, epoch by epoch.

# %% name="picture-claim"
test_losses = [losses.cross_entropy(z, test_labels).item() for z in history]
accuracies = [accuracy(z) for z in history]
figure, (above, below) = plt.subplots(2, 1, figsize=(7, 4), sharex=True)
above.plot(range(1, len(history) + 1), test_losses, "o-")
above.set(ylabel="test loss (nats)")
below.plot(range(1, len(history) + 1), accuracies, "s-", color=style.ORANGE)
below.set(xlabel="epoch", ylabel="test accuracy")
plt.show()
best = min(range(len(history)), key=test_losses.__getitem__)
doubled = losses.cross_entropy(2 * history[best], test_labels).item()
print(
    f"logits of epoch {best + 1} doubled: loss {doubled / test_losses[best] - 1:+.1%}, "
    f"accuracy {100 * (accuracy(2 * history[best]) - accuracies[best]):+.1f} points"
)
highest = max(range(len(history)), key=accuracies.__getitem__)
print(f"lowest test loss in epoch {best + 1}, highest test accuracy in epoch {highest + 1}")
print(
    f"from epoch {best + 1} to {len(history)}: loss {test_losses[-1] / test_losses[best] - 1:+.1%}, "
    f"accuracy {100 * (accuracies[-1] - accuracies[best]):+.1f} points"
)

# %% [markdown] name="summary"
# The loss adds up confidence and correctness. Late in training a network grows surer of its mistakes,
# which the loss punishes without limit and the accuracy doesn't see. The two move together for a while
# and then part. Which of them you care about depends on whether somebody uses the probabilities. Say
# which, before you stop a training early.
#
# ## Summary
#
# - A loss is a negative log-likelihood: MSE for equal Gaussian noise, cross-entropy for classes.
# - Compute it from logits, with the largest subtracted, in float32.
# - The gradient of cross-entropy is probabilities minus truth; it pushes hardest on sure mistakes.
# - Weights, smoothing and calibration change what a probability means, not only how many are right.
# - For a large vocabulary the logits are the largest tensor; a fused, chunked loss never holds them.
#
# Every term and symbol is in the [glossary](../glossary.md).
#
# ## Where to read on
#
# - Bishop, *Pattern Recognition and Machine Learning*, Springer (2006), sections 1.2.5 and 4.3.
# - Guo et al., *On calibration of modern neural networks*,
#   [1706.04599](https://arxiv.org/abs/1706.04599).
# - Müller, Kornblith, Hinton, *When does label smoothing help?*,
#   [1906.02629](https://arxiv.org/abs/1906.02629).
# - Wijmans et al., *Cut your losses in large-vocabulary language models*,
#   [2411.09009](https://arxiv.org/abs/2411.09009).
