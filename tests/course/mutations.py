"""Notebooks that have been damaged, in bytes and in structure. The same seed, the same file."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

CHUNKS = [b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"\\u0000", b"{", b"]", b"NaN", b"1e999"]
CHUNKS += [b"\n", b"[" * 3000, b"-0", b"\\ud800", b"9" * 400, b'"nbgrader"', b"'", b",", b"null"]

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**70,
    -1e308,
    0.1,
    "",
    "x",
    "\ud800",
    "\0",
    "linear",
]
VALUES += ["a" * 50_000, [], {}, [[]], {"": None}, ["a", 1, None], {"a": {"b": []}}, "NaN", 4, 3, 5]
VALUES += ["code", "markdown", "raw", float("nan"), float("inf"), [None] * 200]


def mutated(original: bytes, seed: int) -> bytes:
    """One damaged copy. Half of them lose bytes, half their structure; some both."""
    draw = random.Random(seed)
    content = original
    if seed % 2:
        tree = json.loads(original)
        for _ in range(draw.randint(1, 6)):
            tree = _restructured(tree, draw)
        content = json.dumps(tree).encode()
    if seed % 2 == 0 or draw.random() < 0.1:
        for _ in range(draw.randint(1, 4)):
            content = _bytes(content, draw)
    return content


def _bytes(content: bytes, draw: random.Random) -> bytes:
    if not content:
        return b"{}"
    at = draw.randrange(len(content))
    to = min(len(content), at + draw.choice([1, 2, 10, 1000, 100_000]))
    match draw.randrange(9):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + content[to:]
        case 2:
            return content[:to] + content[at:]
        case 3:
            return content[:at] + draw.choice(CHUNKS) + content[at:]
        case 4:
            return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
        case 5:
            return content[:at] + draw.randbytes(to - at) + content[to:]
        case 6:
            text = content.decode("utf-8", "replace")
            return text.encode(draw.choice(["utf-16", "utf-32", "utf-8-sig", "cp1252"]), "replace")
        case 7:
            return content[at:]
        case _:
            old, new = draw.sample([b"true", b"false", b"null", b"4", b"{", b"[", b'"cells"'], 2)
            return content.replace(old, new, draw.choice([1, 3, 1000]))


def _restructured(tree: Any, draw: random.Random) -> Any:
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places:
        return draw.choice(VALUES)
    # Half of the damage goes where sanitizing looks.
    telling = [p for p in places if p[1] in _LOOKED_AT]
    parent, key = draw.choice(telling if telling and draw.random() < 0.5 else places)
    match draw.randrange(8):
        case 0 | 1:
            parent[key] = copy.deepcopy(draw.choice(VALUES))
        case 2:
            del parent[key]
        case 3:
            other, there = draw.choice(places)
            parent[key], other[there] = copy.deepcopy(other[there]), copy.deepcopy(parent[key])
        case 4:
            nested: Any = "deep"
            for _ in range(draw.choice([30, 300])):
                nested = [nested] if draw.random() < 0.5 else {"a": nested}
            parent[key] = nested
        case 5 if isinstance(parent, list):
            parent.insert(draw.randrange(len(parent) + 1), copy.deepcopy(parent[key]))
        case 6 if isinstance(parent, list):
            draw.shuffle(parent)
        case _ if isinstance(parent, dict):
            parent[str(draw.choice(VALUES))[:50]] = parent.pop(key)
    return tree


_LOOKED_AT = {"cells", "cell_type", "metadata", "nbgrader", "grade_id", "points", "source", "id"}
_LOOKED_AT |= {"outputs", "nbformat", "nbformat_minor", "schema_version", "solution", "locked"}
_LOOKED_AT |= {"grade", "task", "checksum", "kernelspec", "roofline"}


def _places(tree: Any) -> Any:
    """Every place in a tree: what holds it, and under which key."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield tree, key
            yield from _places(value)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield tree, index
            yield from _places(value)
