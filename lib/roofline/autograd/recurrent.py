"""Recurrent layers over whole sequences: RNN, LSTM and GRU, one direction of one layer each.

Time comes first: x is (t, n, inputs), states are (n, hidden), and the weights are torch's:
weight_ih (gates * hidden, inputs), weight_hh (gates * hidden, hidden), two biases. What the input
adds to the gates doesn't depend on the state, so it is one matrix product for all steps; the walk
back collects the gates' gradients of all steps and makes the weights' gradients in one product too.

``lengths``, (n,), says how much of each sequence is real: beyond it a state stays as it is and the
outputs are 0. ``reverse`` runs from the last real step to the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .blocks import BLOCK, whole
from .deferred import product
from .matrix import affine
from .tape import op

unbind = torch.Tensor.unbind
Result = tuple[tuple[torch.Tensor, ...], Callable]


class Run:
    """The order of the steps, and the states: ``states[before(t)]`` goes into step t."""

    def __init__(self, x: torch.Tensor, h0: torch.Tensor, lengths: Any, reverse: bool):
        self.steps, self.batch = x.shape[:2]
        self.reverse = reverse
        self.order = range(self.steps - 1, -1, -1) if reverse else range(self.steps)
        self.real = None
        if lengths is not None:
            time = torch.arange(self.steps, device=x.device).unsqueeze(1)
            self.real = (time < lengths.to(x.device)).to(x.dtype).unsqueeze(-1)

    def back(self, steps: slice) -> range:
        """The steps of a slice in the order of the walk back."""
        forward = range(steps.start, steps.stop)
        return forward if self.reverse else forward[::-1]

    def blocks(self, gates: torch.Tensor) -> list[slice]:
        """Slices of steps whose gates fit a cache, in the order of the walk back."""
        size = self.steps if whole(gates) else max(1, BLOCK // gates[0].numel())
        starts = range(0, self.steps, max(size, 1))
        slices = [slice(start, min(start + size, self.steps)) for start in starts]
        return slices if self.reverse else slices[::-1]

    def states(self, first: torch.Tensor) -> torch.Tensor:
        """Room for a state before and after every step, with ``first`` where the walk begins."""
        states = first.new_empty((self.steps + 1, *first.shape))
        states[self.steps if self.reverse else 0] = first
        return states

    def before(self, t: int) -> int:
        return t + 1 if self.reverse else t

    def after(self, t: int) -> int:
        return t if self.reverse else t + 1

    def inputs(self, states: torch.Tensor) -> torch.Tensor:
        """The states that went into the steps, (t, ...)."""
        return states[1:] if self.reverse else states[:-1]

    def outputs(self, states: torch.Tensor) -> torch.Tensor:
        """The states that came out of the steps, (t, ...)."""
        return states[:-1] if self.reverse else states[1:]

    def last(self, states: torch.Tensor) -> torch.Tensor:
        return states[0 if self.reverse else self.steps]

    def turned(self, weight: torch.Tensor) -> torch.Tensor:
        """``weight`` transposed: in memory too, or each of many products would do that anew."""
        return weight.t().contiguous() if self.steps > 8 else weight.t()

    def hold(self, t: int, states: torch.Tensor) -> None:
        """Take back step t where the sequence is over."""
        if self.real is not None:
            after = states[self.after(t)]
            after.copy_(torch.lerp(states[self.before(t)], after, self.real[t]))

    def finish(self, states: torch.Tensor) -> torch.Tensor:
        """The outputs, 0 where a sequence is over."""
        outputs = self.outputs(states)
        return outputs if self.real is None else outputs * self.real

    def enter(
        self, t: int, dh: torch.Tensor, dy: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Walking back into step t: dh of what it computed, and of what passed it by."""
        if self.real is None:
            return (dh if dy is None else dh + dy[t]), None
        real = self.real[t]
        return (dh if dy is None else dh + dy[t]) * real, dh * (1 - real)


def input_gates(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """What the inputs of all steps add to the gates: (t, n, gates * hidden)."""
    rows = x.flatten(0, 1)  # not reshape(-1, ...): the batch may be empty
    return affine(rows, weight, bias).view(*x.shape[:2], weight.shape[0])


def weight_gradients(
    d_gates: torch.Tensor,
    d_recurrent: torch.Tensor,
    x: torch.Tensor | None,
    h: torch.Tensor,
    weight_ih: torch.Tensor | None,
    needs: Any,
) -> tuple:
    """Gradients of x, both weights and both biases from those of the gates of all steps.

    ``d_recurrent`` is the gradient of what the state added, where that differs from ``d_gates``.
    """
    rows = d_gates.flatten(0, 1)
    recurrent = d_recurrent.flatten(0, 1)
    width, hidden, d_bias = rows.shape[1], h.shape[2], rows.sum(0)
    dx = None
    if weight_ih is not None:
        dx = (rows @ weight_ih).view(*d_gates.shape[:2], weight_ih.shape[1])
    return (
        dx,
        None if x is None else product(rows.t(), x.flatten(0, 1), (width, x.shape[2])),
        product(recurrent.t(), h.flatten(0, 1), (width, hidden)) if needs[1] else None,
        d_bias,
        d_bias if d_recurrent is d_gates else recurrent.sum(0),
    )


@op
def lstm(
    x: torch.Tensor,
    h0: torch.Tensor,
    c0: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor | None = None,
    bias_hh: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    reverse: bool = False,
    *,
    needs: Any,
) -> Result:
    """Outputs (t, n, hidden), and the last h and c, of a long short-term memory.

    With i, f, o = sigmoid and g = tanh of the four gates, in torch's order i, f, g, o:
    c' = f c + i g and h' = o tanh(c'). Source: Hochreiter and Schmidhuber, 1997; Gers et al., 2000.
    """
    hidden = h0.shape[-1]
    run = Run(x, h0, lengths, reverse)
    bias = bias_ih if bias_ih is None or bias_hh is None else bias_ih + bias_hh
    gates = input_gates(x, weight_ih, bias)
    h, c = run.states(h0), run.states(c0)
    recurrent = run.turned(weight_hh)
    gate_at, both_at, h_at, c_at = map(unbind, (gates, gates[..., : 2 * hidden], h, c))
    i_at, f_at, g_at, o_at = map(unbind, gates.split(hidden, 2))
    for t in run.order:
        before, after = run.before(t), run.after(t)
        gate_at[t].addmm_(h_at[before], recurrent)
        both_at[t].sigmoid_()  # i and f
        g_at[t].tanh_()
        o_at[t].sigmoid_()
        torch.mul(f_at[t], c_at[before], out=c_at[after]).addcmul_(i_at[t], g_at[t])
        torch.tanh(c_at[after], out=h_at[after]).mul_(o_at[t])
        run.hold(t, c)
        run.hold(t, h)
    weight_x = weight_ih if needs[0] else None
    for_weight = x if needs[3] else None

    def pullback(grads: list) -> tuple:
        dy, dh, dc = grads
        dh = torch.zeros_like(h0) if dh is None else dh
        dc = torch.zeros_like(c0) if dc is None else dc.clone()
        gate_at, o_at = map(unbind, (gates, gates[..., 3 * hidden :]))
        three_at = unbind(gates[..., : 3 * hidden].unflatten(2, (3, hidden)))  # i, f and g
        for steps in run.blocks(gates):
            # The slope of every gate, for some steps at once: times dc, or for the last dh, it is
            # the gate's gradient. In place, since nobody else sees the gates.
            i, f, g, o = gates[steps].split(hidden, 2)
            tanh_c, forget = torch.tanh(run.outputs(c)[steps]), f.clone()
            through = torch.addcmul(o, o, tanh_c.square(), value=-1)
            g_slope = (g * g).neg_().add_(1).mul_(i)
            i.addcmul_(i, i, value=-1).mul_(g)
            f.addcmul_(f, f, value=-1).mul_(run.inputs(c)[steps])
            o.addcmul_(o, o, value=-1).mul_(tanh_c)
            g.copy_(g_slope)
            for t in run.back(steps):
                dh, passing = run.enter(t, dh, dy)
                past = None
                if run.real is not None:
                    past = dc * (1 - run.real[t])
                    dc = dc * run.real[t]
                at = t - steps.start
                dc.addcmul_(dh, through[at])
                three_at[t].mul_(dc.unsqueeze(1))
                o_at[t].mul_(dh)
                dc.mul_(forget[at])
                dh = torch.mm(gate_at[t], weight_hh)
                if passing is not None:
                    dh += passing
                    dc += past
        dx, *d_weights = weight_gradients(
            gates, gates, for_weight, run.inputs(h), weight_x, needs[3:]
        )
        return dx, dh, dc, *d_weights

    return (run.finish(h), run.last(h), run.last(c)), pullback


@op
def gru(
    x: torch.Tensor,
    h0: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor | None = None,
    bias_hh: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    reverse: bool = False,
    *,
    needs: Any,
) -> Result:
    """Outputs (t, n, hidden) and the last h of gated recurrent units.

    With a and b what input and state add to the gates, in torch's order r, z, n:
    r, z = sigmoid(a + b), m = tanh(a + r b), h' = (1 - z) m + z h. Source: Cho et al., 1406.1078,
    in the form where r acts on the product.
    """
    hidden = h0.shape[-1]
    run = Run(x, h0, lengths, reverse)
    gates = input_gates(x, weight_ih, bias_ih)
    added = torch.empty_like(gates[..., :hidden])  # b of the third gate
    h, recurrent = run.states(h0), run.turned(weight_hh)
    for t in run.order:
        before, after, gate = run.before(t), run.after(t), gates[t]
        from_state = h[before] @ recurrent
        if bias_hh is not None:
            from_state += bias_hh
        rz, m = gate[:, : 2 * hidden], gate[:, 2 * hidden :]
        rz.add_(from_state[:, : 2 * hidden]).sigmoid_()
        added[t] = from_state[:, 2 * hidden :]
        m.addcmul_(rz[:, :hidden], added[t]).tanh_()
        torch.lerp(m, h[before], rz[:, hidden:], out=h[after])
        run.hold(t, h)
    weight_x = weight_ih if needs[0] else None
    for_weight = x if needs[2] else None

    def pullback(grads: list) -> tuple:
        dy, dh = grads
        dh = torch.zeros_like(h0) if dh is None else dh
        r, z, m = gates.split(hidden, 2)
        d_gates, d_recurrent = torch.empty_like(gates), torch.empty_like(gates)
        d_r, d_z, d_m = d_gates.split(hidden, 2)
        # Slopes for all steps at once: d_m = slope * dh, d_r = slope * d_m, d_z = slope * dh.
        torch.mul(m, m, out=d_m).neg_().add_(1).mul_(1 - z)
        torch.addcmul(r, r, r, value=-1, out=d_r).mul_(added)
        torch.addcmul(z, z, z, value=-1, out=d_z).mul_(run.inputs(h) - m)
        for t in reversed(run.order):
            dh, passing = run.enter(t, dh, dy)
            d_m[t].mul_(dh)
            d_r[t].mul_(d_m[t])
            d_z[t].mul_(dh)
            d_recurrent[t] = d_gates[t]
            d_recurrent[t, :, 2 * hidden :].mul_(r[t])
            dh = torch.addmm(dh * z[t], d_recurrent[t], weight_hh)
            if passing is not None:
                dh += passing
        dx, *d_weights = weight_gradients(
            d_gates, d_recurrent, for_weight, run.inputs(h), weight_x, needs[2:]
        )
        return dx, dh, *d_weights

    return (run.finish(h), run.last(h)), pullback


@op
def rnn(
    x: torch.Tensor,
    h0: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor | None = None,
    bias_hh: torch.Tensor | None = None,
    nonlinearity: str = "tanh",
    lengths: torch.Tensor | None = None,
    reverse: bool = False,
    *,
    needs: Any,
) -> Result:
    """Outputs (t, n, hidden) and the last h of h' = tanh(W x + b + U h + c), or relu of it.

    Source: Elman, "Finding structure in time", 1990.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn's nonlinearity is 'tanh' or 'relu', not {nonlinearity!r}")
    run = Run(x, h0, lengths, reverse)
    bias = bias_ih if bias_ih is None or bias_hh is None else bias_ih + bias_hh
    gates = input_gates(x, weight_ih, bias)
    h, recurrent = run.states(h0), run.turned(weight_hh)
    for t in run.order:
        after = torch.addmm(gates[t], h[run.before(t)], recurrent, out=h[run.after(t)])
        after.tanh_() if nonlinearity == "tanh" else after.relu_()
        run.hold(t, h)
    del gates
    weight_x = weight_ih if needs[0] else None
    for_weight = x if needs[2] else None

    def pullback(grads: list) -> tuple:
        dy, dh = grads
        dh = torch.zeros_like(h0) if dh is None else dh
        y = run.outputs(h)
        slope = 1 - y * y if nonlinearity == "tanh" else (y > 0).to(y.dtype)
        for t in reversed(run.order):
            dh, passing = run.enter(t, dh, dy)
            slope[t].mul_(dh)
            dh = slope[t] @ weight_hh
            if passing is not None:
                dh += passing
        dx, *d_weights = weight_gradients(
            slope, slope, for_weight, run.inputs(h), weight_x, needs[2:]
        )
        return dx, dh, *d_weights

    return (run.finish(h), run.last(h)), pullback
