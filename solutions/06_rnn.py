# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown] name="question"
# # 6 · Recurrent networks
#
# **What can be remembered, and why is it slow?**
#
# | minutes | know first | peak memory | device |
# |---|---|---|---|
# | 120 | chapters 1, 2 and 4; [eigenvalues](../glossary.md#eigenvalue) help | under 1 GB | any CPU; a GPU is used if you have one |
#
# A name has five letters or fifteen, a play a hundred thousand. A [recurrent network](../glossary.md#recurrent-network) reads a sequence
# of any length with a fixed number of weights, because it uses them again at every step and carries a
# state along. That one idea has two prices. The gradient has to come back through every step, and no step
# can begin before the one before it has ended. You will measure both.
#
# In every exercise, leave the arguments as they are, return their dtype, and write what is asked for yourself.
# PyTorch's or the library's own function for it earns nothing. Exceptions are named.

# %% name="setup"
import math

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from roofline import autograd, lab, losses, nn, optim
from roofline.autograd import Tensor, kept, no_grad
from roofline.data import CharacterTokenizer, encode, names, shakespeare, sunspots
from roofline.device import device
from roofline.grading import check, predict, progress, reconcile
from roofline.hardware.count import count
from roofline.hardware.trace import measure_in_turn
from roofline.lab import style
from roofline.models import RecurrentClassifier, RecurrentLM

torch.manual_seed(0)
torch.set_num_threads(1)  # small matrices: more threads would wait for each other
style.use()
where = device()
progress("06_rnn")

# %% [markdown] name="recurrence"
# ## One step, many times
#
# At step $t$ the network sees an input $x_t$ and the [state](../glossary.md#state) $h_{t-1}$ that the step before left behind:
#
# $$h_t = f(W x_t + R\, h_{t-1} + b), \qquad f = \tanh .$$
#
# $W$ is (hidden, inputs), $R$ is (hidden, hidden), and both are the same at every $t$. So the number of
# weights doesn't depend on the length $T$. The state is all that is left of the past: $h_t$ is one
# vector, however much was read. Unlike a mean over the inputs, it knows their order.


# %% name="unrolled" tags=["nbval-check-output"]
def unrolled(x, h, w, r, b):
    """The states after every step, as the formula says. x: (t, n, inputs), h: (n, hidden)."""
    states = []
    for x_t in x:
        h = torch.tanh(x_t @ w.T + h @ r.T + b)
        states.append(h)
    return torch.stack(states)


generator = torch.Generator().manual_seed(0)
w, r, b = (0.5 * torch.randn(s, generator=generator) for s in ((6, 3), (6, 6), (6,)))
weights = sum(p.numel() for p in (w, r, b))
for steps in (5, 50):
    x = torch.randn(steps, 1, 3, generator=generator)
    there = unrolled(x, torch.zeros(1, 6), w, r, b)
    back = unrolled(x.flip(0), torch.zeros(1, 6), w, r, b)
    same = torch.allclose(there[-1], back[-1], atol=1e-3)
    print(
        f"{steps:2} steps, {weights} weights, states {tuple(there.shape)}; "
        f"read backwards, the last state is the same: {same}"
    )

# %% [markdown] name="lengths"
# ## Sequences of different lengths
#
# Hardware wants rectangles, and names don't come in rectangles. So a batch is cut to a limit and filled up:
# [**truncation**](../glossary.md#truncation) loses what is cut off, [**padding**](../glossary.md#padding) adds [tokens](../glossary.md#token) that mean nothing. Padding costs time, and
# worse, it is read like anything else unless you prevent it.

# %% [markdown] exercise="rnn.pad"
# ### Exercise: pad and truncate
#
# `sequences` is a list of lists of token numbers; a list may be empty. Keep at most the first `length`
# tokens of each. Return three tensors:
#
# - `tokens`, (n, t), int64, filled up with `value` behind the tokens, no wider than needed;
# - `lengths`, (n,), int64: how many tokens of each row are real;
# - `mask`, (n, t), bool: True where a token is real.
#
# <details><summary>The mask is wrong in a place or two</summary>
# Does a real token have the same number as the padding somewhere?
# </details>
# <details><summary>A complaint about dtypes</summary>
# <code>torch.tensor([])</code> holds floats.
# </details>


# %% solution="rnn.pad"
def pad(sequences, length, value=0):
    """Lists of tokens as one rectangle: return (tokens, lengths, mask)."""
    ### BEGIN SOLUTION
    lengths = torch.tensor([min(len(row), length) for row in sequences])
    tokens = torch.full((len(sequences), int(lengths.max())), value)
    for row, sequence, size in zip(tokens, sequences, lengths.tolist(), strict=True):
        row[:size] = torch.tensor(sequence[:size])
    return tokens, lengths, torch.arange(tokens.shape[1]) < lengths[:, None]
    ### END SOLUTION


# %% check="rnn.pad"
check("rnn.pad", pad)

# %% [markdown] exercise="rnn.step"
# ### Exercise: one step of a padded batch
#
# Take one step for a whole batch. `x` is (n, inputs), `h` is (n, hidden), and `alive`, (n,) bool, says which
# sequences still have a token at this step. The others are over: their state must come out as it went in,
# so that after the last step every row holds the state after its own last real token. No loop over rows
# is needed. Return the new states.
#
# <details><summary>Shapes don't broadcast</summary>
# <code>alive</code> has one entry for each row. Which axis has it to get to meet (n, hidden)?
# </details>


# %% solution="rnn.step"
def step(x, h, alive, w, r, b):
    """The states after one step, (n, hidden); rows that aren't alive keep theirs."""
    ### BEGIN SOLUTION
    new = torch.tanh(torch.addmm(x @ w.T + b, h, r.T))
    return torch.where(alive.unsqueeze(1), new, h)
    ### END SOLUTION


# %% check="rnn.step"
check("rnn.step", step)

# %% [markdown] name="names"
# ## [Many to one](../glossary.md#many-to-one): where is a name from?
#
# Surnames from several locales (a language and a country, as in sv_SE), letter by letter. Some occur in more than one, so nobody can get all of them
# right. Three models: a mean over the letters' [embeddings](../glossary.md#embedding), which can't know their order; a recurrent network;
# and a [GRU](../glossary.md#gru), which you will meet below. All three get the lengths.

# %% name="read-names" tags=["nbval-check-output"]
texts = names()
train_texts, test_texts = texts.split(0.2, seed=0)
letters = CharacterTokenizer(set("".join(texts.texts)), special=("<pad>",))
train_set, test_set = encode(train_texts, letters, 16), encode(test_texts, letters, 16)
order = torch.randperm(len(train_set), generator=torch.Generator().manual_seed(0))
for name, rows in (("shuffled", order), ("sorted by length", train_set.lengths.argsort())):
    wide = sum(len(part) * int(train_set.lengths[part].max()) for part in rows.split(64))
    print(f"{name}: {1 - int(train_set.lengths.sum()) / wide:.0%} of the batches is padding")
print(f"{len(texts.texts):,} surnames from {len(texts.classes)} locales")
cut = sum(len(text) > 16 for text in train_texts.texts)
print(f"{cut} of {len(train_set)} training names are cut at 16 letters")


# %% name="train-names" tolerance=0.05
class BagOfLetters(nn.Module):
    """The mean of the letters' embeddings, and a linear layer: it can't see the order."""

    def __init__(self, width=64):
        self.embedding = nn.Embedding(letters.size, width)
        self.head = nn.Linear(width, len(texts.classes))

    def forward(self, tokens, lengths):
        real = tokens != letters.number("<pad>")  # a number that no letter has
        total = (self.embedding(tokens) * real.float()[..., None]).sum(1)
        return self.head(total / lengths[:, None])


def train_names(model, epochs=5):
    optimizer = optim.AdamW(model.parameters(), lr=5e-3)
    schedule = optim.Schedule(optimizer, optim.cosine(epochs * math.ceil(len(train_set) / 64)))
    shuffle = torch.Generator().manual_seed(0)
    for _ in tqdm(range(epochs), desc="epochs", leave=False):
        for rows in torch.randperm(len(train_set), generator=shuffle).split(64):
            tokens, lengths, labels = (t.to(where) for t in train_set[rows])
            losses.cross_entropy(model(tokens, lengths), labels).backward()
            optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return model


tokens, lengths, labels = (t.to(where) for t in test_set[slice(None)])
print(f"the most frequent locale: {labels.bincount().max().item() / len(labels):.2f}")
for kind in ("letters without order", "rnn", "gru"):
    torch.manual_seed(0)
    size = letters.size, 32, 64, len(texts.classes)
    model = RecurrentClassifier(kind, *size) if len(kind) == 3 else BagOfLetters()
    classifier = train_names(model.to(where))
    with no_grad():
        right = (classifier(tokens, lengths).data.argmax(1) == labels).float().mean().item()
    print(f"{kind:<22} {sum(p.numel() for p in model.parameters()):6,} weights, right {right:.2f}")

# %% [markdown] name="letter-by-letter"
# A state after every letter means a guess after every letter, though only whole names taught it. Here is the last model, reading.

# %% name="reading" tolerance=0.05
figure, axes = plt.subplots(1, 3, figsize=(8.4, 2.8), sharey=True)
for axis, name in zip(axes, ("Andersson", "Virtanen", "Rossi"), strict=True):
    # one row for each letter, all of them the whole name; the lengths 1, 2, ... say how much is read
    grown = torch.tensor([letters.encode(name)], device=where).expand(len(name), -1)
    with no_grad():
        scores = classifier(grown, torch.arange(1, len(name) + 1, device=where)).data
    p = scores.softmax(1).cpu()
    best = p[-1].topk(3).indices.tolist()
    for k, line in zip(best, ("o-", "s--", "^:"), strict=True):
        axis.plot(range(len(name)), p[:, k], line, markersize=4, label=texts.classes[k])
    axis.set_xticks(range(len(name)), list(name))
    axis.set(xlabel="letter that was read", ylim=(0, 1))
    axis.legend(fontsize=8)
    print(f"{name}: in the end {texts.classes[best[0]]} with probability {p[-1, best[0]]:.2f}")
axes[0].set_ylabel("probability")
plt.tight_layout()
plt.show()

# %% [markdown] name="through-time"
# ## Backpropagation through time
#
# Unrolled, a recurrent network is a feed-forward network with $T$ layers that share their weights.
# Chapter 2 has all that it takes. Call what goes into tanh $a_t$, and let $\partial h_t$ be the gradient
# that comes from outside, from a loss at step $t$. Walking back, step $t$ gets that and what step
# $t+1$ sends:
#
# $$\delta_t = \left(\partial h_t + R^\top \delta_{t+1}\right) \odot (1 - h_t^2), \qquad
#   \frac{\partial L}{\partial R} = \sum_t \delta_t\, h_{t-1}^\top, \qquad
#   \frac{\partial L}{\partial W} = \sum_t \delta_t\, x_t^\top .$$
#
# A weight that is used $T$ times gets $T$ gradients, and they add up
# ([Werbos 1990](https://doi.org/10.1109/5.58337)).

# %% [markdown] exercise="rnn.bptt"
# ### Exercise: backpropagation through time
#
# `x` is (t, n, inputs). `states`, (t + 1, n, hidden), holds $h_0$ and the state after each step.
# `d_states`, (t, n, hidden), is the gradient that each of the states after a step gets from outside.
# Return the gradients of `x`, $h_0$, `w`, `r` and `b`, as a tuple in this order. The formulas above are for
# one sequence written as a column; here a row of a matrix is a sequence, and gradients of weights are sums
# over the batch too. There may be a single step.
#
# <details><summary>Right for one step, wrong for two</summary>
# Look at what you send from step t + 1 to step t. Did it go through the slope? Through R, or its transpose?
# </details>
# <details><summary>Only the gradient of R is wrong</summary>
# <code>states</code> has one entry more than <code>x</code>. Which state did R meet at step t?
# </details>


# %% solution="rnn.bptt"
def through_time(x, states, d_states, w, r):
    """Gradients (dx, dh0, dw, dr, db) of h_t = tanh(W x_t + R h_{t-1} + b) over all steps."""
    ### BEGIN SOLUTION
    dx, carry = torch.empty_like(x), torch.zeros_like(states[0])
    dw, dr, db = torch.zeros_like(w), torch.zeros_like(r), torch.zeros_like(r[0])
    for t in reversed(range(len(x))):
        delta = (d_states[t] + carry) * (1 - states[t + 1] ** 2)
        dw += delta.T @ x[t]
        dr += delta.T @ states[t]
        db += delta.sum(0)
        dx[t] = delta @ w
        carry = delta @ r
    return dx, carry, dw, dr, db
    ### END SOLUTION


# %% check="rnn.bptt"
check("rnn.bptt", through_time)

# %% name="kept-bytes" tags=["nbval-check-output"]
for kind in (nn.RNN, nn.LSTM, nn.GRU):
    layer = kind(64, 64)
    sizes = [
        kept(layer(torch.zeros(steps, 8, 64))[0], besides=layer.parameters()).total
        for steps in (100, 200, 400)
    ]
    print(f"{kind.__name__:<4} 100, 200, 400 steps keep " + ", ".join(map(style.size, sizes)))

# %% [markdown] name="truncated"
# The walk back needs every state, so the bytes kept grow with $T$. (LSTM and GRU come below; they keep
# their gates too.) A text of a million letters can't be
# trained on in one piece. [**Truncated**](../glossary.md#truncated-backpropagation) backpropagation cuts it into windows: the state may go on from one
# window to the next, the gradient stops at the border. What lies further back than the window then never
# teaches the weights anything.
#
# ## What comes back
#
# Even inside the window the gradient may not arrive. How much does $h_T$ still depend on $h_t$? By the
# chain rule through a product of matrices:
#
# $$\frac{\partial h_T}{\partial h_t} = J_T J_{T-1} \cdots J_{t+1}, \qquad
#   J_s = \mathrm{diag}(1 - h_s^2)\, R .$$
#
# $T - t$ factors. If each shrinks a vector by a tenth, 0.7% is left after 47 of them and a rounding error
# after 200. If each stretches it by a tenth, it [explodes](../glossary.md#exploding-gradient) as quickly.

# %% [markdown] exercise="rnn.influence"
# ### Exercise: how far back the gradient gets
#
# `states`, (t + 1, hidden), are $h_0, \ldots, h_T$ of one sequence. Return a vector of T + 1 numbers: entry
# $t$ is the largest factor by which $\partial h_T / \partial h_t$ can stretch a vector, its [**spectral norm**](../glossary.md#spectral-norm).
# The last entry is $h_T$ against itself. Walk back and multiply one factor on at a time; keep the
# dtype of `states`.
#
# <details><summary>The last two entries are right, those before aren't</summary>
# Matrix products have an order. On which side does an earlier step's factor stand? And the norm of a product
# is at most the product of the norms, seldom equal.
# </details>


# %% solution="rnn.influence"
def influence(states, recurrent):
    """Spectral norm of the gradient of the last state in every state, (t + 1,)."""
    ### BEGIN SOLUTION
    product = torch.eye(len(recurrent), dtype=states.dtype)
    norms = [product.new_ones(())]
    for h in states[1:].flip(0):
        product = product @ ((1 - h**2)[:, None] * recurrent)
        norms.append(torch.linalg.matrix_norm(product, ord=2))
    return torch.stack(norms).flip(0)
    ### END SOLUTION


# %% check="rnn.influence"
check("rnn.influence", influence)

# %% [markdown] name="radius"
# Without tanh the product is a power of $R$, and a power is ruled by the [**spectral radius**](../glossary.md#spectral-radius) $\rho$, the size
# of the largest eigenvalue: it goes like $\rho^{T-t}$. The slope of tanh is at most 1, so no single
# step stretches more than $R$ does. Pascanu, Mikolov and Bengio
# ([2012](https://arxiv.org/abs/1211.5063)) worked this out. Below, one walk back from the last
# state gives the gradient of the input at every distance, for random $R$ of three radii.


# %% name="picture-radius" tolerance=0.05
def arriving(layer, steps=100, width=64, scale=0.1):
    """The gradient of the last output in the input k steps before it, relative to k = 0."""
    generator = torch.Generator().manual_seed(1)
    x = Tensor(scale * torch.randn(steps, 16, width, generator=generator), requires_grad=True)
    outputs, _ = layer(x)
    (outputs[steps - 1] * torch.randn(16, width, generator=generator)).sum().backward()
    norms = x.grad.norm(dim=(1, 2)).flip(0)
    return norms / norms[0]


torch.manual_seed(0)
random_matrix = torch.randn(64, 64)
figure, axis = plt.subplots(figsize=(7, 3.2))
for rho, line in ((0.5, "-"), (1.0, "--"), (2.0, ":")):
    layer = nn.RNN(64, 64)
    radius = torch.linalg.eigvals(random_matrix).abs().max()
    layer.weight_hh_l0.data = random_matrix * (rho / radius)
    curve = arriving(layer)
    axis.semilogy(curve.clamp(min=1e-30), line, label=f"spectral radius {rho}")
    power, alone = round(math.log10(curve[50])), round(50 * math.log10(rho))
    print(f"spectral radius {rho}: 50 steps back about 10^{power}; the power of rho is 10^{alone}")
axis.set(xlabel="steps back", ylabel="gradient, relative", ylim=(1e-15, 1e9))
axis.legend()
plt.show()

# %% [markdown] name="clipping"
# Where $R$ stretches, the states grow until tanh is flat, and its slopes take back most of the growth; it
# explodes all the same.
#
# An exploding gradient is loud: the loss jumps, or is NaN. [Clipping](../glossary.md#clipping) (chapter 4) makes the step short and
# keeps its direction, which is why every training in this chapter clips. A [vanishing](../glossary.md#vanishing-gradient) one is silent. The
# loss goes down, because the last few steps still teach, and nothing says that the rest is lost. No clip
# can bring back a direction that was rounded away.
#
# ## Gates
#
# The product shrinks because every step multiplies by $R$ and bends through tanh. The [long short-term
# memory](../glossary.md#lstm) ([Hochreiter and Schmidhuber 1997](https://doi.org/10.1162/neco.1997.9.8.1735)) adds a second
# state, the [**cell**](../glossary.md#cell) $c$, with a road past both:
#
# $$c_t = f_t \odot c_{t-1} + i_t \odot g_t, \qquad h_t = o_t \odot \tanh(c_t).$$
#
# Four blocks of rows of $W x_t + R h_{t-1} + b$ make the four quantities, in torch's order $i, f, g, o$.
# The [gates](../glossary.md#gate) $i$ (write), $f$ (keep) and $o$ (read) go through the sigmoid $\sigma$, so they lie between 0 and 1.
# What may be written, $g$, goes through tanh. Along the cell, one step's derivative is $f_t$: a
# number that the network sets itself.

# %% [markdown] exercise="rnn.lstm_step"
# ### Exercise: one step of an LSTM
#
# `w` is (4·hidden, inputs), `r` is (4·hidden, hidden), `b` is (4·hidden,). Return the new $h$ and the new $c$,
# in this order.
#
# <details><summary>The cell is right, the state isn't</summary>
# Which cell is read, the old one or the new one? Through what?
# </details>


# %% solution="rnn.lstm_step"
def lstm_step(x, h, c, w, r, b):
    """One step of an LSTM for a batch: return (h, c), both (n, hidden)."""
    ### BEGIN SOLUTION
    i, f, g, o = torch.split(x @ w.T + h @ r.T + b, h.shape[1], dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
    ### END SOLUTION


# %% check="rnn.lstm_step"
check("rnn.lstm_step", lstm_step)

# %% [markdown] name="gru"
# The gated recurrent unit ([Cho et al. 2014](https://arxiv.org/abs/1406.1078)) does with one state and two
# gates. $z$ says how much of the old state stays, $r$ how much of it the candidate $m$ sees. Both gates are
# sigmoids of sums like those above, with weights of their own:
#
# $$m_t = \tanh\!\left(W_m x_t + b_m + r_t \odot (R_m h_{t-1} + c_m)\right), \qquad
#   h_t = z_t \odot h_{t-1} + (1 - z_t) \odot m_t .$$
#
# $b_m$ and $c_m$ are its two biases. This is PyTorch's form; the paper multiplies by $r_t$ before $R_m$, which would need a second product.
#
# Keeping and writing share one gate here: what is kept isn't overwritten. Three blocks of weights instead
# of four.
#
# ## [Many to many](../glossary.md#many-to-many): the next letter
#
# A prediction after every step costs nothing more: the states are there. So $T$ letters give $T$
# lessons. Train an LSTM on windows of 64 letters of Shakespeare, to predict the one that follows. Two [baselines](../glossary.md#baseline)
# say what the numbers mean: the frequency of letters, and of pairs of letters.

# %% name="train-letters" tolerance=0.05
play = shakespeare()
alphabet = CharacterTokenizer(set(play))
text = torch.tensor(alphabet.encode(play))
train_text, test_text = text[: int(0.95 * len(text))], text[int(0.95 * len(text)) :]
pairs = torch.ones(alphabet.size, alphabet.size)  # one of each, so that none is impossible
pairs.index_put_((train_text[:-1], train_text[1:]), torch.ones(()), accumulate=True)
baselines = {
    "letters": -(pairs.sum(0) / pairs.sum()).log()[test_text[1:]].mean(),
    "pairs": -(pairs / pairs.sum(1, keepdim=True)).log()[test_text[:-1], test_text[1:]].mean(),
}
torch.manual_seed(0)
writer = RecurrentLM("lstm", alphabet.size, 64, 128).to(where)
steps, norms, shuffle = 200, [], torch.Generator().manual_seed(0)
optimizer = optim.AdamW(writer.parameters(), lr=6e-3)
schedule = optim.Schedule(optimizer, optim.warmup_cosine(20, steps))
for _ in tqdm(range(steps), desc="steps", leave=False):
    begin = torch.randint(0, len(train_text) - 65, (32, 1), generator=shuffle)
    window = train_text[begin + torch.arange(65)].to(where)
    scores = writer(window[:, :-1]).reshape(-1, alphabet.size)
    losses.cross_entropy(scores, window[:, 1:].reshape(-1)).backward()
    norms.append(optim.clip_grad_norm_(writer.parameters(), 0.5).item())
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()

# %% name="read-letters" tolerance=0.05
held = test_text[: 800 * 65].reshape(-1, 65).to(where)
with no_grad():
    scores = writer(held[:, :-1])
    each = losses.cross_entropy(
        scores.reshape(-1, alphabet.size), held[:, 1:].reshape(-1), reduction="none"
    )
by_place = each.data.reshape(-1, 64).mean(0)
for name, value in baselines.items():
    print(f"baseline, {name:<8} {value:.2f} nats a letter")
print(f"LSTM, {steps} steps     {by_place.mean():.2f} nats a letter")
early, late = by_place[1:16].mean(), by_place[32:].mean()
print(f"with 1 letter read {by_place[0]:.2f}, with 2 to 16 {early:.2f}, with 33 to 64 {late:.2f}")
print(f"gradient norm at most {max(norms):.2f}; clipped in {sum(n > 0.5 for n in norms)} steps")
torch.manual_seed(0)
start = torch.tensor([alphabet.encode("KING ")], device=where)
print(alphabet.decode(writer.generate(start, 120, temperature=0.7)[0].tolist()).strip())

# %% [markdown] name="series"
# The places say how far back it looks. If the loss with 33 to 64 letters read is hardly below that with 2
# to 16, so short a training has taught it a short memory, and the letters further back add next to
# nothing.
#
# ## A forecast, and who to beat
#
# A series is a sequence of numbers. Sunspots have been counted since 1749; they come and go about every 11
# years. Here an LSTM reads eleven years, in steps of four months, and forecasts several months ahead at
# once. A forecast is worth what it adds to doing nothing. Doing nothing comes in three kinds: it stays
# as it is ([**persistence**](../glossary.md#persistence)), it will be average, it will be as it was eleven years before. Test on the last
# quarter, which training hasn't seen.

# %% name="forecast" tolerance=0.05
values, ahead, past = sunspots().values / 100, torch.tensor([1, 6, 12, 24, 36, 60]), 132
last = torch.arange(past - 1, len(values) - 60)  # the month from which the forecast is made
split = int(0.75 * len(last))
fit_rows, test_rows = last[: split - 60], last[split:]


def seen(rows):
    """Eleven years up to each month, means of four months: (n, 33, 1)."""
    months = values[rows[:, None] + torch.arange(1 - past, 1)]
    return months.reshape(len(rows), -1, 4).mean(2, keepdim=True).to(where)


torch.manual_seed(0)
lstm, head = nn.LSTM(1, 32, batch_first=True).to(where), nn.Linear(32, len(ahead)).to(where)
optimizer = optim.AdamW([*lstm.parameters(), *head.parameters()], lr=5e-3)
for _ in tqdm(range(8), desc="epochs", leave=False):
    for rows in fit_rows[torch.randperm(len(fit_rows))].split(64):
        forecast = head(lstm(seen(rows))[1][0][0])
        losses.mse(forecast, values[rows[:, None] + ahead].to(where)).backward()
        optim.clip_grad_norm_([*lstm.parameters(), *head.parameters()], 1.0)
        optimizer.step()
        optimizer.zero_grad()
with no_grad():
    forecasts = {"LSTM": head(lstm(seen(test_rows))[1][0][0]).data.cpu()}
forecasts["persistence"] = values[test_rows, None]
forecasts["average"] = values[: split + past].mean()
forecasts["eleven years ago"] = values[test_rows[:, None] + ahead - past]

# %% name="picture-forecast" tolerance=0.05
truth = values[test_rows[:, None] + ahead]
figure, axis = plt.subplots(figsize=(7, 3.2))
errors = {}
print(f"{'months ahead':<17}" + "  ".join(f"{months:5}" for months in ahead.tolist()))
for (name, made), line in zip(forecasts.items(), ("o-", "s--", ":", "^-."), strict=True):
    errors[name] = 100 * (made - truth).square().mean(0).sqrt()
    axis.plot(ahead, errors[name], line, label=name)
    print(f"{name:<17}" + "  ".join(f"{error:5.1f}" for error in errors[name]))
axis.set(xlabel="months ahead", ylabel="root mean square error, sunspots", ylim=(0, None))
axis.legend(ncols=2)
plt.show()
for k in (0, 2, 5):
    error, name = min((errors[name][k], name) for name in errors if name != "LSTM")
    gain = error / errors["LSTM"][k]
    print(f"{ahead[k]:2} months ahead: {name}, the best baseline, errs {gain:.2f} times the LSTM")

# %% [markdown] name="series-after"
# Above 1, the network adds something. Read the first of these three lines twice. A plot of one-month forecasts would look splendid, curve upon
# curve, and the model that says "as it is now" looks just as good. A network has to be asked something
# that persistence can't know. And read the last: far ahead, persistence is easy to beat, and the rival is
# the sun's own period. A table without that row would have flattered the network.
#
# ## The account
#
# Gates cost weights and FLOPs. And there is a cost that neither shows. Draw the steps as columns and the
# layers as rows of a grid. A cell of the grid needs its left neighbour (the state) and the one below (the input),
# and nothing else. However many processors you have, cells on the longest path have to wait for one
# another.

# %% [markdown] exercise="rnn.account"
# ### Exercise: parameters, FLOPs and the chain
#
# For `kind` in `"rnn"`, `"lstm"`, `"gru"`, stacked in `layers` layers, return three `int`s:
#
# - the parameters, counted as torch does: every layer has $W$, $R$, and **two** biases;
# - the forward FLOPs of the matrix products for one sequence of `steps` steps, 2 for each multiply-add;
# - the number of cells on the longest path through the grid.
#
# <details><summary>One layer is right, three aren't</summary>
# What does the second layer read, and how wide is it?
# </details>


# %% solution="rnn.account"
def account(kind, inputs, hidden, layers, steps):
    """Return (parameters, forward FLOPs of one sequence, cells on the longest path)."""
    ### BEGIN SOLUTION
    rows = {"rnn": 1, "gru": 3, "lstm": 4}[kind] * hidden
    products = rows * (inputs + hidden) + (layers - 1) * rows * 2 * hidden
    return products + layers * 2 * rows, 2 * products * steps, steps + layers - 1
    ### END SOLUTION


# %% check="rnn.account"
check("rnn.account", account)

# %% name="count-kinds" tags=["nbval-check-output"]
for kind in (nn.RNN, nn.GRU, nn.LSTM):
    layer = kind(128, 128)
    with no_grad():
        counts = count(layer, torch.zeros(64, 1, 128))
    weights = sum(p.numel() for p in layer.parameters())
    print(
        f"counted: {kind.__name__:<4} {weights:7,} parameters, {counts.flops / 64:9,.0f} FLOPs and "
        f"{counts.launches / 64:4.1f} launches a step"
    )

# %% [markdown] name="serial"
# ## Equal FLOPs
#
# Change one letter of the formula:
#
# $$h_t = \tanh(W x_t + R\, h_{t-1} + b) \qquad \text{against} \qquad y_t = \tanh(W x_t + R\, x_{t-1} + b).$$
#
# Let the inputs be as wide as the state. The second is a convolution along time, two steps wide, or, with $x_t$ and $x_{t-1}$ side by side, a
# single matrix product. The same weights, the same FLOPs to the last one. But its $T$ steps don't know of
# each other. Take 256 steps, a batch of 4, width 128: how many times as long does the recurrence take
# as the matrix product?

# %% name="predict-serial"
predict("rnn.serial", None, "times as long, at equal FLOPs")  # None -> your number


# %% name="count-serial" tags=["nbval-check-output"]
steps, batch, width = 256, 4, 128
generator = torch.Generator().manual_seed(0)
x, w, r = (
    torch.randn(s, generator=generator).to(where) / 12
    for s in ((steps, batch, width), (width, width), (width, width))
)
zeros, bias = torch.zeros(batch, width, device=where), torch.zeros(width, device=where)
shifted = torch.cat([zeros[None], x])  # x_{t-1} beside x_t, with zeros before the first
both = torch.cat([x, shifted[:-1]], 2).reshape(-1, 2 * width)
along_time, kernel, wide = shifted.permute(1, 2, 0), torch.stack([r, w], 2), torch.cat([w, r], 1)
work = {
    "recurrence": lambda: autograd.rnn(x, zeros, w, r, bias)[0],
    "convolution": lambda: autograd.tanh(autograd.conv1d(along_time, kernel, bias)),
    "product": lambda: autograd.tanh(autograd.linear(both, wide, bias)),
}
with no_grad():
    counted = {name: count(function) for name, function in work.items()}
chain = {"recurrence": steps, "convolution": 1, "product": 1}
for name, counts in counted.items():
    print(
        f"counted: {name:<11} {counts.flops:,} FLOPs, {counts.launches:3} launches, "
        f"{counts.bytes_moved / 1e6:4.1f} MB moved, longest chain {chain[name]:3}"
    )


# %% name="measure-serial"
def waiting():
    """As many launches one after another as the recurrence has, of products of 1 by 1."""
    h = one = torch.ones(1, 1, device=where)
    for _ in range(steps):
        h = torch.addmm(one, h, one).tanh_()
    return h


with no_grad():
    clock = measure_in_turn(
        {f"rnn.{name}": f for name, f in {**work, "waiting": waiting}.items()}, device=where
    )
times = {name.split(".")[1]: reading.median for name, reading in clock.items()}
print(clock["rnn.recurrence"].label)
for name, counts in counted.items():
    rate = counts.flops / times[name] / 1e9
    print(f"{name:<11} {times[name] * 1e3:6.2f} ms, {rate:6.1f} GFLOP/s")
reconcile("rnn.serial", times["recurrence"] / times["product"], "times as long")
share = times["waiting"] / times["recurrence"]
print(f"as many empty launches in a chain take {share:.0%} of the recurrence's time")

# %% [markdown] name="serial-why"
# The counts name the causes, on any machine. First, [launches](../glossary.md#launch): two for each step, and each costs its few
# microseconds before it computes anything; the share above is theirs. Second, bytes: every step reads all of $R$ again to
# use it for four rows, where the single product reads it once for a thousand. Third, four rows are too few
# to keep the arithmetic units busy. Chapter 1's roofline, with
# an [arithmetic intensity](../glossary.md#arithmetic-intensity) that the batch sets. All three fade if the batch grows, because then a step has
# more to do for the same launch and the same $R$. What never fades is the chain.
#
# Where the convolution takes longer than the product, its kernel copies the numbers into an order of its own and
# back, inside a single launch, where no count sees it.

# %% name="measure-batch"
batches = [1, 4, 16, 64]


def steps_of(size):
    inputs, state = torch.zeros(steps, size, width, device=where), zeros[:1].expand(size, -1)
    return lambda: autograd.rnn(inputs, state, w, r, bias)[0]


with no_grad():
    clock = measure_in_turn(
        {f"rnn.batch={size}": steps_of(size) for size in batches}, seconds=0.3, device=where
    )
per_step = [1e6 * clock[f"rnn.batch={size}"].median / steps for size in batches]
figure, axis = plt.subplots(figsize=(7, 3))
axis.loglog(batches, per_step, **style.MEASURED, label="measured")
axis.loglog(batches, [per_step[0] * s for s in batches], ":", label="if time followed FLOPs")
axis.set(xlabel="sequences in the batch", ylabel="microseconds a step")
axis.set_xticks(batches, batches, minor=False)
style.plain_ticks(axis.yaxis)
axis.legend()
plt.show()
print(clock["rnn.batch=1"].label)
print(f"64 times the FLOPs take {per_step[-1] / per_step[0]:.1f} times as long")

# %% [markdown] name="all-that-came-before"
# A convolution of two steps sees two inputs. What lets every step depend on all that came before? Recurrence,
# a stack of convolutions that reach further in each layer, or attention, the subject of chapter 7. Here they
# are at equal FLOPs. Commit to a number, then lengthen the sequence and widen it.

# %% name="experiment"
lab.sequence()

# %% [markdown] exercise="rnn.hoisted"
# ### Exercise: out of the loop
#
# The chain can't be shortened, but its links can be made light. Write the whole recurrence, (t, n, inputs) to
# all states, (t, n, hidden). `unrolled` above takes five launches a step. At most $2t + 4$ earn all points,
# $3t + 4$ one. The FLOPs of the formula are counted too, torch's alone, each state once.
#
# <details><summary>Four a step</summary>
# Which part of the step doesn't need the state? All of it, the bias too, can be done before the first step.
# If it is: writing into an entry of a table is a launch, and <code>+=</code> on an entry is two.
# </details>
# <details><summary>Three a step</summary>
# <code>torch.addmm</code> multiplies and adds in one launch. If you write states into a table, each
# write is a launch too.
# </details>


# %% solution="rnn.hoisted"
def hoisted(x, h0, w, r, b):
    """All states of the recurrence, (t, n, hidden), in about two launches a step."""
    ### BEGIN SOLUTION
    t, n, inputs = x.shape
    from_inputs = torch.addmm(b, x.reshape(t * n, inputs), w.T).reshape(t, n, -1)
    states, h = [], h0
    for added in from_inputs:
        h = torch.addmm(added, h, r.T).tanh_()
        states.append(h)
    return torch.stack(states)
    ### END SOLUTION


# %% check="rnn.hoisted"
check("rnn.hoisted", hoisted)

# %% [markdown] name="pytorch"
# ## The same in PyTorch
#
# The same weights give the same outputs, last states and gradients, also for a batch of different lengths.
# PyTorch takes those packed, without the padding.

# %% name="same-in-pytorch" tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(0)
inputs, sizes = torch.randn(9, 4, 5, generator=generator), torch.tensor([9, 7, 3, 1])
for kind in ("RNN", "LSTM", "GRU"):
    ours, theirs = getattr(nn, kind)(5, 8, num_layers=2), getattr(torch.nn, kind)(5, 8, 2)
    theirs.load_state_dict(ours.state_dict())
    outputs, states = ours(inputs, lengths=sizes)
    packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, sizes)
    their_outputs, their_states = theirs(packed)
    their_outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(their_outputs)
    h, their_h = (s[0] if kind == "LSTM" else s for s in (states, their_states))
    torch.testing.assert_close(outputs.data, their_outputs.detach())
    torch.testing.assert_close(h.data, their_h.detach())
    (outputs**2).sum().backward()
    their_outputs.square().sum().backward()
    for p, their_p in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, their_p.grad, rtol=1e-4, atol=1e-5)
    print(f"{kind}: the same outputs, states and gradients")

# %% [markdown] name="claim"
# ## Often said, and isn't so
#
# > "LSTMs solve vanishing gradients."
#
# The road along the cell is as good as its [forget gate](../glossary.md#forget-gate). A fresh LSTM has biases near zero, so
# $f \approx \sigma(0) = \tfrac{1}{2}$, and a half fifty times over is $10^{-15}$ (more comes back through $h$). It
# vanishes, too.
# The same layer with another start doesn't: give the forget gates biases $\log u$ with $u$ drawn between
# 1 and $T - 1$, and the input gates the opposite, as Tallec and Ollivier propose
# ([2018](https://arxiv.org/abs/1804.11188)). And a plain recurrent network whose $R$ is [orthogonal](../glossary.md#orthogonal-matrix) keeps a
# gradient as well ([Saxe et al. 2013](https://arxiv.org/abs/1312.6120)). First the gradients, before any
# training.


# %% name="starts"
def started(kind, inputs, hidden, horizon):
    """A recurrent layer with one of four starts."""
    torch.manual_seed(0)
    layer = (nn.LSTM if "LSTM" in kind else nn.RNN)(inputs, hidden)
    if "orthogonal" in kind:
        nn.init.orthogonal_(layer.weight_hh_l0.data)
    if "long" in kind:
        span = (1 + (horizon - 2) * torch.rand(hidden)).log()
        layer.bias_ih_l0.data[: 2 * hidden] = torch.cat([-span, span])
    return layer


kinds = ("RNN, as it comes", "RNN, orthogonal", "LSTM, as it comes", "LSTM, long spans")
figure, axis = plt.subplots(figsize=(7, 3.2))
for kind, line in zip(kinds, ("-", "--", ":", "-."), strict=True):
    curve = arriving(started(kind, 64, 64, 100))
    axis.semilogy(curve.clamp(min=1e-30), line, label=kind)
    print(f"{kind:<18} 20 steps back {curve[20]:.0e}, 60 steps back {curve[60]:.0e}")
axis.set(xlabel="steps back", ylabel="gradient, relative", ylim=(1e-20, 10))
axis.legend(ncols=2)
plt.show()

# %% [markdown] name="claim-task"
# Now the task that it is about: the first input is +1 or −1, then 59 steps of noise, then the
# question which it was. Guessing costs log 2, about 0.69 nats.


# %% name="remember" tolerance=0.1
def remember(kind, steps=60, hidden=32, updates=120):
    """Train on the first input's sign, asked at the end: the mean loss of the last 20 updates."""
    layer, head = started(kind, 2, hidden, steps), nn.Linear(hidden, 1)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer, draws = optim.AdamW(parameters, lr=1e-2), torch.Generator().manual_seed(1)
    record = []
    for _ in range(updates):
        bit = torch.randint(0, 2, (32,), generator=draws).float()
        x = torch.zeros(steps, 32, 2)
        x[:, :, 1] = 0.3 * torch.randn(steps, 32, generator=draws)
        x[0, :, 0] = 2 * bit - 1
        scores = head(layer(x)[0][steps - 1])[:, 0]
        loss = losses.binary_cross_entropy_with_logits(scores, bit)
        loss.backward()
        optim.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        record.append(loss.item())
    return sum(record[-20:]) / 20


for kind in ("RNN, orthogonal", "LSTM, as it comes", "LSTM, long spans"):
    loss = remember(kind)
    print(f"{kind:<18} loss {loss:.2f}: {'remembers' if loss < 0.35 else 'is guessing'}")

# %% [markdown] name="summary"
# Gates make it possible to keep a gradient. They don't make it happen: the start does, and then the data.
# What the LSTM solved is that a network can learn how long to remember.
#
# ## Summary
#
# - A recurrent network uses the same weights at every step; its state is all it knows of the past.
# - Its gradient is a sum over time, of products over time. Products vanish or explode.
# - A gate puts a learned number in place of a fixed factor. Near one it remembers, at one half it forgets.
# - Compare a forecast with persistence before you praise it.
# - Equal FLOPs aren't equal time: $T$ steps in a chain mean $T$ launches and $T$ readings of $R$.
#
# The next chapter drops the chain: every position looks at every other, at once.
#
# Every term and symbol is in the [glossary](../glossary.md).
#
# ## Where to read on
#
# - Elman, *Finding structure in time*, Cognitive Science 14 (1990),
#   [10.1207/s15516709cog1402_1](https://doi.org/10.1207/s15516709cog1402_1).
# - Hochreiter, Schmidhuber, *Long short-term memory*, Neural Computation 9 (1997),
#   [10.1162/neco.1997.9.8.1735](https://doi.org/10.1162/neco.1997.9.8.1735).
# - Pascanu, Mikolov, Bengio, *On the difficulty of training recurrent neural networks*,
#   [1211.5063](https://arxiv.org/abs/1211.5063).
# - Tallec, Ollivier, *Can recurrent neural networks warp time?*, [1804.11188](https://arxiv.org/abs/1804.11188).
# - Appleyard, Kočiský, Blunsom, *Optimizing performance of recurrent neural networks on GPUs*,
#   [1604.01946](https://arxiv.org/abs/1604.01946).
