"""What a GPT costs: parameters, FLOPs, cache."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from roofline.grading import Call, Exercise, Item, call, compare, exercise, generator, where

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


def guesses(
    layers: int, width: int, vocabulary: int, length: int
) -> dict[str, list[tuple[int, str]]]:
    """What other formulas give, by which learners take a short cut, and a hint to each."""
    right = account(layers, width, vocabulary, length)
    given, forward = right["parameters"], right["forward"]
    weights, table = 12 * layers * width**2, vocabulary * width
    tables = table + length * width
    output, square = 2 * length * table, 4 * layers * length**2 * width
    bare = "the biases of the linear layers and the norms are missing"
    twice = "2 × parameters × tokens leaves out QKᵀ and weights times V, which have no parameters"
    idle = "biases, norms and positions are parameters, but no matrix product"
    return {
        "parameters": [
            (given - tables, "the tables of embeddings and positions are parameters, too"),
            (weights + tables, bare),
            (weights + table, f"{bare}, and so is a row for each place"),
            (weights, f"{bare}, and so are the tables of embeddings and positions"),
            (given - 2 * layers * width, "there are two norms in a block"),
            (given - 4 * layers * width, "all four linear layers of a block have a bias"),
            (given - layers * (width**2 + width), "the layer after the heads is missing"),
            (given - layers * (4 * width**2 + width), "the perceptron has two layers: up and down"),
            (given + vocabulary, "the output layer is the embedding alone, without a bias"),
        ],
        "forward": [
            (2 * given * length, f"{twice}; and {idle}"),
            (2 * (given - length * width) * length, f"{twice}; and {idle}"),
            (2 * (given - tables) * length, f"{twice}; and the output layer is a product, too"),
            (2 * weights * length, f"{twice}; and the output layer is a product, too"),
            (2 * (weights + tables) * length, f"{twice}; and {idle}"),
            (2 * given * length + square, idle),
            (2 * (given - length * width) * length + square, idle),
            (
                6 * given * length,
                "6 × parameters × tokens is a step of training, not a forward pass",
            ),
            (3 * forward, "the way back isn't asked for"),
            ((forward - output) // layers + output, "every layer has products of its own"),
            (forward + output, "an embedding is looked up: that is no product"),
            (forward - output + output // length, "the output layer works at every place"),
            (forward + 9 * layers * width * length, "a bias is added, and is in no product"),
            (forward - 8 * layers * width**2 * length, "the perceptron has two products"),
            (forward - 2 * layers * width**2 * length, "the layer after the heads is missing"),
            (forward - 4 * layers * width**2 * length, "queries, keys and values: three products"),
        ],
        "cache": [
            (8 * right["cache"], "bytes are asked for, not bits"),
            (4 * layers * length**2, "keys and values are kept, (length, width) each; no weights"),
        ],
    }


# The terms that the account is made of: powers of layers, width, vocabulary and length.
TERMS: dict[str, dict[str, tuple[int, ...]]] = {
    "parameters": {
        "layers × width²": (1, 2, 0, 0),
        "layers × width": (1, 1, 0, 0),
        "vocabulary × width": (0, 1, 1, 0),
        "length × width": (0, 1, 0, 1),
        "width": (0, 1, 0, 0),
    },
    "forward": {
        "layers × length × width²": (1, 2, 0, 1),
        "layers × length² × width": (1, 1, 0, 2),
        "length × vocabulary × width": (0, 1, 1, 1),
        "length × width": (0, 1, 0, 1),
    },
    "cache": {"layers × length × width": (1, 1, 0, 1)},
}


@exercise("transformer.account")
class Account(Exercise):
    """The account of a GPT."""

    points, minutes, difficulty, importance = 3, 10, 3, 4
    forbidden = (
        "roofline.hardware.cost.parameters.gpt_parameters",
        "roofline.hardware.cost.parameters.parameters_by_part",
        "roofline.hardware.cost.flops.forward_flops",
        "roofline.hardware.cost.memory.kv_cache",
        "roofline.exercises.transformer.cost.account",
    )

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        layers, vocabulary, length = (torch.randint(2, 60, (3,), generator=random) * 8).tolist()
        # Heads aren't asked for; who cuts the width into 12, or into heads of 64, may.
        width = 192 * int(torch.randint(1, 4, (), generator=random))
        return [(12, 768, 50_257, 1_024), (layers, width, vocabulary, length)]

    def probe(self, answer: Any, cases: Any) -> Any:
        return [plain(call(answer, *case)) for case in cases]

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        items: list[Item] = []
        made: Any = account  # any number of arguments, for mypy
        names = ["GPT-2 small", "layers={}, width={}, vocabulary={}, length={}".format(*cases[1])]
        others = [guesses(*case) for case in cases]
        for key, hints in MISTAKES.items():
            right, *wrong = ([made(*case, mistake=m)[key] for case in cases] for m in ("", *hints))
            mistakes = list(zip(wrong, hints.values(), strict=True))
            for pair in zip(*(each[key] for each in others), strict=True):
                mistakes.append(([value for value, _ in pair], pair[0][1]))
            got = together([each[key] for each in outputs])
            item = compare(key, 1, got, right, mistakes)
            if item.lost and got.ok and (off := self.off(key, got.value, right, cases)):
                item = replace(item, hint=item.hint or off)
            items.append(where(self.led(item, outputs[0]), names))
        return items

    @staticmethod
    def off(key: str, got: Any, right: list[int], cases: list[tuple[int, ...]]) -> str:
        """The one term of the formula, if it is one, of which there is too much or too little."""
        if not all(type(value) in (int, float) for value in got):
            return ""
        for name, powers in TERMS[key].items():
            terms = [math.prod(n**p for n, p in zip(c, powers, strict=True)) for c in cases]
            times = {(g - r) / term for g, r, term in zip(got, right, terms, strict=True)}
            if len(times) == 1 and (one := times.pop()) % 0.5 == 0 and 0 < abs(one) < 100:
                return f"it has {abs(one):g} × {name} too {'much' if one > 0 else 'little'}"
        return ""

    @staticmethod
    def led(item: Item, first: Call) -> Item:
        """A hint for whoever has none yet: it is the form, or it is right for one model alone."""
        if not item.lost or not first.ok:
            return item
        if not isinstance(first.value, dict) or item.message.endswith(" in it"):
            hint = "return a dict with the keys 'parameters', 'forward' and 'cache'"
        elif item.message.startswith("value 1: "):
            hint = "right for GPT-2 small alone: is there a number where an argument belongs?"
        else:
            return item
        return replace(item, hint=item.hint or hint)
