"""Tokens made of pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator

from .shared import plain, together

Pair = tuple[int, int]
SHOWN = 90


@exercise("transformer.pairs")
class Pairs(Exercise):
    """A tokenizer that learns."""

    points, minutes, difficulty, importance = 4, 12, 3, 4
    forbidden = (
        "roofline.data.train_pairs",
        "roofline.data.bpe.join",
        "roofline.exercises.transformer.pairs.Pairs.join",
        "roofline.exercises.transformer.pairs.joined",
    )
    # Letters stand for tokens in alphabetical order; the numbers are drawn.
    texts = ("dcbacbdcbaab", "cdabcdabc", "aaabcdbc", "adbadbcdbacabdb")
    digits = (1, 11, 1, 1, 2, 1, 1, 11, 1, 1, 2)  # "1 1" also begins the text "1 11"

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        # As texts they would be in another order: "9" comes after "11", "200".
        drawn = torch.randint(0, 5, (5,), generator=random)
        *numbers, new = (drawn + torch.tensor([5, 10, 40, 200, 300])).tolist()
        letters = dict(zip("abcd", numbers, strict=True))
        rows = [[letters[c] for c in text] for text in self.texts]
        short = [[], numbers[:1], [numbers[1], numbers[0]]]
        return {"rows": [*rows, list(self.digits)], "new": new, "short": short}

    def probe(self, answer: Any, cases: Any) -> Any:
        return {
            key: [plain(call(answer, tokens, cases["new"])) for tokens in cases[key]]
            for key in ("rows", "short")
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        form = self.form(outputs["rows"][0])
        items = [
            self.pair("the commonest pair", 0, outputs, cases),
            self.pair("a tie", 1, outputs, cases),
            self.lists(outputs, cases),
            self.edge(outputs, cases),
        ]
        return [replace(i, hint=i.hint or form) if i.lost else i for i in items]

    def pair(self, name: str, row: int, outputs: Any, cases: Any) -> Item:
        tokens, got = cases["rows"][row], outputs["rows"][row][0]
        right, counts = self.chosen(tokens), self.counts(tokens)
        hints = {
            "first": "of several commonest pairs the smallest, not the one that was seen first",
            "text": "compare numbers, not their digits: 9 is smaller than 11",
            "largest": "of several commonest pairs the smallest, not the largest",
            "apart": "count all neighbours: aaa holds two pairs aa",
            "unordered": "a pair has an order: a, b is another one than b, a",
            "disjoint": "every two neighbours are a pair: also the second token and the third",
            "rarest": "the pair that occurs most often, not least",
        }
        wrong = [(list(self.chosen(tokens, m)), h) for m, h in hints.items()]
        item = compare(name, 1, got, list(right), wrong)
        if item.lost and self.numbers(got.value) and len(got.value) == 2:
            found = tuple(got.value)
            if found != right:
                message = f"of {tokens} it took {found}, {counts[found]} of them, expected {right}"
                item = replace(item, message=f"{message}, {counts[right]} of them")
            elif got.changed:
                item = replace(item, hint="work on a copy: list(tokens)")
        return item

    def lists(self, outputs: Any, cases: Any) -> Item:
        new, at = cases["new"], (0, 3, 4)
        rows = [cases["rows"][i] for i in at]
        right = [self.join(row, new) for row in rows]
        got = together([outputs["rows"][i][1] for i in at])
        pairs = together([outputs["rows"][i][0] for i in at])
        mistakes: list = [
            (rows, "nothing was joined"),
            ([self.once(r, new) for r in rows], "join every occurrence, not the first alone"),
            ([self.doubled(r, new) for r in rows], "skip both tokens of a pair once joined"),
            ([self.dropped(r, new) for r in rows], "the last token was lost"),
            ([self.repeated(r, new) for r in rows], "the last token is there twice"),
            (
                [self.single(r, new) for r in rows],
                "a token alone isn't the pair: both, side by side",
            ),
            (
                [self.again(r, new) for r in rows],
                "one round joins one pair: don't go on with others",
            ),
            (
                [*right[:2], self.as_text(rows[2], new)],
                "a token may have several digits: 1, 1 isn't the beginning of 1, 11",
            ),
        ]
        if pairs.ok and all(self.numbers(p) and len(p) == 2 for p in pairs.value):
            own = [joined(r, tuple(p), new) for r, p in zip(rows, pairs.value, strict=True)]
            mistakes.append((own, "its own pair is joined well: it isn't the commonest"))
        return self.told(compare("the new list", 1, got, right, mistakes), got, rows, right)

    def edge(self, outputs: Any, cases: Any) -> Item:
        new, overlap, short = cases["new"], cases["rows"][2], cases["short"]
        none, one, two = outputs["short"]
        got = together([outputs["rows"][2][1], none, one, two[1]])
        rest = [[None, short[0]], [None, short[1]], [new]]
        right = self.join(overlap, new)
        hints = [
            (self.join(overlap, new, "apart"), "count all neighbours: aaa holds two pairs aa"),
            (self.doubled(overlap, new), "skip both tokens of a pair"),
            (self.swallowed(overlap, new), "what was joined is gone: aaa becomes new, a"),
            (self.backwards(overlap, new), "join from left to right"),
        ]
        name = "overlapping pairs, and nothing to join"
        item = compare(name, 1, got, [right, *rest], [([m, *rest], h) for m, h in hints])
        if item.lost and got.ok:
            few = "fewer than two tokens have no pair: return (None, tokens)"
            leads = (few, few, "two are a pair")
            for i, (tokens, lead) in enumerate(zip(short, leads, strict=True), 1):
                if item.message.startswith(f"value {i}: "):
                    return replace(item, message=f"of {tokens}{item.message[7:]}", hint=lead)
            item = self.told(item, got, [overlap], [right])
        return item

    @classmethod
    def told(cls, item: Item, got: Call, rows: list, right: list) -> Item:
        """The first list that is wrong, with what was expected of which tokens."""
        if not item.lost or not got.ok:
            return item
        for tokens, made, wanted in zip(rows, got.value, right, strict=False):
            if made != wanted and cls.numbers(made):
                message = f"of {tokens} it made {str(made)[:SHOWN]}, expected {wanted}"
                return replace(item, message=message)
        return item

    @classmethod
    def form(cls, made: Call) -> str:
        """Which other form it looks like, if it isn't (pair, list)."""
        value = made.value if made.ok else None
        if made.ok and (not isinstance(value, list) or len(value) != 2 or cls.numbers(value)):
            return "return two things: the pair, and the new list"
        if not made.ok or not isinstance(value, list):
            return ""
        first, second = value
        if cls.numbers(first) and len(first) > 2 and cls.numbers(second) and len(second) == 2:
            return "the pair comes first, then the new list"
        if isinstance(first, str):
            return "the pair is two tokens, (7, 12), not a text"
        if isinstance(first, list) and len(first) == 2 and cls.numbers(first[0]):
            return "return the pair alone, (7, 12), without its count"
        return ""

    @staticmethod
    def numbers(value: Any) -> bool:
        return isinstance(value, list) and all(type(v) in (int, float) for v in value)

    @staticmethod
    def counts(tokens: list[int], mistake: str = "") -> Counter[Pair]:
        found: Counter[Pair] = Counter()
        taken: dict[Pair, int] = {}
        for i, (a, b) in enumerate(zip(tokens, tokens[1:], strict=False)):
            pair = (min(a, b), max(a, b)) if mistake == "unordered" else (a, b)
            if mistake == "apart" and taken.get(pair) == i - 1 or mistake == "disjoint" and i % 2:
                continue
            found[pair] += 1
            taken[pair] = i
        return found

    @classmethod
    def chosen(cls, tokens: list[int], mistake: str = "") -> Pair:
        counts = cls.counts(tokens, mistake)
        most = (min if mistake == "rarest" else max)(counts.values())
        best = [pair for pair, n in counts.items() if n == most]
        text = min(best, key=lambda pair: tuple(map(str, pair)))
        return {"first": best[0], "largest": max(best), "text": text}.get(mistake, min(best))

    @classmethod
    def join(cls, tokens: list[int], new: int, mistake: str = "") -> list[int]:
        return joined(tokens, cls.chosen(tokens, mistake), new)

    @classmethod
    def once(cls, tokens: list[int], new: int) -> list[int]:
        at = list(zip(tokens, tokens[1:], strict=False)).index(cls.chosen(tokens))
        return [*tokens[:at], new, *tokens[at + 2 :]]

    @classmethod
    def doubled(cls, tokens: list[int], new: int) -> list[int]:
        """Each token begins a pair or stays: the second of a pair is kept."""
        pair, following = cls.chosen(tokens), [*tokens[1:], -1]
        return [new if (a, b) == pair else a for a, b in zip(tokens, following, strict=True)]

    @classmethod
    def swallowed(cls, tokens: list[int], new: int) -> list[int]:
        """The second token of a pair may be the first of the next."""
        pair, out = cls.chosen(tokens), tokens[:1]
        for before, token in zip(tokens, tokens[1:], strict=False):
            if (before, token) == pair:
                out[-1] = new
            else:
                out.append(token)
        return out

    @classmethod
    def dropped(cls, tokens: list[int], new: int) -> list[int]:
        """What a loop over pairs alone leaves of a list whose last token isn't joined."""
        out = cls.join(tokens, new)
        return out if out[-1] == new else out[:-1]

    @classmethod
    def repeated(cls, tokens: list[int], new: int) -> list[int]:
        """The last token appended in any case, also when it was joined."""
        out = cls.join(tokens, new)
        return [*out, tokens[-1]] if out[-1] == new else out

    @classmethod
    def single(cls, tokens: list[int], new: int) -> list[int]:
        pair = cls.chosen(tokens)
        return [new if token in pair else token for token in tokens]

    @classmethod
    def again(cls, tokens: list[int], new: int) -> list[int]:
        """Round after round, as long as a pair occurs twice."""
        while max(cls.counts(tokens).values(), default=0) > 1:
            tokens = cls.join(tokens, new)
        return tokens

    @classmethod
    def as_text(cls, tokens: list[int], new: int) -> list[int]:
        """What replacing in a text of numbers makes of it."""
        first, second = cls.chosen(tokens)
        text = " ".join(map(str, tokens)).replace(f"{first} {second}", str(new))
        return [int(word) for word in text.split()]

    @classmethod
    def backwards(cls, tokens: list[int], new: int) -> list[int]:
        first, second = cls.chosen(tokens)
        return joined(tokens[::-1], (second, first), new)[::-1]


def joined(tokens: list[int], pair: Pair, new: int) -> list[int]:
    """``tokens`` with ``pair`` replaced by ``new``, from left to right."""
    out, i = [], 0
    while i < len(tokens):
        here = tuple(tokens[i : i + 2]) == pair
        out.append(new if here else tokens[i])
        i += 2 if here else 1
    return out
