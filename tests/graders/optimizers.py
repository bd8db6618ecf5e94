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


@wrong("optimizers.rates", ["limit", "best", "factor"], "in any order and number")
def the_first_and_the_last(curvatures):
    low, high = curvatures[0], curvatures[-1]
    return 2 / high, 2 / (low + high), (high - low) / (high + low)


@wrong("optimizers.rates", ["limit", "best", "factor"], "in place")
def sorts_the_argument(curvatures):
    curvatures.sort()
    return the_first_and_the_last(curvatures)


@wrong("optimizers.rates", ["factor"], "belong to momentum")
def factor_of_momentum(curvatures):
    low, high = (math.sqrt(v) for v in _bounds(curvatures))
    return 2 / high**2, 2 / (low**2 + high**2), (high - low) / (high + low)


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

ONE, TWO, NESTEROV = "one step", "two steps", "nesterov, float64"


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


@wrong("optimizers.momentum", [ONE, TWO, NESTEROV], "stand outside")
def velocity_that_points_down(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    v = beta * velocity - rate * gradient
    return theta + (beta * v - rate * gradient if nesterov else v), v


@wrong("optimizers.momentum", [NESTEROV], "return the velocity")
def returns_the_step(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    v = beta * velocity + gradient
    step = gradient + beta * v if nesterov else v
    return theta - rate * step, step


@wrong("optimizers.momentum", [NESTEROV], "the arguments' dtype")
def in_single_precision(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    theta, gradient, velocity = theta.float(), gradient.float(), velocity.float()
    return with_add_and_alpha(theta, gradient, velocity, rate, beta, nesterov)


@wrong("optimizers.momentum", [ONE, TWO, NESTEROV], "torch.optim.sgd.sgd")
def the_function_behind_the_class(theta, gradient, velocity, rate, beta=0.9, nesterov=False):
    from torch.optim.sgd import sgd as step

    theta, velocity = theta.clone(), velocity.clone()
    step(
        *([theta], [gradient], [velocity]),
        **{"lr": rate, "momentum": beta, "nesterov": nesterov, "maximize": False},
        **{"weight_decay": 0, "dampening": 0, "foreach": False},
    )
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

LONG, SHORT = "long gradients", "short gradients stay, float64"
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


@wrong("optimizers.clip", [LONG], "largest is an argument")
def to_a_length_of_one(gradients, largest):
    norm = _norm(gradients)
    return [g / norm if norm > largest else g for g in gradients], norm


@wrong("optimizers.clip", [LONG, NORM], "isn't the largest of the norms")
def by_the_longest_tensor(gradients, largest):
    norm = max(float(g.norm()) for g in gradients)
    return [g * min(1.0, largest / max(norm, 1e-12)) for g in gradients], norm


@wrong("optimizers.clip", [LONG, SHORT, NORM, ZERO], "return two things")
def returns_the_gradients_alone(gradients, largest):
    return with_an_early_return(gradients, largest)[0]


@wrong("optimizers.clip", [LONG, SHORT, NORM, ZERO], "get_total_norm")
def lets_torch_find_the_norm(gradients, largest):
    norm = torch.nn.utils.get_total_norm(gradients)
    return [g * torch.clamp(largest / (norm + 1e-12), max=1.0) for g in gradients], norm


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


@wrong("optimizers.accumulate", [ALONE], "pieces hold size rows")
def row_by_row(parameters, loss_of, x, y, size):
    return with_a_gradient_to_start_from(parameters, loss_of, x, y, 1)


@wrong("optimizers.accumulate", [UNEVEN, MEAN, ALONE], "after the last full piece")
def drops_the_last_rows(parameters, loss_of, x, y, size):
    total = 0.0
    for i in range(len(x) // size):
        rows = slice(i * size, (i + 1) * size)
        loss = loss_of(x[rows], y[rows]) * (size / len(x))
        loss.backward()
        total += loss.item()
    return total


@wrong("optimizers.accumulate", [MEAN], "holds its tape")
def returns_a_tensor(parameters, loss_of, x, y, size):
    total = 0.0
    for a, b in _pieces(x, y, size):
        loss = loss_of(a, b) * (len(a) / len(x))
        loss.backward()
        total = total + loss
    return total


@wrong("optimizers.accumulate", [EVEN, UNEVEN, ALONE], "leave p.data alone")
def takes_the_step_too(parameters, loss_of, x, y, size):
    total = with_a_gradient_to_start_from(parameters, loss_of, x, y, size)
    for p in parameters:
        p.data = p.data - 0.1 * p.grad
    return total


@right("optimizers.accumulate")
def by_recursion(parameters, loss_of, x, y, size, rows=None):
    rows = rows or len(x)
    if not len(x):
        return 0.0
    loss = loss_of(x[:size], y[:size]) * (len(x[:size]) / rows)
    loss.backward()
    return loss.item() + by_recursion(parameters, loss_of, x[size:], y[size:], size, rows)


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
SETTINGS, DECAY = "other betas and epsilon, float64", "decay beside the gradient"


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


@wrong("optimizers.adamw", [FIRST, SECOND, SETTINGS, DECAY], "without their hats")
def keeps_the_hats(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    m = (betas[0] * m + (1 - betas[0]) * g) / (1 - betas[0] ** t)
    v = (betas[1] * v + (1 - betas[1]) * g * g) / (1 - betas[1] ** t)
    return (1 - rate * decay) * theta - rate * m / (v.sqrt() + epsilon), m, v


@wrong("optimizers.adamw", [SECOND, SETTINGS, DECAY], "use t itself")
def powers_of_the_step_before(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    return with_lerp_and_addcdiv(theta, g, m, v, max(1, t - 1), rate, betas, epsilon, decay)


@wrong("optimizers.adamw", [SETTINGS], "not of v")
def epsilon_beside_the_root_of_v(
    theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0
):
    m, v = torch.lerp(m, g, 1 - betas[0]), torch.lerp(v, g * g, 1 - betas[1])
    scaled = rate * math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
    return (1 - rate * decay) * theta - scaled * m / (v.sqrt() + epsilon), m, v


@wrong("optimizers.adamw", [DECAY], "before the step")
def decay_after_the_step(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    theta, m, v = _adam(theta, g, m, v, t, rate, betas, epsilon)
    return (1 - rate * decay) * theta, m, v


@wrong("optimizers.adamw", [FIRST, SECOND, SETTINGS, DECAY], "_fused_adamw_")
def the_fused_kernel(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8, decay=0.0):
    theta, m, v = theta.clone(), m.clone(), v.clone()
    torch._fused_adamw_(
        *([theta], [g], [m], [v], [], [torch.tensor(float(t))]),
        **{"lr": rate, "beta1": betas[0], "beta2": betas[1], "weight_decay": decay},
        **{"eps": epsilon, "amsgrad": False, "maximize": False},
    )
    return theta, m, v


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
    wide, g, m, v = (x.double() for x in (theta, g, m, v))
    decayed = wide - rate * decay * wide
    return tuple(x.to(theta.dtype) for x in _adam(decayed, g, m, v, t, rate, betas, epsilon))


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


@wrong("optimizers.state_bytes", [FP32, MIXED, ADAM, LARGE], "for one parameter")
def for_one_parameter(parameters, optimizer, precision="fp32"):
    return 8 + 4 * SLOTS[optimizer]


@wrong("optimizers.state_bytes", [FP32, MIXED], "SGD keeps no state")
def adam_always(parameters, optimizer, precision="fp32"):
    return 16 * parameters


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


@wrong("optimizers.lean_adam", [TEMPORARIES, LAUNCHES], "only torch operations")
def in_numpy_with_a_torch_operation(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    in_numpy(theta, g, m, v, t, rate, betas, epsilon)
    m.mul_(1.0)


@wrong("optimizers.lean_adam", [VALUES, TEMPORARIES, LAUNCHES], "betas come as an argument")
def betas_written_in(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    with_sqrt_of_the_hat(theta, g, m, v, t, rate, (0.9, 0.999), epsilon)


@wrong("optimizers.lean_adam", [VALUES, TEMPORARIES, LAUNCHES], "leave the gradient")
def writes_into_the_gradient(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    m.lerp_(g, 1 - betas[0])
    v.mul_(betas[1]).add_(g.square_(), alpha=1 - betas[1])
    root = math.sqrt(1 - betas[1] ** t)
    torch.sqrt(v, out=g).add_(epsilon * root)
    theta.addcdiv_(m, g, value=-rate * root / (1 - betas[0] ** t))


@right("optimizers.lean_adam")
def with_a_list_of_one(theta, g, m, v, t, rate, betas=(0.9, 0.999), epsilon=1e-8):
    root = math.sqrt(1 - betas[1] ** t)
    torch._foreach_lerp_([m], [g], 1 - betas[0])
    torch._foreach_mul_([v], betas[1])
    torch._foreach_addcmul_([v], [g], [g], 1 - betas[1])
    scale = torch._foreach_sqrt([v])
    torch._foreach_add_(scale, epsilon * root)
    torch._foreach_addcdiv_([theta], [m], scale, -rate * root / (1 - betas[0] ** t))


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
