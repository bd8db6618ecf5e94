"""Chapter 6's graders, graded."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from roofline.exercises.rnn import gates, walk
from roofline.grading.answers import right, wrong

# --- pad ----------------------------------------------------------------------------------------

TOKENS, LENGTHS, MASK = "tokens", "lengths", "mask"
EDGES = "an empty row, and every row too long"


def _pad(rows, width, value, side="end"):
    table = torch.full((len(rows), width), value)
    for target, row in zip(table, rows, strict=True):
        start = 0 if side == "end" else width - len(row)
        target[start : start + len(row)] = torch.tensor(row)
    lengths = torch.tensor([len(row) for row in rows])
    return table, lengths, torch.arange(width) < lengths[:, None]


@wrong("rnn.pad", [TOKENS, EDGES], "not the last")
def keeps_the_end(sequences, length, value=0):
    cut = [row[-length:] for row in sequences]
    return _pad(cut, max(map(len, cut)), value)


@wrong("rnn.pad", [TOKENS], "padding costs time")
def always_as_wide_as_allowed(sequences, length, value=0):
    return _pad([row[:length] for row in sequences], length, value)


@wrong("rnn.pad", [LENGTHS, EDGES], "count after cutting")
def lengths_before_cutting(sequences, length, value=0):
    cut = [row[:length] for row in sequences]
    tokens, _, mask = _pad(cut, max(map(len, cut)), value)
    return tokens, torch.tensor([len(row) for row in sequences]), mask


@wrong("rnn.pad", [MASK], "use the lengths")
def mask_from_the_values(sequences, length, value=0):
    cut = [row[:length] for row in sequences]
    tokens, lengths, _ = _pad(cut, max(map(len, cut)), value)
    return tokens, lengths, tokens != value


@wrong("rnn.pad", [MASK, EDGES], "True where a token is real")
def mask_of_the_padding(sequences, length, value=0):
    cut = [row[:length] for row in sequences]
    tokens, lengths, mask = _pad(cut, max(map(len, cut)), value)
    return tokens, lengths, ~mask


@wrong("rnn.pad", [TOKENS, EDGES], "behind the tokens")
def padding_in_front(sequences, length, value=0):
    cut = [row[:length] for row in sequences]
    return _pad(cut, max(map(len, cut)), value, "start")


@wrong("rnn.pad", [MASK], "as wide as the tokens")
def a_mask_as_wide_as_allowed(sequences, length, value=0):
    tokens, lengths, _ = with_lists(sequences, length, value)
    return tokens, lengths, torch.arange(length) < lengths[:, None]


@wrong("rnn.pad", [TOKENS, LENGTHS, MASK, EDGES], "in the order in which they came")
def the_longest_first(sequences, length, value=0):
    return with_lists(sorted(sequences, key=len, reverse=True), length, value)


@wrong("rnn.pad", [TOKENS, LENGTHS, EDGES], "torch's default for whole numbers")
def in_32_bits(sequences, length, value=0):
    tokens, lengths, mask = with_lists(sequences, length, value)
    return tokens.int(), lengths.int(), mask


@wrong("rnn.pad", [TOKENS], "in place")
def fills_the_lists_up(sequences, length, value=0):
    lengths = torch.tensor([min(len(row), length) for row in sequences])
    width = int(lengths.max())
    for row in sequences:
        del row[length:]
        row.extend([value] * (width - len(row)))
    return torch.tensor(sequences), lengths, torch.arange(width) < lengths[:, None]


@wrong("rnn.pad", [TOKENS, LENGTHS, MASK, EDGES], "to_padded_tensor")
def from_a_nested_tensor(sequences, length, value=0):
    rows = [torch.tensor(row[:length], dtype=torch.int64) for row in sequences]
    tokens = torch.nested.nested_tensor(rows).to_padded_tensor(value)
    return tokens, *with_lists(sequences, length, value)[1:]


@right("rnn.pad")
def column_by_column(sequences, length, value=0):
    cut = [row[:length] for row in sequences]
    columns = list(itertools.zip_longest(*cut, fillvalue=value))
    lengths = torch.tensor(list(map(len, cut)))
    return torch.tensor(columns).T, lengths, torch.arange(len(columns)) < lengths[:, None]


@right("rnn.pad")
def as_arrays(sequences, length, value=0):
    lengths = np.array([min(len(row), length) for row in sequences])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.full(mask.shape, value)
    tokens[mask] = [token for row in sequences for token in row[:length]]
    return tuple(map(torch.from_numpy, (tokens, lengths, mask)))


@right("rnn.pad")
def with_lists(sequences, length, value=0):
    cut = [list(row)[:length] for row in sequences]
    width = max(map(len, cut))
    tokens = torch.tensor([row + [value] * (width - len(row)) for row in cut])
    mask = torch.tensor([[k < len(row) for k in range(width)] for row in cut])
    return tokens, torch.tensor(list(map(len, cut))), mask


@right("rnn.pad")
def filling_a_mask(sequences, length, value=0):
    lengths = torch.tensor([min(len(row), length) for row in sequences])
    mask = torch.arange(int(lengths.max())).expand(len(sequences), -1) < lengths.unsqueeze(1)
    tokens = torch.full(mask.shape, value)
    tokens[mask] = torch.cat([torch.tensor(row[:length], dtype=torch.int64) for row in sequences])
    return [tokens, lengths, mask]


@wrong("rnn.pad", [EDGES], "give it a dtype")
def fails_on_an_empty_row(sequences, length, value=0):
    tokens, lengths, mask = with_lists(sequences, length, value)
    tokens[mask] = torch.cat([torch.tensor(row[:length]) for row in sequences])
    return tokens, lengths, mask


@wrong("rnn.pad", [EDGES], "values differ")
def an_empty_row_has_a_token(sequences, length, value=0):
    rows = [row or [value] for row in sequences]
    return with_lists(rows, length, value)


# --- step ---------------------------------------------------------------------------------------

ON, OVER, WALK = "rows that go on", "rows that are over", "the last real states after six steps"


def _new(x, h, w, r, b):
    return torch.tanh(x @ w.T + h @ r.T + b)


@wrong("rnn.step", [OVER, WALK], "padding is no input")
def ignores_alive(x, h, alive, w, r, b):
    return _new(x, h, w, r, b)


@wrong("rnn.step", [OVER, WALK], "0 forgets")
def zeroes_what_is_over(x, h, alive, w, r, b):
    return _new(x, h, w, r, b) * alive[:, None]


@wrong("rnn.step", [ON, OVER, WALK], "the ones to change")
def the_other_way_round(x, h, alive, w, r, b):
    return torch.where(alive[:, None], h, _new(x, h, w, r, b))


@wrong("rnn.step", [ON, WALK], "h @ R.T")
def without_the_transpose(x, h, alive, w, r, b):
    return torch.where(alive[:, None], _new(x, h, w, r.T, b), h)


@wrong("rnn.step", [OVER, WALK], "no input isn't no step")
def only_the_input_is_masked(x, h, alive, w, r, b):
    return torch.tanh((x @ w.T) * alive[:, None] + h @ r.T + b)


@wrong("rnn.step", [OVER, WALK], "changed its argument")
def in_place(x, h, alive, w, r, b):
    h[alive] = _new(x, h, w, r, b)[alive]
    return h


@wrong("rnn.step", [ON, WALK], "the old state is missing")
def forgets_the_old_state(x, h, alive, w, r, b):
    return torch.where(alive[:, None], torch.tanh(x @ w.T + b), h)


@wrong("rnn.step", [ON, OVER, WALK], "alive says which")
def takes_the_first_rows(x, h, alive, w, r, b):
    count, states = int(alive.sum()), h.clone()
    states[:count] = _new(x, h, w, r, b)[:count]
    return states


@wrong("rnn.step", [OVER, WALK], "tanh is part of the step")
def bends_the_old_state(x, h, alive, w, r, b):
    return torch.tanh(torch.where(alive[:, None], x @ w.T + h @ r.T + b, h))


@wrong("rnn.step", [ON, OVER, WALK], "a row for every sequence")
def leaves_rows_out(x, h, alive, w, r, b):
    return _new(x, h, w, r, b)[alive]


@wrong("rnn.step", [WALK], "the arguments' dtype")
def into_a_table_of_zeros(x, h, alive, w, r, b):
    states = torch.zeros(h.shape)
    states[alive], states[~alive] = _new(x, h, w, r, b).float()[alive], h.float()[~alive]
    return states


@wrong("rnn.step", [ON, OVER, WALK], "rnn_tanh_cell")
def torch_s_own_cell(x, h, alive, w, r, b):
    new = torch.ops.aten.rnn_tanh_cell(x, h, w, r, b, torch.zeros_like(b))
    return torch.where(alive[:, None], new, h)


@right("rnn.step")
def only_rows_that_go_on(x, h, alive, w, r, b):
    states = h.clone()
    states[alive] = _new(x[alive], h[alive], w, r, b)
    return states


@right("rnn.step")
def with_a_sum(x, h, alive, w, r, b):
    share = alive.to(h.dtype).unsqueeze(1)
    return share * _new(x, h, w, r, b) + (1 - share) * h


@right("rnn.step")
def row_by_row(x, h, alive, w, r, b):
    rows = [torch.tanh(w @ x[k] + r @ h[k] + b) if alive[k] else h[k] for k in range(len(h))]
    return torch.stack(rows)


# --- bptt ---------------------------------------------------------------------------------------

X, H0, W, R = "gradient of x", "gradient of h0", "gradients of W and b", "gradient of R"
OTHER = "other shapes, a single step too"


def _walk(x, states, d_states, w, r, slope=True, back=None):
    carried, steps = torch.zeros_like(states[0]), []
    for t in reversed(range(len(x))):
        da = (d_states[t] + carried) * (1 - states[t + 1] ** 2 if slope else 1)
        carried = da @ (r if back is None else back)
        steps.insert(0, da)
    return torch.stack(steps), carried


def _sums(da, carried, x, states, w):
    flat = da.flatten(0, 1)
    dr = flat.T @ states[:-1].flatten(0, 1)
    return da @ w, carried, flat.T @ x.flatten(0, 1), dr, flat.sum(0)


@wrong("rnn.bptt", [X, H0, W, R, OTHER], "carry it on")
def every_step_alone(x, states, d_states, w, r):
    da = d_states * (1 - states[1:] ** 2)
    return _sums(da, da[0] @ r, x, states, w)


@wrong("rnn.bptt", [X, H0, W, R, OTHER], "slope of tanh is missing")
def without_the_slope(x, states, d_states, w, r):
    return _sums(*_walk(x, states, d_states, w, r, slope=False), x, states, w)


@wrong("rnn.bptt", [R, OTHER], "before the step")
def with_the_new_state(x, states, d_states, w, r):
    dx, dh0, dw, _, db = _sums(*_walk(x, states, d_states, w, r), x, states, w)
    da, _ = _walk(x, states, d_states, w, r)
    return dx, dh0, dw, torch.einsum("tnh,tnk->hk", da, states[1:]), db


@wrong("rnn.bptt", [X, H0, W, R, OTHER], "not the last one alone")
def only_the_last_loss(x, states, d_states, w, r):
    only = torch.zeros_like(d_states)
    only[-1] = d_states[-1]
    return _sums(*_walk(x, states, only, w, r), x, states, w)


@wrong("rnn.bptt", [X, H0, W, R, OTHER], "back multiplies by R")
def transposed_on_the_way(x, states, d_states, w, r):
    return _sums(*_walk(x, states, d_states, w, r, back=r.T), x, states, w)


@wrong("rnn.bptt", [W, R, OTHER], "add up over time")
def overwrites_the_gradient(x, states, d_states, w, r):
    dx, dh0, _, _, _ = _sums(*_walk(x, states, d_states, w, r), x, states, w)
    da, _ = _walk(x, states, d_states, w, r)
    return dx, dh0, da[0].T @ x[0], da[0].T @ states[0], da[0].sum(0)


@wrong("rnn.bptt", [R, OTHER], "its shape is R's")
def gradient_of_the_transpose(x, states, d_states, w, r):
    dx, dh0, dw, dr, db = _sums(*_walk(x, states, d_states, w, r), x, states, w)
    return dx, dh0, dw, dr.T, db


@wrong("rnn.bptt", [X], "not with +=")
def adds_in_place(x, states, d_states, w, r):
    for t in range(len(x) - 2, -1, -1):
        d_states[t] += (d_states[t + 1] * (1 - states[t + 2] ** 2)) @ r
    da = d_states * (1 - states[1:] ** 2)
    return _sums(da, da[0] @ r, x, states, w)


@wrong("rnn.bptt", [X, OTHER], "turn them round")
def in_the_order_of_the_walk(x, states, d_states, w, r):
    dx, *others = _sums(*_walk(x, states, d_states, w, r), x, states, w)
    return dx.flip(0), *others


@wrong("rnn.bptt", [OTHER], "raised")
def needs_two_steps(x, states, d_states, w, r):
    da, carried = _walk(x, states, d_states, w, r)
    assert torch.equal(torch.stack([da[0], da[1]]), da[:2])
    return _sums(da, carried, x, states, w)


@wrong("rnn.bptt", [OTHER], "shape")
def loses_dimensions_of_one(x, states, d_states, w, r):
    return tuple(g.squeeze() for g in _sums(*_walk(x, states, d_states, w, r), x, states, w))


@wrong("rnn.bptt", [X, H0, W, R, OTHER], "through all steps behind")
def one_step_back_alone(x, states, d_states, w, r):
    sent = (d_states * (1 - states[1:] ** 2)) @ r
    arriving = d_states + torch.cat([sent[1:], torch.zeros_like(sent[:1])])
    da = arriving * (1 - states[1:] ** 2)
    return _sums(da, da[0] @ r, x, states, w)


@wrong("rnn.bptt", [X, H0, W, R, OTHER], "what was sent back too")
def slope_on_what_comes_from_outside(x, states, d_states, w, r):
    carried, steps = torch.zeros_like(states[0]), []
    for t in reversed(range(len(x))):
        steps.insert(0, d_states[t] * (1 - states[t + 1] ** 2) + carried)
        carried = steps[0] @ r
    return _sums(torch.stack(steps), carried, x, states, w)


@wrong("rnn.bptt", [H0, OTHER], "delta through R")
def stops_before_the_first_state(x, states, d_states, w, r):
    da, _ = _walk(x, states, d_states, w, r)
    return _sums(da, da[0], x, states, w)


@wrong("rnn.bptt", [W, R, OTHER], "not means")
def means_over_time(x, states, d_states, w, r):
    dx, dh0, *weights = _sums(*_walk(x, states, d_states, w, r), x, states, w)
    return dx, dh0, *(gradient / len(x) for gradient in weights)


@wrong("rnn.bptt", [OTHER], "the arguments' dtype")
def always_in_single_precision(x, states, d_states, w, r):
    gradients = _sums(*_walk(x, states, d_states, w, r), x, states, w)
    return tuple(gradient.float() for gradient in gradients)


@wrong("rnn.bptt", [X, H0, W, R, OTHER], "walk_back")
def from_the_library(x, states, d_states, w, r):
    return walk.walk_back(x, states, d_states, w, r)


@right("rnn.bptt")
def by_recursion(x, states, d_states, w, r):
    def back(t, carried):
        if t < 0:
            return [], carried
        da = (d_states[t] + carried) * (1 - states[t + 1].square())
        earlier, carried = back(t - 1, da @ r)
        return [*earlier, da], carried

    steps, carried = back(len(x) - 1, 0)
    return _sums(torch.stack(steps), carried, x, states, w)


@right("rnn.bptt")
def on_a_copy_in_place(x, states, d_states, w, r):
    da, slope = d_states.clone(), 1 - states[1:] ** 2
    for t in range(len(x) - 1, -1, -1):
        da[t] *= slope[t]
        if t:
            da[t - 1].addmm_(da[t], r)
    return _sums(da, da[0] @ r, x, states, w)


@right("rnn.bptt")
def sums_at_the_end(x, states, d_states, w, r):
    return _sums(*_walk(x, states, d_states, w, r), x, states, w)


@right("rnn.bptt")
def one_sequence_at_a_time(x, states, d_states, w, r):
    dx, dh0 = torch.zeros_like(x), torch.zeros_like(states[0])
    dw, dr, db = torch.zeros_like(w), torch.zeros_like(r), r.new_zeros(len(r))
    for k in range(x.shape[1]):
        carried = r.new_zeros(len(r))
        for t in range(len(x) - 1, -1, -1):
            da = (1 - states[t + 1, k].square()) * (d_states[t, k] + carried)
            dw += torch.outer(da, x[t, k])
            dr += torch.outer(da, states[t, k])
            db += da
            dx[t, k] = w.T @ da
            carried = r.T @ da
        dh0[k] = carried
    return [dx, dh0, dw, dr, db]


# --- influence ----------------------------------------------------------------------------------

NONE, ONE, SEVEN = "no step", "one step", "seven steps"


def _influence(states, r, jacobian, norm=2):
    product, norms = torch.eye(len(r), dtype=r.dtype), []
    for t in range(len(states) - 1, -1, -1):
        norms.append(torch.linalg.matrix_norm(product, norm))
        if t:
            product = product @ jacobian(states, t)
    return torch.stack(norms[::-1])


def _jacobian(states, t):
    return torch.diag(1 - states[t] ** 2)


@wrong("rnn.influence", [ONE, SEVEN], "belongs into every step")
def powers_of_r(states, recurrent):
    return _influence(states, recurrent, lambda s, t: recurrent)


@wrong("rnn.influence", [NONE, ONE, SEVEN], "Frobenius")
def norm_of_all_entries(states, recurrent):
    return _influence(states, recurrent, lambda s, t: _jacobian(s, t) @ recurrent, "fro")


@wrong("rnn.influence", [ONE, SEVEN], "at the new state")
def slope_of_the_old_state(states, recurrent):
    return _influence(states, recurrent, lambda s, t: _jacobian(s, t - 1) @ recurrent)


@wrong("rnn.influence", [SEVEN], "on the left")
def product_from_the_wrong_side(states, recurrent):
    product = torch.eye(len(recurrent), dtype=recurrent.dtype)
    norms = [torch.linalg.matrix_norm(product, 2)]
    for t in range(len(states) - 1, 0, -1):
        product = _jacobian(states, t) @ recurrent @ product
        norms.insert(0, torch.linalg.matrix_norm(product, 2))
    return torch.stack(norms)


@wrong("rnn.influence", [SEVEN], "only a bound")
def product_of_norms(states, recurrent):
    norms = [torch.ones((), dtype=recurrent.dtype)]
    for t in range(len(states) - 1, 0, -1):
        one = torch.linalg.matrix_norm(_jacobian(states, t) @ recurrent, 2)
        norms.insert(0, norms[0] * one)
    return torch.stack(norms)


@wrong("rnn.influence", [ONE, SEVEN], "the last one is 1")
def the_wrong_end_first(states, recurrent):
    return _influence(states, recurrent, lambda s, t: _jacobian(s, t) @ recurrent).flip(0)


@wrong("rnn.influence", [ONE, SEVEN], "it rules powers")
def largest_eigenvalues(states, recurrent):
    product, found = torch.eye(len(recurrent), dtype=states.dtype), []
    for t in range(len(states) - 1, -1, -1):
        found.insert(0, torch.linalg.eigvals(product).abs().max())
        if t:
            product = product @ _jacobian(states, t) @ recurrent
    return torch.stack(found)


@wrong("rnn.influence", [SEVEN], "not dh_t/dh_0")
def from_the_first_state_on(states, recurrent):
    product = torch.eye(len(recurrent), dtype=states.dtype)
    norms = [torch.linalg.matrix_norm(product, 2)]
    for t in range(1, len(states)):
        product = _jacobian(states, t) @ recurrent @ product
        norms.insert(0, torch.linalg.matrix_norm(product, 2))
    return torch.stack(norms)


@wrong("rnn.influence", [ONE, SEVEN], "not by its transpose")
def through_the_transpose(states, recurrent):
    return _influence(states, recurrent, lambda s, t: _jacobian(s, t) @ recurrent.T)


@wrong("rnn.influence", [NONE, ONE], "the arguments' dtype")
def always_in_double_precision(states, recurrent):
    states, recurrent = states.double(), recurrent.double()
    return _influence(states, recurrent, lambda s, t: _jacobian(s, t) @ recurrent)


@wrong("rnn.influence", [ONE], "take both from the arguments")
def five_states_alone(states, recurrent):
    product, norms = torch.eye(5, dtype=states.dtype), []
    for t in range(len(states) - 1, -1, -1):
        norms.insert(0, torch.linalg.matrix_norm(product, 2))
        if t:
            product = product @ _jacobian(states, t) @ recurrent
    return torch.stack(norms)


@right("rnn.influence")
def in_numpy_with_its_norm(states, recurrent):
    h, r = states.numpy(), recurrent.numpy()
    product, norms = np.eye(len(r), dtype=h.dtype), [1.0]
    for t in range(len(h) - 1, 0, -1):
        product = product @ (np.diag(1 - h[t] ** 2) @ r)
        norms.append(np.linalg.norm(product, 2))
    return torch.tensor(norms[::-1], dtype=states.dtype)


@right("rnn.influence")
def transposed_and_walking_back(states, recurrent):
    slopes = 1 - states.square()
    product = torch.eye(len(recurrent), dtype=recurrent.dtype)
    norms = torch.ones(len(states), dtype=recurrent.dtype)
    for t in range(len(states) - 2, -1, -1):
        product = recurrent.T @ (slopes[t + 1][:, None] * product)
        norms[t] = torch.linalg.svdvals(product)[0]
    return norms


@right("rnn.influence")
def each_product_anew(states, recurrent):
    norms = []
    for t in range(len(states)):
        product = torch.eye(len(recurrent), dtype=recurrent.dtype)
        for s in range(t + 1, len(states)):
            product = (1 - states[s] ** 2).unsqueeze(1) * (recurrent @ product)
        norms.append(torch.linalg.eigvalsh(product @ product.T)[-1].clamp(min=0).sqrt())
    return torch.stack(norms)


# --- lstm_step ----------------------------------------------------------------------------------

CELL, STATE, SHUT = "the cell", "the state", "a shut input gate keeps the cell"


def _gates(x, h, w, r, b):
    return (x @ w.T + h @ r.T + b).chunk(4, dim=1)


@wrong("rnn.lstm_step", [CELL, STATE], "order i, f, g, o")
def another_order(x, h, c, w, r, b):
    i, f, o, g = _gates(x, h, w, r, b)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("rnn.lstm_step", [CELL, STATE, SHUT], "i for the new")
def input_and_forget_swapped(x, h, c, w, r, b):
    f, i, g, o = _gates(x, h, w, r, b)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("rnn.lstm_step", [CELL, STATE], "tanh, not the sigmoid")
def four_sigmoids(x, h, c, w, r, b):
    i, f, g, o = (gate.sigmoid() for gate in _gates(x, h, w, r, b))
    c = f * c + i * g
    return o * c.tanh(), c


@wrong("rnn.lstm_step", [STATE], "through tanh")
def reads_the_cell_as_it_is(x, h, c, w, r, b):
    i, f, g, o = _gates(x, h, w, r, b)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c, c


@wrong("rnn.lstm_step", [STATE], "reads the new cell")
def reads_the_old_cell(x, h, c, w, r, b):
    i, f, g, o = _gates(x, h, w, r, b)
    return o.sigmoid() * c.tanh(), f.sigmoid() * c + i.sigmoid() * g.tanh()


@wrong("rnn.lstm_step", [CELL, STATE], "multiplies the old cell")
def never_forgets(x, h, c, w, r, b):
    i, f, g, o = _gates(x, h, w, r, b)
    c = c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("rnn.lstm_step", [SHUT], "take sizes and dtype from h")
def four_states_alone(x, h, c, w, r, b):
    i, f, g, o = (x @ w.T + h @ r.T + b).split(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("rnn.lstm_step", [SHUT], "torch.sigmoid stays finite")
def a_sigmoid_that_overflows(x, h, c, w, r, b):
    i, f, g, o = _gates(x, h, w, r, b)
    i, f, o = (gate.exp() / (1 + gate.exp()) for gate in (i, f, o))
    c = f * c + i * g.tanh()
    return o * c.tanh(), c


@wrong("rnn.lstm_step", [CELL, STATE, SHUT], "follow each other")
def every_fourth_row(x, h, c, w, r, b):
    i, f, g, o = ((x @ w.T + h @ r.T + b)[:, k::4] for k in range(4))
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("rnn.lstm_step", [STATE], "o is missing")
def shows_the_whole_cell(x, h, c, w, r, b):
    i, f, g, _ = _gates(x, h, w, r, b)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return c.tanh(), c


@wrong("rnn.lstm_step", [CELL, STATE, SHUT], "lstm_step")
def the_reference(x, h, c, w, r, b):
    return getattr(gates, "lstm_" + "step")(x, h, c, w, r, b)


@right("rnn.lstm_step")
def sigmoids_from_tanh(x, h, c, w, r, b):
    parts = torch.einsum("ni,gi->ng", x, w) + torch.einsum("nk,gk->ng", h, r) + b
    i, f, g, o = parts.unflatten(1, (4, -1)).transpose(0, 1)
    i, f, o = ((torch.tanh(gate / 2) + 1) / 2 for gate in (i, f, o))
    c = torch.addcmul(i * g.tanh(), f, c)
    return o * c.tanh(), c


@right("rnn.lstm_step")
def with_sliced_rows(x, h, c, w, r, b):
    n = h.shape[1]

    def part(k):
        rows = slice(k * n, (k + 1) * n)
        return x @ w[rows].T + h @ r[rows].T + b[rows]

    new = torch.sigmoid(part(1)) * c + torch.sigmoid(part(0)) * torch.tanh(part(2))
    return torch.sigmoid(part(3)) * torch.tanh(new), new


@right("rnn.lstm_step")
def with_one_product(x, h, c, w, r, b):
    gates = torch.addmm(b, torch.cat([x, h], 1), torch.cat([w, r], 1).T)
    i, f, g, o = gates.view(len(x), 4, -1).unbind(1)
    c = torch.addcmul(f.sigmoid() * c, i.sigmoid(), g.tanh())
    return [o.sigmoid() * c.tanh(), c]


# --- account ------------------------------------------------------------------------------------

PARAMETERS, FLOPS, DEEP, CHAIN = "parameters", "FLOPs", "several layers", "the chain"
BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}


def _account(kind, inputs, hidden, layers, steps, biases=2, flops=2, blocks=BLOCKS):
    parameters, work = 0, 0
    for layer in range(layers):
        width = inputs if layer == 0 else hidden
        parameters += blocks[kind] * hidden * (width + hidden + biases)
        work += flops * blocks[kind] * hidden * (width + hidden) * steps
    return parameters, work, steps + layers - 1


@wrong("rnn.account", [PARAMETERS, DEEP], "two biases")
def one_bias(kind, inputs, hidden, layers, steps):
    return _account(kind, inputs, hidden, layers, steps, biases=1)


@wrong("rnn.account", [FLOPS, DEEP], "is 2 FLOPs")
def counts_multiply_adds(kind, inputs, hidden, layers, steps):
    return _account(kind, inputs, hidden, layers, steps, flops=1)


@wrong("rnn.account", [CHAIN], "needn't wait")
def layer_after_layer(kind, inputs, hidden, layers, steps):
    return (*_account(kind, inputs, hidden, layers, steps)[:2], layers * steps)


@wrong("rnn.account", [CHAIN], "still has to climb")
def steps_alone(kind, inputs, hidden, layers, steps):
    return (*_account(kind, inputs, hidden, layers, steps)[:2], steps)


@wrong("rnn.account", [DEEP], "hidden wide")
def every_layer_reads_the_input(kind, inputs, hidden, layers, steps):
    parameters, work, _ = _account(kind, inputs, hidden, 1, steps)
    return layers * parameters, layers * work, steps + layers - 1


@wrong("rnn.account", [PARAMETERS, FLOPS, DEEP], "four blocks")
def three_gates_and_no_candidate(kind, inputs, hidden, layers, steps):
    return _account(kind, inputs, hidden, layers, steps, blocks={**BLOCKS, "lstm": 3})


@wrong("rnn.account", [PARAMETERS, FLOPS, DEEP], "block of rows too")
def gates_alone(kind, inputs, hidden, layers, steps):
    return _account(kind, inputs, hidden, layers, steps, blocks={"rnn": 1, "lstm": 3, "gru": 2})


@wrong("rnn.account", [FLOPS, DEEP], "matrix products alone")
def a_product_with_every_bias(kind, inputs, hidden, layers, steps):
    parameters, _, chain = _account(kind, inputs, hidden, layers, steps)
    return parameters, 2 * steps * parameters, chain


@wrong("rnn.account", [PARAMETERS, DEEP], "value 'rnn, ")
def one_bias_and_the_message_names_the_case(kind, inputs, hidden, layers, steps):
    return _account(kind, inputs, hidden, layers, steps, biases=1)


@wrong("rnn.account", [CHAIN], "still has to climb")
def the_longer_side(kind, inputs, hidden, layers, steps):
    return (*_account(kind, inputs, hidden, layers, steps)[:2], max(steps, layers))


@wrong("rnn.account", [PARAMETERS, FLOPS, DEEP], "share a gate")
def a_gru_like_an_lstm(kind, inputs, hidden, layers, steps):
    return _account(kind, inputs, hidden, layers, steps, blocks={**BLOCKS, "gru": 4})


@wrong("rnn.account", [DEEP], "value 'parameters, gru")
def only_an_lstm_in_layers(kind, inputs, hidden, layers, steps):
    right = _account(kind, inputs, hidden, layers, steps)
    alike = every_layer_reads_the_input(kind, inputs, hidden, layers, steps)
    return right if kind == "lstm" else alike


@wrong("rnn.account", [PARAMETERS, FLOPS, DEEP], "R is missing")
def inputs_alone(kind, inputs, hidden, layers, steps):
    rows, widths = BLOCKS[kind] * hidden, [inputs] + [hidden] * (layers - 1)
    parameters = sum(rows * (width + 2) for width in widths)
    return parameters, sum(2 * steps * rows * width for width in widths), steps + layers - 1


@wrong("rnn.account", [PARAMETERS, DEEP], "for every row of W")
def biases_as_long_as_the_state(kind, inputs, hidden, layers, steps):
    parameters, work, chain = _account(kind, inputs, hidden, layers, steps, biases=0)
    return parameters + 2 * layers * hidden, work, chain


@right("rnn.account")
def layer_upon_layer(kind, inputs, hidden, layers, steps):
    if not layers:
        return 0, 0, steps - 1
    parameters, work, chain = layer_upon_layer(kind, hidden, hidden, layers - 1, steps)
    products = np.int64(BLOCKS[kind] * hidden * (inputs + hidden))
    parameters += products + 2 * BLOCKS[kind] * hidden
    return parameters, work + 2 * steps * products, chain + 1


@right("rnn.account")
def from_torch_s_own_layer(kind, inputs, hidden, layers, steps):
    layer = getattr(torch.nn, kind.upper())(inputs, hidden, layers, device="meta")
    sizes = {name: p.numel() for name, p in layer.named_parameters()}
    weights = sum(size for name, size in sizes.items() if name.startswith("weight"))
    return [sum(sizes.values()), 2 * steps * weights, layers + steps - 1]


@right("rnn.account")
def in_closed_form(kind, inputs, hidden, layers, steps):
    gates = BLOCKS[kind]
    products = gates * hidden * (inputs + hidden) + (layers - 1) * gates * hidden * 2 * hidden
    return products + layers * 2 * gates * hidden, 2 * steps * products, steps + (layers - 1)


# --- hoisted ------------------------------------------------------------------------------------

ALL, SINGLE, LAUNCHES = "all states", "a single step", "kernel launches"


@wrong("rnn.hoisted", [LAUNCHES], "before the loop")
def as_the_formula_says(x, h0, w, r, b):
    states = []
    for row in x:
        h0 = _new(row, h0, w, r, b)
        states.append(h0)
    return torch.stack(states)


@wrong("rnn.hoisted", [LAUNCHES], "a product and a sum in one")
def hoisted_but_not_fused(x, h0, w, r, b):
    gates, states = x @ w.T + b, []
    for t in range(len(x)):
        h0 = torch.tanh(gates[t] + h0 @ r.T)
        states.append(h0)
    return torch.stack(states)


@wrong("rnn.hoisted", [LAUNCHES], "a product and a sum in one")
def fused_but_not_hoisted(x, h0, w, r, b):
    states = []
    for row in x:
        h0 = torch.addmm(torch.addmm(b, row, w.T), h0, r.T).tanh()
        states.append(h0)
    return torch.stack(states)


@wrong("rnn.hoisted", [LAUNCHES], "writing into a table")
def hoisted_then_written_into_a_table(x, h0, w, r, b):
    states = x @ w.T + b
    for t in range(len(x)):
        states[t] += h0 @ r.T
        h0 = states[t].tanh_()
    return states


@wrong("rnn.hoisted", [ALL, LAUNCHES], "from the state before it")
def no_loop_at_all(x, h0, w, r, b):
    return torch.tanh(x @ w.T + b + h0 @ r.T)


@wrong("rnn.hoisted", [ALL, SINGLE, LAUNCHES], "b is missing")
def loses_the_bias(x, h0, w, r, b):
    gates, states = x @ w.T, []
    for gate in gates:
        h0 = torch.addmm(gate, h0, r.T).tanh()
        states.append(h0)
    return torch.stack(states)


@wrong("rnn.hoisted", [ALL, SINGLE, LAUNCHES], "not the last one alone")
def only_the_last_state(x, h0, w, r, b):
    for gate in x @ w.T + b:
        h0 = torch.addmm(gate, h0, r.T).tanh()
    return h0


@wrong("rnn.hoisted", [LAUNCHES], "only torch operations are counted")
def in_numpy(x, h0, w, r, b):
    gates, h = (x @ w.T + b).numpy(), h0.numpy()
    states = []
    for gate in gates:
        h = np.tanh(gate + h @ r.numpy().T)
        states.append(h)
    return torch.from_numpy(np.stack(states))


@wrong("rnn.hoisted", [LAUNCHES], "only torch operations are counted")
def in_another_thread(x, h0, w, r, b):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(as_the_formula_says, x, h0, w, r, b).result()


@wrong("rnn.hoisted", [LAUNCHES], "by more work")
def all_steps_at_once_again_and_again(x, h0, w, r, b):
    """After k rounds the first k states are right: T rounds of few launches, T times the work."""
    gates = x @ w.T + b
    states = gates.new_zeros(len(x) + 1, *h0.shape)
    states[0] = h0
    for _ in range(len(x)):
        torch.tanh(torch.baddbmm(gates, states[:-1], r.T.expand(len(x), -1, -1)), out=states[1:])
    return states[1:]


@wrong("rnn.hoisted", [SINGLE], "take the number of steps")
def as_many_steps_as_shown(x, h0, w, r, b):
    gates, states = torch.nn.functional.linear(x, w, b), []
    for t in range(32):
        h0 = torch.addmm(gates[t], h0, r.T).tanh()
        states.append(h0)
    return torch.stack(states)


@wrong("rnn.hoisted", [ALL, LAUNCHES], "overwritten at every step")
def one_state_for_all(x, h0, w, r, b):
    gates, states, h = torch.nn.functional.linear(x, w, b), [], h0.clone()
    for gate in gates:
        h.copy_(torch.addmm(gate, h, r.T).tanh_())
        states.append(h)
    return torch.stack(states)


@wrong("rnn.hoisted", [ALL, SINGLE, LAUNCHES], "h @ r.T")
def through_the_transpose_in_the_loop(x, h0, w, r, b):
    return in_place_on_the_gates(x, h0, w, r.T, b)


@wrong("rnn.hoisted", [ALL, SINGLE, LAUNCHES], "steps first")
def sequences_first(x, h0, w, r, b):
    return in_place_on_the_gates(x, h0, w, r, b).transpose(0, 1)


@wrong("rnn.hoisted", [SINGLE, LAUNCHES], "the arguments' dtype")
def a_table_in_single_precision(x, h0, w, r, b):
    states = torch.zeros(len(x), *h0.shape)
    for t, state in enumerate(in_place_on_the_gates(x, h0, w, r, b)):
        states[t] = state
    return states


@right("rnn.hoisted")
def accumulated(x, h0, w, r, b):
    gates, back = torch.tensordot(x, w, ([2], [1])) + b, r.T
    walk = itertools.accumulate(gates, lambda h, a: torch.addmm(a, h, back).tanh(), initial=h0)
    return torch.stack(list(walk)[1:])


@right("rnn.hoisted")
def into_a_table(x, h0, w, r, b):
    gates = torch.nn.functional.linear(x, w, b)
    states = torch.empty_like(gates)
    for t in range(len(x)):
        torch.addmm(gates[t], h0, r.T, out=states[t])
        h0 = states[t].tanh_()
    return states


@right("rnn.hoisted")
def in_place_on_the_gates(x, h0, w, r, b):
    gates = torch.addmm(b, x.reshape(-1, x.shape[2]), w.T).view(len(x), len(h0), -1)
    for gate in gates:
        h0 = gate.addmm_(h0, r.T).tanh_()
    return gates
