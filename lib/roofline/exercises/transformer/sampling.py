"""The choice of the next token."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator, where

from .shared import also_wide, together


@exercise("transformer.filtered")
class Filtered(Exercise):
    """Choosing the next word."""

    points, minutes, difficulty, importance = 4, 12, 3, 4
    forbidden = ("roofline.exercises.transformer.sampling.Filtered.run",)

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        logits = torch.randn(12, generator=random)
        plain, cold = ((logits / t).sort(descending=True).values for t in (1.0, 0.7))

        def reached(scores: torch.Tensor, *less: torch.Tensor) -> float:
            """A p far from rounding: three tokens reach it, two don't, nor three of ``less``."""
            low = [scores.softmax(0)[:2].sum(), *(s.softmax(0)[:3].sum() for s in less)]
            return float(scores.softmax(0)[:3].sum() + max(low)) / 2

        return {
            "temperature": [{"temperature": 0.5}, {"temperature": 3.0}],
            "top_k": [{"top_k": 4}, {"top_k": 1}],
            "top_p": [{"top_p": reached(plain)}, {"top_p": 1e-4}],
            "all": [{"top_p": 1.0}, {"top_k": 12}, {"top_k": 20}, {"top_k": 20, "top_p": 1.0}],
            "together": [
                {"temperature": 0.7, "top_p": reached(cold, plain)},
                {"top_k": 6, "top_p": reached(plain[:6], plain)},
                {"temperature": 0.7, "top_k": 6, "top_p": reached(cold[:6], cold, plain[:6])},
            ],
        }, logits

    def probe(self, answer: Any, cases: Any) -> Any:
        options, logits = cases
        made = {key: [call(answer, logits, **each) for each in options[key]] for key in options}
        return {**made, "wide": [call(answer, logits.double(), **o) for o in options["together"]]}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        options, logits = cases
        hints = {
            "times": "divide by the temperature, don't multiply",
            "share": "what is left must add up to 1",
            "below": "the token that crosses p belongs to the set",
            "below, but one": "the token that crosses p belongs to the set",
            "one more": "one token too many: stop once p is reached",
            "k + 1": "top_k keeps one token too many",
            "k - 1": "top_k keeps one token too few",
            "greedy": "this is the likeliest token alone, whatever is asked for",
            "order": "the probabilities are still in sorted order: undo the sorting",
            "twice": "p[order] sorts once more: p belongs at the places order, so scatter it there",
            "of all": "top_k first: top_p looks at what it left, renormalised",
            "cold last": "the temperature comes first: top_p sees the tempered probabilities",
            "zero": "a logit of 0 isn't a probability of 0: what is exp(0)?",
            "logs": "these are logarithms: return the probabilities",
            "least": "keep the likeliest: sort in descending order",
            "threshold": "top_p adds probabilities up: it isn't the least that one token must have",
            "k alone": "where both are given, top_p looks at what top_k left",
            "p alone": "where both are given, top_k comes first",
            "no top_p": "top_p has no effect here",
            "no top_k": "top_k has no effect here",
            "no temperature": "the temperature has no effect here",
        }

        def item(name: str, points: float, key: str) -> Item:
            right = [self.run(logits, **o) for o in options[key]]
            wrong = [
                (lambda m=m: [self.run(logits, **o, mistake=m) for o in options[key]], hint)
                for m, hint in hints.items()
            ]
            got, names = together(outputs[key]), [self.named(o) for o in options[key]]
            made = compare(name, points, got, right, wrong, rtol=1e-4, atol=1e-6)
            return where(self.shaped(made, got), names)

        items = [
            item("temperature", 0.5, "temperature"),
            item("top_k", 1, "top_k"),
            item("top_p", 1, "top_p"),
        ]
        whole, ordered = (
            item("nothing to drop", 0.5, "all"),
            item("together, in order", 1, "together"),
        )
        if whole.lost and not whole.hint and not any(i.lost for i in items):
            hint = "a top_p of 1, or a top_k larger than the number of tokens, drops nothing"
            whole = replace(whole, hint=hint)
        right = [self.run(logits.double(), **o) for o in options["together"]]
        ordered = also_wide(ordered, together(outputs["wide"]), right)
        return [*items, whole, where(ordered, [self.named(o) for o in options["together"]])]

    @staticmethod
    def named(options: dict[str, Any]) -> str:
        return ", ".join(f"{name}={value:.4g}" for name, value in options.items())

    @staticmethod
    def shaped(item: Item, got: Call) -> Item:
        """What a result of another size is."""
        found = re.match(r"value \d+: shape \((\d*),?\), expected", item.message)
        if not item.lost or not got.ok or item.hint or not found:
            return item
        hint = "what was dropped stays at its place, with probability 0"
        if found[1] in ("", "1"):
            hint = "return the probabilities, one for each token: nothing is drawn yet"
        return replace(item, hint=hint)

    @staticmethod
    def run(
        logits: torch.Tensor,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        mistake: str = "",
    ) -> torch.Tensor:
        if mistake == "logs":
            return Filtered.run(logits, temperature, top_k, top_p).log()
        if mistake == "greedy":
            top_k = 1
        elif top_k is not None and mistake in ("k + 1", "k - 1"):
            top_k = max(1, top_k + (1 if mistake == "k + 1" else -1))
        both = top_k is not None and top_p is not None
        if mistake == "no top_p" or mistake == "k alone" and both:
            top_p = None
        if mistake == "no top_k" or mistake == "p alone" and both:
            top_k = None
        temperature = 1.0 if mistake == "no temperature" else temperature
        late = mistake == "cold last"
        factor = temperature if mistake == "times" else 1 / temperature
        scores, order = (logits * (1.0 if late else factor)).sort(descending=True)
        p = scores.softmax(0)
        keep = torch.ones_like(p, dtype=torch.bool)
        if top_k is not None:
            place = torch.arange(len(p))
            keep &= (place.flip(0) if mistake == "least" else place) < top_k
        if top_p is not None:
            share = p if mistake == "of all" else p * keep / (p * keep).sum()
            before = share.cumsum(0) - share
            upwards = share.flip(0).cumsum(0).flip(0) - share
            kept = {
                "least": upwards < top_p,
                "threshold": share >= min(top_p, float(share.max())),
                "below": share.cumsum(0) < top_p,
                "below, but one": (share.cumsum(0) < top_p) | (share.cumsum(0) == share[0]),
                "one more": before - torch.cat([share[:1] * 0, share[:-1]]) < top_p,
            }.get(mistake, before < top_p)
            keep &= kept
        if mistake == "zero":
            p = (scores * keep).softmax(0)
        elif late:
            p = (scores * factor).masked_fill(~keep, -torch.inf).softmax(0)
        else:
            p = p * keep if mistake == "share" else p * keep / (p * keep).sum()
        if mistake in ("order", "twice"):
            return p if mistake == "order" else p[order]
        return torch.zeros_like(p).scatter(0, order, p)
