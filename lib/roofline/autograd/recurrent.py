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
    """How to go through time: ``real`` is (t, n, 1), 1 where a step is real, None if all are.

    In reverse, time is turned round on the way in and out, and everything between goes forward.
    """

    def __init__(self, x: torch.Tensor, lengths: torch.Tensor | None, reverse: bool):
        self.steps, self.reverse, self.real = len(x), reverse, None
        if lengths is not None:
            time = torch.arange(self.steps, device=x.device).unsqueeze(1)
            self.real = self.turn((time < lengths.to(x.device)).to(x.dtype).unsqueeze(-1))

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(0) if self.reverse else x

    def gates(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        other: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What the inputs and biases of all steps add to the gates: (t, n, gates * hidden)."""
        bias = bias if bias is None or other is None else bias + other
        rows = self.turn(x).flatten(0, 1)  # not reshape(-1, ...): the batch may be empty
        return affine(rows, weight, bias).view(*x.shape[:2], weight.shape[0])

    def states(self, first: torch.Tensor) -> torch.Tensor:
        """Room for the state before each step, ``first`` among them, and after the last."""
        states = first.new_empty((self.steps + 1, *first.shape))
        states[0] = first
        return states

    def hold(self, t: int, states: Any) -> None:
        """Take back step t where the sequence is over."""
        if self.real is not None:
            states[t + 1].copy_(torch.lerp(states[t], states[t + 1], self.real[t]))

    def outputs(self, states: torch.Tensor) -> torch.Tensor:
        """What came out of the steps, 0 where a sequence is over."""
        return self.turn(states[1:] if self.real is None else states[1:] * self.real)

    def enter(self, t: int, dh: Any, dy: torch.Tensor | None) -> tuple[torch.Tensor, Any]:
        """Walking back into step t: dh of what it computed, and of what passed it by."""
        if self.real is None:
            return (dh if dy is None else dh + dy[t]), None
        real = self.real[t]
        return (dh if dy is None else dh + dy[t]) * real, dh * (1 - real)

    def leave(self, dh: torch.Tensor, passing: torch.Tensor | None) -> torch.Tensor:
        """What goes on to the step before: both together."""
        return dh if passing is None else dh + passing

    def gradients(
        self,
        d_gates: torch.Tensor,
        d_recurrent: torch.Tensor,
        x: torch.Tensor | None,
        h: torch.Tensor,
        weight_ih: torch.Tensor | None,
        needs: Any,
    ) -> tuple:
        """Gradients of x, both weights and both biases from those of the gates of all steps.

        ``d_recurrent`` is the gradient of what the state added, where it differs from ``d_gates``;
        ``h`` are the states.
        """
        rows, recurrent = d_gates.flatten(0, 1), d_recurrent.flatten(0, 1)
        width, d_bias, dx = rows.shape[1], rows.sum(0), None
        if weight_ih is not None:
            dx = self.turn((rows @ weight_ih).view(*d_gates.shape[:2], weight_ih.shape[1]))
        inputs = None if x is None else self.turn(x).flatten(0, 1)
        return (
            dx,
            None if inputs is None else product(rows.t(), inputs, (width, inputs.shape[1])),
            product(recurrent.t(), h[:-1].flatten(0, 1), (width, h.shape[2])) if needs[1] else None,
            d_bias,
            d_bias if d_recurrent is d_gates else recurrent.sum(0),
        )


def zeros_if_none(grad: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """``grad``, or zeros for a state that the loss doesn't depend on."""
    return torch.zeros_like(like) if grad is None else grad


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
    hidden, run = h0.shape[-1], Run(x, lengths, reverse)
    gates = run.gates(x, weight_ih, bias_ih, bias_hh)
    h, c = run.states(h0), run.states(c0)
    # Transposed in memory once, or each of the products does that anew; not worth it for a few.
    recurrent = weight_hh.t().contiguous() if run.steps > 8 else weight_hh.t()
    gate_at, both_at, h_at, c_at = map(unbind, (gates, gates[..., : 2 * hidden], h, c))
    i_at, f_at, g_at, o_at = map(unbind, gates.split(hidden, 2))
    for t in range(run.steps):
        gate_at[t].addmm_(h_at[t], recurrent)
        both_at[t].sigmoid_()  # i and f
        g_at[t].tanh_()
        o_at[t].sigmoid_()
        torch.mul(f_at[t], c_at[t], out=c_at[t + 1]).addcmul_(i_at[t], g_at[t])
        torch.tanh(c_at[t + 1], out=h_at[t + 1]).mul_(o_at[t])
        run.hold(t, c_at)
        run.hold(t, h_at)
    weight_x = weight_ih if needs[0] else None
    for_weight = x if needs[3] else None

    def pullback(grads: list) -> tuple:
        dy = None if grads[0] is None else run.turn(grads[0])
        dh, dc = zeros_if_none(grads[1], h0), zeros_if_none(grads[2], c0).clone()
        gate_at, o_at = map(unbind, (gates, gates[..., 3 * hidden :]))
        three_at = unbind(gates[..., : 3 * hidden].unflatten(2, (3, hidden)))  # i, f and g
        size = run.steps if whole(gates) else max(1, BLOCK // gates[0].numel())
        for end in range(run.steps, 0, -max(size, 1)):
            # The slope of every gate, for some steps at once: times dc, or for the last dh, it is
            # the gate's gradient. In place, since nobody else sees the gates.
            start = max(0, end - size)
            i, f, g, o = gates[start:end].split(hidden, 2)
            tanh_c, forget = torch.tanh(c[start + 1 : end + 1]), f.clone()
            through = torch.addcmul(o, o, tanh_c.square(), value=-1)
            g_slope = (g * g).neg_().add_(1).mul_(i)
            i.addcmul_(i, i, value=-1).mul_(g)
            f.addcmul_(f, f, value=-1).mul_(c[start:end])
            o.addcmul_(o, o, value=-1).mul_(tanh_c)
            g.copy_(g_slope)
            for t in range(end - 1, start - 1, -1):
                dh, h_passing = run.enter(t, dh, dy)
                dc, c_passing = run.enter(t, dc, None)
                dc.addcmul_(dh, through[t - start])
                three_at[t].mul_(dc.unsqueeze(1))
                o_at[t].mul_(dh)
                dc.mul_(forget[t - start])
                dh = run.leave(torch.mm(gate_at[t], weight_hh), h_passing)
                dc = run.leave(dc, c_passing)
        dx, *d_weights = run.gradients(gates, gates, for_weight, h, weight_x, needs[3:])
        return dx, dh, dc, *d_weights

    return (run.outputs(h), h[-1], c[-1]), pullback


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
    hidden, run = h0.shape[-1], Run(x, lengths, reverse)
    gates = run.gates(x, weight_ih, bias_ih)
    added = torch.empty_like(gates[..., :hidden])  # b of the third gate
    h = run.states(h0)
    for t in range(run.steps):
        from_state = h[t] @ weight_hh.t()
        if bias_hh is not None:
            from_state += bias_hh
        rz, m = gates[t, :, : 2 * hidden], gates[t, :, 2 * hidden :]
        rz.add_(from_state[:, : 2 * hidden]).sigmoid_()
        added[t] = from_state[:, 2 * hidden :]
        m.addcmul_(rz[:, :hidden], added[t]).tanh_()
        torch.lerp(m, h[t], rz[:, hidden:], out=h[t + 1])
        run.hold(t, h)
    weight_x = weight_ih if needs[0] else None
    for_weight = x if needs[2] else None

    def pullback(grads: list) -> tuple:
        dy = None if grads[0] is None else run.turn(grads[0])
        dh = zeros_if_none(grads[1], h0)
        r, z, m = gates.split(hidden, 2)
        d_gates, d_recurrent = torch.empty_like(gates), torch.empty_like(gates)
        d_r, d_z, d_m = d_gates.split(hidden, 2)
        # Slopes for all steps at once: d_m = slope * dh, d_r = slope * d_m, d_z = slope * dh.
        torch.mul(m, m, out=d_m).neg_().add_(1).mul_(1 - z)
        torch.addcmul(r, r, r, value=-1, out=d_r).mul_(added)
        torch.addcmul(z, z, z, value=-1, out=d_z).mul_(h[:-1] - m)
        for t in range(run.steps - 1, -1, -1):
            dh, passing = run.enter(t, dh, dy)
            d_m[t].mul_(dh)
            d_r[t].mul_(d_m[t])
            d_z[t].mul_(dh)
            d_recurrent[t] = d_gates[t]
            d_recurrent[t, :, 2 * hidden :].mul_(r[t])
            dh = run.leave(torch.addmm(dh * z[t], d_recurrent[t], weight_hh), passing)
        dx, *d_weights = run.gradients(d_gates, d_recurrent, for_weight, h, weight_x, needs[2:])
        return dx, dh, *d_weights

    return (run.outputs(h), h[-1]), pullback


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
    run = Run(x, lengths, reverse)
    gates = run.gates(x, weight_ih, bias_ih, bias_hh)
    h = run.states(h0)
    for t in range(run.steps):
        after = torch.addmm(gates[t], h[t], weight_hh.t(), out=h[t + 1])
        after.tanh_() if nonlinearity == "tanh" else after.relu_()
        run.hold(t, h)
    del gates
    weight_x = weight_ih if needs[0] else None
    for_weight = x if needs[2] else None

    def pullback(grads: list) -> tuple:
        dy = None if grads[0] is None else run.turn(grads[0])
        dh, y = zeros_if_none(grads[1], h0), h[1:]
        slope = 1 - y * y if nonlinearity == "tanh" else (y > 0).to(y.dtype)
        for t in range(run.steps - 1, -1, -1):
            dh, passing = run.enter(t, dh, dy)
            slope[t].mul_(dh)
            dh = run.leave(slope[t] @ weight_hh, passing)
        dx, *d_weights = run.gradients(slope, slope, for_weight, h, weight_x, needs[2:])
        return dx, dh, *d_weights

    return (run.outputs(h), h[-1]), pullback
