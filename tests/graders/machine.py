"""Chapter 1's graders, graded."""

from __future__ import annotations

import functools
import math

import torch
from roofline.grading.answers import right, wrong

# --- product ------------------------------------------------------------------------------------


def _bytes(n, k, m, size):
    return size * (n * k + k * m + n * m)


@wrong("machine.product", ["FLOPs", "intensity"], "are 2 FLOPs")
def one_for_a_multiply_add(n, k, m, size=4):
    return n * k * m, _bytes(n, k, m, size), n * k * m / _bytes(n, k, m, size)


@wrong("machine.product", ["bytes", "intensity"], "the result is written")
def forgets_the_result(n, k, m, size=4):
    moved = size * (n * k + k * m)
    return 2 * n * k * m, moved, 2 * n * k * m / moved


@wrong("machine.product", ["bytes", "intensity"], "not always 4")
def always_four_bytes(n, k, m, size=4):
    return 2 * n * k * m, _bytes(n, k, m, 4), 2 * n * k * m / _bytes(n, k, m, 4)


@wrong("machine.product", ["intensity"], "FLOPs over bytes")
def upside_down(n, k, m, size=4):
    return 2 * n * k * m, _bytes(n, k, m, size), _bytes(n, k, m, size) / (2 * n * k * m)


@wrong("machine.product", ["bytes", "intensity"], "moves once")
def reads_again_for_every_entry(n, k, m, size=4):
    moved = size * (2 * n * k * m + n * m)
    return 2 * n * k * m, moved, 2 * n * k * m / moved


@wrong("machine.product", ["FLOPs", "bytes", "intensity"], "the sides differ")
def only_for_squares(n, k, m, size=4):
    return 2 * n**3, size * 3 * n * n, 2 * n / (3 * size)


@wrong("machine.product", ["intensity"], "not a whole number")
def divides_whole_numbers(n, k, m, size=4):
    return 2 * n * k * m, _bytes(n, k, m, size), 2 * n * k * m // _bytes(n, k, m, size)


@wrong("machine.product", ["FLOPs", "bytes", "intensity"], "as a tuple")
def the_flops_alone(n, k, m, size=4):
    return 2 * n * k * m


@right("machine.product")
def with_floats_in_a_list(n, k, m, size=4):
    flops = math.prod([2.0, n, k, m])
    moved = float(size) * sum([n * k, k * m, m * n])
    return [flops, moved, flops / moved]


@right("machine.product")
def with_tensors(n, k, m, size=4):
    shape = torch.tensor([n, k, m], dtype=torch.float64)
    flops = 2 * shape.prod()
    moved = size * (shape.prod() / shape).sum()
    return flops, moved, flops / moved


# --- chain --------------------------------------------------------------------------------------


@wrong("machine.chain", ["counted FLOPs"], "from the right")
def from_the_left(matrices, v):
    return functools.reduce(torch.matmul, matrices) @ v


@wrong("machine.chain", ["result", "counted FLOPs"], "raised")
def first_matrix_first(matrices, v):
    for matrix in matrices:
        v = matrix @ v
    return v


@wrong("machine.chain", ["result", "a single matrix, float64", "counted FLOPs"], "shape")
def a_column_instead_of_a_vector(matrices, v):
    v = v[:, None]
    for matrix in reversed(matrices):
        v = matrix @ v
    return v


@wrong("machine.chain", ["result", "counted FLOPs"], "shape")
def only_the_last(matrices, v):
    return matrices[-1] @ v


@wrong("machine.chain", ["counted FLOPs"], "only torch's products")
def counts_the_last_product_alone(matrices, v):
    for matrix in matrices[:0:-1]:
        v = torch.from_numpy(matrix.numpy() @ v.numpy())
    return matrices[0] @ v


@wrong("machine.chain", ["result", "a single matrix, float64", "counted FLOPs"], "in place")
def empties_the_list(matrices, v):
    while matrices:
        v = matrices.pop() @ v
    return v


@wrong("machine.chain", ["a single matrix, float64"], "may have any length")
def for_three_matrices(matrices, v):
    first, second, third = matrices
    return first @ (second @ (third @ v))


@wrong("machine.chain", ["a single matrix, float64"], "the arguments' dtype")
def in_single_precision(matrices, v):
    return recursively([m.float() for m in matrices], v.float())


@right("machine.chain")
def with_einsum(matrices, v):
    return functools.reduce(lambda w, m: torch.einsum("ij,j->i", m, w), matrices[::-1], v)


@right("machine.chain")
def recursively(matrices, v):
    if not matrices:
        return v
    return matrices[0] @ recursively(matrices[1:], v)


@right("machine.chain")
def from_the_left_transposed(matrices, v):
    row = v.unsqueeze(0)
    for matrix in matrices[::-1]:
        row = row @ matrix.T
    return row.squeeze(0)


# --- roof ---------------------------------------------------------------------------------------

TIME, RATE, BINDS, COPY = "time", "rate", "which limit binds", "a copy, without FLOPs"


@wrong("machine.roof", [TIME, RATE, COPY], "not the sum")
def adds_the_times(flops, moved, peak, bandwidth):
    a, b = flops / peak, moved / bandwidth
    return a + b + (1e-9 if not flops else 0), flops / (a + b), "compute" if a >= b else "memory"


@wrong("machine.roof", [BINDS], "say compute there")
def strict_at_the_ridge(flops, moved, peak, bandwidth):
    a, b = flops / peak, moved / bandwidth
    return max(a, b), flops / max(a, b), "compute" if a > b else "memory"


@wrong("machine.roof", [BINDS, COPY], "takes longer binds")
def swapped(flops, moved, peak, bandwidth):
    a, b = flops / peak, moved / bandwidth
    return max(a, b), flops / max(a, b), "memory" if a >= b else "compute"


@wrong("machine.roof", [COPY], "raised ZeroDivisionError")
def divides_by_flops(flops, moved, peak, bandwidth):
    intensity = flops / moved
    rate = min(peak, intensity * bandwidth)
    binds = "compute" if intensity >= peak / bandwidth else "memory"
    return flops / rate, rate, binds


@wrong("machine.roof", [RATE], "not the peak")
def rate_is_the_peak(flops, moved, peak, bandwidth):
    a, b = flops / peak, moved / bandwidth
    return max(a, b), peak if flops else 0.0, "compute" if a >= b else "memory"


@wrong("machine.roof", [TIME, RATE], "expected")
def machine_written_in(flops, moved, peak, bandwidth):
    return through_the_intensity(flops, moved, 5e10, 1e10)


@wrong("machine.roof", [BINDS, COPY], "in small letters")
def true_for_compute(flops, moved, peak, bandwidth):
    seconds, rate, binds = through_the_intensity(flops, moved, peak, bandwidth)
    return seconds, rate, binds == "compute"


@wrong("machine.roof", [COPY], "takes time all the same")
def a_copy_for_nothing(flops, moved, peak, bandwidth):
    return through_the_intensity(flops, moved, peak, bandwidth) if flops else (0.0, 0.0, "memory")


@right("machine.roof")
def through_the_intensity(flops, moved, peak, bandwidth):
    rate = min(peak, flops / moved * bandwidth)
    seconds = flops / rate if rate else moved / bandwidth
    return seconds, rate, ["memory", "compute"][rate == peak]


@right("machine.roof")
def with_max_over_pairs(flops, moved, peak, bandwidth):
    times = [(flops / peak, 1, "compute"), (moved / bandwidth, 0, "memory")]
    seconds, _, name = max(times)
    return [torch.tensor(seconds, dtype=torch.float64), flops / seconds, name]


# --- ridge batch --------------------------------------------------------------------------------

WIDE, LAST, NARROW = "a wide layer", "to the last row", "a layer that is too narrow"


def _limit(inputs, outputs, peak, bandwidth, size):
    ridge = peak / bandwidth * size
    return ridge * inputs * outputs, 2 * inputs * outputs - ridge * (inputs + outputs)


@wrong("machine.ridge_batch", [WIDE, LAST, NARROW], "input and result have bytes")
def only_the_weight(inputs, outputs, peak, bandwidth, size=4):
    return math.ceil(peak / bandwidth * size / 2)


@wrong("machine.ridge_batch", [WIDE, LAST], "round up")
def rounds_down(inputs, outputs, peak, bandwidth, size=4):
    top, below = _limit(inputs, outputs, peak, bandwidth, size)
    return math.ceil(top / below) - 1 if below > 0 else None


@wrong("machine.ridge_batch", [NARROW], "tends to")
def never_none(inputs, outputs, peak, bandwidth, size=4):
    top, below = _limit(inputs, outputs, peak, bandwidth, size)
    return max(1, math.ceil(top / below))


@wrong("machine.ridge_batch", [NARROW], "what do you divide by then")
def divides_by_zero(inputs, outputs, peak, bandwidth, size=4):
    top, below = _limit(inputs, outputs, peak, bandwidth, size)
    batch = math.ceil(top / below)
    return max(1, batch) if below > 0 else None


@wrong("machine.ridge_batch", [LAST], "counts as compute")
def strictly_above(inputs, outputs, peak, bandwidth, size=4):
    top, below = _limit(inputs, outputs, peak, bandwidth, size)
    return max(1, math.floor(top / below) + 1) if below > 0 else None


@wrong("machine.ridge_batch", [WIDE], "size bytes")
def four_bytes_always(inputs, outputs, peak, bandwidth, size=4):
    top, below = _limit(inputs, outputs, peak, bandwidth, 4)
    return max(1, math.ceil(top / below)) if below > 0 else None


@wrong("machine.ridge_batch", [WIDE], "not to the nearest")
def rounds_to_the_nearest(inputs, outputs, peak, bandwidth, size=4):
    top, below = _limit(inputs, outputs, peak, bandwidth, size)
    return max(1, round(top / below)) if below > 0 else None


@wrong("machine.ridge_batch", [LAST], "where does the search end")
def tries_ten_thousand(inputs, outputs, peak, bandwidth, size=4):
    for batch in range(1, 10_001):
        moved = size * (inputs * outputs + batch * (inputs + outputs))
        if 2 * batch * inputs * outputs * bandwidth >= moved * peak:
            return batch
    return None


@wrong("machine.ridge_batch", [WIDE, LAST, NARROW], "for every case")
def never_any(inputs, outputs, peak, bandwidth, size=4):
    batches = [None]
    return batches[0]


@right("machine.ridge_batch")
def by_search(inputs, outputs, peak, bandwidth, size=4):
    def compute(batch):
        moved = size * (inputs * outputs + batch * (inputs + outputs))
        return 2 * batch * inputs * outputs * bandwidth >= moved * peak

    high = 1
    while not compute(high):
        high *= 2
        if high > 1 << 40:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if compute(middle) else (middle, high)
    return high


@right("machine.ridge_batch")
def with_reciprocals(inputs, outputs, peak, bandwidth, size=4):
    left = 2 * bandwidth / (size * peak) - 1 / inputs - 1 / outputs
    return math.ceil(1 / left) if left > 0 else None


@right("machine.ridge_batch")
def with_fractions(inputs, outputs, peak, bandwidth, size=4):
    from fractions import Fraction

    ridge = Fraction(peak) / Fraction(bandwidth) * Fraction(size)
    below = 2 * inputs * outputs - ridge * (inputs + outputs)
    return max(1, math.ceil(ridge * inputs * outputs / below)) if below > 0 else None


# --- program ------------------------------------------------------------------------------------

TOTAL, SHARE, EMPTY = "total time", "share that only pays for starting", "an empty program"


def _times(operations, peak, bandwidth):
    return [max(f / peak, b / bandwidth) for f, b in operations]


def _share(times, overhead, total):
    return sum(overhead for t in times if t < overhead) / total if total else 0.0


@wrong("machine.program", [TOTAL, SHARE], "not the sum")
def adds_the_overhead(operations, peak, bandwidth, overhead):
    times = _times(operations, peak, bandwidth)
    total = sum(t + overhead for t in times)
    return total, _share(times, overhead, total)


@wrong("machine.program", [TOTAL], "less than the overhead")
def without_overhead(operations, peak, bandwidth, overhead):
    times = _times(operations, peak, bandwidth)
    return sum(times), _share(times, overhead, sum(max(t, overhead) for t in times))


@wrong("machine.program", [SHARE], "not of the number")
def share_of_the_operations(operations, peak, bandwidth, overhead):
    times = _times(operations, peak, bandwidth)
    total = sum(max(t, overhead) for t in times)
    return total, sum(t < overhead for t in times) / len(times) if times else 0.0


@wrong("machine.program", [EMPTY], "ZeroDivisionError")
def trips_over_an_empty_program(operations, peak, bandwidth, overhead):
    times = _times(operations, peak, bandwidth)
    total = sum(max(t, overhead) for t in times)
    return total, sum(overhead for t in times if t < overhead) / total


@wrong("machine.program", [TOTAL, SHARE], "each waits for its own limit")
def one_roof_for_all(operations, peak, bandwidth, overhead):
    if not operations:
        return 0.0, 0.0
    flops, moved = (sum(column) for column in zip(*operations, strict=True))
    total = max(flops / peak, moved / bandwidth, overhead)
    return total, _share(_times(operations, peak, bandwidth), overhead, total) + 0.001


@wrong("machine.program", [SHARE], "what exceeds its roof")
def only_the_waiting(operations, peak, bandwidth, overhead):
    times = _times(operations, peak, bandwidth)
    total = sum(max(t, overhead) for t in times)
    return total, sum(max(0.0, overhead - t) for t in times) / total if total else 0.0


@wrong("machine.program", [TOTAL, SHARE], "bytes can be the limit")
def arithmetic_only(operations, peak, bandwidth, overhead):
    return with_tensors_over_operations([(f, 0.0) for f, _ in operations], peak, 1.0, overhead)


@wrong("machine.program", [TOTAL, SHARE], "in place")
def sorts_the_argument(operations, peak, bandwidth, overhead):
    operations.sort()
    return sorted_first(operations, peak, bandwidth, overhead)


@wrong("machine.program", [TOTAL, SHARE, EMPTY], "for every case")
def nothing_takes_time(operations, peak, bandwidth, overhead):
    return 0.0, 0.0 * len(operations)


@right("machine.program")
def with_tensors_over_operations(operations, peak, bandwidth, overhead):
    table = torch.tensor(operations, dtype=torch.float64).reshape(-1, 2)
    times = torch.maximum(table[:, 0] / peak, table[:, 1] / bandwidth)
    paid = times.clamp(min=overhead)
    waiting = paid[times < overhead].sum()
    return paid.sum(), (waiting / paid.sum()).nan_to_num(0.0)


@right("machine.program")
def sorted_first(operations, peak, bandwidth, overhead):
    starting = computing = 0.0
    for flops, moved in sorted(operations):
        longest = max(flops / peak, moved / bandwidth, overhead)
        if longest == overhead:
            starting += longest
        else:
            computing += longest
    whole = starting + computing
    return whole, 0.0 if whole == 0 else starting / whole


# --- tokens -------------------------------------------------------------------------------------

SINGLE, MANY, LARGE = "one user", "many users", "a model that doesn't fit"


@wrong("machine.tokens", [MANY], "takes longer than the reading")
def bandwidth_alone(parameters, size, batch, peak, bandwidth, memory):
    return batch * bandwidth / (parameters * size) if parameters * size <= memory else 0.0


@wrong("machine.tokens", [LARGE], "don't fit")
def forgets_the_memory(parameters, size, batch, peak, bandwidth, memory):
    return batch / max(parameters * size / bandwidth, 2 * parameters * batch / peak)


@wrong("machine.tokens", [SINGLE, MANY], "bandwidth binds")
def arithmetic_alone(parameters, size, batch, peak, bandwidth, memory):
    return peak / (2 * parameters) if parameters * size <= memory else 0.0


@wrong("machine.tokens", [MANY], "all users together")
def tokens_of_one_user(parameters, size, batch, peak, bandwidth, memory):
    if parameters * size > memory:
        return 0.0
    return 1 / max(parameters * size / bandwidth, 2 * parameters * batch / peak)


@wrong("machine.tokens", [SINGLE, MANY], "the time of a step")
def seconds_instead(parameters, size, batch, peak, bandwidth, memory):
    if parameters * size > memory:
        return 0.0
    return max(parameters * size / bandwidth, 2 * parameters * batch / peak)


@right("machine.tokens")
def smaller_of_two_rates(parameters, size, batch, peak, bandwidth, memory):
    fits = parameters * size <= memory
    return fits * min(batch * bandwidth / (parameters * size), peak / (2 * parameters))


@wrong("machine.tokens", [SINGLE], "parameters times size")
def fits_by_number(parameters, size, batch, peak, bandwidth, memory):
    if parameters > memory:
        return 0.0
    return smaller_of_two_rates(parameters, size, batch, peak, bandwidth, memory)


@wrong("machine.tokens", [SINGLE, MANY, LARGE], "for every case")
def never_fits(parameters, size, batch, peak, bandwidth, memory):
    return 0.0 * parameters


@wrong("machine.tokens", [LARGE], "return 0.0")
def none_if_it_does_not_fit(parameters, size, batch, peak, bandwidth, memory):
    return smaller_of_two_rates(parameters, size, batch, peak, bandwidth, memory) or None


@wrong("machine.tokens", [SINGLE], "exactly full still fits")
def leaves_room(parameters, size, batch, peak, bandwidth, memory):
    if parameters * size >= memory:
        return 0.0
    return min(batch * bandwidth / (parameters * size), peak / (2 * parameters))


@right("machine.tokens")
def through_the_roofline(parameters, size, batch, peak, bandwidth, memory):
    room = memory - parameters * size
    if room < 0:
        return 0
    intensity = 2 * batch / size
    return torch.tensor(min(peak, intensity * bandwidth) / (2 * parameters), dtype=torch.float64)


# --- distances ----------------------------------------------------------------------------------

VALUES, POSITIVE, LARGEST = "values", "never negative", "one matrix product, nothing larger"


@wrong("machine.distances", [LARGEST], "all differences were built")
def all_differences(x, y):
    return ((x[:, None] - y[None]) ** 2).sum(-1)


@wrong("machine.distances", [POSITIVE], "cut it off")
def not_clamped(x, y):
    return (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T


@wrong("machine.distances", [VALUES, POSITIVE, LARGEST], "no root")
def takes_the_root(x, y):
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    return squares.clamp(min=0).sqrt()


@wrong("machine.distances", [VALUES, POSITIVE, LARGEST], "counts twice")
def product_once(x, y):
    return ((x * x).sum(1)[:, None] + (y * y).sum(1) - x @ y.T).clamp(min=0)


@wrong("machine.distances", [VALUES, POSITIVE, LARGEST], "transposed")
def rows_of_y(x, y):
    return ((y * y).sum(1)[:, None] + (x * x).sum(1) - 2 * y @ x.T).clamp(min=0)


@wrong("machine.distances", [LARGEST], "the arguments' dtype")
def in_single_precision_always(x, y):
    return with_addmm_in_place(x.float(), y.float())


@wrong("machine.distances", [LARGEST], "small distances count")
def cut_off_above_zero(x, y):
    return ((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T).clamp(min=1e-3)


@right("machine.distances")
def around_the_mean_of_y(x, y):
    middle = y.mean(0)
    x, y = x - middle, y - middle
    return torch.relu(x.square().sum(1, keepdim=True) - 2 * (x @ y.mT) + y.square().sum(1))


@right("machine.distances")
def as_one_product(x, y):
    one_x, one_y = torch.ones(len(x), 1), torch.ones(len(y), 1)
    left = torch.cat([(x * x).sum(1, keepdim=True), one_x, -2 * x], 1)
    right_side = torch.cat([one_y, (y * y).sum(1, keepdim=True), y], 1)
    return torch.relu(left @ right_side.T)


@wrong("machine.distances", [LARGEST], "one matrix product")
def row_by_row(x, y):
    return torch.stack([((y - row) ** 2).sum(1) for row in x])


@wrong("machine.distances", [LARGEST], "small distances count, too")
def small_ones_are_zero(x, y):
    squares = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    return torch.where(squares < 0.1, 0.0, squares)


@wrong("machine.distances", [LARGEST], "reads y again")
def a_vector_at_a_time(x, y):
    squares = (y * y).sum(1)
    return torch.stack([((row * row).sum() + squares - 2 * y @ row).clamp(min=0) for row in x])


@wrong("machine.distances", [LARGEST], "only their diagonal")
def squares_from_all_products(x, y):
    squares = (x @ x.T).diag()[:, None] + (y @ y.T).diag()
    return (squares - 2 * x @ y.T).clamp(min=0)


@wrong("machine.distances", [LARGEST], "one matrix product")
def one_column_at_a_time(x, y):
    squares = x.new_zeros(len(x), len(y))
    for j in range(x.shape[1]):
        squares += (x[:, j, None] - y[:, j]) ** 2
    return squares


@right("machine.distances")
def with_addmm_in_place(x, y):
    squares = x.pow(2).sum(1, keepdim=True) + y.pow(2).sum(1)
    return squares.addmm_(x, y.T, alpha=-2).clamp_(min=0)


@right("machine.distances")
def in_double_precision(x, y):
    a, b = x.double(), y.double()
    squares = torch.einsum("id,id->i", a, a)[:, None] + torch.einsum("jd,jd->j", b, b)
    return (squares - 2 * torch.einsum("id,jd->ij", a, b)).clamp_min(0).to(x.dtype)
