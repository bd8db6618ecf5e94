"""Walking back through time, and how far the gradient gets."""

from __future__ import annotations

from collections.abc import Iterable
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

    turned = "row t belongs to step t: you walked from the end, so turn them round"

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
            failed = next((p for p in parts if not p.ok), None)
            got = failed or _named(places, [p.value for p in parts])
            made = {self.mistakes[key]: w for key, w in wrong.items()}
            hints = [(_named(places, [w[i] for i in places]), hint) for hint, w in made.items()]
            others = [(_named(places, values), hint) for values, hint in more]
            expected = _named(places, [right[i] for i in places])
            return compare(name, points, got, expected, [*hints, *others], rtol=1e-4)

        items = [
            item("gradient of x", 1, (0,), ([right[0].flip(0)], self.turned)),
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

    @classmethod
    def elsewhere(cls, made: list[Call], cases: Any) -> Item:
        """All five gradients again: one step alone, a batch of one, a hidden size of one."""
        failed = next((one for one in made if not one.ok), None)
        sizes = [
            f"steps {len(x)}, batch {x.shape[1]}, inputs {x.shape[2]}, hidden {len(r)}"
            for x, _, _, _, r in cases
        ]
        got = failed or {
            size: _named(range(5), one.value) for size, one in zip(sizes, made, strict=True)
        }

        def of(mistake: str) -> Any:
            every = (walk_back(*case, mistake=mistake) for case in cases)
            return {s: _named(range(5), v) for s, v in zip(sizes, every, strict=True)}

        right = of("")
        turned = {size: {**five, "dx": five["dx"].flip(0)} for size, five in right.items()}
        hints = [(of(key), hint) for key, hint in cls.mistakes.items()]
        name = "other shapes, a single step too"
        return compare(name, 1, got, right, [*hints, (turned, cls.turned)], rtol=1e-4)


def _named(places: Iterable[int], values: Any) -> Any:
    """Values under the names of their gradients, which a message then shows."""
    names = [("dx", "dh0", "dw", "dr", "db")[place] for place in places]
    listed = isinstance(values, (list, tuple)) and len(values) == len(names)
    return dict(zip(names, values, strict=True)) if listed else values


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
