"""Walking back through time, and how far the gradient gets."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

from .shared import DERIVATIVES, RECURRENT

Tensors = list[torch.Tensor]


def walk_back(
    x: torch.Tensor,
    states: torch.Tensor,
    dh: torch.Tensor,
    w: torch.Tensor,
    r: torch.Tensor,
    *,
    mistake: str = "",
) -> Tensors:
    """dx, dh0, dW, dR, db, with ways to go wrong."""
    carried = torch.zeros_like(states[0])
    before = states[1:] if mistake == "after" else states[:-1]
    da = torch.empty_like(dh)
    for t in reversed(range(len(x))):
        arriving = dh[t] + carried
        if mistake == "last" and t < len(x) - 1:
            arriving = carried
        if mistake == "alone":
            arriving = dh[t]
        da[t] = arriving * (1 if mistake == "slope" else 1 - states[t + 1] ** 2)
        if mistake == "old slope":
            da[t] = arriving * (1 - states[t] ** 2)
        carried = da[t] @ (r.T if mistake == "transposed" else r)
        if mistake == "arriving":
            carried = arriving @ r
    dw, dr = torch.einsum("tnh,tni->hi", da, x), torch.einsum("tnh,tnk->hk", da, before)
    db = da.sum((0, 1))
    if mistake == "one step":
        dw, dr, db = da[0].T @ x[0], da[0].T @ before[0], da[0].sum(0)
    return [da @ w, carried, dw, dr, db]


@exercise("rnn.bptt")
class ThroughTime(Exercise):
    """Backpropagation through time."""

    points, minutes, difficulty, importance = 5, 18, 3, 5
    forbidden = (*RECURRENT, *DERIVATIVES)
    mistakes = {
        "alone": "each step gets what the steps after it send back: carry it on",
        "last": "every d_states[t] counts, not the last one alone",
        "slope": "the slope of tanh is missing: 1 - h²",
        "old slope": "the slope is taken where tanh came out: at the new state",
        "transposed": "forward multiplies by R.T, so back multiplies by R",
        "arriving": "what goes back goes through the slope first",
        "after": "R met the state before the step, not the one after it",
        "one step": "W and R are the same at every step: their gradients add up over time",
    }

    def cases(self, seed: int) -> Any:
        random = generator(seed)

        def drawn(steps: int, batch: int, inputs: int, hidden: int) -> tuple[torch.Tensor, ...]:
            x = torch.randn(steps, batch, inputs, generator=random)
            w, r = (torch.randn(hidden, i, generator=random) * 0.6 for i in (inputs, hidden))
            states = [torch.randn(batch, hidden, generator=random).tanh()]
            for t in range(steps):
                states.append(torch.tanh(x[t] @ w.T + states[-1] @ r.T + 0.1))
            arriving = torch.randn(steps, batch, hidden, generator=random)
            return x, torch.stack(states), arriving, w, r

        return drawn(6, 3, 2, 4), [drawn(1, 2, 4, 3), drawn(5, 1, 3, 1), drawn(2, 4, 1, 6)]

    def probe(self, answer: Any, cases: Any) -> Any:
        return [call(answer, *cases[0]), [call(answer, *case) for case in cases[1]]]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        (cases, other), (outputs, others) = cases, outputs
        right = walk_back(*cases)
        wrong = {name: walk_back(*cases, mistake=name) for name in self.mistakes}

        def item(name: str, points: float, places: tuple[int, ...], *more: Any) -> Item:
            parts = [outputs[i] for i in places]
            got = next((p for p in parts if not p.ok), None) or [p.value for p in parts]
            hints = [([w[i] for i in places], self.mistakes[key]) for key, w in wrong.items()]
            return compare(
                name, points, got, [right[i] for i in places], [*hints, *more], rtol=1e-4
            )

        items = [
            item("gradient of x", 1, (0,)),
            item("gradient of h0", 1, (1,)),
            item(
                "gradients of W and b",
                1,
                (2, 4),
                ([wrong["one step"][2], right[4]], self.mistakes["one step"]),
                ([right[2], right[4] / 3], "sums over the batch, not means"),
                ([right[2] / 3, right[4] / 3], "sums over the batch, not means"),
            ),
            item(
                "gradient of R",
                1,
                (3,),
                ([right[3].T], "its shape is R's: (to, from)"),
            ),
            self.elsewhere(others, other),
        ]
        if outputs.ok and outputs.changed:
            which = ", ".join(outputs.changed)
            message = f"it changed its argument {which} in place"
            items[0] = Item(items[0].name, 1, 0.0, message, "make a new tensor with +, not with +=")
        return items

    @staticmethod
    def elsewhere(made: list[Call], cases: Any) -> Item:
        """All five gradients again: one step alone, a batch of one, a hidden size of one."""
        failed = next((one for one in made if not one.ok), None)
        got = failed or [list(one.value) if _listed(one.value) else one.value for one in made]
        right = [walk_back(*case) for case in cases]
        return compare("other shapes, a single step too", 1, got, right, rtol=1e-4)


def _listed(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def influence(
    states: torch.Tensor, r: torch.Tensor, mistake: str = "", norm: Any = 2
) -> torch.Tensor:
    """The norm of dh_T/dh_t for every t, with ways to go wrong."""
    steps = len(states) - 1
    product = torch.eye(len(r), dtype=r.dtype)
    norms = [torch.linalg.matrix_norm(product, norm)]
    for t in reversed(range(steps)):
        slope = 1 - states[t if mistake == "old" else t + 1] ** 2
        jacobian = r if mistake == "slope" else slope[:, None] * r
        if mistake == "columns":
            jacobian = slope * r
        product = jacobian @ product if mistake == "order" else product @ jacobian
        one = torch.linalg.matrix_norm(jacobian, norm)
        norms.append(
            norms[-1] * one if mistake == "bound" else torch.linalg.matrix_norm(product, norm)
        )
    return torch.stack(norms[::-1])


@exercise("rnn.influence")
class Influence(Exercise):
    """How far back the gradient gets."""

    points, minutes, difficulty, importance = 4, 12, 3, 4
    forbidden = (*RECURRENT, *DERIVATIVES)

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        r = torch.randn(5, 5, generator=random, dtype=torch.float64) * 0.6
        states = [torch.randn(5, generator=random, dtype=torch.float64).tanh()]
        for _ in range(7):
            x = torch.randn(5, generator=random, dtype=torch.float64)
            states.append(torch.tanh(r @ states[-1] + 0.7 * x))
        return torch.stack(states), r

    def probe(self, answer: Any, cases: Any) -> Any:
        states, r = cases
        return {
            "all": call(answer, states, r),
            "one": call(answer, states[-2:], r),
            "none": call(answer, states[-1:], r),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        states, r = cases
        hints = {
            "slope": "the slope of tanh belongs into every step: 1 - h²",
            "old": "the slope is taken where tanh came out: at the new state",
            "columns": "the slope belongs to the row, to where the step arrives",
            "order": "the order of the product: the last step stands on the left",
            "bound": "a product of norms is only a bound: take the norm of the product",
        }

        def mistakes(given: torch.Tensor) -> list[tuple[Any, str]]:
            right = influence(given, r)
            return [
                *((lambda k=key: influence(given, r, k), hint) for key, hint in hints.items()),
                (lambda: influence(given, r, norm="fro"), "that is Frobenius' norm, all entries"),
                (right.flip(0), "entry t belongs to h_t: the last one is 1"),
                (right[:-1], "T + 1 entries: h_T on itself is one of them"),
            ]

        return [
            compare(
                "no step", 1, outputs["none"], influence(states[-1:], r), mistakes(states[-1:])
            ),
            compare(
                "one step", 1, outputs["one"], influence(states[-2:], r), mistakes(states[-2:])
            ),
            compare("seven steps", 2, outputs["all"], influence(states, r), mistakes(states)),
        ]
