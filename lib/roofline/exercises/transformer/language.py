"""Tokens made of pairs, and the choice of the next one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

from roofline.grading import Exercise, Item, call, compare, exercise, generator

from .shared import plain, together

Pair = tuple[int, int]


@exercise("transformer.pairs")
class Pairs(Exercise):
    """Join the commonest pair."""

    points, minutes, difficulty, importance = 4, 12, 3, 4
    forbidden = ("roofline.data.train_pairs",)
    # Letters stand for tokens in alphabetical order; the numbers are drawn.
    texts = ("dcbacbdcbab", "cdabcdabc", "aaabcdbc", "adbadbcdbacabdb")
    digits = (1, 11, 1, 1, 2, 1, 1, 11, 1, 1, 2)  # "1 1" also begins the text "1 11"

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        # As texts they would be in another order: "9" comes after "11", "200".
        drawn = torch.randint(0, 5, (4,), generator=random)
        numbers = (drawn + torch.tensor([5, 10, 40, 200])).tolist()
        letters = dict(zip("abcd", numbers, strict=True))
        rows = [[letters[c] for c in text] for text in self.texts]
        return {"rows": [*rows, list(self.digits)], "new": 300, "short": [[], numbers[:1]]}

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            key: [plain(call(answer, tokens, cases["new"])) for tokens in cases[key]]
            for key in ("rows", "short")
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        new, (common, tie, overlap, longer, digits) = cases["new"], cases["rows"]
        hints = {
            "first": "of several commonest pairs the smallest, not the one that was seen first",
            "text": "compare numbers, not their digits: 9 is smaller than 11",
            "largest": "of several commonest pairs the smallest, not the largest",
            "apart": "count all neighbours: aaa holds two pairs aa",
        }

        def pair(name: str, row: int, tokens: list[int]) -> Item:
            wrong: list = [(list(self.join(tokens, new, m)[0]), h) for m, h in hints.items()]
            wrong.append((list(self.rarest(tokens)), "the pair that occurs most often, not least"))
            got = outputs["rows"][row][0]
            return compare(name, 1, got, list(self.join(tokens, new)[0]), wrong)

        rows = [common, longer, digits]
        got = together([outputs["rows"][i][1] for i in (0, 3, 4)])
        joined = compare(
            "the new list",
            1,
            got,
            [self.join(r, new)[1] for r in rows],
            [
                (rows, "nothing was joined"),
                ([self.once(r, new) for r in rows], "join every occurrence, not the first alone"),
                ([self.doubled(r, new) for r in rows], "skip both tokens of a pair once joined"),
                ([self.dropped(r, new) for r in rows], "the last token was lost"),
                (
                    [*(self.join(r, new)[1] for r in rows[:2]), self.as_text(digits, new)],
                    "a token may have several digits: 1, 1 isn't the beginning of 1, 11",
                ),
            ],
        )
        edge = together([outputs["rows"][2][1], *outputs["short"]])
        nothing = [[None, tokens] for tokens in cases["short"]]
        return [
            pair("the commonest pair", 0, common),
            pair("a tie", 1, tie),
            joined,
            compare(
                "overlapping pairs, and nothing to join",
                1,
                edge,
                [self.join(overlap, new)[1], *nothing],
                [
                    ([self.join(overlap, new, "apart")[1], *nothing], hints["apart"]),
                    ([self.doubled(overlap, new), *nothing], "skip both tokens of a pair"),
                    ([self.backwards(overlap, new), *nothing], "join from left to right"),
                ],
            ),
        ]

    @staticmethod
    def counts(tokens: list[int], apart: bool = False) -> dict[Pair, int]:
        found: Counter[Pair] = Counter()
        taken: dict[Pair, int] = {}
        for i, pair in enumerate(zip(tokens, tokens[1:], strict=False)):
            if not (apart and taken.get(pair, -2) == i - 1):
                found[pair] += 1
                taken[pair] = i
        return found

    @classmethod
    def join(cls, tokens: list[int], new: int, mistake: str = "") -> tuple[Pair, list[int]]:
        counts = cls.counts(tokens, mistake == "apart")
        most = max(counts.values())
        best = [pair for pair, n in counts.items() if n == most]
        text = min(best, key=lambda pair: tuple(map(str, pair)))
        pair = {"first": best[0], "largest": max(best), "text": text}.get(mistake, min(best))
        joined, i = [], 0
        while i < len(tokens):
            here = tuple(tokens[i : i + 2]) == pair
            joined.append(new if here else tokens[i])
            i += 2 if here else 1
        return pair, joined

    @classmethod
    def rarest(cls, tokens: list[int]) -> Pair:
        counts = cls.counts(tokens)
        return min(counts, key=lambda p: (counts[p], p))

    @classmethod
    def once(cls, tokens: list[int], new: int) -> list[int]:
        pair, _ = cls.join(tokens, new)
        at = list(zip(tokens, tokens[1:], strict=False)).index(pair)
        return [*tokens[:at], new, *tokens[at + 2 :]]

    @classmethod
    def doubled(cls, tokens: list[int], new: int) -> list[int]:
        """Each token begins a pair or stays: the second of a pair is kept."""
        pair, _ = cls.join(tokens, new)
        following = [*tokens[1:], -1]
        return [new if (a, b) == pair else a for a, b in zip(tokens, following, strict=True)]

    @classmethod
    def dropped(cls, tokens: list[int], new: int) -> list[int]:
        """What a loop over pairs alone leaves of a list whose last token isn't joined."""
        joined = cls.join(tokens, new)[1]
        return joined if joined[-1] == new else joined[:-1]

    @classmethod
    def as_text(cls, tokens: list[int], new: int) -> list[int]:
        """What replacing in a text of numbers makes of it."""
        first, second = cls.join(tokens, new)[0]
        text = " ".join(map(str, tokens)).replace(f"{first} {second}", str(new))
        return [int(word) for word in text.split()]

    @classmethod
    def backwards(cls, tokens: list[int], new: int) -> list[int]:
        pair, _ = cls.join(tokens, new)
        joined, i = [], len(tokens)
        while i > 0:
            here = tuple(tokens[max(0, i - 2) : i]) == pair
            joined.append(new if here else tokens[i - 1])
            i -= 2 if here else 1
        return joined[::-1]


@exercise("transformer.filtered")
class Filtered(Exercise):
    """Choosing the next word."""

    points, minutes, difficulty, importance = 4, 12, 3, 4

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
        return {key: [call(answer, logits, **each) for each in options[key]] for key in options}

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        options, logits = cases
        hints = {
            "times": "divide by the temperature, don't multiply",
            "share": "what is left must add up to 1",
            "below": "the token that crosses p belongs to the set",
            "one more": "one token too many: stop once p is reached",
            "order": "the probabilities are still in sorted order: undo the sorting",
            "of all": "top_k first: top_p looks at what it left, renormalised",
            "cold last": "the temperature comes first: top_p sees the tempered probabilities",
            "zero": "a logit of 0 isn't a probability of 0: what is exp(0)?",
            "nothing": "it has no effect",
        }

        def item(name: str, points: float, key: str) -> Item:
            right = [self.run(logits, **o) for o in options[key]]
            wrong = [
                (lambda m=m: [self.run(logits, **o, mistake=m) for o in options[key]], hint)
                for m, hint in hints.items()
            ]
            return compare(name, points, together(outputs[key]), right, wrong, rtol=1e-4, atol=1e-6)

        return [
            item("temperature", 0.5, "temperature"),
            item("top_k", 1, "top_k"),
            item("top_p", 1, "top_p"),
            self.whole(item("nothing to drop", 0.5, "all")),
            item("together, in order", 1, "together"),
        ]

    @staticmethod
    def whole(item: Item) -> Item:
        if not item.lost or item.hint:
            return item
        hint = "a top_p of 1, or a top_k that is larger than the number of tokens, drops nothing"
        return Item(item.name, item.points, 0.0, item.message, hint)

    @staticmethod
    def run(
        logits: torch.Tensor,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        mistake: str = "",
    ) -> torch.Tensor:
        if mistake == "nothing":
            return logits.softmax(0)
        late = mistake == "cold last"
        factor = temperature if mistake == "times" else 1 / temperature
        scores, order = (logits * (1.0 if late else factor)).sort(descending=True)
        p = scores.softmax(0)
        keep = torch.ones_like(p, dtype=torch.bool)
        if top_k is not None:
            keep &= torch.arange(len(p)) < top_k
        if top_p is not None:
            share = p if mistake == "of all" else p * keep / (p * keep).sum()
            before = share.cumsum(0) - share
            kept = {
                "below": share.cumsum(0) < top_p,
                "one more": before - torch.cat([share[:1] * 0, share[:-1]]) < top_p,
            }.get(mistake, before < top_p)
            keep &= kept
        if mistake == "zero":
            p = (scores * keep).softmax(0)
        elif late:
            p = (scores * factor).masked_fill(~keep, -torch.inf).softmax(0)
        else:
            p = p * keep if mistake == "share" else p * keep / (p * keep).sum()
        return p if mistake == "order" else torch.zeros_like(p).scatter(0, order, p)
