"""Chapter 3's graders, graded."""

from __future__ import annotations

import math

import torch
from roofline import autograd
from roofline.grading.answers import right, wrong

# --- gaussian -----------------------------------------------------------------------------------

ONE, EACH, FAR = "sigma = 1", "a sigma for each example, float64", "a prediction that is far off"


@wrong("losses.gaussian", [ONE, EACH, FAR], "the density a factor")
def mean_squared_error(mean, sigma, y):
    return ((y - mean) ** 2).mean()


@wrong("losses.gaussian", [EACH, FAR], "log σ is missing")
def forgets_log_sigma(mean, sigma, y):
    return (0.5 * math.log(2 * math.pi) + 0.5 * ((y - mean) / sigma) ** 2).mean()


@wrong("losses.gaussian", [FAR], "underflows")
def logarithm_of_the_density(mean, sigma, y):
    sigma = torch.as_tensor(sigma)
    density = torch.exp(-0.5 * ((y - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return -torch.log(density).mean()


@wrong("losses.gaussian", [EACH, FAR], "divides by σ²")
def sigma_for_variance(mean, sigma, y):
    sigma = torch.as_tensor(sigma)
    return (sigma.log() + 0.5 * math.log(2 * math.pi) + 0.5 * (y - mean) ** 2 / sigma).mean()


@wrong("losses.gaussian", [ONE, EACH, FAR], "the mean is asked")
def adds_up(mean, sigma, y):
    sigma = torch.as_tensor(sigma)
    loss = sigma.log() + 0.5 * math.log(2 * math.pi) + 0.5 * ((y - mean) / sigma) ** 2
    return loss.sum()


@wrong("losses.gaussian", [FAR], "a floor or a clamp")
def floor_under_the_density(mean, sigma, y):
    sigma = torch.as_tensor(sigma)
    density = torch.exp(-0.5 * ((y - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return -torch.log(density + 1e-12).mean()


@wrong("losses.gaussian", [EACH], "the arguments' dtype")
def always_single_precision(mean, sigma, y):
    return with_precision(mean, sigma, y).float()


@wrong("losses.gaussian", [EACH], "torch.as_tensor")
def sigma_is_a_float(mean, sigma, y):
    return math.log(sigma * math.sqrt(2 * math.pi)) + (((y - mean) / sigma) ** 2).mean() / 2


@wrong("losses.gaussian", [ONE, EACH, FAR], "torch.distributions.Distribution")
def a_density_of_many_dimensions(mean, sigma, y):
    scale = torch.diag(torch.as_tensor(sigma).expand(len(y)))
    joint = torch.distributions.MultivariateNormal(mean, scale_tril=scale)
    return -joint.log_prob(y) / len(y)


@right("losses.gaussian")
def example_by_example(mean, sigma, y):
    sigmas = torch.as_tensor(sigma).expand(len(y)).tolist()
    total = 0.0
    for m, s, t in zip(mean.tolist(), sigmas, y.tolist(), strict=True):
        total += math.log(s * math.sqrt(2 * math.pi)) + (t - m) ** 2 / (2 * s * s)
    return torch.tensor(total / len(y), dtype=y.dtype)


@right("losses.gaussian")
def with_precision(mean, sigma, y):
    precision = torch.as_tensor(sigma, dtype=torch.float64) ** -2
    terms = precision * (y.double() - mean) ** 2 - precision.log() + math.log(2 * math.pi)
    return (terms / 2).mean().to(y.dtype)


# --- binary -------------------------------------------------------------------------------------

HARD, SOFT = "targets 0 and 1", "targets in between, float64"
BIG, TINY = "logits up to ±10,000", "tiny losses keep their digits"


@wrong("losses.binary", [BIG, TINY], "no exponential may see")
def naive(x, y):
    p = 1 / (1 + torch.exp(-x))
    return -(y * p.log() + (1 - y) * (1 - p).log())


@wrong("losses.binary", [HARD, SOFT, BIG, TINY], "the second term is missing")
def only_when_y_is_one(x, y):
    return y * torch.log1p(torch.exp(-x))


@wrong("losses.binary", [HARD, SOFT, BIG, TINY], "their mean")
def takes_the_mean(x, y):
    return (x.clamp(min=0) - x * y + torch.log1p(torch.exp(-x.abs()))).mean()


@wrong("losses.binary", [TINY], "log1p")
def adds_one_first(x, y):
    return x.clamp(min=0) - x * y + torch.log(1 + torch.exp(-x.abs()))


@wrong("losses.binary", [BIG, TINY], "no exponential may see")
def overflows_on_one_side(x, y):
    return torch.log1p(torch.exp(x)) - x * y


@wrong("losses.binary", [HARD, SOFT, BIG, TINY], "both terms")
def brackets_lost(x, y):
    p = torch.sigmoid(x)
    return -y * p.log() + (1 - y) * (1 - p).log()


@wrong("losses.binary", [SOFT], "by their share")
def only_for_zero_and_one(x, y):
    signed = torch.where(y > 0.5, -x, x)
    return signed.clamp(min=0) + torch.log1p(torch.exp(-signed.abs()))


@wrong("losses.binary", [BIG], "a floor or a clamp")
def clamps_the_logits(x, y):
    return in_two_branches(x.clamp(-100, 100), y)


@wrong("losses.binary", [TINY], "add the small part last")
def cancels_against_the_logit(x, y):
    return torch.logaddexp(torch.zeros_like(x), x) - x * y


@wrong("losses.binary", [HARD, SOFT, BIG, TINY], "multilabel_soft_margin_loss")
def a_ready_made_loss_of_one_label(x, y):
    loss = torch.nn.MultiLabelSoftMarginLoss(reduction="none")
    return loss(x.reshape(-1, 1), y.reshape(-1, 1)).view_as(x)


@right("losses.binary")
def in_two_branches(x, y):
    small = torch.where(x > 0, -x, x)
    tail = torch.log1p(small.exp())
    return torch.where(x > 0, (1 - y) * x + tail, -y * x + tail)


@right("losses.binary")
def as_a_two_way_softmax(x, y):
    pair = torch.stack([torch.zeros_like(x), x]).double()
    top = pair.max(0).values
    rest = pair.min(0).values
    total = top + torch.log1p((rest - top).exp())
    return (total - y * x).to(x.dtype)


# --- log-sum-exp --------------------------------------------------------------------------------

PLAIN, HALF = "ordinary logits", "float16, logits up to ±30"
HUGE, MASKED = "logits of ±10,000, float64", "masked logits, −inf"


@wrong("losses.log_sum_exp", [HALF, HUGE], "float16 overflows")
def as_printed(z):
    return z.exp().sum(-1).log()


@wrong("losses.log_sum_exp", [PLAIN, HALF, HUGE, MASKED], "added again")
def forgets_to_add_it_back(z):
    largest = z.max(-1, keepdim=True).values
    return (z - largest).exp().sum(-1).log()


@wrong("losses.log_sum_exp", [MASKED], "subtract 0")
def stumbles_over_a_masked_row(z):
    largest = z.max(-1, keepdim=True).values
    return (z - largest).exp().sum(-1).log() + largest.squeeze(-1)


@wrong("losses.log_sum_exp", [HALF, HUGE], "each row's own")
def one_maximum_for_all(z):
    largest = z.max()
    return (z - largest).exp().sum(-1).log() + largest


@wrong("losses.log_sum_exp", [PLAIN, HALF, HUGE, MASKED], "keepdim stays inside")
def keeps_the_dimension(z):
    largest = z.max(-1, keepdim=True).values
    largest = torch.where(largest.isfinite(), largest, 0)
    return (z - largest).exp().sum(-1, keepdim=True).log() + largest


@wrong("losses.log_sum_exp", [MASKED], "stays −inf")
def clamps_the_mask(z):
    return with_nan_to_num(z.clamp(min=-1e4))


@wrong("losses.log_sum_exp", [PLAIN, HALF, HUGE, MASKED], "not their mean")
def mean_of_the_exponentials(z):
    return with_nan_to_num(z) - math.log(z.shape[-1])


@wrong("losses.log_sum_exp", [HALF, HUGE], "the arguments' dtype")
def leaves_it_in_single_precision(z):
    return with_nan_to_num(z.float())


@wrong("losses.log_sum_exp", [PLAIN, HALF, HUGE, MASKED], "functional.cross_entropy")
def out_of_a_cross_entropy(z):
    rows = z.reshape(-1, z.shape[-1])
    top = rows.max(1)
    loss = torch.nn.functional.cross_entropy(rows, top.indices, reduction="none")
    return torch.where(top.values.isinf(), top.values, loss + top.values).view(z.shape[:-1])


@right("losses.log_sum_exp")
def through_the_largest_probability(z):
    top = z.amax(-1)
    return torch.where(top.isinf(), top, top - torch.softmax(z, -1).amax(-1).log())


@right("losses.log_sum_exp")
def pairwise(z):
    def add(a, b):
        top, low = torch.maximum(a, b), torch.minimum(a, b)
        gap = torch.where(top.isinf(), torch.zeros_like(top), low - top)
        return torch.where(top == -torch.inf, top, top + torch.log1p(gap.exp()))

    total = torch.full(z.shape[:-1], -torch.inf, dtype=torch.float32)
    for column in z.float().unbind(-1):
        total = add(total, column)
    return total.to(z.dtype)


@right("losses.log_sum_exp")
def with_nan_to_num(z):
    largest = z.amax(dim=-1).nan_to_num(neginf=0.0)
    return torch.log(torch.exp(z - largest[..., None]).sum(dim=-1)).add(largest)


# --- cross-entropy ------------------------------------------------------------------------------

LOSS, GRADIENT, SCALED = "loss", "gradient", "gradient times what arrives"
TEN, HELD = "logits of 10,000, float64", "holds one tensor of the logits' size"


def _softmax(logits):
    e = (logits - logits.amax(1, keepdim=True)).exp()
    return e / e.sum(1, keepdim=True)


@wrong("losses.cross_entropy", [LOSS, GRADIENT, SCALED, TEN, HELD], "this is the sum")
def sum_for_mean(logits, labels):
    p, rows = _softmax(logits), torch.arange(len(labels))

    def pullback(dloss):
        slope = p.clone()
        slope[rows, labels] -= 1
        return (slope * dloss,)

    return -p[rows, labels].log().sum(), pullback


@wrong("losses.cross_entropy", [GRADIENT, SCALED, TEN, HELD], "divided by n too")
def gradient_not_divided(logits, labels):
    log_p, rows = logits.log_softmax(1), torch.arange(len(labels))

    def pullback(dloss):
        slope = log_p.exp()
        slope[rows, labels] -= 1
        return (slope * dloss,)

    return -log_p[rows, labels].mean(), pullback


@wrong("losses.cross_entropy", [TEN], "subtract the largest")
def overflowing_softmax(logits, labels):
    rows = torch.arange(len(labels))
    p = logits.exp() / logits.exp().sum(1, keepdim=True)

    def pullback(dloss):
        slope = p.clone()
        slope[rows, labels] -= 1
        return (slope * (dloss / len(labels)),)

    return -p[rows, labels].log().mean(), pullback


@wrong("losses.cross_entropy", [SCALED], "that arrives")
def ignores_what_arrives(logits, labels):
    log_p, rows = logits.log_softmax(1), torch.arange(len(labels))

    def pullback(dloss):
        slope = log_p.exp()
        slope[rows, labels] -= 1
        return (slope / len(labels),)

    return -log_p[rows, labels].mean(), pullback


@wrong("losses.cross_entropy", [HELD], "hold one of the two")
def holds_logits_and_probabilities(logits, labels):
    log_p, rows = logits.log_softmax(1), torch.arange(len(labels))
    p = log_p.exp()

    def pullback(dloss):
        slope = p + 0 * log_p
        slope[rows, labels] -= 1
        return (slope * dloss / len(labels),)

    return -log_p[rows, labels].mean(), pullback


@wrong("losses.cross_entropy", [LOSS, TEN], "every label's column")
def all_columns_for_all_rows(logits, labels):
    log_p, rows = logits.log_softmax(1), torch.arange(len(labels))

    def pullback(dloss):
        slope = log_p.exp()
        slope[rows, labels] -= 1
        return (slope * dloss / len(labels),)

    return -log_p[:, labels].mean(), pullback


@wrong("losses.cross_entropy", [GRADIENT, SCALED, TEN, HELD], "subtracted from the probabilities")
def forgets_the_truth(logits, labels):
    log_p, rows = logits.log_softmax(1), torch.arange(len(labels))
    return -log_p[rows, labels].mean(), lambda dloss: (log_p.exp() * dloss / len(labels),)


@wrong("losses.cross_entropy", [GRADIENT, SCALED, TEN, HELD], "every label's column")
def subtracts_all_columns(logits, labels):
    log_p, rows = logits.log_softmax(1), torch.arange(len(labels))

    def pullback(dloss):
        slope = log_p.exp()
        slope[:, labels] -= 1
        return (slope * (dloss / len(labels)),)

    return -log_p[rows, labels].mean(), pullback


@wrong("losses.cross_entropy", [GRADIENT, SCALED, TEN, HELD], "also of one")
def returns_no_tuple(logits, labels):
    loss, pullback = recomputes_from_the_logits(logits, labels)
    return loss, lambda dloss: pullback(dloss)[0]


@wrong("losses.cross_entropy", [TEN], "the rows of this batch")
def size_of_the_batch_written_in(logits, labels):
    loss, pullback = recomputes_from_the_logits(logits, labels)
    return loss * len(labels) / 8, lambda dloss: pullback(dloss * len(labels) / 8)


@wrong("losses.cross_entropy", [LOSS, GRADIENT, SCALED, TEN, HELD], "Tensor.backward")
def walks_the_library_back(logits, labels):
    def pullback(dloss):
        leaf = autograd.Tensor(logits, requires_grad=True)
        log_p = autograd.log_softmax(leaf)[torch.arange(len(labels)), labels]
        (-autograd.mean(log_p)).backward(dloss)
        return (leaf.grad,)

    return recomputes_from_the_logits(logits, labels)[0], pullback


@wrong("losses.cross_entropy", [GRADIENT, HELD], "changed the operation's argument logits")
def turns_the_logits_into_the_gradient(logits, labels):
    rows, log_z = torch.arange(len(labels)), logits.logsumexp(1, keepdim=True)

    def pullback(dloss):
        slope = logits.sub_(log_z).exp_()
        slope[rows, labels] -= 1
        return (slope.mul_(dloss / len(labels)),)

    return (log_z[:, 0] - logits[rows, labels]).mean(), pullback


@right("losses.cross_entropy")
def holds_logits_and_the_logarithm_of_each_sum(logits, labels):
    rows, log_z = torch.arange(len(labels)), logits.logsumexp(1, keepdim=True)

    def pullback(dloss):
        slope = (logits - log_z).exp()
        slope[rows, labels] -= 1
        return (slope * (dloss / len(labels)),)

    return (log_z[:, 0] - logits[rows, labels]).mean(), pullback


@right("losses.cross_entropy")
def uses_up_what_it_holds(logits, labels):
    p, rows = _softmax(logits), torch.arange(len(labels))
    loss = -(p[rows, labels].clamp(min=1e-45).log()).mean().item()
    if loss > 100 / 3:  # for far logits, from the logits themselves
        loss = (logits.logsumexp(1) - logits[rows, labels]).mean().item()

    def pullback(dloss):
        p[rows, labels] -= 1
        return (p.mul_(dloss / len(labels)),)

    return loss, pullback


@right("losses.cross_entropy")
def with_one_hot(logits, labels):
    truth = torch.zeros_like(logits).scatter_(1, labels[:, None], 1.0)
    shifted = logits - logits.amax(1, keepdim=True)
    loss = (shifted.exp().sum(1).log() - (shifted * truth).sum(1)).mean()
    slope = (_softmax(logits) - truth) / len(labels)
    return loss, lambda dloss: [slope * dloss]


@right("losses.cross_entropy")
def recomputes_from_the_logits(logits, labels):
    total = torch.stack([torch.logsumexp(row, 0) for row in logits])
    loss = (total - logits.gather(1, labels.unsqueeze(1)).squeeze(1)).mean()

    def pullback(dloss):
        p = torch.softmax(logits.double(), 1)
        for row, label in enumerate(labels.tolist()):
            p[row, label] -= 1
        return (dloss * p.to(logits.dtype) / len(labels),)

    return loss, pullback


# --- balanced -----------------------------------------------------------------------------------

WEIGHTED, EQUAL = "weighted loss", "equal counts change nothing"
NEVER, THOUSANDS = "a class that never occurs", "logits in the thousands, float64"


def _each(logits, labels):
    return -logits.log_softmax(1).gather(1, labels[:, None])[:, 0]


@wrong("losses.balanced", [WEIGHTED, EQUAL, NEVER, THOUSANDS], "not by n")
def divided_by_n(logits, labels, counts):
    return (_each(logits, labels) / counts[labels]).mean()


@wrong("losses.balanced", [WEIGHTED, NEVER, THOUSANDS], "no effect")
def unweighted(logits, labels, counts):
    return _each(logits, labels).mean()


@wrong("losses.balanced", [WEIGHTED, NEVER, THOUSANDS], "the heavier")
def heavier_when_frequent(logits, labels, counts):
    weights = counts[labels]
    return (weights * _each(logits, labels)).sum() / weights.sum()


@wrong("losses.balanced", [NEVER], "1/0 got into a sum")
def one_hot_times_infinity(logits, labels, counts):
    truth = torch.eye(len(counts), dtype=logits.dtype)[labels]
    weights = truth @ (1 / counts)
    return (weights * _each(logits, labels)).sum() / weights.sum()


@wrong("losses.balanced", [WEIGHTED, EQUAL, NEVER, THOUSANDS], "not those of the classes")
def divided_by_the_classes_weights(logits, labels, counts):
    return (_each(logits, labels) / counts[labels]).sum() / (1 / counts).sum()


@wrong("losses.balanced", [THOUSANDS], "the largest logit subtracted")
def without_subtracting(logits, labels, counts):
    each = logits.exp().sum(1).log() - logits.gather(1, labels[:, None])[:, 0]
    weights = 1 / counts[labels]
    return (weights * each).sum() / weights.sum()


@wrong("losses.balanced", [WEIGHTED, EQUAL, NEVER, THOUSANDS], "of the training set")
def counts_the_batch(logits, labels, counts):
    here = torch.bincount(labels, minlength=len(counts))
    return in_a_loop(logits, labels, here.to(counts.dtype))


@wrong("losses.balanced", [WEIGHTED, EQUAL, NEVER, THOUSANDS], "gives (n, n)")
def keeps_a_dimension(logits, labels, counts):
    weights = 1 / counts[labels]
    each = -logits.log_softmax(1).gather(1, labels[:, None])
    return (weights * each).sum() / weights.sum()


@wrong("losses.balanced", [THOUSANDS], "a floor or a clamp")
def floor_under_the_probabilities(logits, labels, counts):
    p = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    weights = 1 / counts[labels]
    return -(weights * (p + 1e-9).log()).sum() / weights.sum()


@right("losses.balanced")
def class_by_class(logits, labels, counts):
    log_p, top, bottom = torch.log_softmax(logits, -1), 0, 0
    for k in labels.unique().tolist():
        top = top - log_p[labels == k, k].sum() / counts[k]
        bottom = bottom + (labels == k).sum() / counts[k]
    return top / bottom


@right("losses.balanced")
def in_a_loop(logits, labels, counts):
    top = bottom = 0.0
    for row, label in zip(logits.double(), labels.tolist(), strict=True):
        weight = 1 / float(counts[label])
        top += weight * (row.logsumexp(0) - row[label])
        bottom += weight
    return (top / bottom).to(logits.dtype)


@right("losses.balanced")
def scaled_and_masked(logits, labels, counts):
    weights = torch.where(counts > 0, counts.sum() / counts.clamp(min=1), 0)
    truth = torch.nn.functional.one_hot(labels, len(counts)).to(logits.dtype)
    share = torch.einsum("nk,k->n", truth, weights)
    return torch.einsum("nk,nk,n->", -logits.log_softmax(1), truth, share / share.sum())


# --- calibration --------------------------------------------------------------------------------

BINS10, BINS, EDGES = "ten bins", "another number of bins", "edges, and a confidence of 1"


def _rows(probabilities, labels):
    confidence, chosen = probabilities.max(1)
    return confidence, (chosen == labels).double()


@wrong("losses.calibration", [BINS10, BINS, EDGES], "weigh each bin")
def mean_over_bins(probabilities, labels, bins=10):
    confidence, right = _rows(probabilities, labels)
    gaps = []
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            gaps.append(float((confidence[inside].mean() - right[inside].mean()).abs()))
    return sum(gaps) / len(gaps) * (0.9 if bins == 4 else 1)


@wrong("losses.calibration", [EDGES], "bin below")
def closed_below(probabilities, labels, bins=10):
    confidence, right = _rows(probabilities, labels)
    which = (confidence * bins).long().clamp(max=bins - 1)
    return sum(
        float((which == b).double().mean() * (confidence - right)[which == b].mean().abs())
        for b in range(bins)
        if (which == b).any()
    )


@wrong("losses.calibration", [EDGES], "was lost")
def loses_certainty(probabilities, labels, bins=10):
    confidence, right = _rows(probabilities, labels)
    error = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins) & (confidence < 1)
        if inside.any():
            gap = (confidence[inside].mean() - right[inside].mean()).abs()
            error += float(inside.double().mean() * gap)
    return error


@wrong("losses.calibration", [BINS10, BINS, EDGES], "in each bin, not of the total")
def difference_of_the_means(probabilities, labels, bins=10):
    confidence, right = _rows(probabilities, labels)
    return float((confidence.mean() - right.mean()).abs())


@wrong("losses.calibration", [BINS10, BINS, EDGES], "not percent")
def in_percent(probabilities, labels, bins=10):
    return 100 * with_bucketize(probabilities, labels, bins)


@wrong("losses.calibration", [BINS], "their number is an argument")
def ignores_the_number_of_bins(probabilities, labels, bins=10):
    return with_bucketize(probabilities, labels, 10 if bins != 4 else 4)


@wrong("losses.calibration", [BINS10, EDGES], "an empty bin has no mean")
def means_of_empty_bins(probabilities, labels, bins=10):
    confidence, right = _rows(probabilities, labels)
    which = (confidence * bins).ceil().long() - 1
    rows = [which == b for b in range(bins)]
    return float(sum(r.double().mean() * (confidence - right)[r].mean().abs() for r in rows))


@wrong("losses.calibration", [BINS10, BINS, EDGES], "not of the label")
def confidence_in_the_label(probabilities, labels, bins=10):
    _, right = _rows(probabilities, labels)
    which = ((confidence := probabilities[range(len(labels)), labels]) * bins).ceil().long() - 1
    gap = torch.zeros(bins, dtype=confidence.dtype).index_add_(0, which, confidence - right)
    return float(gap.abs().sum() / len(labels))


@wrong("losses.calibration", [EDGES], "bin below")
def bucketize_the_other_way(probabilities, labels, bins=10):
    confidence, right = _rows(probabilities, labels)
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype)
    which = torch.bucketize(confidence, edges, right=True)
    gap = torch.zeros(bins + 2, dtype=confidence.dtype).index_add_(0, which, confidence - right)
    return float(gap.abs().sum() / len(labels))


@right("losses.calibration")
def with_bucketize(probabilities, labels, bins=10):
    confidence, right = _rows(probabilities, labels)
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype)[1:-1]
    which = torch.bucketize(confidence, edges)
    gap = torch.zeros(bins, dtype=confidence.dtype).index_add_(0, which, confidence - right)
    return float(gap.abs().sum() / len(labels))


@right("losses.calibration")
def in_plain_python(probabilities, labels, bins=10):
    sums = {}
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        confidence = max(row)
        b = next(b for b in range(bins) if confidence <= (b + 1) / bins)
        sums[b] = sums.get(b, 0.0) + confidence - (row.index(confidence) == label)
    return math.fsum(abs(v) for v in sums.values()) / len(labels)


# --- chunked ------------------------------------------------------------------------------------

VALUE, SLOPE = "loss", "gradient"
LAST, PIECE = "n that is no multiple of the chunk", "never holds more than a piece"
FAR_OFF = "logits in the thousands, float64"


def _pieces(hidden, weight, labels, chunk):
    for start in range(0, len(hidden), chunk):
        h, y = hidden[start : start + chunk], labels[start : start + chunk]
        log_p = (h @ weight.T).log_softmax(1)
        p = log_p.exp()
        p[torch.arange(len(y)), y] -= 1
        yield -log_p[torch.arange(len(y)), y].sum(), p @ weight, len(y)


@wrong("losses.chunked", [PIECE], "was built")
def all_at_once(hidden, weight, labels, chunk=64):
    ((loss, slope, n),) = _pieces(hidden, weight, labels, len(hidden))
    return loss / n, slope / n


@wrong("losses.chunked", [LAST, FAR_OFF], "mean of means")
def averages_the_averages(hidden, weight, labels, chunk=64):
    pieces = list(_pieces(hidden, weight, labels, chunk))
    slope = torch.cat([s for _, s, _ in pieces]) / len(hidden)
    return torch.stack([loss / n for loss, _, n in pieces]).mean(), slope


@wrong("losses.chunked", [SLOPE, LAST, FAR_OFF, PIECE], "divide the gradient by n")
def gradient_of_the_sum(hidden, weight, labels, chunk=64):
    pieces = list(_pieces(hidden, weight, labels, chunk))
    return sum(p[0] for p in pieces) / len(hidden), torch.cat([p[1] for p in pieces])


@wrong("losses.chunked", [SLOPE, LAST, FAR_OFF, PIECE], "not by the rows of the piece")
def gradient_of_each_mean(hidden, weight, labels, chunk=64):
    pieces = list(_pieces(hidden, weight, labels, chunk))
    slope = torch.cat([s / n for _, s, n in pieces])
    return sum(p[0] for p in pieces) / len(hidden), slope


@wrong("losses.chunked", [LAST, FAR_OFF], "rows are missing")
def drops_the_last_rows(hidden, weight, labels, chunk=64):
    n = len(hidden) // chunk * chunk
    pieces = list(_pieces(hidden[:n], weight, labels[:n], chunk))
    return sum(p[0] for p in pieces) / n, torch.cat([p[1] for p in pieces]) / n


@wrong("losses.chunked", [VALUE, PIECE], "the mean is asked")
def sums_the_loss(hidden, weight, labels, chunk=64):
    pieces = list(_pieces(hidden, weight, labels, chunk))
    total = sum(p[0] for p in pieces)
    slope = torch.cat([p[1] for p in pieces]) / len(hidden)
    return (total if len(hidden) != 37 else total / 37), slope


@wrong("losses.chunked", [PIECE], "are kept")
def keeps_every_piece(hidden, weight, labels, chunk=64):
    kept, total, slopes = [], 0.0, []
    for start in range(0, len(hidden), chunk):
        h, y = hidden[start : start + chunk], labels[start : start + chunk]
        kept.append((h @ weight.T).log_softmax(1))
        p = kept[-1].exp()
        p[torch.arange(len(y)), y] -= 1
        total = total - kept[-1][torch.arange(len(y)), y].sum()
        slopes.append(p @ weight)
    return total / len(hidden), torch.cat(slopes) / len(hidden)


@wrong("losses.chunked", [VALUE, SLOPE, LAST, FAR_OFF, PIECE], "its gradient")
def returns_the_loss_alone(hidden, weight, labels, chunk=64):
    return as_a_python_float(hidden, weight, labels, chunk)[0]


@wrong("losses.chunked", [FAR_OFF], "the arguments' dtype")
def makes_single_precision_of_it(hidden, weight, labels, chunk=64):
    return as_a_python_float(hidden.float(), weight.float(), labels, chunk)


@wrong("losses.chunked", [PIECE], "was built")
def a_chunk_of_its_own(hidden, weight, labels, chunk=64):
    return with_split_and_einsum(hidden, weight, labels, chunk=64)


@right("losses.chunked")
def in_double_precision_inside(hidden, weight, labels, chunk=64):
    total, slope, wide = 0.0, torch.zeros_like(hidden), weight.double()
    for start in range(0, len(hidden), chunk):
        rows = slice(start, start + chunk)
        log_p = (hidden[rows].double() @ wide.T).log_softmax(1)
        total -= log_p.gather(1, labels[rows, None]).sum().item()
        slope[rows] = ((log_p.exp() @ wide - wide[labels[rows]]) / len(hidden)).to(slope.dtype)
    return total / len(hidden), slope


@right("losses.chunked")
def as_a_python_float(hidden, weight, labels, chunk=64):
    pieces = list(_pieces(hidden, weight, labels, chunk))
    slope = torch.cat([p[1] for p in pieces]) / len(hidden)
    return sum(p[0].item() for p in pieces) / len(hidden), slope


@right("losses.chunked")
def three_rows_at_a_time(hidden, weight, labels, chunk=64):
    pieces = list(_pieces(hidden, weight, labels, 3))
    slope = torch.cat([p[1] for p in pieces]) / len(hidden)
    return sum(p[0] for p in pieces) / len(hidden), slope


@right("losses.chunked")
def with_split_and_einsum(hidden, weight, labels, chunk=64):
    total, slopes = torch.zeros((), dtype=torch.float64), []
    for h, y in zip(hidden.split(chunk), labels.split(chunk), strict=True):
        z = torch.einsum("nd,kd->nk", h, weight)
        truth = torch.zeros_like(z).scatter_(1, y[:, None], 1.0)
        log_z = torch.logsumexp(z, 1, keepdim=True)
        total += (log_z.squeeze(1) - (z * truth).sum(1)).double().sum()
        slopes.append(torch.einsum("nk,kd->nd", (z - log_z).exp() - truth, weight))
    return (total / len(hidden)).to(hidden.dtype), torch.cat(slopes).div(len(hidden))
