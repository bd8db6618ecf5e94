# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown] name="question"
# # 2 · Backprop
#
# **What must a machine compute, and remember, to learn?**
#
# | minutes | know first | peak memory | device |
# |---|---|---|---|
# | 90 | Python, the matrix product, what a derivative is | under 1 GB | any CPU; a GPU is used if you have one |
#
# A network learns by asking of every parameter: if you were a little larger, how would the loss
# change? [Backprop](../glossary.md#backpropagation) answers for all parameters at once. You will build it, find its bugs with a
# number instead of a stare, and train a network that tells shirts from shoes. Then you will count
# what it costs: floating-point operations (FLOPs) to compute, bytes to remember.
#
# A check follows every cell that you fill in. Checks don't depend on each other: you can skip one
# and come back.
#
# In every exercise, leave the arguments as they are, return their dtype, and write what is asked for yourself.
# PyTorch's or the library's own function for it, `backward` included, earns nothing. Exceptions are named.

# %% name="setup"
import itertools
import math

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from roofline import autograd, lab, optim
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
progress("02_backprop")

# %% [markdown] name="seven-steps"
# ## Seven steps
#
# Every training program in this course, up to the Transformer, takes the same seven steps:
#
# 1. **prepare the data**: numbers of one size and scale, cut into batches;
# 2. **initialise** the parameters at random;
# 3. [**forward**](../glossary.md#forward): from a batch to predictions;
# 4. [**loss**](../glossary.md#loss): from predictions to one number that says how wrong they are;
# 5. [**backward**](../glossary.md#backward): from that number to the [gradient](../glossary.md#gradient) of every [parameter](../glossary.md#parameter);
# 6. [**update**](../glossary.md#update): move each parameter a little against its gradient;
# 7. **repeat** from step 3 with the next batch.
#
# Step 5 is the subject of this chapter. The others are a few lines each. Here are the first four,
# on a fifth of Fashion-MNIST: grey pictures of clothes, 28 by 28 pixels, ten classes
# ([Xiao et al. 2017](https://arxiv.org/abs/1708.07747)).

# %% name="data" tags=["nbval-check-output"]
train_set, test_set = fashion_mnist()
print(f"{len(train_set):,} pictures to train on, {len(test_set):,} to test on")
low, high = train_set.images.min(), train_set.images.max()
print(f"images {tuple(train_set.images.shape)}, from {low:.0f} to {high:.0f}")
print("classes:", ", ".join(train_set.classes))

figure, axes = plt.subplots(2, 5, figsize=(7.5, 3.4))
for label, axis in enumerate(axes.flat):
    example = (train_set.labels == label).nonzero()[0, 0]
    axis.imshow(train_set.images[example].reshape(28, 28), cmap="gray")
    axis.set_title(train_set.classes[label], fontsize=9)
    axis.axis("off")
plt.show()

# %% [markdown] name="perceptron"
# A two-layer [perceptron](../glossary.md#perceptron) maps a [batch](../glossary.md#batch) of flattened pictures $x$ of shape $(n, 784)$ to $n$ rows of
# ten scores, called [logits](../glossary.md#logit):
#
# $$h = \mathrm{relu}(x W_1^\top + b_1), \qquad z = h W_2^\top + b_2.$$
#
# $W_1$ is $(256, 784)$, $W_2$ is $(10, 256)$, $\mathrm{relu}(u) = \max(u, 0)$. The loss is the
# [cross-entropy](../glossary.md#cross-entropy): minus the logarithm of the probability that the network gives to the right class,
# averaged over the batch. Chapter 3 derives it; here it is the last function of a chain.
#
# A network that knows nothing gives each of ten classes a probability of about a tenth. So the
# first loss should come out near $\ln 10$, a little above it because the random logits differ. Losses
# in natural logarithms are counted in [nats](../glossary.md#nat).

# %% name="forward"
where = device()


def initialise(widths, seed=0):
    """Weights of variance 2 / inputs keep signals of one size from layer to layer; biases are 0.

    He et al., 1502.01852, equation 10.
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = []
    for inputs, outputs in itertools.pairwise(widths):
        weight = torch.randn(outputs, inputs, generator=generator) * math.sqrt(2 / inputs)
        parameters.append(Tensor(weight.to(where), requires_grad=True))
        parameters.append(Tensor(torch.zeros(outputs, device=where), requires_grad=True))
    return parameters


def forward(x, parameters):
    """From x, (batch, inputs), to logits, (batch, classes): relu after every layer but the last."""
    *hidden, (weight, bias) = zip(parameters[::2], parameters[1::2], strict=True)
    for w, b in hidden:
        x = autograd.relu(autograd.linear(x, w, b))
    return autograd.linear(x, weight, bias)


images = train_set.images.reshape(-1, 784).to(where)
labels = train_set.labels.to(where)
parameters = initialise([784, 256, 10])
x, y = images[:64], labels[:64]
loss = autograd.cross_entropy(forward(x, parameters), y)
print(f"first loss {loss.item():.2f}; ln 10 = {math.log(10):.2f}")

# %% [markdown] name="pullbacks"
# ## From derivatives to pullbacks
#
# The loss is a composition, $L = f_k(\dots f_2(f_1(x)))$. The chain rule multiplies the [Jacobian](../glossary.md#jacobian)
# matrices of the steps:
#
# $$\frac{\partial L}{\partial x} = J_k \, J_{k-1} \cdots J_2 \, J_1 .$$
#
# $J_k$ has one row, because the loss is one number. So multiply from the left: each product is
# then a row vector times a matrix, never a matrix times a matrix. That order is what "[reverse
# mode](../glossary.md#reverse-mode)" means, and it is why one backward walk serves every parameter at once.
#
# You would still not want to build the matrices. Take the relu of this network's hidden layer.

# %% name="jacobian" tags=["nbval-check-output"]
entries = 64 * 256
print(f"relu on a batch of 64 maps {entries:,} numbers to {entries:,} numbers.")
size = 4 * entries**2 / 1e9
print(f"Its Jacobian in float32: {size:.2f} GB, all but {entries:,} entries zero.")
print(f"The gradient that passes through it: {4 * entries / 1e3:.1f} kB.")

# %% [markdown] exercise="backprop.sigmoid"
# So each operation comes with a function that does what the Jacobian would do, without the
# Jacobian. It takes the gradient with respect to the operation's result and returns the gradient
# with respect to each argument. It is called the operation's [**pullback**](../glossary.md#pullback), or vector-Jacobian
# product:
#
# ```python
# def multiply(x, y):
#     return x * y, lambda dz: (dz * y, dz * x)
# ```
#
# `multiply` returns two things: the result, and the pullback, which returns one gradient for each
# argument. Look at what the pullback needs when it is called, much later: `x` and `y`. As long as
# the pullback exists, those two tensors can't be freed. **What a pullback captures is what
# training must remember.**
#
# ### Exercise: a pullback that remembers its result
#
# $\sigma(x) = 1 / (1 + e^{-x})$ squashes any number into $(0, 1)$. Write it with its pullback.
# `x` is a plain `torch.Tensor` of any shape; `torch.exp` and `torch.sigmoid` are fine to use, PyTorch's
# own derivatives aren't. The pullback returns a tuple with one tensor.
#
# The derivative can be written with $x$ or with the result alone. Choose the result: in a network
# the next operation often holds it anyway, so remembering it costs nothing extra. What your pullback
# holds is looked at.
#
# <details><summary>My gradient is right for a gradient of ones and wrong otherwise</summary>
# A pullback multiplies the gradient that arrives by the derivative. Yours may return the
# derivative alone.
# </details>
# <details><summary>The check says that I hold more than the result</summary>
# A function captures every outer variable that its body mentions. If the body mentions
# <code>x</code>, then <code>x</code> stays in memory.
# </details>


# %% solution="backprop.sigmoid"
def sigmoid(x):
    """Return sigmoid(x), of x's shape, and its pullback dy -> (dx,)."""
    ### BEGIN SOLUTION
    y = torch.sigmoid(x)
    return y, lambda dy: (dy * y * (1 - y),)
    ### END SOLUTION


# %% check="backprop.sigmoid"
check("backprop.sigmoid", sigmoid)

# %% [markdown] exercise="backprop.linear"
# ### Exercise: the layer where the work is
#
# Nearly all FLOPs of a network are in matrix products. A linear layer computes
# $y = x W^\top + b$ with $x$ of shape $(n, d_\text{in})$, $W$ $(d_\text{out}, d_\text{in})$,
# $b$ $(d_\text{out})$. Write it with its pullback, which returns $(dx, dW, db)$.
#
# Derive it with indices: $y_{ij} = \sum_k x_{ik} W_{jk} + b_j$. Then
# $dW_{jk} = \sum_i dy_{ij}\,\partial y_{ij}/\partial W_{jk}$, and so on for the others. The [bias](../glossary.md#bias) is
# the case to watch: one $b_j$ is used by every row of the batch, and a value that is used many
# times collects the sum of its gradients.
#
# Write the products yourself, without `torch.nn.functional.linear`. Your pullback is counted, torch's operations alone. A matrix product of $(n, k)$ and $(k, m)$ costs
# $2nkm$ FLOPs, a multiplication and an addition for each term. The pullback should cost no more
# than two such products and never build a tensor with $n \cdot d_\text{in} \cdot d_\text{out}$
# entries.
#
# <details><summary>A shape error in the pullback</summary>
# Write the shape of every factor in a comment. Each gradient has the shape of its argument, and
# for distinct sizes there is one way to arrange the product.
# </details>
# <details><summary>dW is right for a batch of one</summary>
# Every row of the batch contributes to the same weights. Sum over the batch, don't average: the
# average, if any, belongs to the loss.
# </details>


# %% solution="backprop.linear"
def linear(x, weight, bias):
    """Return x @ weight.T + bias, (n, outputs), and its pullback dy -> (dx, dweight, dbias).

    x is (n, inputs), weight is (outputs, inputs), bias is (outputs,).
    """
    ### BEGIN SOLUTION
    y = x @ weight.T + bias

    def pullback(dy):  # dy: (n, outputs)
        return dy @ weight, dy.T @ x, dy.sum(0)

    return y, pullback
    ### END SOLUTION


# %% check="backprop.linear"
check("backprop.linear", linear)

# %% [markdown] name="checking"
# ## How to know that a gradient is right
#
# A wrong gradient rarely crashes. The loss still falls, only slower, and you tune the learning
# rate for a week. The way out is to compare with the definition:
#
# $$\frac{\partial f}{\partial x_i} \approx \frac{f(x + \varepsilon e_i) - f(x - \varepsilon e_i)}{2\varepsilon},$$
#
# where $e_i$ is 1 at entry $i$ and 0 elsewhere. The two-sided form has an error of order
# $\varepsilon^2$, the one-sided form of order $\varepsilon$. It costs two forward passes for each
# entry, so it is a test and not a training method.
#
# How small should $\varepsilon$ be? Smaller is better, until it isn't: below some size the
# subtraction loses the digits that it is meant to reveal. The picture shows the error of both
# forms on $f(x) = e^{\sin x}$ at $x = 1$, in both float formats.


# %% name="step-size"
def difference_error(dtype, step, two_sided):
    """Relative error of a finite difference of exp(sin x) at x = 1."""
    f = lambda t: torch.exp(torch.sin(t))
    x = torch.tensor(1.0, dtype=dtype)
    low = x - step if two_sided else x
    slope = (f(x + step) - f(low)) / (2 * step if two_sided else step)
    true = math.cos(1) * math.exp(math.sin(1))
    return abs(slope.item() - true) / true


steps = [10 ** (-k / 4) for k in range(2, 45)]
best = {}
figure, axis = plt.subplots(figsize=(7, 3.6))
for dtype, two_sided, line, color in (
    (torch.float64, False, "-.", style.ORANGE),
    (torch.float64, True, "-", style.BLUE),
    (torch.float32, False, ":", style.BLACK),
    (torch.float32, True, "--", style.VERMILION),
):
    errors = [max(difference_error(dtype, step, two_sided), 1e-13) for step in steps]
    name = f"{str(dtype)[6:]}, {'two' if two_sided else 'one'}-sided"
    best[name] = min(zip(errors, steps, strict=True))
    axis.loglog(steps, errors, line, color=color, label=name)
axis.set(xlabel="step ε", ylabel="relative error", ylim=(1e-13, 10))
axis.legend()
plt.show()
for name, (error, step) in best.items():
    print(f"{name}: best error {error:.0e}, at a step near {step:.0e}")

# %% [markdown] exercise="backprop.numerical_gradient"
# Each curve falls while the formula's own error shrinks, and rises when rounding takes over. With
# [machine precision](../glossary.md#machine-precision) $u$, the best two-sided step is near $u^{1/3}$ and the best error near
# $u^{2/3}$: a third of the format's digits are lost, at any point but a lucky one. In float32 five are
# left, few to tell a mistake from noise. Gradients are checked in [float64](../glossary.md#float64), whatever you train in.
#
# ### Exercise: a numerical gradient
#
# Write the two-sided difference for a function `f` that maps a tensor to one number (a Python
# float or a tensor without dimensions). Leave `x` as you found it, also when it is a view of a
# larger tensor or not contiguous.
#
# <details><summary>Only the first entry is right</summary>
# Each entry must be moved alone. Is the previous one back where it was?
# </details>
# <details><summary>It fails on a transposed x</summary>
# <code>view(-1)</code> needs contiguous memory. Make a copy that is, or index in all dimensions.
# </details>


# %% solution="backprop.numerical_gradient"
def numerical_gradient(f, x, step=1e-6):
    """Return the gradient of f at x by two-sided differences: the shape and dtype of x."""
    ### BEGIN SOLUTION
    gradient = torch.zeros_like(x, memory_format=torch.contiguous_format)
    for index in itertools.product(*(range(size) for size in x.shape)):
        moved = x.clone()
        moved[index] = x[index] + step
        above = float(f(moved))
        moved[index] = x[index] - step
        gradient[index] = (above - float(f(moved))) / (2 * step)
    return gradient
    ### END SOLUTION


# %% check="backprop.numerical_gradient"
check("backprop.numerical_gradient", numerical_gradient)

# %% [markdown] exercise="backprop.train"
# ## Training, all seven steps
#
# The library's `loss.backward()` performs step 5: afterwards each parameter holds a gradient of
# its own shape in `.grad`. Gradients are **added** to what `.grad` holds already. That is what
# you want when a parameter is used twice, and a classic bug when you forget to clear it between
# batches.
#
# ### Exercise: the loop
#
# Write steps 3 to 7. `batches` yields pairs `(x, y)`, `loss_of(x, y)` returns the loss as a
# `Tensor` on the tape. For each batch: loss, backward, update `p.data` of every parameter by plain
# [gradient descent](../glossary.md#gradient-descent), $p \leftarrow p - \text{rate} \cdot \partial L / \partial p$. Afterwards no
# parameter holds a gradient. Return the losses as Python floats.
#
# Why floats? A loss that is still a `Tensor` holds its tape. Where no backward walk has emptied it, as
# in an evaluation, that tape holds every intermediate result of its batch. A list of such losses is one
# of the commonest memory leaks in deep learning.
#
# <details><summary>The loss falls, then explodes</summary>
# Print the norm of one gradient for three batches. Does it grow although nothing else changes?
# </details>
# <details><summary>The check says that the parameters didn't change</summary>
# <code>p = p - ...</code> makes a new object and gives it the old name. The network still holds
# the old one: write to <code>p.data</code>.
# </details>


# %% solution="backprop.train"
def train(parameters, loss_of, batches, rate):
    """Take one step of gradient descent for each batch; return the list of losses, as floats."""
    ### BEGIN SOLUTION
    losses = []
    for x, y in batches:
        loss = loss_of(x, y)
        loss.backward()
        for parameter in parameters:
            parameter.data -= rate * parameter.grad
            parameter.grad = None
        losses.append(loss.item())
    return losses
    ### END SOLUTION


# %% check="backprop.train"
check("backprop.train", train)

# %% [markdown] name="train-for-real"
# Now for real: the two-layer perceptron on all training pictures. The library's optimizer does step 6
# here, so this cell runs whether or not you have solved the exercise. Watch the bar.


# %% name="train"
def fit(parameters, epochs, rate, batch=64, seed=0):
    """Train on shuffled batches at a rate that falls to zero; return the loss of every step."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = optim.SGD(parameters, lr=rate)  # step 6, for all parameters at once
    steps = epochs * math.ceil(len(images) / batch)
    schedule = optim.Schedule(optimizer, lambda step: 1 - step / steps)
    record = []
    for _ in tqdm(range(epochs), desc="epochs"):
        for rows in torch.randperm(len(images), generator=generator).split(batch):
            loss = autograd.cross_entropy(forward(images[rows], parameters), labels[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            record.append(loss.item())
    return record


def predictions(images, parameters):
    with no_grad():
        return forward(images, parameters).data.argmax(1)


parameters = initialise([784, 256, 10])
losses = fit(parameters, epochs=20, rate=0.2)
test_images, test_labels = test_set.images.reshape(-1, 784).to(where), test_set.labels.to(where)
guesses = predictions(test_images, parameters)
accuracy = (guesses == test_labels).float().mean().item()
print(f"accuracy on {len(test_set):,} pictures that it never saw: {accuracy:.3f}")

# %% name="picture-training"
figure, axis = plt.subplots(figsize=(7, 3.2))
axis.plot(losses, color=style.GREY, alpha=0.4, linewidth=0.5, label="each batch")
window = 94
smooth = torch.tensor(losses).unfold(0, window, 1).mean(1)
axis.plot(
    range(window // 2, window // 2 + len(smooth)),
    smooth,
    color=style.BLUE,
    label=f"mean of {window}",
)
axis.axhline(math.log(10), color=style.ORANGE, linestyle=":", label="knows nothing: ln 10")
axis.set(xlabel="step", ylabel="loss (nats)", ylim=(0, 2.5))
axis.legend()
plt.show()
first, last = smooth[0], smooth[-1]
print(f"mean loss of the first {window} steps {first:.2f}, of the last {window} {last:.2f}")

# %% name="picture-mistakes" tolerance=0.1
wrong = (guesses != test_labels).nonzero()[:10, 0]
figure, axes = plt.subplots(2, 5, figsize=(7.5, 3.8))
for row, axis in zip(wrong.tolist(), axes.flat, strict=True):
    axis.imshow(test_set.images[row].reshape(28, 28), cmap="gray")
    said, true = train_set.classes[guesses[row]], train_set.classes[test_set.labels[row]]
    axis.set_title(f"said {said}\nis {true}", fontsize=8)
    axis.axis("off")
plt.tight_layout()
plt.show()
pairs = torch.stack([test_labels, guesses])[:, guesses != test_labels]
(true, said), number = max(
    (
        (pair, int((pairs.T == torch.tensor(pair, device=where)).all(1).sum()))
        for pair in set(map(tuple, pairs.T.tolist()))
    ),
    key=lambda entry: entry[1],
)
names = train_set.classes
print(f"the commonest mistake: {names[true]} taken for {names[said]}, {number} times")

# %% [markdown] name="walk"
# ## What `backward()` did
#
# While the forward pass ran, each operation wrote an entry on a [**tape**](../glossary.md#tape): a [node](../glossary.md#node) with its
# pullback, the nodes of its arguments, and an empty slot for a gradient. A node holds no values.
# It knows its depth: 0 for a parameter, else one more than the deepest of its arguments. Sort the
# nodes by depth and read from the end, and you meet every value after everything that used it.

# %% name="tape" tags=["nbval-check-output"]
loss = autograd.cross_entropy(forward(x, parameters), y)
nodes = autograd.tape(loss)
names = {id(node): f"{node.name} {position}" for position, node in enumerate(nodes)}
for node in reversed(nodes):
    sources = [names[id(parent)] if parent else "data" for parent in node.parents]
    print(f"{names[id(node)]:<16} {'from ' + ', '.join(sources) if sources else 'a parameter'}")

# %% [markdown] exercise="backprop.walk"
# ### Exercise: the backward walk
#
# Write `backward` yourself. `nodes` is a tape in such an order, parameters first. Its last node
# belongs to the loss and starts with the gradient `grad`. Each node has
#
# - `node.pullback`: a function from the node's gradient to a tuple of gradients, one for each
#   parent; `None` for a leaf, the node of a parameter;
# - `node.parents`: as many nodes, `None` where an argument is plain data;
# - `node.grad`: the slot, `None` until something arrives.
#
# When you are done, each leaf holds its gradient, added to what it held before. Inner nodes hold
# neither a gradient nor a pullback: both are freed as soon as they have been used, so that memory
# falls while you walk. Nodes that no gradient reaches are passed over.
#
# <details><summary>A value used twice gets half its gradient</summary>
# The second arrival must be added to the first, not replace it.
# </details>
# <details><summary>x + x is right, but a chain of additions is wrong</summary>
# The pullback of an addition returns one and the same tensor for both arguments. If you add to
# that tensor in place, two slots change at once.
# </details>


# %% solution="backprop.walk"
def walk(nodes, grad):
    """Walk a tape from its last node to its leaves; leave the gradients in the leaves' slots."""
    ### BEGIN SOLUTION
    nodes[-1].grad = grad
    for node in reversed(nodes):
        if node.pullback is None:
            continue
        if node.grad is not None:
            for parent, arriving in zip(node.parents, node.pullback(node.grad), strict=True):
                if parent is not None and arriving is not None:
                    parent.grad = arriving if parent.grad is None else parent.grad + arriving
        node.grad = node.pullback = None
    ### END SOLUTION


# %% check="backprop.walk"
check("backprop.walk", walk)

# %% [markdown] name="flops"
# ## What backward computes
#
# A rule of thumb says that a backward pass costs twice its forward pass: one product for $dx$, one
# for $dW$, each as large as the forward product. Training then costs three forward passes, the 6
# in the rule $6ND$ for large models ([Kaplan et al. 2020](https://arxiv.org/abs/2001.08361)).
#
# Does it hold for the perceptron that you have just trained? Write down your guess before you run
# the next cell. What backward costs as a multiple of forward:

# %% name="predict-ratio"
predict("backprop.ratio", None, "backward FLOPs / forward FLOPs")  # None -> your number


# %% name="count-ratio" tags=["nbval-check-output"]
def cost(widths, batch=64):
    """Counted FLOPs of a forward and a backward pass of a perceptron of these widths."""
    parameters = initialise(widths)
    x = torch.zeros(batch, widths[0], device=where)
    y = torch.zeros(batch, dtype=torch.int64, device=where)
    forward_counts = count(lambda: autograd.cross_entropy(forward(x, parameters), y))
    backward_counts = count(forward_counts.result.backward)
    return forward_counts.flops, backward_counts.flops


forward_flops, backward_flops = cost([784, 256, 10])
print(f"forward {forward_flops:,} FLOPs, backward {backward_flops:,} FLOPs")
reconcile("backprop.ratio", backward_flops / forward_flops, "times forward", how="counted")

# %% [markdown] name="flops-why"
# Nobody needs the gradient of the loss with respect to the pictures. So the first layer skips
# $dx$, and in this network the first layer is nearly everything. With more layers of equal width
# the first one matters less and the ratio climbs towards two.

# %% name="picture-ratio"
depths = [1, 2, 3, 4, 6, 8, 12, 16, 24]
ratios = [back / front for front, back in (cost([784] + [256] * depth + [10]) for depth in depths)]
clock = measure_in_turn(
    {
        "backprop.forward": lambda: autograd.cross_entropy(forward(x, parameters), y),
        "backprop.both": lambda: autograd.cross_entropy(forward(x, parameters), y).backward(),
    },
    device=where,
)
for leaf in parameters:
    leaf.grad = None
figure, axis = plt.subplots(figsize=(7, 3.2))
axis.plot(depths, ratios, "o-", color=style.BLUE, label="counted")
axis.axhline(2, color=style.ORANGE, linestyle=":", label="rule of thumb")
axis.set(xlabel="hidden layers of width 256", ylabel="backward / forward FLOPs", ylim=(0.9, 2.1))
axis.legend()
plt.show()
print(f"counted: {ratios[0]:.2f} with one hidden layer, {ratios[-1]:.2f} with {depths[-1]}")
ratio = clock["backprop.both"].median / clock["backprop.forward"].median - 1
print(f"by the clock, one hidden layer: {ratio:.2f} ({clock['backprop.both'].label})")

# %% [markdown] name="memory"
# The clock needn't agree with the count, and on a busy machine it agrees with nothing: the label says
# so. FLOPs say how much arithmetic there is. Whether the arithmetic is what you wait for is another
# question, and chapter 1 has the instrument for it.
#
# ## What backward remembers
#
# Between forward and backward the tape keeps what the pullbacks captured. `autograd.kept` looks
# into every pullback on the tape and adds up the bytes, each piece of memory once. Parameters are
# left out: they exist anyway.


# %% name="kept" tags=["nbval-check-output"]
def remembered(widths, batch, activation=autograd.relu):
    """Bytes that the tape of a perceptron keeps for backward, by operation."""
    parameters = initialise(widths)
    x = torch.zeros(batch, widths[0], device=where)
    for w, b in zip(parameters[::2], parameters[1::2], strict=True):
        z = autograd.linear(x, w, b)
        x = activation(z)
    return autograd.kept(z, besides=[p.data for p in parameters])


for batch in (64, 128, 256):
    report = remembered([784, 256, 256, 10], batch)
    parts = ", ".join(f"{name} {size / 1e3:.0f}" for name, size in report.by_op.items())
    print(f"batch {batch}: {report.total / 1e3:.0f} kB ({parts})")

# %% [markdown] name="memory-why"
# The linear layers hold less than you might expect: of the three, only the first one's input, the
# pictures. The pullback of `relu` needs to know where its result is positive, so it captures its
# result, and that is the very tensor that the next linear layer captures as its input. Held twice,
# stored once, and listed with the operation that held it first.
#
# Move the controls. Commit to a number first, then compare.

# %% name="experiment"
lab.remembered()

# %% [markdown] exercise="backprop.account"
# ### Exercise: the account
#
# Work out, without running anything, what one step of a perceptron with relu costs. `widths` lists
# the sizes from input to output, for example `(784, 256, 10)`. Count matrix products only (2 FLOPs
# for a multiplication and an addition), no gradient with respect to the input, and for memory
# what the layers keep up to the logits, the input included and the parameters not.
#
# Your numbers are compared with counted ones, so they must match to the last digit.
#
# <details><summary>backward is too large</summary>
# Which of the products is never needed?
# </details>
# <details><summary>remembered is too large</summary>
# Count tensors, not mentions: a result that two pullbacks hold is in memory once. Does anybody
# need the logits themselves to get back through the last linear layer?
# </details>


# %% solution="backprop.account"
def account(widths, batch, bytes_per_number=4):
    """Return a dict of whole numbers: parameters, forward, backward (FLOPs), remembered (bytes)."""
    ### BEGIN SOLUTION
    pairs = list(itertools.pairwise(widths))
    products = [2 * batch * inputs * outputs for inputs, outputs in pairs]
    return {
        "parameters": sum(inputs * outputs + outputs for inputs, outputs in pairs),
        "forward": sum(products),
        "backward": 2 * sum(products) - products[0],
        "remembered": bytes_per_number * batch * sum(widths[:-1]),
    }
    ### END SOLUTION


# %% check="backprop.account"
check("backprop.account", account)

# %% [markdown] exercise="backprop.silu"
# ### Exercise: remember less
#
# $\mathrm{silu}(x) = x\,\sigma(x)$ is the activation in most of today's language models. Built from
# a multiplication and your `sigmoid`, its pullbacks hold two tensors of $x$'s size: $x$ and
# $\sigma(x)$. Write it as one operation that holds **one**.
#
# You can't hold the result alone: silu falls before it rises, so two inputs share one result. What
# else? Holding $x$, which others often hold anyway, you compute again in the
# backward walk. That trade, bytes against FLOPs, comes back. Inputs may be ±1000.
#
# <details><summary>The check says that I remember two tensors</summary>
# Compute what you need inside the pullback, from what you hold.
# </details>
# <details><summary>The gradient is right at 0 and wrong elsewhere</summary>
# It is a product, so its derivative has two terms.
# </details>


# %% solution="backprop.silu"
def silu(x):
    """Return x * sigmoid(x), of x's shape, and its pullback dy -> (dx,)."""

    ### BEGIN SOLUTION
    def pullback(dy):
        s = torch.sigmoid(x)
        return (dy * (s + x * s * (1 - s)),)

    return x * torch.sigmoid(x), pullback
    ### END SOLUTION


# %% check="backprop.silu"
check("backprop.silu", silu)

# %% [markdown] name="pytorch"
# ## The same in PyTorch
#
# `torch.nn` and `torch.autograd` do what you have just built. Given the same parameters and the
# same batch, the gradients must agree up to rounding.

# %% name="same-in-pytorch" tags=["nbval-check-output"]
layers = torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
twin = torch.nn.Sequential(*layers).to(where)
with torch.no_grad():
    for theirs, ours in zip(twin.parameters(), parameters, strict=True):
        theirs.copy_(ours.data)
torch.nn.functional.cross_entropy(twin(x), y).backward()
autograd.cross_entropy(forward(x, parameters), y).backward()
for theirs, ours in zip(twin.parameters(), parameters, strict=True):
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    ours.grad = None
print("all four gradients agree with PyTorch's")

# %% [markdown] name="claim"
# ## Often said, and isn't so
#
# > "I only fine-tune a few of the parameters, so training needs little memory."
#
# A [frozen parameter](../glossary.md#frozen-parameter) needs no gradient and no optimizer state. That part is true. But a gradient
# that travels to an early layer passes through every layer behind it, trained or not, and those
# pullbacks need what they captured. Take a deep perceptron and train only the biases of its first
# layer. What the tape keeps is counted below.

# %% name="count-claim" tags=["nbval-check-output"]
widths, batch = [784] + [256] * 8 + [10], 512


def kept_when(trained):
    """Bytes kept by the tape, and numbers trained, if only the parameters ``trained`` learn."""
    values = [p.data for p in initialise(widths)]
    frozen = [Tensor(v, requires_grad=i in trained) for i, v in enumerate(values)]
    logits = forward(torch.zeros(batch, widths[0], device=where), frozen)
    return autograd.kept(logits, besides=values).total, sum(values[i].numel() for i in trained)


everything, first_bias, last_layer = set(range(18)), {1}, {16, 17}
full_bytes, full_numbers = kept_when(everything)
for name, trained in (
    ("all parameters", everything),
    ("first layer's bias", first_bias),
    ("last layer", last_layer),
):
    size, numbers = kept_when(trained)
    print(
        f"{name:<19} trains {numbers / full_numbers:8.3%} of the parameters, "
        f"keeps {size / 1e6:5.2f} MB for backward ({size / full_bytes:4.0%})"
    )

# %% [markdown] name="summary"
# Training one bias keeps most of what training everything keeps: what is gone is the pictures, which only
# the first layer's weights needed. What counts is not how many parameters you train but how far back the
# gradient must travel.
# Methods that train small [adapters](../glossary.md#adapter) beside frozen weights save gradients and optimizer state.
# They save few [activations](../glossary.md#activation), unless the layers that they train sit near the end.
#
# ## Summary
#
# - Reverse mode multiplies Jacobians from the loss backwards; pullbacks do it without the matrices.
# - A value that is used many times adds up the gradients that arrive; that one rule explains bias
#   sums, shared weights and accumulation.
# - Check gradients against two-sided differences, in float64.
# - Backward costs up to twice forward; the first layer's input needs no gradient.
# - Training remembers what the pullbacks capture: activations, and they grow with the batch.
#
# Every term and symbol is in the [glossary](../glossary.md).
#
# ## Where to read on
#
# - Rumelhart, Hinton, Williams, *Learning representations by back-propagating errors*, Nature 323
#   (1986), [10.1038/323533a0](https://doi.org/10.1038/323533a0).
# - Baydin, Pearlmutter, Radul, Siskind, *Automatic differentiation in machine learning: a survey*,
#   [1502.05767](https://arxiv.org/abs/1502.05767).
# - Griewank, Walther, *Evaluating Derivatives*, 2nd ed., SIAM (2008), chapters 3 and 4: why reverse
#   mode costs a small constant times the function.
# - Chen et al., *Training deep nets with sublinear memory cost*,
#   [1604.06174](https://arxiv.org/abs/1604.06174): the trade of the last exercise, for whole networks.
# - In the library: `roofline/autograd/tape.py`, two screens, the walk that you wrote.
