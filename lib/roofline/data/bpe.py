"""Byte-pair encoding: start from bytes, and join the most frequent pair, again and again.

Sources: Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword
Units", arXiv 1508.07909, algorithm 1; on bytes and with words split off first: Radford et al. 2019,
"Language Models are Unsupervised Multitask Learners", 2.2.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from .tokenizers import Tokenizer, utf8

Pair = tuple[int, int]

# A word with the space before it, or digits, or other signs; then the spaces that are left. Every
# character is in exactly one piece, and no pair is ever joined across two pieces.
PIECES = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")
REMEMBERED = 1 << 16


class BytePairTokenizer(Tokenizer):
    """Bytes, and joined pairs of tokens: token ``256 + i`` is what ``merges[i]`` joins (special
    tokens come before and shift all others)."""

    kind = "pairs"

    def __init__(self, merges: Iterable[Iterable[int]], special: Iterable[str] = ()):
        super().__init__(special)
        self.merges: list[Pair] = [(left, right) for left, right in merges]
        self._rank = {pair: i for i, pair in enumerate(self.merges)}
        self._bytes = [bytes([i]) for i in range(256)]
        for left, right in self.merges:
            self._bytes.append(self._bytes[left] + self._bytes[right])
        self._known: dict[str, list[int]] = {}

    @property
    def size(self) -> int:
        return len(self.special) + len(self._bytes)

    def encode(self, text: str) -> list[int]:
        utf8(text)  # so that an error names the place in the text
        tokens: list[int] = []
        for piece in PIECES.findall(text):
            tokens += self._piece(piece)
        return tokens

    def _piece(self, piece: str) -> list[int]:
        """The tokens of one piece: its bytes, with the earliest learned pair joined first."""
        tokens = self._known.get(piece)
        if tokens is not None:
            return tokens
        tokens = list(utf8(piece))
        never = len(self.merges)
        while len(tokens) > 1:
            rank = min(
                self._rank.get(pair, never) for pair in zip(tokens, tokens[1:], strict=False)
            )
            if rank == never:
                break
            tokens = join(tokens, self.merges[rank], 256 + rank)
        tokens = [len(self.special) + token for token in tokens]
        if len(self._known) == REMEMBERED:
            self._known.clear()
        self._known[piece] = tokens
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of ``tokens``; bytes that are not UTF-8 become U+FFFD."""
        data = b"".join([self._bytes[token] for token in self._ordinary(tokens)])
        return data.decode("utf-8", errors="replace")

    def token(self, number: int) -> bytes:
        """The bytes that a token stands for; none for a special one."""
        ordinary = self._ordinary([number])
        return self._bytes[ordinary[0]] if ordinary else b""

    def record(self) -> dict[str, Any]:
        return {"merges": self.merges}


def train_pairs(text: str, size: int, special: Iterable[str] = ()) -> BytePairTokenizer:
    """A tokenizer of at most ``size`` tokens: bytes, special ones, and pairs learned from ``text``.

    Joins the pair that occurs most often, of several the one with the smallest numbers, until
    there are ``size`` tokens or no pair occurs twice.
    """
    special = Tokenizer(special).special
    wanted = size - 256 - len(special)
    if wanted < 0:
        raise ValueError(
            f"size is {size}, expected at least {256 + len(special)}: 256 bytes and "
            f"{len(special)} special tokens"
        )
    utf8(text)
    pieces = Counter(PIECES.findall(text))
    words = [list(utf8(piece)) for piece in pieces]
    return BytePairTokenizer(_learn(words, list(pieces.values()), wanted), special)


def _learn(words: list[list[int]], weights: list[int], wanted: int) -> list[Pair]:
    """At most ``wanted`` merges from ``words``, each of which occurs ``weights`` times.

    Keeps how often each pair occurs and in which words, so that a merge only touches the words
    that have the pair. The heap holds stale counts too: an entry counts only if it is still true.
    """
    counts: dict[Pair, int] = defaultdict(int)
    places: dict[Pair, set[int]] = defaultdict(set)
    for i, word in enumerate(words):
        for pair in zip(word, word[1:], strict=False):
            counts[pair] += weights[i]
            places[pair].add(i)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while len(merges) < wanted and heap:
        count, best = heapq.heappop(heap)
        if -count != counts.get(best, 0):
            continue
        if -count < 2:
            break
        changed: set[Pair] = set()
        for i in places.pop(best):
            for pair in zip(words[i], words[i][1:], strict=False):
                counts[pair] -= weights[i]
                changed.add(pair)
            words[i] = join(words[i], best, 256 + len(merges))
            for pair in zip(words[i], words[i][1:], strict=False):
                counts[pair] += weights[i]
                places[pair].add(i)
                changed.add(pair)
        merges.append(best)
        for pair in changed:
            if counts[pair]:
                heapq.heappush(heap, (-counts[pair], pair))
            else:
                del counts[pair]
                places.pop(pair, None)
    return merges


def join(tokens: list[int], pair: Pair, joined: int) -> list[int]:
    """``tokens`` with every ``pair``, from the left, replaced by ``joined``."""
    left, right = pair
    out: list[int] = []
    i, last = 0, len(tokens) - 1
    while i <= last:
        if i < last and tokens[i] == left and tokens[i + 1] == right:
            out.append(joined)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out
