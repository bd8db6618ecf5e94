"""Sequences of different lengths: cut, padded, packed; and windows on one long sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .dataset import Texts, check_labels
from .tokenizers import Tokenizer

Tokens = Sequence[int] | torch.Tensor


def truncate(tokens: Tokens, length: int, keep: str = "start") -> Tokens:
    """At most ``length`` of ``tokens``: the first (``keep="start"``) or the last ("end")."""
    if length < 1:
        raise ValueError(f"length is {length}, expected at least 1")
    if keep not in ("start", "end"):
        raise ValueError(f"keep is {keep!r}, expected 'start' or 'end'")
    return tokens[:length] if keep == "start" else tokens[-length:]


def pad(
    sequences: Sequence[Tokens], value: int = 0, length: int | None = None, side: str = "end"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences as the rows of one tensor, filled up with ``value``.

    Args:
        length: columns; by default the longest sequence's length. A longer one is an error:
            :func:`truncate` it first.
        side: where the padding goes, "end" or "start".

    Returns:
        (N, length) of the sequences' dtype, and the lengths before padding, (N,) int64.
    """
    if side not in ("end", "start"):
        raise ValueError(f"side is {side!r}, expected 'end' or 'start'")
    rows = [torch.as_tensor(sequence) for sequence in sequences]
    if not rows:
        raise ValueError("there is no sequence to pad")
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    length = longest if length is None else length
    if longest > length:
        raise ValueError(
            f"sequence {int(lengths.argmax())} has {longest} tokens, more than length={length}: "
            f"truncate it first"
        )
    dtype = next((row.dtype for row in rows if len(row)), torch.int64)
    out = torch.full((len(rows), length), value, dtype=dtype)
    for target, row in zip(out, rows, strict=True):
        start = 0 if side == "end" else length - len(row)
        target[start : start + len(row)] = row
    return out, lengths


def pack(lengths: Sequence[int] | torch.Tensor, capacity: int) -> list[list[int]]:
    """Which sequences share a row of ``capacity`` tokens, so that few are left empty.

    First fit decreasing: the longest sequence goes first, each into the first row that has room.
    It needs at most 11/9 of the fewest rows possible, plus 6/9 (Dósa 2007).

    Returns:
        A list of rows, each a list of indices into ``lengths``.
    """
    sizes = [int(length) for length in lengths]
    too_long = next((i for i, size in enumerate(sizes) if size > capacity), None)
    if too_long is not None:
        raise ValueError(
            f"sequence {too_long} has {sizes[too_long]} tokens, more than a row of {capacity}: "
            f"truncate it first"
        )
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        for row, left in enumerate(room):
            if sizes[i] <= left:
                rows[row].append(i)
                room[row] -= sizes[i]
                break
        else:
            rows.append([i])
            room.append(capacity - sizes[i])
    return rows


@dataclass(frozen=True, eq=False)
class Packed:
    """Several sequences to a row, all (rows, capacity) and int64.

    ``segments`` numbers the sequences of a row from 1, and is 0 where nothing is; ``positions``
    counts within each sequence from 0. ``rows`` says which sequences are in each row.
    """

    tokens: torch.Tensor
    segments: torch.Tensor
    positions: torch.Tensor
    rows: list[list[int]]

    def mask(self) -> torch.Tensor:
        """Which token may look at which: (rows, 1, capacity, capacity), True within a sequence."""
        same = self.segments[:, :, None] == self.segments[:, None, :]
        return (same & (self.segments[:, :, None] > 0))[:, None]


def pack_sequences(sequences: Sequence[Tokens], capacity: int, value: int = 0) -> Packed:
    """``sequences`` packed into rows of ``capacity`` tokens by :func:`pack`."""
    rows = pack([len(sequence) for sequence in sequences], capacity)
    tokens = torch.full((len(rows), capacity), value)
    segments, positions = torch.zeros_like(tokens), torch.zeros_like(tokens)
    for row, members in enumerate(rows):
        start = 0
        for number, i in enumerate(members, start=1):
            end = start + len(sequences[i])
            tokens[row, start:end] = torch.as_tensor(sequences[i])
            segments[row, start:end] = number
            positions[row, start:end] = torch.arange(end - start)
            start = end
    return Packed(tokens, segments, positions, rows)


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of tokens with a class each. A batch is (padded tokens, lengths, labels)."""

    sequences: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    classes: tuple[str, ...]
    padding: int = 0

    def __post_init__(self) -> None:
        check_labels(len(self.sequences), "sequences", self.labels, self.classes)

    @property
    def lengths(self) -> torch.Tensor:
        """(N,), int64; for a loader's ``lengths``."""
        return torch.tensor([len(sequence) for sequence in self.sequences])

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(
        self, index: int | slice | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        chosen = torch.arange(len(self))[index]
        if chosen.dim() == 0:
            tokens = self.sequences[int(chosen)]
            return tokens, torch.tensor(len(tokens)), self.labels[chosen]
        tokens, lengths = pad([self.sequences[i] for i in chosen.tolist()], self.padding)
        return tokens, lengths, self.labels[chosen]


def encode(
    texts: Texts, tokenizer: Tokenizer, length: int | None = None, padding: str = "<pad>"
) -> Sequences:
    """``texts`` as tokens, cut to ``length``.

    ``padding`` names the special token to pad with; a tokenizer without special tokens pads with 0.
    """
    sequences = []
    for i, text in enumerate(texts.texts):
        tokens = tokenizer.encode(text)
        if not tokens:
            raise ValueError(f"text {texts.files[i] if texts.files else i} is empty")
        sequences.append(torch.tensor(tokens if length is None else truncate(tokens, length)))
    number = tokenizer.number(padding) if tokenizer.special else 0
    return Sequences(tuple(sequences), texts.labels, texts.classes, number)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows on one long sequence, and the same windows one step later, to predict.

    Window i is ``sequence[i * stride : i * stride + length]``. An item, or a batch of them, is
    (window, window one step later): each (length,) or (batch, length).
    """

    sequence: torch.Tensor
    length: int
    stride: int

    def __len__(self) -> int:
        return max(0, (len(self.sequence) - self.length - 1) // self.stride + 1)

    def __getitem__(self, index: int | slice | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        starts = torch.arange(len(self))[index] * self.stride
        places = starts[..., None] + torch.arange(self.length)
        return self.sequence[places], self.sequence[places + 1]


def windows(sequence: Tokens, length: int, stride: int | None = None) -> Windows:
    """Windows of ``length`` on ``sequence``, each ``stride`` (by default ``length``) further on."""
    values = torch.as_tensor(sequence)
    if length < 1 or (stride is not None and stride < 1):
        raise ValueError(f"length is {length} and stride {stride}, expected at least 1")
    if len(values) < length + 1:
        raise ValueError(
            f"the sequence has {len(values)} items, too few for one window of {length} and the "
            f"item after it"
        )
    return Windows(values, length, stride or length)
