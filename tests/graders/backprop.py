"""Chapter 2's graders, graded: mistakes that learners make, and right answers written oddly."""

from __future__ import annotations

import functools
import heapq
import itertools
import math

import torch
from roofline import autograd
from roofline.grading.answers import right, wrong

# --- sigmoid ------------------------------------------------------------------------------------

LATER = "remembers one tensor"
ALONE = "remembers nothing but its result"
FAR = "at inputs up to ±1000, float64"


@wrong("backprop.sigmoid", ["gradient", ALONE], "derivative alone")
def forgets_what_arrives(x):
    y = torch.sigmoid(x)
    return y, lambda dy: (y * (1 - y),)


@wrong(
    "backprop.sigmoid",
    ["gradient", ALONE, FAR],
    "written in the result",
)
def derivative_in_x(x):
    return torch.sigmoid(x), lambda dy: (dy * x * (1 - x),)


@wrong("backprop.sigmoid", [ALONE], "refer to the result alone")
def remembers_argument_and_result(x):
    y = torch.sigmoid(x)
    return y, lambda dy: (dy * y * (1 - y) + 0 * x,)


@wrong("backprop.sigmoid", ["gradient", ALONE, FAR], "a tuple of 0")
def returns_a_function_that_returns_nothing(x):
    y = torch.sigmoid(x)

    def pullback(dy):
        return ()

    return y, pullback


@wrong("backprop.sigmoid", ["gradient", ALONE, FAR], "a tensor of shape")
def gradient_is_no_tuple(x):
    y = torch.sigmoid(x)
    return y, lambda dy: dy * y * (1 - y)


@wrong("backprop.sigmoid", [FAR], "NaN")
def overflows(x):
    e = torch.exp(x)
    y = e / (1 + e)
    return y, lambda dy: (dy * y * (1 - y),)


@wrong(
    "backprop.sigmoid",
    ["result", "gradient", ALONE, FAR],
    "30 of 30 values differ",
)
def returns_its_input(x):
    return x, lambda dy: (dy,)


@wrong("backprop.sigmoid", ["result", FAR], "in place")
def works_on_its_argument(x):
    y = x.sigmoid_()
    return y, lambda dy: (dy * y * (1 - y),)


@wrong("backprop.sigmoid", [ALONE], "shapes (6, 5)")
def hides_the_argument_in_an_object(x):
    class Holder:
        pass

    holder = Holder()
    holder.x = x
    return torch.sigmoid(x), lambda dy: (dy * torch.sigmoid(holder.x) * torch.sigmoid(-holder.x),)


@wrong("backprop.sigmoid", [FAR], "the arguments' dtype")
def in_single_precision_only(x):
    return with_exp(x.float())


@wrong(
    "backprop.sigmoid",
    ["result", "gradient", ALONE, FAR],
    "return two things",
)
def the_result_alone(x):
    return torch.sigmoid(x)


@wrong(
    "backprop.sigmoid",
    ["result", "gradient", ALONE, FAR],
    "roofline.autograd.Tensor.backward",
)
def walks_the_library_back(x):
    y = 1 / (1 + torch.exp(-x))

    def pullback(dy):
        leaf = autograd.Tensor(torch.logit(y), requires_grad=True)
        (1 / (1 + (-leaf).exp())).backward(dy)
        return (leaf.grad,)

    return y, pullback


@right("backprop.sigmoid")
def with_exp(x):
    y = 1 / (1 + torch.exp(-x))
    return y, lambda dy: (dy * (y - y * y),)


@right("backprop.sigmoid")
def through_tanh_and_partial(x):
    result = 0.5 * (torch.tanh(0.5 * x) + 1)
    return result, functools.partial(lambda y, dy: [dy.mul(y).mul(y.neg().add(1))], result)


@right("backprop.sigmoid")
class AsAClass:
    """An answer may be a class whose call is the operation, and its pullback an object."""

    def __new__(cls, x):
        self = super().__new__(cls)
        self.y = torch.sigmoid(x)
        return self.y, self

    def __call__(self, dy):
        return (dy * self.y * (1 - self.y),)


# --- linear -------------------------------------------------------------------------------------

COST = "counted cost of the pullback"


@wrong("backprop.linear", ["dW", "db", COST], "averages over the batch")
def means_over_the_batch(x, weight, bias):
    return x @ weight.T + bias, lambda dy: (dy @ weight, dy.T @ x / len(x), dy.mean(0))


@wrong("backprop.linear", ["dW", COST], "transposed")
def gradient_transposed(x, weight, bias):
    return x @ weight.T + bias, lambda dy: (dy @ weight, x.T @ dy, dy.sum(0))


@wrong("backprop.linear", ["db", COST], "every row uses the same bias")
def bias_not_summed(x, weight, bias):
    return x @ weight.T + bias, lambda dy: (dy @ weight, dy.T @ x, dy)


@wrong("backprop.linear", ["result, float64"], "bias is missing")
def no_bias(x, weight, bias):
    return x @ weight.T, lambda dy: (dy @ weight, dy.T @ x, dy.sum(0))


@wrong("backprop.linear", [COST], "sums as it goes")
def builds_every_outer_product(x, weight, bias):
    def pullback(dy):
        return dy @ weight, (dy[:, :, None] * x[:, None, :]).sum(0), dy.sum(0)

    return x @ weight.T + bias, pullback


@wrong("backprop.linear", [COST], "is the forward pass repeated")
def computes_forward_again(x, weight, bias):
    def pullback(dy):
        again = x @ weight.T + bias
        return dy @ weight, dy.T @ x, (dy + 0 * again).sum(0)

    return x @ weight.T + bias, pullback


@wrong("backprop.linear", [COST], "NumPy's aren't")
def products_in_numpy(x, weight, bias):
    def pullback(dy):
        arriving = dy.numpy()
        dx, dw = arriving @ weight.numpy(), arriving.T @ x.numpy()
        return torch.from_numpy(dx), torch.from_numpy(dw), dy.sum(0)

    return x @ weight.T + bias, pullback


@wrong("backprop.linear", ["dx", "dW", "db", COST], "shape")
def gradients_in_another_order(x, weight, bias):
    return x @ weight.T + bias, lambda dy: (dy.T @ x, dy.sum(0), dy @ weight)


@wrong("backprop.linear", ["dx", COST], "changed the operation's argument x")
def reuses_the_memory_of_x(x, weight, bias):
    def pullback(dy):
        dweight = dy.T @ x
        return torch.mm(dy, weight, out=x), dweight, dy.sum(0)

    return x @ weight.T + bias, pullback


@wrong("backprop.linear", ["db", COST], "a gradient for each argument")
def no_gradient_of_the_bias(x, weight, bias):
    return x @ weight.T + bias, lambda dy: (dy @ weight, dy.T @ x)


@wrong("backprop.linear", ["result, float64"], "the arguments' dtype")
def result_in_single_precision(x, weight, bias):
    return with_einsum(x.float(), weight.float(), bias.float())


@right("backprop.linear")
def with_einsum(x, weight, bias):
    y = torch.einsum("ik,jk->ij", x, weight) + bias

    def pullback(dy):
        return (
            torch.einsum("ij,jk->ik", dy, weight),
            torch.einsum("ij,ik->jk", dy, x),
            torch.einsum("ij->j", dy),
        )

    return y, pullback


@right("backprop.linear")
def row_by_row(x, weight, bias):
    y = torch.stack([weight @ row + bias for row in x])

    def pullback(dy):
        dweight = torch.zeros_like(weight)
        for row, arriving in zip(x, dy, strict=True):
            dweight += torch.outer(arriving, row)
        return torch.stack([weight.T @ d for d in dy]), dweight, dy.sum(dim=0)

    return y, pullback


@right("backprop.linear")
def in_double_precision(x, weight, bias):
    x2, w2 = x.double(), weight.double()

    def pullback(dy):
        ones = torch.ones(1, len(dy), dtype=dy.dtype)
        return (dy.double() @ w2).float(), (dy.double().T @ x2).float(), (ones @ dy).flatten()

    return torch.addmm(bias, x, weight.t()), pullback


# --- numerical gradient -------------------------------------------------------------------------

SMOOTH, FLOAT = "gradient of a smooth function", "f may return a float, x be float32"
VIEW, LEFT = "x that is a view, not contiguous", "x is left as it was"


def _indices(x):
    return itertools.product(*(range(n) for n in x.shape))


@wrong("backprop.numerical_gradient", [SMOOTH, VIEW], "one-sided")
def one_sided(f, x, step=1e-6):
    gradient = torch.zeros_like(x)
    for i in _indices(x):
        moved = x.clone()
        moved[i] += step
        gradient[i] = (float(f(moved)) - float(f(x))) / step
    return gradient


@wrong("backprop.numerical_gradient", [SMOOTH, FLOAT, VIEW], "2ε apart")
def divided_by_one_step(f, x, step=1e-6):
    gradient = torch.zeros_like(x)
    for i in _indices(x):
        up, down = x.clone(), x.clone()
        up[i] += step
        down[i] -= step
        gradient[i] = (float(f(up)) - float(f(down))) / step
    return gradient


@wrong("backprop.numerical_gradient", [SMOOTH, FLOAT, VIEW], "all entries were moved at once")
def moves_everything(f, x, step=1e-6):
    slope = (float(f(x + step)) - float(f(x - step))) / (2 * step)
    return torch.full_like(x, slope)


@wrong("backprop.numerical_gradient", [SMOOTH, LEFT], "in place")
def moves_x_and_leaves_it_there(f, x, step=1e-6):
    gradient = torch.zeros_like(x)
    for i in _indices(x):
        x[i] += step
        above = float(f(x))
        x[i] -= 2 * step
        gradient[i] = (above - float(f(x))) / (2 * step)
    return gradient


@wrong("backprop.numerical_gradient", [SMOOTH], "must come back")
def forgets_to_move_back(f, x, step=1e-6):
    gradient, moved = torch.zeros_like(x), x.clone()
    for i in _indices(x):
        moved[i] += step
        above = float(f(moved))
        moved[i] -= 2 * step
        gradient[i] = (above - float(f(moved))) / (2 * step)
        moved[i] += 2 * step
    return gradient


@wrong("backprop.numerical_gradient", [VIEW, LEFT], "view")
def needs_contiguous_memory(f, x, step=1e-6):
    gradient = torch.zeros_like(x)
    for i in range(x.numel()):
        up, down = x.clone(), x.clone()
        up.view(-1)[i] += step
        down.view(-1)[i] -= step
        gradient.view(-1)[i] = (float(f(up)) - float(f(down))) / (2 * step)
    return gradient


@wrong("backprop.numerical_gradient", [SMOOTH, VIEW], "float32")
def in_single_precision(f, x, step=1e-6):
    gradient = torch.zeros(x.shape)
    for i in _indices(x):
        up, down = x.clone(), x.clone()
        up[i] += step
        down[i] -= step
        gradient[i] = (float(f(up)) - float(f(down))) / (2 * step)
    return gradient


@wrong("backprop.numerical_gradient", [FLOAT], "the arguments' dtype")
def always_in_double_precision(f, x, step=1e-6):
    return with_unit_vectors(f, x.double(), step)


@wrong("backprop.numerical_gradient", [VIEW], "not whole rows")
def moves_whole_rows(f, x, step=1e-6):
    gradient = torch.zeros_like(x)
    for i in range(len(x)):
        up, down = x.clone(), x.clone()
        up[i] += step
        down[i] -= step
        gradient[i] = (float(f(up)) - float(f(down))) / (2 * step)
    return gradient


@wrong("backprop.numerical_gradient", [SMOOTH], "step counts")
def more_exact_than_asked(f, x, step=1e-6):
    once, twice = with_unit_vectors(f, x, step / 50), with_unit_vectors(f, x, step / 25)
    return (4 * once - twice) / 3


@right("backprop.numerical_gradient")
def with_unit_vectors(f, x, step=1e-6):
    units = torch.eye(x.numel(), dtype=x.dtype).reshape(x.numel(), *x.shape)
    slopes = [
        float(f(x + step * e)) / (2 * step) - float(f(x - step * e)) / (2 * step) for e in units
    ]
    return torch.tensor(slopes, dtype=x.dtype).reshape(x.shape)


@right("backprop.numerical_gradient")
def in_place_and_put_back(f, x, step=1e-6):
    gradient = torch.empty_like(x)
    for i in _indices(x):
        old = x[i].item()
        x[i] = old + step
        above = float(f(x))
        x[i] = old - step
        below = float(f(x))
        x[i] = old
        gradient[i] = (above - below) / (2 * step)
    return gradient


@right("backprop.numerical_gradient")
def recursive_over_the_first_dimension(f, x, step=1e-6):
    if x.dim() == 0:
        above, below = (torch.as_tensor(f(x + s), dtype=x.dtype) for s in (step, -step))
        return (above - below) / (2 * step)

    def with_row(i, row):
        return f(torch.cat([x[:i], row[None], x[i + 1 :]]))

    rows = [
        recursive_over_the_first_dimension(functools.partial(with_row, i), x[i], step)
        for i in range(len(x))
    ]
    return torch.stack(rows)


# --- the training loop --------------------------------------------------------------------------

TRAINED, LOSSES, CLEARED = "parameters", "losses", "gradients are cleared"


@wrong("backprop.train", [TRAINED, LOSSES, CLEARED], "clear them each step")
def stale_gradients(parameters, loss_of, batches, rate):
    losses = []
    for x, y in batches:
        loss = loss_of(x, y)
        loss.backward()
        for p in parameters:
            p.data -= rate * p.grad
        losses.append(loss.item())
    return losses


@wrong("backprop.train", [TRAINED, LOSSES, CLEARED], "against the gradient")
def climbs(parameters, loss_of, batches, rate):
    losses = []
    for x, y in batches:
        loss = loss_of(x, y)
        loss.backward()
        for p in parameters:
            p.data += rate * p.grad
            p.grad = None
        losses.append(loss.item())
    return losses


@wrong("backprop.train", [LOSSES], "holds its whole tape")
def keeps_the_tape(parameters, loss_of, batches, rate):
    losses = []
    for x, y in batches:
        loss = loss_of(x, y)
        loss.backward()
        for p in parameters:
            p.data -= rate * p.grad
            p.grad = None
        losses.append(loss)
    return losses


@wrong("backprop.train", [TRAINED, LOSSES, CLEARED], "a new p is nobody's parameter")
def renames_instead_of_updating(parameters, loss_of, batches, rate):
    losses = []
    for x, y in batches:
        loss = loss_of(x, y)
        loss.backward()
        for p in parameters:
            new = type(p)(p.data - rate * p.grad, requires_grad=True)
            p.grad = None
            p = new
        losses.append(loss.item())
    return losses


@wrong("backprop.train", [CLEARED], "the next step would add to it")
def clears_too_early(parameters, loss_of, batches, rate):
    losses = []
    for x, y in batches:
        for p in parameters:
            p.grad = None
        loss = loss_of(x, y)
        loss.backward()
        for p in parameters:
            p.data -= rate * p.grad
        losses.append(loss.item())
    return losses


@wrong("backprop.train", [TRAINED, LOSSES, CLEARED], "divide again")
def divides_by_the_batch(parameters, loss_of, batches, rate):
    losses = []
    for x, y in batches:
        loss = loss_of(x, y)
        loss.backward()
        for p in parameters:
            p.data -= rate * p.grad / len(x)
            p.grad = None
        losses.append(loss.item())
    return losses


@wrong("backprop.train", [LOSSES], "return is missing")
def returns_nothing(parameters, loss_of, batches, rate):
    for x, y in batches:
        loss_of(x, y).backward()
        for p in parameters:
            p.data -= rate * p.grad
            p.grad = None


@wrong("backprop.train", [TRAINED, LOSSES, CLEARED], "rate is an argument")
def rate_written_in(parameters, loss_of, batches, rate):
    return out_of_place(parameters, loss_of, batches, 0.1)


@wrong("backprop.train", [LOSSES], "loss.item() is a float")
def keeps_torch_tensors(parameters, loss_of, batches, rate):
    return [torch.tensor(v) for v in out_of_place(parameters, loss_of, batches, rate)]


@wrong("backprop.train", [TRAINED, LOSSES, CLEARED], "not one at the end")
def one_step_for_all(parameters, loss_of, batches, rate):
    losses = []
    for x, y in batches:
        loss = loss_of(x, y)
        loss.backward()
        losses.append(loss.item())
    for p in parameters:
        p.data -= rate * p.grad
        p.grad = None
    return losses


@wrong("backprop.train", [LOSSES], "before the step")
def loss_after_the_step(parameters, loss_of, batches, rate):
    def after(batch):
        out_of_place(parameters, loss_of, [batch], rate)
        return loss_of(*batch).item()

    return [after(batch) for batch in batches]


@right("backprop.train")
def out_of_place(parameters, loss_of, batches, rate):
    def step(batch):
        loss = loss_of(*batch)
        loss.backward()
        for i in range(len(parameters)):
            parameters[i].data = torch.sub(parameters[i].data, parameters[i].grad, alpha=rate)
            parameters[i].grad = None
        return float(loss.data)

    return [step(batch) for batch in batches]


@right("backprop.train")
def zeroes_instead_of_none(parameters, loss_of, batches, rate):
    history = ()
    for x, y in list(batches):
        loss = loss_of(x, y)
        loss.backward()
        history += (loss.data.numpy().item(),)
        for p in parameters:
            p.data.add_(p.grad, alpha=-rate)
        for p in parameters:
            p.grad = torch.zeros_like(p.data)
    return list(history)


# --- the walk -----------------------------------------------------------------------------------

CHAIN, TWICE = "a chain", "a value used more than once"
ADDS, FREES = "adds to a leaf's old gradient", "frees what it has used"


@wrong("backprop.walk", [TWICE, ADDS], "replaced the one before it")
def overwrites(nodes, grad):
    nodes[-1].grad = grad
    for node in reversed(nodes):
        if node.pullback and node.grad is not None:
            for parent, g in zip(node.parents, node.pullback(node.grad), strict=True):
                if parent:
                    parent.grad = g
        if node.pullback:
            node.grad = node.pullback = None


@wrong("backprop.walk", [TWICE, ADDS], "differ")
def accumulates_in_place(nodes, grad):
    nodes[-1].grad = grad
    for node in reversed(nodes):
        if node.pullback and node.grad is not None:
            for parent, g in zip(node.parents, node.pullback(node.grad), strict=True):
                if parent and parent.grad is None:
                    parent.grad = g
                elif parent:
                    parent.grad += g
        if node.pullback:
            node.grad = node.pullback = None


@wrong("backprop.walk", [FREES], "to None when")
def frees_nothing(nodes, grad):
    nodes[-1].grad = grad
    for node in reversed(nodes):
        if node.pullback and node.grad is not None:
            for parent, g in zip(node.parents, node.pullback(node.grad), strict=True):
                if parent:
                    parent.grad = g if parent.grad is None else parent.grad + g


@wrong("backprop.walk", [FREES], "on the way")
def frees_at_the_end(nodes, grad):
    frees_nothing(nodes, grad)
    for node in nodes:
        if node.parents:
            node.grad = node.pullback = None


@wrong("backprop.walk", [CHAIN, TWICE, ADDS, FREES], "gradient")
def oldest_first(nodes, grad):
    nodes[-1].grad = grad
    for node in nodes:
        if node.pullback and node.grad is not None:
            for parent, g in zip(node.parents, node.pullback(node.grad), strict=True):
                if parent:
                    parent.grad = g if parent.grad is None else parent.grad + g
            node.grad = node.pullback = None


@wrong("backprop.walk", [TWICE, ADDS, FREES], "raised")
def trips_over_plain_data(nodes, grad):
    nodes[-1].grad = grad
    for node in reversed(nodes):
        if node.pullback and node.grad is not None:
            for parent, g in zip(node.parents, node.pullback(node.grad), strict=True):
                parent.grad = g if parent.grad is None else parent.grad + g
            node.grad = node.pullback = None


@wrong("backprop.walk", [ADDS], "held before is gone")
def clears_the_leaves_first(nodes, grad):
    for node in nodes:
        node.grad = None
    nodes[-1].grad = grad
    for node in reversed(nodes):
        if node.pullback and node.grad is not None:
            for parent, g in zip(node.parents, node.pullback(node.grad), strict=True):
                if parent:
                    parent.grad = g if parent.grad is None else parent.grad + g
        if node.pullback:
            node.grad = node.pullback = None


@wrong("backprop.walk", [CHAIN, TWICE, ADDS, FREES], "grad, not with 1")
def starts_with_ones(nodes, grad):
    with_a_heap_from_the_loss(nodes, torch.ones_like(grad))


@wrong("backprop.walk", [CHAIN, TWICE, ADDS, FREES], "leaves keep theirs")
def frees_the_leaves_too(nodes, grad):
    with_a_heap_from_the_loss(nodes, grad)
    for node in nodes:
        node.grad = None


@wrong("backprop.walk", [TWICE, ADDS, FREES], "goes on past")
def stops_where_nothing_arrived(nodes, grad):
    nodes[-1].grad = grad
    for node in reversed(nodes):
        if node.pullback is None:
            continue
        if node.grad is None:
            return
        for parent, g in zip(node.parents, node.pullback(node.grad), strict=True):
            if parent:
                parent.grad = g if parent.grad is None else parent.grad + g
        node.grad = node.pullback = None


@wrong("backprop.walk", [CHAIN, TWICE, ADDS, FREES], "changed its argument grad")
def empties_what_it_was_given(nodes, grad):
    with_a_heap_from_the_loss(nodes, grad)
    grad.zero_()


@right("backprop.walk")
def by_recursion(nodes, grad):
    def step(i):
        node = nodes[i]
        if node.pullback is not None and node.grad is not None:
            for parent, g in zip(node.parents, node.pullback(node.grad), strict=True):
                if parent is not None:
                    parent.grad = g if parent.grad is None else parent.grad + g
        if node.pullback is not None:
            node.grad = node.pullback = None
        if i:
            step(i - 1)

    nodes[-1].grad = grad
    step(len(nodes) - 1)


@right("backprop.walk")
def with_gradients_in_a_dictionary(nodes, grad):
    arrived = {id(nodes[-1]): [grad]}
    while nodes:
        node = nodes.pop()
        gradients = arrived.pop(id(node), [])
        if node.pullback is None:
            if gradients:
                total = sum(gradients[1:], gradients[0])
                node.grad = total if node.grad is None else node.grad + total
            continue
        pullback, node.pullback = node.pullback, None
        if gradients:
            back = pullback(functools.reduce(torch.add, gradients))
            for parent, g in zip(node.parents, back, strict=True):
                if parent is not None and g is not None:
                    arrived.setdefault(id(parent), []).append(g)


@right("backprop.walk")
def with_a_heap_from_the_loss(nodes, grad):
    position = {id(node): i for i, node in enumerate(nodes)}
    nodes[-1].grad, queue, queued = grad, [-(len(nodes) - 1)], {len(nodes) - 1}
    while queue:
        node = nodes[-heapq.heappop(queue)]
        if node.pullback is None:
            continue
        for parent, g in zip(node.parents, node.pullback(node.grad), strict=True):
            if parent is None:
                continue
            parent.grad = g.clone() if parent.grad is None else torch.add(parent.grad, g)
            if position[id(parent)] not in queued:
                queued.add(position[id(parent)])
                heapq.heappush(queue, -position[id(parent)])
        node.grad, node.pullback = None, None
    for node in nodes:
        if node.parents:
            node.pullback = None


# --- the account --------------------------------------------------------------------------------


def _pairs(widths):
    return list(zip(widths[:-1], widths[1:], strict=True))


def _account(widths, batch, size):
    products = [2 * batch * i * o for i, o in _pairs(widths)]
    return {
        "parameters": sum(i * o + o for i, o in _pairs(widths)),
        "forward": sum(products),
        "backward": 2 * sum(products) - products[0],
        "remembered": size * batch * sum(widths[:-1]),
    }


@wrong("backprop.account", ["backward"], "first layer skips it")
def backward_is_twice_forward(widths, batch, bytes_per_number=4):
    right = _account(widths, batch, bytes_per_number)
    return {**right, "backward": 2 * right["forward"]}


@wrong("backprop.account", ["parameters"], "biases are missing")
def weights_only(widths, batch, bytes_per_number=4):
    weights = sum(i * o for i, o in _pairs(widths))
    return {**_account(widths, batch, bytes_per_number), "parameters": weights}


@wrong("backprop.account", ["remembered"], "no pullback of the layers needs the logits")
def remembers_the_logits(widths, batch, bytes_per_number=4):
    everything = bytes_per_number * batch * sum(widths)
    return {**_account(widths, batch, bytes_per_number), "remembered": everything}


@wrong("backprop.account", ["remembered"], "held twice, stored once")
def counts_relu_apart(widths, batch, bytes_per_number=4):
    numbers = batch * (widths[0] + 2 * sum(widths[1:-1]))
    return {
        **_account(widths, batch, bytes_per_number),
        "remembered": bytes_per_number * numbers,
    }


@wrong("backprop.account", ["forward", "backward"], "are 2 FLOPs")
def a_multiply_add_is_one(widths, batch, bytes_per_number=4):
    right = _account(widths, batch, bytes_per_number)
    return {**right, "forward": right["forward"] // 2, "backward": right["backward"] // 2}


@wrong("backprop.account", ["remembered"], "numbers, not bytes")
def forgets_the_bytes(widths, batch, bytes_per_number=4):
    return _account(widths, batch, 1) | {}


@wrong("backprop.account", ["backward"], "not the last")
def the_last_layer_skips_one(widths, batch, bytes_per_number=4):
    last = 2 * batch * widths[-2] * widths[-1]
    right = _account(widths, batch, bytes_per_number)
    return {**right, "backward": 2 * right["forward"] - last}


@wrong("backprop.account", ["remembered"], "nothing extra")
def masks_of_a_byte(widths, batch, bytes_per_number=4):
    right = _account(widths, batch, bytes_per_number)
    return {**right, "remembered": right["remembered"] + batch * sum(widths[1:-1])}


@wrong("backprop.account", ["parameters", "forward", "backward", "remembered"], "return a dict")
def in_a_tuple(widths, batch, bytes_per_number=4):
    return tuple(_account(widths, batch, bytes_per_number).values())


@right("backprop.account")
def by_matrix_algebra(widths, batch, bytes_per_number=4):
    w = torch.tensor(widths, dtype=torch.float64)
    forward = 2 * batch * int(w[:-1] @ w[1:])
    first = 2 * batch * widths[0] * widths[1]
    return {
        "remembered": int(w[:-1].sum()) * batch * bytes_per_number,
        "backward": first + 2 * (forward - first),
        "forward": forward,
        "parameters": int((w[:-1] + 1) @ w[1:]),
    }


@right("backprop.account")
def in_a_loop_with_floats(widths, batch, bytes_per_number=4):
    totals = dict.fromkeys(("parameters", "forward", "backward", "remembered"), 0.0)
    for layer, (i, o) in enumerate(_pairs(widths)):
        product = 2.0 * batch * i * o
        totals["parameters"] += math.fsum([i * o, o])
        totals["forward"] += product
        totals["backward"] += product + (product if layer else 0)
        totals["remembered"] += batch * i * bytes_per_number
    return totals


# --- silu ---------------------------------------------------------------------------------------


@wrong("backprop.silu", [LATER], "again inside the pullback")
def holds_two_tensors(x):
    s = torch.sigmoid(x)
    return x * s, lambda dy: (dy * (s + x * s * (1 - s)),)


@wrong("backprop.silu", [LATER], "again inside the pullback")
def holds_them_in_numpy(x):
    held = x.numpy(), torch.sigmoid(x).numpy()

    def pullback(dy):
        x, s = (torch.from_numpy(part) for part in held)
        return (dy * (s + x * s * (1 - s)),)

    return x * torch.sigmoid(x), pullback


@wrong("backprop.silu", ["gradient", LATER], "this is the first")
def only_one_term(x):
    def pullback(dy):
        return (dy * torch.sigmoid(x),)

    return x * torch.sigmoid(x), pullback


@wrong("backprop.silu", ["gradient", LATER, FAR], "derivative of sigmoid")
def pullback_of_sigmoid(x):
    def pullback(dy):
        s = torch.sigmoid(x)
        return (dy * s * (1 - s),)

    return x * torch.sigmoid(x), pullback


@wrong("backprop.silu", ["gradient", LATER, FAR], "NaN")
def recovers_x_from_sigmoid(x):
    s = torch.sigmoid(x)
    y = x * s

    def pullback(dy):
        x = torch.where(s > 0.5, torch.log(s / (1 - s)), -torch.log((1 - s) / (s * (s <= 0.5))))
        x = x + torch.log((s == s.max()) * 0.0) * 0
        return (dy * (s + x * s * (1 - s)),)

    return y, pullback


@wrong(
    "backprop.silu",
    ["result", "gradient", LATER, FAR],
    "x times sigmoid(x)",
)
def is_only_sigmoid(x):
    def pullback(dy):
        s = torch.sigmoid(x)
        return (dy * s * (1 - s),)

    return torch.sigmoid(x), pullback


@wrong("backprop.silu", ["gradient", LATER], "changed the operation's argument x")
def reuses_the_memory_of_x_again(x):
    def pullback(dy):
        s = torch.sigmoid(x)
        return (x.mul_(1 - s).add_(1).mul_(s).mul_(dy),)

    return x * torch.sigmoid(x), pullback


@wrong("backprop.silu", ["gradient", LATER], "its derivative is added")
def takes_the_second_term_away(x):
    def pullback(dy):
        s = torch.sigmoid(x)
        return (dy * (s - x * s * (1 - s)),)

    return x * torch.sigmoid(x), pullback


@wrong("backprop.silu", ["gradient", LATER, FAR], "also of one")
def no_tuple_of_one(x):
    y, pullback = with_the_swish_identity(x)
    return y, lambda dy: pullback(dy)[0]


@right("backprop.silu")
def with_the_swish_identity(x):
    def pullback(dy):
        s = 1 / (1 + torch.exp(-x))
        return (dy.mul(s.mul(x.mul(1 - s).add(1))),)

    return x / (1 + torch.exp(-x)), pullback


@right("backprop.silu")
def holds_a_copy(x):
    held = x.detach().clone()

    def derivative(x):
        t = torch.tanh(x / 2)
        return 0.5 * (1 + t) + 0.25 * x * (1 - t * t)

    return held * torch.sigmoid(held), lambda dy: (dy * derivative(held),)


@right("backprop.silu")
def holds_the_derivative(x):
    s = torch.sigmoid(x)
    slope = s + x * s * (1 - s)
    return x * s, lambda dy: (dy * slope,)
