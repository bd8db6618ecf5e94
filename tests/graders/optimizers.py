"""Chapter 4's graders, graded."""

from __future__ import annotations

import math

import torch
from roofline.grading.answers import right, wrong

# --- rates --------------------------------------------------------------------------------------


def _bounds(curvatures):
    return min(curvatures), max(curvatures)


@wrong("optimizers.rates", ["limit"], "still no growth")
def limit_at_the_bottom(curvatures):
    low, high = _bounds(curvatures)
    return 1 / high, 2 / (low + high), (high - low) / (high + low)


@wrong("optimizers.rates", ["best"], "serves the steep direction alone")
def best_for_the_steepest(curvatures):
    low, high = _bounds(curvatures)
    return 2 / high, 1 / high, (high - low) / (high + low)


@wrong("optimizers.rates", ["factor"], "at the rate 1/λ")
def factor_of_another_rate(curvatures):
    low, high = _bounds(curvatures)
    return 2 / high, 2 / (low + high), 1 - low / high


@wrong("optimizers.rates", ["limit"], "first to grow")
def limit_of_the_flattest(curvatures):
    low, high = _bounds(curvatures)
    return 2 / low, 2 / (low + high), (high - low) / (high + low)


@wrong("optimizers.rates", ["factor"], "the factor follows from it")
def condition_number(curvatures):
    low, high = _bounds(curvatures)
    return 2 / high, 2 / (low + high), high / low


@right("optimizers.rates")
def through_the_condition_number(curvatures):
    ordered = sorted(curvatures)
    kappa = ordered[-1] / ordered[0]
    return [2 / ordered[-1], 2 / ordered[-1] / (1 + 1 / kappa), (kappa - 1) / (kappa + 1)]


@right("optimizers.rates")
def by_bisection(curvatures):
    bends = torch.tensor(curvatures, dtype=torch.float64)
    low, high = 0.0, float(2 / bends.max())
    limit = high
    for _ in range(80):
        middle = (low + high) / 2
        if 1 - middle * bends.min() > middle * bends.max() - 1:
            low = middle
        else:
            high = middle
    return torch.tensor(limit, dtype=torch.float64), low, float((1 - low * bends).abs().max())


# --- momentum -----------------------------------------------------------------------------------

ONE, TWO, NESTEROV = "one step", "two steps", "nesterov"


def _momentum(theta, v, step, rate):
    return theta - rate * step, v


@wrong("optimizers.momentum", [ONE, TWO, NESTEROV], "a sum, not a mean")
def averages(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    v = beta * velocity + (1 - beta) * gradient
    return _momentum(theta, v, gradient + beta * v if nesterov else v, rate)


@wrong("optimizers.momentum", [ONE, TWO, NESTEROV], "outside the velocity")
def rate_inside(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    v = beta * velocity + rate * gradient
    return theta - v, v


@wrong("optimizers.momentum", [NESTEROV], "no effect")
def ignores_nesterov(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    v = beta * velocity + gradient
    return theta - rate * v, v


@wrong("optimizers.momentum", [ONE, TWO], "not with the old one")
def steps_with_the_old_velocity(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    v = beta * velocity + gradient
    return _momentum(theta, v, gradient + beta * v if nesterov else velocity, rate)


@wrong("optimizers.momentum", [ONE, TWO, NESTEROV], "theta first")
def returns_them_swapped(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    v = beta * velocity + gradient
    return v, theta - rate * (gradient + beta * v if nesterov else v)


@wrong("optimizers.momentum", [ONE, TWO, NESTEROV], "in place")
def changes_its_arguments(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    velocity.mul_(beta).add_(gradient)
    theta -= rate * (gradient + beta * velocity if nesterov else velocity)
    return theta, velocity


@right("optimizers.momentum")
def with_add_and_alpha(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    v = gradient.add(velocity, alpha=beta)
    step = gradient.add(v, alpha=beta) if nesterov else v
    return [torch.sub(theta, step, alpha=rate), v]


@right("optimizers.momentum")
def entry_by_entry(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    new_theta, new_velocity = theta.clone(), velocity.clone()
    for i in range(theta.numel()):
        v = beta * float(velocity.flatten()[i]) + float(gradient.flatten()[i])
        step = float(gradient.flatten()[i]) + beta * v if nesterov else v
        new_velocity.view(-1)[i] = v
        new_theta.view(-1)[i] -= rate * step
    return new_theta, new_velocity


# --- clip ---------------------------------------------------------------------------------------

LONG, SHORT = "long gradients", "short gradients stay"
NORM, ZERO = "the norm that was found", "gradients of zero"


def _norm(gradients):
    return math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))


@wrong("optimizers.clip", [LONG], "a joint norm")
def tensor_by_tensor(gradients, largest):
    clipped = [g * min(1.0, largest / max(float(g.norm()), 1e-12)) for g in gradients]
    return clipped, _norm(gradients)


@wrong("optimizers.clip", [LONG], "cuts each entry")
def entry_by_entry_clamp(gradients, largest):
    return [g.clamp(-largest, largest) for g in gradients], _norm(gradients)


@wrong("optimizers.clip", [SHORT], "never above 1")
def stretches_short_ones(gradients, largest):
    norm = _norm(gradients)
    return [g * (largest / norm) if norm else g for g in gradients], norm


@wrong("optimizers.clip", [ZERO], "don't divide")
def divides_by_zero(gradients, largest):
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    return [
        torch.where(norm > largest, g * largest / norm, g * (norm / norm)) for g in gradients
    ], (float(norm))


@wrong("optimizers.clip", [NORM], "before clipping")
def returns_the_norm_afterwards(gradients, largest):
    norm = _norm(gradients)
    return [g * min(1.0, largest / max(norm, 1e-9)) for g in gradients], min(norm, largest)


@right("optimizers.clip")
def through_one_flat_vector(gradients, largest):
    flat = torch.cat([g.reshape(-1) for g in gradients])
    norm = torch.linalg.vector_norm(flat)
    flat = flat * torch.clamp(largest / (norm + 1e-12), max=1.0)
    pieces = flat.split([g.numel() for g in gradients])
    return tuple(p.view(g.shape) for p, g in zip(pieces, gradients, strict=True)), norm


@right("optimizers.clip")
def with_an_early_return(gradients, largest):
    norm = math.hypot(*(float(g.norm()) for g in gradients))
    if norm <= largest:
        return [g.clone() for g in gradients], norm
    return [g / norm * largest for g in gradients], norm


# --- accumulate ---------------------------------------------------------------------------------

EVEN, UNEVEN = "equal pieces", "a last piece that is shorter"
MEAN, ALONE = "the mean loss", "one piece at a time"


def _pieces(x, y, size):
    for start in range(0, len(x), size):
        yield x[start : start + size], y[start : start + size]


@wrong("optimizers.accumulate", [EVEN, UNEVEN, ALONE], "what share of the batch")
def adds_up_means(parameters, loss_of, x, y, size):
    total = 0.0
    for a, b in _pieces(x, y, size):
        loss = loss_of(a, b)
        loss.backward()
        total += loss.item() * len(a) / len(x)
    return total


@wrong("optimizers.accumulate", [UNEVEN, MEAN, ALONE], "pieces differ in size")
def mean_of_means(parameters, loss_of, x, y, size):
    number, total = math.ceil(len(x) / size), 0.0
    for a, b in _pieces(x, y, size):
        loss = loss_of(a, b) * (1 / number)
        loss.backward()
        total += loss.item()
    return total


@wrong("optimizers.accumulate", [ALONE], "pieces of [10] rows")
def all_at_once(parameters, loss_of, x, y, size):
    loss = loss_of(x, y)
    loss.backward()
    return loss.item()


@wrong("optimizers.accumulate", [EVEN, UNEVEN, ALONE], "only the last piece is left")
def clears_between(parameters, loss_of, x, y, size):
    total = 0.0
    for a, b in _pieces(x, y, size):
        for p in parameters:
            p.grad = None
        loss = loss_of(a, b)
        loss.backward()
        total += loss.item() * len(a) / len(x)
    return total


@wrong("optimizers.accumulate", [ALONE], "before the next one runs")
def one_walk_at_the_end(parameters, loss_of, x, y, size):
    total = None
    for a, b in _pieces(x, y, size):
        loss = loss_of(a, b) * (len(a) / len(x))
        total = loss if total is None else total + loss
    total.backward()
    return total.item()


@wrong("optimizers.accumulate", [EVEN, UNEVEN, ALONE], "no gradient arrived")
def forgets_backward(parameters, loss_of, x, y, size):
    return sum(loss_of(a, b).item() * len(a) / len(x) for a, b in _pieces(x, y, size))


@right("optimizers.accumulate")
def with_a_gradient_to_start_from(parameters, loss_of, x, y, size):
    total = 0.0
    for a, b in zip(x.split(size), y.split(size), strict=True):
        loss = loss_of(a, b)
        loss.backward(torch.tensor(len(a) / len(x)))
        total += len(a) * loss.item()
    return total / len(x)


@right("optimizers.accumulate")
def scaled_at_the_end(parameters, loss_of, x, y, size):
    total, sums = 0.0, [torch.zeros_like(p.data) for p in parameters]
    for a, b in _pieces(x, y, size):
        loss = loss_of(a, b)
        loss.backward()
        total += loss.item() * len(a)
        for s, p in zip(sums, parameters, strict=True):
            s += p.grad * len(a)
            p.grad = None
    for s, p in zip(sums, parameters, strict=True):
        p.grad = s / len(x)
    return total / len(x)


# --- adamw --------------------------------------------------------------------------------------

FIRST, SECOND = "the first step", "the second step"
SETTINGS, DECAY = "other betas and epsilon", "decay beside the gradient"


def _adam(theta, g, m, v, t, rate, betas, epsilon, hats=(1, 1), inside=False):
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * g * g
    top = m / (1 - betas[0] ** t) if hats[0] else m
    below = v / (1 - betas[1] ** t) if hats[1] else v
    scale = (below + epsilon).sqrt() if inside else below.sqrt() + epsilon
    return theta - rate * top / scale, m, v


@wrong("optimizers.adamw", [FIRST, SECOND, SETTINGS, DECAY], "both means need")
def without_hats(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    start = (1 - rate * decay) * theta
    return _adam(start, g, m, v, t, rate, betas, epsilon, hats=(0, 0))


@wrong("optimizers.adamw", [FIRST, SECOND, SETTINGS, DECAY], "v needs its hat")
def one_hat(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    start = (1 - rate * decay) * theta
    return _adam(start, g, m, v, t, rate, betas, epsilon, hats=(1, 0))


@wrong("optimizers.adamw", [DECAY], "goes around the gradient")
def decay_as_a_penalty(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    return _adam(theta, g + decay * theta, m, v, t, rate, betas, epsilon)


@wrong("optimizers.adamw", [SETTINGS], "outside the root")
def epsilon_inside(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    start = (1 - rate * decay) * theta
    return _adam(start, g, m, v, t, rate, betas, epsilon, inside=True)


@wrong("optimizers.adamw", [SETTINGS], "come as arguments")
def constants_written_in(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    start = (1 - rate * decay) * theta
    return _adam(start, g, m, v, t, rate, (0.9, 0.999), 1e-8)


@wrong("optimizers.adamw", [DECAY], "multiplied by the rate")
def decay_without_the_rate(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    new, m, v = _adam(theta, g, m, v, t, rate, betas, epsilon)
    return new - decay * theta, m, v


@right("optimizers.adamw")
def with_lerp_and_addcdiv(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    m = torch.lerp(m, g, 1 - betas[0])
    v = torch.lerp(v, g.square(), 1 - betas[1])
    root = math.sqrt(1 - betas[1] ** t)
    scale = v.sqrt() / root + epsilon
    theta = theta * (1 - rate * decay)
    return theta.addcdiv(m, scale, value=-rate / (1 - betas[0] ** t)), m, v


@right("optimizers.adamw")
def in_double_precision(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    theta, g, m, v = (x.double() for x in (theta, g, m, v))
    decayed = theta - rate * decay * theta
    return tuple(x.float() for x in _adam(decayed, g, m, v, t, rate, betas, epsilon))


# --- state bytes --------------------------------------------------------------------------------

FP32, MIXED = "float32", "mixed precision, SGD and momentum"
ADAM, LARGE = "mixed precision, Adam", "7 billion parameters, an exact int"
SLOTS = {"sgd": 0, "momentum": 1, "adam": 2}


@wrong("optimizers.state_bytes", [MIXED, ADAM, LARGE], "copy of the weights")
def no_master_copy(parameters, optimizer, precision="fp32"):
    per = 8 if precision == "fp32" else 4
    return parameters * (per + 4 * SLOTS[optimizer])


@wrong("optimizers.state_bytes", [FP32], "both count")
def forgets_gradients(parameters, optimizer, precision="fp32"):
    per = 4 if precision == "fp32" else 8
    return parameters * (per + 4 * SLOTS[optimizer])


@wrong("optimizers.state_bytes", [MIXED, ADAM, LARGE], "gradients have 2 bytes")
def gradients_of_four_bytes(parameters, optimizer, precision="fp32"):
    per = 8 if precision == "fp32" else 10
    return parameters * (per + 4 * SLOTS[optimizer])


@wrong("optimizers.state_bytes", [FP32, ADAM, LARGE], "two numbers")
def adam_like_momentum(parameters, optimizer, precision="fp32"):
    return parameters * (8 + 4 * min(SLOTS[optimizer], 1))


@wrong("optimizers.state_bytes", [ADAM, MIXED, LARGE], "4 bytes")
def everything_halved(parameters, optimizer, precision="fp32"):
    size = 4 if precision == "fp32" else 2
    return parameters * size * (2 + SLOTS[optimizer])


@wrong("optimizers.state_bytes", [LARGE], "expected an int")
def as_a_float(parameters, optimizer, precision="fp32"):
    return float(part_by_part(parameters, optimizer, precision))


@right("optimizers.state_bytes")
def from_a_table(parameters, optimizer, precision="fp32"):
    table = {"fp32": {"sgd": 8, "momentum": 12, "adam": 16}}
    table["mixed"] = {name: 4 + 4 + 4 * slots for name, slots in SLOTS.items()}
    return table[precision][optimizer] * parameters


@right("optimizers.state_bytes")
def part_by_part(parameters, optimizer, precision="fp32"):
    weights = gradients = 4 if precision == "fp32" else 2
    copy = 0 if precision == "fp32" else 4
    state = sum(4 for _ in range(SLOTS[optimizer]))
    return sum(parameters * size for size in (weights, gradients, copy, state))


# --- lean adam ----------------------------------------------------------------------------------

VALUES = "theta, m and v after two steps"
TEMPORARIES, LAUNCHES = "temporaries", "kernel launches"


@wrong("optimizers.lean_adam", [TEMPORARIES, LAUNCHES], "bytes")
def as_printed(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    new = _adam(theta, g, m, v, t, rate, betas, epsilon)
    for old, value in zip((theta, m, v), new, strict=True):
        old.copy_(value)


@wrong("optimizers.lean_adam", [VALUES, TEMPORARIES, LAUNCHES], "nothing changed")
def renames_instead_of_changing(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    theta, m, v = _adam(theta, g, m, v, t, rate, betas, epsilon)


@wrong("optimizers.lean_adam", [VALUES, TEMPORARIES, LAUNCHES], "scaled to match")
def epsilon_not_scaled(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    m.lerp_(g, 1 - betas[0])
    v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    root = math.sqrt(1 - betas[1] ** t)
    theta.addcdiv_(m, v.sqrt().add_(epsilon), value=-rate * root / (1 - betas[0] ** t))


@wrong("optimizers.lean_adam", [VALUES, TEMPORARIES, LAUNCHES], "hats are missing")
def no_hats(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    m.lerp_(g, 1 - betas[0])
    v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    theta.addcdiv_(m, v.sqrt().add_(epsilon), value=-rate)


@wrong("optimizers.lean_adam", [LAUNCHES], "in one pass")
def many_small_passes(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    scratch = g.clone()
    m.mul_(betas[0]).add_(scratch.mul_(1 - betas[0]))
    scratch.copy_(g).mul_(g).mul_(1 - betas[1])
    v.mul_(betas[1]).add_(scratch)
    scratch.copy_(v).div_(1 - betas[1] ** t).sqrt_().add_(epsilon)
    theta.addcdiv_(m, scratch, value=-rate / (1 - betas[0] ** t))


@wrong("optimizers.lean_adam", [TEMPORARIES, LAUNCHES], "only torch operations")
def in_numpy(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    a, b, c, d = (x.numpy() for x in (theta, g, m, v))
    c[:] = betas[0] * c + (1 - betas[0]) * b
    d[:] = betas[1] * d + (1 - betas[1]) * b**2
    a -= rate * (c / (1 - betas[0] ** t)) / ((d / (1 - betas[1] ** t)) ** 0.5 + epsilon)


@right("optimizers.lean_adam")
def with_sqrt_of_the_hat(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
    v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
    scale = (v / (1 - betas[1] ** t)).sqrt_().add_(epsilon)
    theta.addcdiv_(m, scale, value=-rate / (1 - betas[0] ** t))


@right("optimizers.lean_adam")
def epsilon_moved_to_the_rate(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    root = (1 - betas[1] ** t) ** 0.5
    torch.lerp(m, g, 1 - betas[0], out=m)
    v.mul_(betas[1])
    v.addcmul_(g, g, value=1 - betas[1])
    scale = torch.sqrt(v)
    scale += epsilon * root
    theta.addcdiv_(m, scale, value=-rate * root / (1 - betas[0] ** t))
