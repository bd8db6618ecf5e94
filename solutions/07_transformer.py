# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown] name="question"
# # 7 · Transformers
#
# **What does attention buy, and what does it cost?**
#
# | minutes | know first | peak memory | device |
# |---|---|---|---|
# | 120 | chapters 1 to 4 | under 1 GB | any CPU; a GPU is used if you have one |
#
# A recurrent network reads a text like a queue: what was said a hundred words ago must survive a hundred
# steps. [**Attention**](../glossary.md#attention) looks it up instead. Every position may look at every other, in one step, and all
# positions at once. That suits the hardware. The price is a table with one entry for
# every pair of positions, and much that is clever in today's [language models](../glossary.md#language-model) avoids paying it.
#
# In every exercise, leave the arguments as they are, return their dtype, and write what is asked for yourself.
# PyTorch's or the library's own function for it earns nothing. Exceptions are named.

# %% name="setup"
import collections
import math

import matplotlib.pyplot as plt
import torch
from tqdm.auto import tqdm

from roofline import autograd, data, lab, losses, models, nn, optim
from roofline.autograd import Tensor, no_grad
from roofline.device import device
from roofline.grading import check, predict, progress, reconcile
from roofline.hardware.count import count
from roofline.lab import style

torch.manual_seed(0)
torch.set_num_threads(1)  # small matrices: more threads would wait for each other
style.use()
where = device()
progress("07_transformer")

# %% [markdown] name="lookup"
# ## A lookup with a gradient
#
# A dictionary compares a [query](../glossary.md#query) with its [keys](../glossary.md#key) and returns the [value](../glossary.md#value) of the one that fits. To train through
# it, let every key fit a little. Queries $Q$ of shape $(t, d)$, keys $K$ $(s, d)$ and values $V$ $(s, d)$:
#
# $$\mathrm{attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V .$$
#
# Row $i$ of the [softmax](../glossary.md#softmax) says how much of each value goes into result $i$. Why the root? Components of random
# queries and keys have size 1, so their product is a sum of $d$ terms of random sign and has size $\sqrt d$. Without
# the division, softmax gets larger numbers the wider the head is. What that does to it:

# %% name="why-scale"
generator = torch.Generator().manual_seed(0)
print(
    f"{'d':>5} {'size of q·k':>12} {'largest weight of 64, scaled':>30} {'unscaled':>10} {'its gradient':>14}"
)
for d in (4, 16, 64, 256, 1024):
    q, k = (torch.randn(200, 64, d, generator=generator) for _ in range(2))
    scores = (q[:, :1] * k).sum(-1)  # one query against 64 keys, 200 times
    weights = [(scores / scale).softmax(1) for scale in (math.sqrt(d), 1)]
    slope = [(p * (1 - p)).sum(1).mean().item() for p in weights]
    top = [p.max(1).values.mean().item() for p in weights]
    print(
        f"{d:>5} {scores.std().item():>12.1f} {top[0]:>30.2f} {top[1]:>10.2f} {slope[1] / slope[0]:>13.0%}"
    )

# %% [markdown] name="why-scale-after"
# Unscaled, one weight takes nearly everything, and the gradient through the softmax, printed as a share of
# the scaled one's, dries up. It is the confident mistake of chapter 3, built into every layer.

# %% [markdown] exercise="transformer.attention"
# ### Exercise: attention
#
# Write it for tensors of any leading dimensions: `q` $(\dots, t, d)$, `k` and `v` $(\dots, s, d)$. `allowed`,
# if given, is a $(t, s)$ tensor of booleans: where it is false, the query must not see the key at all, so its
# weight is exactly 0 and the others add up to 1. Every query sees at least one key. Scores may be ±1,000,000,
# hidden ones too. A [**causal mask**](../glossary.md#causal-mask), with which position $i$ sees positions up to $i$, is the case that language
# models need.
#
# <details><summary>The rows don't add up to 1 under a mask</summary>
# If weights are set to 0 after the softmax, the rest has to grow. What can you do to a score before it?
# </details>
# <details><summary>It fails with batches</summary>
# <code>.T</code> turns all dimensions round. You want the last two.
# </details>


# %% solution="transformer.attention"
def attention(q, k, v, allowed=None):
    """softmax(q kᵀ / √d) v: (..., t, d)."""
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return scores.softmax(-1) @ v
    ### END SOLUTION


# %% check="transformer.attention"
check("transformer.attention", attention)

# %% [markdown] exercise="transformer.heads"
# ### Exercise: many heads
#
# One softmax gives one mixture. A verb may need its subject and its object at the same time, so the width is
# cut into `heads` parts that look independently. From $x$ of shape $(n, t, w)$: one product with `w_in`
# $(3w, w)$ gives queries, keys and values side by side, in this order. Each is cut into [heads](../glossary.md#head) of width
# $w/\text{heads}$, attention runs in every head, the heads are put side by side again, and `w_out` $(w, w)$
# mixes them. Weights are used as in a linear layer, $x W^\top$. For the
# middle part you may use `torch.nn.functional.scaled_dot_product_attention`, not `MultiheadAttention`, which
# does it all.
#
# <details><summary>Shapes fit, values don't</summary>
# <code>view(n, heads, t, width)</code> cuts the rows of the sequence apart, not the width. Cut the last
# dimension, then swap.
# </details>


# %% solution="transformer.heads"
def multi_head(x, w_in, w_out, heads):
    """Self-attention with heads, without biases or masks: (n, t, w) to (n, t, w)."""
    ### BEGIN SOLUTION
    n, t, w = x.shape
    q, k, v = (
        part.view(n, t, heads, w // heads).transpose(1, 2) for part in (x @ w_in.T).chunk(3, dim=-1)
    )
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).reshape(n, t, w) @ w_out.T
    ### END SOLUTION


# %% check="transformer.heads"
check("transformer.heads", multi_head)

# %% [markdown] name="positions"
# ## Without positions it is a bag
#
# Nothing in the formula knows which key came first. Shuffle the words, and the results are shuffled in the
# same way: "dog bites man" is "man bites dog". So the position is added to the input. Some descriptions add it
# **after** attention. Does the place matter? See whether the attention weights differ between a sentence
# and its shuffled copy, once shuffled back.

# %% name="measure-positions" tags=["nbval-check-output"]
layer = nn.MultiheadAttention(32, 4, batch_first=True)
words = torch.randn(1, 10, 32, generator=torch.Generator().manual_seed(1))
order = torch.randperm(10, generator=torch.Generator().manual_seed(2))
place = nn.SinusoidalPositions(10, 32)(Tensor(torch.zeros(1, 10, 32))).data


def weights(x):
    with no_grad():
        return layer(Tensor(x), Tensor(x), Tensor(x), need_weights=True)[1].data[0]


for name, before in (
    ("no positions, or added after attention", 0 * place),
    ("added before", place),
):
    plain = weights(words + before)[order][:, order]
    shuffled = weights(words[:, order] + before)
    print(
        f"{name:<40} weights depend on the order: {not torch.allclose(plain, shuffled, atol=1e-6)}"
    )

# %% [markdown] exercise="transformer.sinusoids"
# ### Exercise: positions as clocks
#
# The first Transformer numbered positions with hands of clocks that turn at different speeds
# ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.5). For position $p$ and $i = 0 \dots w/2 - 1$:
#
# $$P_{p,\,2i} = \sin(p \,/\, 10000^{2i/w}), \qquad P_{p,\,2i+1} = \cos(p \,/\, 10000^{2i/w}).$$
#
# To move $s$ positions on is to turn every hand by a fixed angle: a linear map, whatever $p$ is. Make the table,
# one row for each position, without `nn.SinusoidalPositions`.
#
# <details><summary>Right in the first columns, wrong later</summary>
# Sine and cosine of one pair share a speed. The exponent uses $2i$, the even column, for both.
# </details>


# %% solution="transformer.sinusoids"
def sinusoids(length, width):
    """Positions 0 to length - 1 as a (length, width) float32 tensor; width is even."""
    ### BEGIN SOLUTION
    place = torch.arange(length, dtype=torch.float64)[:, None]
    angles = place / 10000 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(length, width).float()
    ### END SOLUTION


# %% check="transformer.sinusoids"
check("transformer.sinusoids", sinusoids)

# %% [markdown] name="positions-after"
# There are other ways. GPT-2 [learns](../glossary.md#learned-positions) one vector for each position, like an [embedding](../glossary.md#embedding): no formula, and nothing to
# say beyond the longest training text. [Rotary positions](../glossary.md#rotary-positions) turn queries and keys themselves, each pair of numbers
# by an angle that grows with the position ([Su et al. 2021](https://arxiv.org/abs/2104.09864)). Two questions
# to all of them: do the products of queries and keys depend on the order? Do they change when the same sentence
# begins 20 positions later?

# %% name="measure-shift" tags=["nbval-check-output"]
torch.manual_seed(0)
ways = {
    "none": lambda x: x,
    "sinusoidal": nn.SinusoidalPositions(64, 32),
    "learned, untrained": nn.LearnedPositions(64, 32),
    "rotary": nn.RotaryPositions(64, 32),
}


def products(put, words, start=0):
    """Products of queries and keys, the words themselves, from position start on; (10, 10)."""
    text = torch.zeros(1, start + 10, 32)
    text[:, start:] = words
    placed = put(Tensor(text)).data[0, start:]
    return placed @ placed.T


for name, put in ways.items():
    plain, shuffled = products(put, words), products(put, words[:, order])
    by_order, by_start = (plain[order][:, order] - shuffled), plain - products(put, words, 20)
    bag, same = (change.abs().max() < 1e-3 for change in (by_order, by_start))
    print(
        f"{name:<19} products know the order: {str(not bag):<6} same 20 positions later: {bool(same)}"
    )

# %% [markdown] name="shift-after"
# With rotary positions a product depends on the words and their distance, and on nothing else. What was learned
# at one place of the text holds at every other, for distances met in training.
#
# ## The block
#
# A Transformer is one block, repeated: attention mixes positions, then a small [perceptron](../glossary.md#perceptron) works on each
# position alone. Around both goes a [**residual**](../glossary.md#residual-connection) connection, $x + f(\mathrm{norm}(x))$, with a [layer norm](../glossary.md#layer-normalisation).
#
# You may have read that it is there to carry the gradient. Attention has another need of it. Each result is a
# mean of values, and means of means grow alike. Start from random positions, send them through twelve
# untrained blocks, and measure how much they still differ: the [cosine](../glossary.md#cosine-similarity) between two positions, averaged over all
# pairs. 0 is unrelated, 1 is the same direction.


# %% name="measure-residual" tags=["nbval-check-output"]
def likeness(residual, depth=12, width=64):
    """Mean cosine between the positions after each block."""
    torch.manual_seed(0)
    x, found = Tensor(torch.randn(4, 16, width)), []
    for _ in range(depth):
        attend = nn.MultiheadAttention(width, 4, batch_first=True)
        up, down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        with no_grad():
            h = nn.LayerNorm(width)(x)
            h = attend(h, h, h, need_weights=False)[0]
            x = x + h if residual else h
            h = down(autograd.gelu(up(nn.LayerNorm(width)(x))))
            x = x + h if residual else h
        unit = torch.nn.functional.normalize(x.data, dim=-1)
        cosines = unit @ unit.mT
        pairs_of_two = 1 - torch.eye(cosines.shape[-1])
        found.append(((cosines * pairs_of_two).sum((1, 2)) / pairs_of_two.sum()).mean().item())
    return found


curves = {"with residuals": likeness(True), "without": likeness(False)}
for name, curve in curves.items():
    print(f"{name:<15} after block 1, 2, 4, 12:", *(f"{curve[i]:.2f}" for i in (0, 1, 3, 11)))

# %% [markdown] name="measure-residual-after"
# Without residuals all positions soon point the same way: whatever the text was, the block hands on one vector,
# t times. It is called [rank collapse](../glossary.md#rank-collapse), and for attention alone it is doubly exponential in depth
# ([Dong, Cordonnier and Loukas 2021](https://arxiv.org/abs/2103.03404)). A residual keeps each position's own
# vector in the sum. The row of these sums, which every block reads and adds to, is the [**residual stream**](../glossary.md#residual-stream).
#
# Where does the norm stand? The first Transformer normalised the sum, $\mathrm{norm}(x + f(x))$: [**post-norm**](../glossary.md#post-norm).
# Today's normalise what a block reads, $x + f(\mathrm{norm}(x))$, and leave the sum alone: [**pre-norm**](../glossary.md#pre-norm)
# ([Xiong et al. 2020](https://arxiv.org/abs/2002.04745)). How much of the input is left in the output, and how
# large is the gradient of the first block beside that of the last?


# %% name="measure-norms" tolerance=0.1
def stacked(depth, pre_norm, width=64):
    """(cosine of output and input, gradient of the first block's last weight / the last block's)."""
    torch.manual_seed(0)
    options = {"dropout": 0.0, "batch_first": True, "norm_first": pre_norm}
    blocks = [nn.TransformerEncoderLayer(width, 4, 4 * width, **options) for _ in range(depth)]
    for block in blocks:
        for layer in (block.linear1, block.linear2, block.self_attn.out_proj):
            layer.weight.data.normal_(0, math.sqrt(2 / sum(layer.weight.shape)))
    x = out = Tensor(torch.randn(4, 16, width))
    for block in blocks:
        out = block(out)
    (out * torch.randn(4, 16, width)).sum().backward()
    cosine = torch.nn.functional.cosine_similarity(out.data, x.data, dim=-1).mean().item()
    first, last = (blocks[i].linear2.weight.grad.norm() for i in (0, -1))
    return cosine, (first / last).item()


for depth in (6, 24):
    for name, pre_norm in (("post-norm", False), ("pre-norm", True)):
        left, ratio = stacked(depth, pre_norm)
        print(
            f"{depth:2} blocks, {name:<9} cosine with the input {left:5.2f}, first gradient / last {ratio:.2f}"
        )

# %% [markdown] name="measure-norms-after"
# A norm on the sum shrinks what came before, block after block, on the way there and, with many blocks, on the way
# back. It is one reason why deep post-norm stacks need a careful [warm-up](../glossary.md#warm-up).
#
# ## The same task as a recurrent network
#
# Guess the locale from a surname, letter by letter. A [**GRU**](../glossary.md#gru) reads the
# letters in order and keeps what it read in a state of fixed size. Here are an [encoder](../glossary.md#encoder) and a GRU with about
# as many parameters, on the same data, for as many epochs.

# %% name="train-names" tolerance=0.1
everything = data.names()
tokenizer = data.CharacterTokenizer(sorted(set("".join(everything.texts))), special=["<pad>"])
rows = data.encode(everything, tokenizer, length=20)
padded, lengths = data.pad(rows.sequences, value=rows.padding, length=20)
padded, lengths, labels = padded.to(where), lengths.to(where), everything.labels.to(where)
train_rows, test_rows = data.stratified(everything.labels, 0.2)


def fit_names(model, epochs=4, batch=64, rate=3e-3):
    generator = torch.Generator().manual_seed(0)
    optimizer = optim.AdamW(model.parameters(), lr=rate)
    for _ in tqdm(range(epochs), desc="epochs", leave=False):
        for chosen in torch.randperm(len(train_rows), generator=generator).split(batch):
            part = train_rows[chosen]
            losses.cross_entropy(model(padded[part], lengths[part]), labels[part]).backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    with no_grad():
        said = model(padded[test_rows], lengths[test_rows]).data.argmax(1)
    return (said == labels[test_rows]).float().mean().item()


torch.manual_seed(0)
encoder = models.TransformerClassifier(
    tokenizer.size, 20, 32, 4, 2, len(everything.classes), dropout=0.0
).to(where)
gru = models.RecurrentClassifier("gru", tokenizer.size, 32, 72, len(everything.classes)).to(where)
majority = torch.bincount(labels[test_rows]).max().item() / len(test_rows)
for name, model in (("encoder", encoder), ("GRU", gru)):
    numbers = sum(p.data.numel() for p in model.parameters())
    print(f"{name:<8} {numbers:,} parameters, test accuracy {fit_names(model):.3f}")
print(f"always the commonest locale: {majority:.3f}")

# %% [markdown] name="train-names-after"
# Newer isn't better by itself. A name has few letters, so nothing must survive for long, and that letters come
# in an order is built into a recurrent network, where an encoder has to learn it. The encoder's advantage is
# elsewhere: no position waits for the one before it, and the way from the first letter to the last is one step.

# %% [markdown] name="gpt"
# ## A small [GPT](../glossary.md#gpt)
#
# A language model is the same stack with a causal mask, trained to name the next [token](../glossary.md#token) at every position at
# once: one pass over $t$ tokens gives $t$ lessons. First, what is a token?

# %% [markdown] exercise="transformer.pairs"
# ### Exercise: a tokenizer that learns
#
# Characters make long sequences, and words can't be listed. [Byte-pair encoding](../glossary.md#byte-pair-encoding) starts from characters and
# joins what stands together most often ([Sennrich et al. 2015](https://arxiv.org/abs/1508.07909)). Write one
# round, without `data.train_pairs`: in a list of tokens (whole numbers), find the pair of neighbours that
# occurs most often. Every two neighbours count, overlapping ones too. If several pairs occur equally often,
# take the smallest, as Python compares tuples. Replace its occurrences from left to right, without overlap, by
# the token `new`. Return the pair and a new list; leave the old one as it is. If it has fewer than two tokens,
# return `(None, tokens)`.
#
# <details><summary>aaa becomes one token too many or too few</summary>
# Counting looks at all neighbours. Replacing goes from left to right and skips what it has just joined.
# </details>


# %% solution="transformer.pairs"
def join_pair(tokens, new):
    """Join the commonest pair of a list of ints: return (pair, new list)."""
    ### BEGIN SOLUTION
    counts = collections.Counter(zip(tokens, tokens[1:], strict=False))
    if not counts:
        return None, tokens
    pair = min(counts, key=lambda p: (-counts[p], p))
    joined, i = [], 0
    while i < len(tokens):
        here = tuple(tokens[i : i + 2]) == pair
        joined.append(new if here else tokens[i])
        i += 2 if here else 1
    return pair, joined
    ### END SOLUTION


# %% check="transformer.pairs"
check("transformer.pairs", join_pair)

# %% name="tokenize"
text = data.shakespeare()[:400_000]
pairs = data.train_pairs(text, 512)
tokens = torch.tensor(pairs.encode(text))
poem = data.chinese_poetry()[:3000]
print(f"Shakespeare: {len(text) / len(tokens):.2f} characters for each of {pairs.size} tokens")
print(
    f"Chinese, with the same tokenizer: {len(poem) / len(pairs.encode(poem)):.2f} characters for each token"
)

# %% [markdown] name="tokenize-after"
# A [tokenizer](../glossary.md#tokenizer) knows the text that it learned from. It starts from bytes, so it
# can write anything, but a Chinese character is three bytes of UTF-8, and here nobody joined them: a character costs
# more tokens, and with them time and context. Now train. The model: an embedding, positions, two blocks with a causal mask,
# and an output layer with one logit for each token.

# %% name="train-gpt" tolerance=0.1
torch.manual_seed(0)
context = 48
gpt = models.GPT(pairs.size, context, width=64, heads=4, layers=2).to(where)
optimizer = optim.AdamW(gpt.parameters(), lr=3e-3)
steps = 220
schedule = optim.Schedule(optimizer, optim.warmup_cosine(20, steps))
held, trained = tokens[-4000:].to(where), tokens[:-4000].to(where)
generator, record = torch.Generator().manual_seed(0), []
for _ in tqdm(range(steps), desc="steps"):
    starts = torch.randint(len(trained) - context - 1, (16,), generator=generator)
    rows = torch.stack([trained[s : s + context + 1] for s in starts.tolist()])
    loss = losses.cross_entropy(gpt(rows[:, :-1]).reshape(-1, pairs.size), rows[:, 1:].reshape(-1))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()
    record.append(loss.item())
figure, axis = plt.subplots(figsize=(7, 3))
axis.plot(record, label="training loss")
axis.axhline(math.log(pairs.size), color=style.ORANGE, linestyle=":", label="knows nothing")
axis.set(xlabel="step", ylabel="loss (nats for each token)")
axis.legend()
plt.show()
with no_grad():
    block = held[: 64 * context + 1]
    logits = gpt(block[:-1].reshape(64, context)).data.reshape(-1, pairs.size)
    test_loss = losses.cross_entropy(logits, block[1:]).item()
characters = len(pairs.decode(block[1:].tolist())) / len(block[1:])
print(
    f"training loss: {record[0]:.2f} nats for each token in step 1, {sum(record[-20:]) / 20:.2f} over the "
    f"last 20 of {steps}; who knows nothing pays ln {pairs.size} = {math.log(pairs.size):.2f}"
)
print(
    f"on text that it never saw: {test_loss:.2f} nats for each token, "
    f"{test_loss / characters:.2f} for each character"
)

# %% [markdown] exercise="transformer.filtered"
# ### Exercise: choosing the next word
#
# The model gives logits; somebody must choose. [`temperature`](../glossary.md#temperature) divides them: below 1 the choice gets bolder.
# [`top_k`](../glossary.md#top-k) keeps that many of the likeliest tokens, [`top_p`](../glossary.md#top-p) the smallest set of likeliest tokens whose
# probabilities together reach it ([Holtzman et al. 2019](https://arxiv.org/abs/1904.09751)). Return the probabilities from
# which to draw, one for each logit of a vector: what was dropped has 0, the rest adds up to 1. Apply temperature
# first, then `top_k`, then `top_p` to what remains, renormalised. The likeliest token always stays. A `top_k`
# above the number of tokens drops nothing, nor does a `top_p` of 1.
#
# <details><summary>top_p keeps one token too few</summary>
# The token that crosses <code>top_p</code> belongs to the set: look at what the ones before it add up to.
# </details>


# %% solution="transformer.filtered"
def filtered(logits, temperature=1.0, top_k=None, top_p=None):
    """Probabilities for drawing the next token, one for each of the logits, (tokens,)."""
    ### BEGIN SOLUTION
    scores, order = (logits / temperature).sort(descending=True)
    if top_k is not None:
        scores[top_k:] = -torch.inf
    p = scores.softmax(0)
    if top_p is not None and top_p < 1:
        p = torch.where(p.cumsum(0) - p < top_p, p, 0)
        p = p / p.sum()
    return torch.zeros_like(p).scatter(0, order, p)
    ### END SOLUTION


# %% check="transformer.filtered"
check("transformer.filtered", filtered)

# %% name="write"
prompt = torch.tensor([pairs.encode("KING:\n")]).to(where)
for temperature in (0.5, 1.0):
    seed = torch.Generator(device=where).manual_seed(1)
    written = gpt.generate(prompt, 40, temperature=temperature, top_k=40, generator=seed)
    print(f"temperature {temperature}: {pairs.decode(written[0].tolist())!r}")

# %% [markdown] name="maps"
# What do the heads look at? Each row is a query and shows where its weight goes. Above the diagonal is the
# future, which the mask hides.

# %% name="picture-attention" tolerance=0.2
sentence = pairs.encode("The king is dead. Long live the king")[:context]
x = gpt.positions(gpt.embedding(torch.tensor([sentence]).to(where)))
first = gpt.blocks.layers[0]
with no_grad():
    h = first.norm1(x)
    _, maps = first.self_attn(
        h, h, h, need_weights=True, average_attn_weights=False, is_causal=True
    )
labels_of = [pairs.decode([token]).replace("\n", "¶") for token in sentence]
future = torch.ones(len(sentence), len(sentence), dtype=torch.bool).triu(1)
figure, axes = plt.subplots(1, 2, figsize=(8.5, 4.4), layout="constrained")
for head, axis in enumerate(axes):
    image = axis.imshow(maps.data[0, head].cpu().masked_fill(future, torch.nan), vmin=0, vmax=0.5)
    axis.set_xticks(range(len(sentence)), labels_of, rotation=90, fontsize=7)
    axis.set_yticks(range(len(sentence)), labels_of, fontsize=7)
    axis.set_title(f"layer 1, head {head + 1} of {maps.data.shape[1]}")
    axis.set(xlabel="key", ylabel="query")
    axis.grid(False)
figure.colorbar(image, ax=axes, label="attention weight (0.5 and above look alike)", shrink=0.8)
plt.show()
back = (torch.arange(len(sentence))[:, None] - torch.arange(len(sentence))).float().to(where)
distance = (maps.data[0] * back).sum(-1).mean(-1)
looks = ", ".join(f"{d:.1f}" for d in distance.tolist())
print(f"tokens that each head looks back, on average: {looks}")
even = (len(sentence) - 1) / 4
print(f"and one that looks everywhere alike: {even:.1f}")
if all(abs(d - even) < 0.2 * even for d in distance.tolist()):
    print("so these heads choose what they look at hardly by its distance")

# %% [markdown] name="cost"
# ## What it costs
#
# Everything in a Transformer grows in proportion to the length $t$, but for two products, $QK^\top$ and
# weights times $V$, and the softmax between them, small in FLOPs. They grow with $t^2$, in FLOPs and, if the weights are kept, in bytes. For GPT-2 small, of
# width 768 with 12 layers and a vocabulary of 50,257, at its full length of 1,024: which share of the forward
# FLOPs is in those two products?

# %% name="predict-share"
predict(
    "transformer.share", None, "share of the FLOPs that grow with t², from 0 to 1"
)  # None -> your number

# %% [markdown] exercise="transformer.account"
# ### Exercise: the account of a GPT
#
# For `layers`, `width`, `vocabulary` and `length` of a GPT-2: learned positions, [tied embeddings](../glossary.md#tied-embeddings), biases and
# two parameters for each normalised number in every norm, of which there are two in a block and one at the
# end; the perceptron is four times as wide. Return a dict: `parameters`; `forward`, the FLOPs of matrix products
# for one sequence of full length, 2 for each multiply-add, the output layer and the masked half of the scores
# included; `cache`, the bytes of keys and values that generating keeps for one full sequence in 16 bits.
#
# The published parameter count of GPT-2 small comes out to the last digit.
#
# <details><summary>Parameters are a little too small</summary>
# Four linear layers in a block have biases: the joint one of queries, keys and values, the one after the
# heads, and the two of the perceptron.
# </details>


# %% solution="transformer.account"
def account(layers, width, vocabulary, length):
    """Return a dict of whole numbers: parameters, forward (FLOPs), cache (bytes)."""
    ### BEGIN SOLUTION
    block = 12 * width**2 + 9 * width + 4 * width  # weights, biases, two norms
    products = layers * (24 * length * width**2 + 4 * length**2 * width)
    return {
        "parameters": layers * block + (vocabulary + length) * width + 2 * width,
        "forward": products + 2 * length * vocabulary * width,
        "cache": 2 * 2 * layers * width * length,
    }
    ### END SOLUTION


# %% check="transformer.account"
check("transformer.account", account)

# %% name="count-share" tags=["nbval-check-output"]
layers, width, vocabulary, length = 12, 768, 50_257, 1_024
square = 4 * layers * length**2 * width
linear = 24 * layers * length * width**2 + 2 * length * vocabulary * width
reconcile("transformer.share", square / (square + linear), "of the FLOPs", how="modelled")
small = models.GPT(64, 1024, width=64, heads=4, layers=1)
for t in (64, 256, 1024):
    counts = count(small.features, torch.zeros(1, t, dtype=torch.int64))
    twice = sum(flops for name, flops in counts.by_op.items() if "bmm" in name or "baddbmm" in name)
    print(
        f"a block of width 64 at t = {t:4}: {twice / counts.flops:.0%} counted in the products "
        f"that grow with t², {t / (t + 6 * 64):.0%} modelled"
    )
print(
    f"modelled: the two parts of a block are equal at t = 6 × width = {6 * width} for GPT-2 small"
)

# %% [markdown] name="count-share-after"
# The model counts every pair. A causal mask hides half of them, and blocks of keys that are hidden entirely
# needn't be computed. Where the library leaves them out, the count stays below the model. Either way the share
# grows with the length.

# %% [markdown] name="memory"
# That is the first half of the price. The way back needs the weights, so they are kept: one number for each
# pair, head and layer. Or they are made again from $Q$ and $K$ when they are needed. `kept` adds up what the way
# back holds on to, here for 8 heads of width 16.

# %% name="count-memory" tags=["nbval-check-output"]
ways = {
    "weights kept": {"recompute": False},
    "made again": {"recompute": True},
    "made again, causal": {"recompute": True, "causal": True},
}
megabytes = {way: [] for way in ways}
print("MB at t =            128     256     512    1024   growth at the last step")
for way, options in ways.items():
    for t in (128, 256, 512, 1024):
        q = Tensor(torch.zeros(1, 8, t, 16), requires_grad=True)
        total = autograd.kept(autograd.attention(q, q, q, **options), besides=[q]).total
        megabytes[way].append(total / 1e6)
    sizes = megabytes[way]
    print(f"{way:<18}" + "".join(f"{m:8.2f}" for m in sizes), f"{sizes[3] / sizes[2]:11.1f}×")

# %% [markdown] name="memory-after"
# At twice the length, weights that are kept take four times the bytes: $t^2$. Made again, twice: $t$. Short
# sequences keep their weights either way, so compare from 256 on. A mask that is held as a table of $t \times t$
# numbers would bring $t^2$ back, one for all heads. A kernel that compares positions where it needs them holds none.
#
# Add up everything that one layer keeps for the way back, in 16 bits with [dropout](../glossary.md#dropout): for $b$ sequences of $s$
# tokens, width $h$ and $a$ heads it is $sbh\,(34 + 5as/h)$ bytes
# ([Korthikanti et al. 2022](https://arxiv.org/abs/2205.05198)), and the term with $a$ is the table. Here it is for
# published sizes. Your own `account` gives the same parameters.

# %% name="published-sizes" tags=["nbval-check-output"]
from roofline.hardware.cost.memory import layer_activations
from roofline.hardware.cost.model import Transformer
from roofline.hardware.cost.parameters import parameters

published = {  # layers, width, heads, tokens: Radford et al. 2019; Brown et al. 2020, table 2.1
    "GPT-2 small": (12, 768, 12, 1_024),
    "GPT-2 XL": (48, 1_600, 25, 1_024),
    "GPT-3 175B": (96, 12_288, 96, 2_048),
}
print("modelled, one sequence   parameters   weights, 16 bits   activations   without the table")
for name, (deep, wide, heads, long) in published.items():
    weights_of = parameters(Transformer(deep, wide, heads, vocabulary, long))
    whole = deep * layer_activations(1, long, wide, heads)
    lean = deep * layer_activations(1, long, wide, heads, recompute="selective")
    print(
        f"{name:<24}{weights_of / 1e9:8.2f} B{2 * weights_of / 1e9:15.2f} GB"
        f"{whole / 1e9:12.2f} GB{lean / 1e9:13.2f} GB, {1 - lean / whole:.0%} less"
    )
    ratio = long * heads / wide  # as/h, all that the share depends on
print(
    f"the same share for all: each has {ratio:.0f} tokens for every number of a head; "
    f"with twice as many the table would be {10 * ratio / (34 + 10 * ratio):.0%} of what is kept"
)

# %% [markdown] name="memory-parts"
# Activations aren't all. Beside them lie weights, gradients and chapter 4's optimizer state. Commit to a number,
# then find out what recomputing saves, and at which length the table takes over.

# %% name="experiment-memory"
lab.training_memory()

# %% [markdown] name="checkpoints"
# Any layer can be [made again](../glossary.md#checkpointing): keep only each [segment](../glossary.md#segment)'s input and run the segment twice
# ([Chen et al. 2016](https://arxiv.org/abs/1604.06174)). What does that cost in time?

# %% name="experiment-checkpoints"
lab.checkpointing()

# %% [markdown] exercise="transformer.blocked"
# ### Exercise: never build the table
#
# The weights are needed only to form weighted sums, and a softmax can be computed in one pass: keep, for each
# query, the largest score so far, the sum of exponentials relative to it, and the weighted sum of values relative
# to it. When a block of keys brings a larger score, shrink what you have by $e^{\text{old} - \text{new}}$. This
# is what FlashAttention does on chip ([Dao et al. 2022](https://arxiv.org/abs/2205.14135); the one-pass softmax is
# [Milakov and Gimelshein 2018](https://arxiv.org/abs/1805.02867)).
#
# Write it for one head, `q` $(t, d)$, `k` and `v` $(s, d)$, in blocks of `block` keys. $s$ needn't be a multiple
# of the block, and scores may be large. It is counted, torch's operations alone: no tensor above an eighth of
# the table's $t \cdot s$ numbers, and at no time more than half of its bytes together, in NumPy or lists neither.
# Each block has (t, block) scores: all queries, some keys.
#
# <details><summary>NaN in the first block</summary>
# The largest score so far starts at −inf. Is something subtracted from it that is −inf, too?
# </details>
# <details><summary>Right for one block, wrong for two</summary>
# Both the sum and the weighted values must shrink when the largest score grows.
# </details>


# %% solution="transformer.blocked"
def blocked(q, k, v, block=64):
    """softmax(q kᵀ / √d) v, (t, d), without the (t, s) table."""
    ### BEGIN SOLUTION
    top = torch.full((len(q), 1), -torch.inf, dtype=q.dtype, device=q.device)
    total, mixed = torch.zeros_like(top), torch.zeros_like(q)
    for start in range(0, len(k), block):
        scores = q @ k[start : start + block].T / math.sqrt(q.shape[1])
        higher = torch.maximum(top, scores.max(1, keepdim=True).values)
        shrink, p = (top - higher).exp(), (scores - higher).exp()
        total = shrink * total + p.sum(1, keepdim=True)
        mixed = shrink * mixed + p @ v[start : start + block]
        top = higher
    return mixed / total
    ### END SOLUTION


# %% check="transformer.blocked"
check("transformer.blocked", blocked)

# %% [markdown] name="pytorch"
# ## The same in PyTorch
#
# PyTorch's own attention and encoder block, with the same weights.

# %% name="same-in-pytorch" tags=["nbval-check-output"]
q, k, v = (torch.randn(2, 4, 10, 8) for _ in range(3))
theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
torch.testing.assert_close(
    autograd.attention(Tensor(q), Tensor(k), Tensor(v), causal=True).data, theirs
)
ours = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
twin = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
twin.load_state_dict(ours.state_dict())
x = torch.randn(2, 10, 32)
torch.testing.assert_close(ours(Tensor(x)).data, twin(x).detach(), rtol=1e-4, atol=1e-5)
print("attention and the encoder block agree with PyTorch's")

# %% [markdown] name="claim"
# ## Often said, and isn't so
#
# > "The attention weights show what the prediction is based on."
#
# Test it on the encoder that you trained on surnames. For each name, take the letter that gets most attention,
# averaged over heads, layers and positions. Then delete each letter in turn and see which
# one changes the predicted probability most. If attention explained the prediction, the two would be the same
# letter.


# %% name="measure-claim" tolerance=0.2
def attention_received(tokens):
    """Attention that each position gets, averaged over layers, heads and queries; (t,)."""
    x, received = encoder.positions(encoder.embedding(tokens)), 0
    for layer in encoder.encoder.layers:
        h = layer.norm1(x)
        received = received + layer.self_attn(h, h, h, need_weights=True)[1].data[0].mean(0)
        x = layer(x)
    return received


agree = chance = 0.0
sample = test_rows[torch.randperm(len(test_rows), generator=torch.Generator().manual_seed(0))[:150]]
with no_grad():
    for row in sample.tolist():
        name = padded[row, : lengths[row]]
        n = len(name)
        said = encoder(name[None]).data.softmax(1)[0]
        without = (
            torch.stack([torch.cat([name[:i], name[i + 1 :]]) for i in range(n)])
            if n > 1
            else name[None]
        )
        change = (encoder(without).data.softmax(1)[:, said.argmax()] - said.max()).abs()
        agree += float(attention_received(name[None]).argmax() == change.argmax()) / len(sample)
        chance += 1 / n / len(sample)
print(
    f"the letter with most attention is the one that matters most in {agree:.0%} of {len(sample)} names"
)
print(f"a letter picked at random would be in {chance:.0%}")

# %% [markdown] name="summary"
# Oftener than chance, and far from always. Attention says where information was fetched from in one layer. What
# became of it depends on the values, the perceptrons and the residual stream, which passes attention by. In
# recurrent models, too, the two often disagree ([Jain and Wallace 2019](https://arxiv.org/abs/1902.10186)). Look
# at attention maps to form a guess. To test it, change the input.
#
# ## Summary
#
# - Attention is a lookup with a gradient; divided by √d, or its softmax saturates.
# - It doesn't know about order: positions go in before it.
# - Attention takes means, and means of means grow alike: residuals keep positions apart.
# - Its cost grows with t² in two products. They dominate only beyond six times the width.
# - The table of weights need never exist: block by block, with a running maximum.
#
# Every term and symbol is in the [glossary](../glossary.md).
#
# ## Where to read on
#
# - Vaswani et al., *Attention is all you need*, [1706.03762](https://arxiv.org/abs/1706.03762).
# - Radford et al., *Language models are unsupervised multitask learners*, OpenAI (2019).
# - Dao et al., *FlashAttention*, [2205.14135](https://arxiv.org/abs/2205.14135).
# - Dong et al., *Attention is not all you need: pure attention loses rank doubly exponentially with depth*,
#   [2103.03404](https://arxiv.org/abs/2103.03404).
# - Xiong et al., *On layer normalization in the Transformer architecture*,
#   [2002.04745](https://arxiv.org/abs/2002.04745).
# - In the library: `roofline/autograd/attention.py`, the formula and the blocked version side by side.
