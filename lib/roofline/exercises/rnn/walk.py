"""Walking back through time, and how far the gradient gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
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
        if mistake == "one back":
            after = dh[t + 1] * (1 - states[t + 2] ** 2) if t + 1 < len(x) else 0 * dh[t]
            arriving = dh[t] + after @ r
        da[t] = arriving * (1 if mistake == "slope" else 1 - states[t + 1] ** 2)
        if mistake == "old slope":
            da[t] = arriving * (1 - states[t] ** 2)
        if mistake == "outside alone":
            da[t] = dh[t] * (1 - states[t + 1] ** 2) + carried
        if mistake == "not squared":
            da[t] = arriving * (1 - states[t + 1].abs())
        carried = da[t] @ (r.T if mistake == "transposed" else r)
        if mistake == "arriving":
            carried = arriving @ r
    dw, dr = torch.einsum("tnh,tni->hi", da, x), torch.einsum("tnh,tnk->hk", da, before)
    db = da.sum((0, 1))
    if mistake == "one step":
        dw, dr, db = da[0].T @ x[0], da[0].T @ before[0], da[0].sum(0)
    if mistake == "no last step":
        carried = da[0]
    if mistake == "mean over time":
        dw, dr, db = dw / len(x), dr / len(x), db / len(x)
    return [da @ w, carried, dw, dr, db]


@exercise("rnn.bptt")
class ThroughTime(Exercise):
    """Backpropagation through time."""

    points, minutes, difficulty, importance = 5, 18, 3, 5
    forbidden = (*RECURRENT, *DERIVATIVES, "roofline.exercises.rnn.walk.walk_back")
    mistakes = {
        "alone": "each step gets what the steps after it send back: carry it on",
        "last": "every d_states[t] counts, not the last one alone",
        "slope": "the slope of tanh is missing: 1 - h²",
        "old slope": "the slope is taken where tanh came out: at the new state",
        "transposed": "forward multiplies by R.T, so back multiplies by R",
        "arriving": "what goes back goes through the slope first",
        "one back": "what arrives has come through all steps behind: send the sum on, not dh alone",
        "outside alone": "all that arrives goes through the slope, what was sent back too",
        "not squared": "the slope of tanh is 1 - h², not 1 - |h|",
        "no last step": "h0 gets what step 1 sends back: delta through R",
        "mean over time": "sums over the steps, not means",
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

        double = [t.double() for t in drawn(2, 4, 1, 6)]
        return drawn(6, 3, 2, 4), [drawn(1, 2, 4, 3), drawn(5, 1, 3, 1), double]

    def probe(self, answer: Any, cases: Any) -> Any:
        return [call(answer, *cases[0]), [call(answer, *case) for case in cases[1]]]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        (cases, other), (outputs, others) = cases, outputs
        right = walk_back(*cases)

        @cache
        def wrong(key: str) -> Tensors:
            return walk_back(*cases, mistake=key)

        def item(name: str, points: float, places: tuple[int, ...], *more: Any) -> Item:
            parts = [outputs[i] for i in places]
            failed = next((p for p in parts if not p.ok), None)
            got = failed or _named(places, [p.value for p in parts])
            hints = [
                (lambda key=key: _named(places, [wrong(key)[i] for i in places]), hint)
                for key, hint in self.mistakes.items()
            ]
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
                ([right[2], wrong("one step")[4]], self.mistakes["one step"]),
                ([wrong("one step")[2], right[4]], self.mistakes["one step"]),
                ([right[2], right[4] / 3], "sums over the batch, not means"),
                ([right[2] / 3, right[4] / 3], "sums over the batch, not means"),
                ([right[3], right[4]], "the order is x, h0, w, r, b"),
            ),
            item(
                "gradient of R",
                1,
                (3,),
                ([right[3].T], "its shape is R's: (to, from)"),
                ([right[2]], "the order is x, h0, w, r, b"),
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
            + (", float64" if x.dtype == torch.float64 else "")
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
        hints = [(partial(of, key), hint) for key, hint in cls.mistakes.items()]
        name = "other shapes, a single step too"
        return compare(name, 1, got, right, [*hints, (turned, cls.turned)], rtol=1e-4)


def _named(places: Iterable[int], values: Any) -> Any:
    """Values under the names of their gradients, which a message then shows."""
    names = [("dx", "dh0", "dw", "dr", "db")[place] for place in places]
    listed = isinstance(values, (list, tuple)) and len(values) == len(names)
    return dict(zip(names, values, strict=True)) if listed else values


def largest_stretch(matrix: torch.Tensor) -> torch.Tensor:
    return torch.linalg.matrix_norm(matrix, 2)


def influence(
    states: torch.Tensor,
    r: torch.Tensor,
    mistake: str = "",
    norm: Callable[[torch.Tensor], torch.Tensor] = largest_stretch,
) -> torch.Tensor:
    """The norm of dh_T/dh_t for every t, with ways to go wrong."""
    steps = range(1, len(states))
    product = torch.eye(len(r), dtype=r.dtype)
    norms = [norm(product)]
    for t in steps if mistake == "from the first" else reversed(steps):
        slope = 1 - states[t - 1 if mistake == "old" else t] ** 2
        jacobian = slope[:, None] * (r.T if mistake == "transposed" else r)
        if mistake in ("slope", "columns"):
            jacobian = r if mistake == "slope" else slope * r
        left = mistake in ("order", "from the first")
        product = jacobian @ product if left else product @ jacobian
        if mistake == "bound":
            norms.append(norms[-1] * norm(jacobian))
        else:
            norms.append(norm(jacobian if mistake == "alone" else product))
    return torch.stack(norms if mistake == "from the first" else norms[::-1])


@exercise("rnn.influence")
class Influence(Exercise):
    """How far back the gradient gets."""

    points, minutes, difficulty, importance = 4, 12, 3, 4
    forbidden = (*RECURRENT, *DERIVATIVES, "roofline.exercises.rnn.walk.influence")

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        r = torch.randn(5, 5, generator=random, dtype=torch.float64) * 0.6
        states = [torch.randn(5, generator=random, dtype=torch.float64).tanh()]
        for _ in range(7):
            x = torch.randn(5, generator=random, dtype=torch.float64)
            states.append(torch.tanh(r @ states[-1] + 0.7 * x))
        few, small = torch.randn(2, 3, generator=random).tanh(), torch.randn(3, 3, generator=random)
        return torch.stack(states), r, few, small  # a hidden size of 5 in float64, of 3 in float32

    def probe(self, answer: Any, cases: Any) -> Any:
        states, r, few, small = cases
        return {
            "all": call(answer, states, r),
            "one": call(answer, few, small),
            "none": call(answer, few[-1:], small),
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        states, r, few, small = cases
        items = [
            compare(name, points, outputs[key], influence(h, w), self.mistakes(h, w))
            for name, points, key, h, w in (
                ("no step", 1, "none", few[-1:], small),
                ("one step", 1, "one", few, small),
                ("seven steps", 2, "all", states, r),
            )
        ]
        if items[1].lost and not outputs["one"].ok and outputs["all"].ok:
            hint = "here hidden is 3 and the dtype float32: take both from the arguments"
            items[1] = Item("one step", 1, 0.0, items[1].message, hint)
        return items

    @staticmethod
    def mistakes(states: torch.Tensor, r: torch.Tensor) -> list[tuple[Any, str]]:
        right = influence(states, r)
        hints = {
            "slope": "the slope of tanh belongs into every step: 1 - h²",
            "old": "the slope is taken where tanh came out: at the new state",
            "columns": "the slope belongs to the row, to where the step arrives",
            "transposed": "the step multiplies by R, not by its transpose",
            "order": "the order of the product: the last step stands on the left",
            "bound": "a product of norms is only a bound: take the norm of the product",
            "alone": "that is the norm of one step: multiply all steps from t + 1 to T",
        }
        norms = {
            "fro": (lambda p: torch.linalg.matrix_norm(p), "that is Frobenius' norm, all entries"),
            "nuc": (
                lambda p: torch.linalg.matrix_norm(p, "nuc"),
                "that is the sum of the singular values: the largest is asked",
            ),
            "smallest": (
                lambda p: torch.linalg.svdvals(p)[-1],
                "that is the smallest singular value: the largest is asked",
            ),
            "radius": (
                lambda p: torch.linalg.eigvals(p).abs().max(),
                "that is the largest eigenvalue: it rules powers, the largest singular value "
                "stretches",
            ),
            "squared": (
                lambda p: torch.linalg.svdvals(p)[0] ** 2,
                "that is its square: take the root",
            ),
            "columns": (
                lambda p: torch.linalg.matrix_norm(p, 1),
                "that is the largest sum of a column: the spectral norm is ord=2",
            ),
            "rows": (
                lambda p: torch.linalg.matrix_norm(p, torch.inf),
                "that is the largest sum of a row: the spectral norm is ord=2",
            ),
        }
        forward = "entry t is about dh_T/dh_t, not dh_t/dh_0: begin at the last step"
        return [
            *((partial(influence, states, r, key), hint) for key, hint in hints.items()),
            *((partial(influence, states, r, norm=norm), hint) for norm, hint in norms.values()),
            (right.flip(0), "entry t belongs to h_t: the last one is 1"),
            (right[:-1], "T + 1 entries: h_T on itself is one of them"),
            (right[1:], "T + 1 entries: h_T on itself is one of them"),
            (influence(states, r, "from the first"), forward),
            (influence(states, r, "from the first").flip(0), forward),
        ]
