"""What a GPT costs: parameters, FLOPs, cache."""

from __future__ import annotations

from typing import Any

import torch

from roofline.grading import Exercise, Item, call, compare, exercise, generator

from .shared import plain, together


def account(
    layers: int, width: int, vocabulary: int, length: int, mistake: str = ""
) -> dict[str, int]:
    """The account, tensor by tensor and product by product, with ways to go wrong."""
    biased = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
    biases = {"no bias": 0, "half the biases": 4 * width}.get(mistake, sum(o for o, _ in biased))
    norms = {"no norms": 0, "no norm biases": 2 * width}.get(mistake, 4 * width)
    block = sum(o * i for o, i in biased) + biases + norms
    last = 0 if mistake in ("no last norm", "no norms") else 2 * width
    last = width if mistake == "no norm biases" else last
    rows = vocabulary + (0 if mistake == "no positions" else length)
    rows += vocabulary if mistake == "untied" else 0
    linear = sum(2 * length * o * i for o, i in biased)
    square = 0 if mistake == "no squares" else 2 * 2 * length * length * width
    if mistake == "causal":
        square //= 2
    if mistake == "one square":
        square //= 2
    output = 0 if mistake == "no output" else 2 * length * vocabulary * width
    forward = layers * (linear + square) + output
    if mistake == "multiply-adds":
        forward //= 2
    if mistake == "one token":
        forward //= length
    cache = layers * 2 * width * length * 2
    cache = {
        "numbers": cache // 2,
        "32 bits": 2 * cache,
        "keys": cache // 2,
        "one layer": cache // layers,
        "one token": cache // length,
    }.get(mistake, cache)
    return {"parameters": layers * block + rows * width + last, "forward": forward, "cache": cache}


MISTAKES = {
    "parameters": {
        "no bias": "the biases of the four linear layers are missing",
        "half the biases": "all four linear layers of a block have a bias",
        "untied": "embeddings are tied: the output layer has no weights of its own",
        "no positions": "learned positions are parameters: one row for each place",
        "no norms": "the norms are missing: two in a block, one at the end",
        "no last norm": "there is one more norm, at the end",
        "no norm biases": "a norm has two parameters for each number: a gain and a bias",
    },
    "forward": {
        "multiply-adds": "a multiplication and an addition are 2 FLOPs",
        "no squares": "QKᵀ and weights times V are missing",
        "causal": "two products grow with t², each 2 t² w FLOPs, the masked half included",
        "no output": "the output layer is missing: a product with the vocabulary at every place",
        "one token": "for all tokens of the sequence",
    },
    "cache": {
        "keys": "keys and values, at 2 bytes a number",
        "32 bits": "16 bits are 2 bytes",
        "one layer": "every layer keeps its own",
        "one token": "for all tokens of the sequence",
    },
}


@exercise("transformer.account")
class Account(Exercise):
    """The account of a GPT."""

    points, minutes, difficulty, importance = 3, 10, 3, 4

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        drawn = (torch.randint(2, 60, (4,), generator=random) * 8).tolist()
        return [(12, 768, 50_257, 1_024), tuple(drawn)]

    def probe(self, answer: Any, cases: Any) -> Any:
        return [plain(call(answer, *case)) for case in cases]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        items: list[Item] = []
        made: Any = account  # any number of arguments, for mypy
        for key, hints in MISTAKES.items():
            right, *wrong = ([made(*case, mistake=m)[key] for case in cases] for m in ("", *hints))
            mistakes = list(zip(wrong, hints.values(), strict=True))
            items.append(
                compare(key, 1, together([each[key] for each in outputs]), right, mistakes)
            )
        return items
