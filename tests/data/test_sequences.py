"""Sequences: nothing is lost by cutting, padding, packing or windows that was not asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from roofline.data import (
    ByteTokenizer,
    Texts,
    encode,
    names,
    pack,
    pack_sequences,
    pad,
    truncate,
    windows,
)

ragged = st.lists(st.lists(st.integers(1, 9), max_size=8), min_size=1, max_size=12)


@given(ragged, st.sampled_from(["start", "end"]), st.integers(0, 3))
def test_padding_and_back(sequences, side, extra):
    longest = max(map(len, sequences))
    padded, lengths = pad(sequences, value=0, length=longest + extra, side=side)
    assert padded.shape == (len(sequences), longest + extra) and padded.dtype == torch.int64
    assert lengths.tolist() == [len(s) for s in sequences]
    for row, sequence in zip(padded.tolist(), sequences, strict=True):
        empty = [0] * (longest + extra - len(sequence))
        assert row == (sequence + empty if side == "end" else empty + sequence)


def test_padding_keeps_the_dtype_and_refuses_to_cut():
    padded, _ = pad([torch.tensor([0.5]), torch.tensor([1.5, 2.5])], value=-1)
    assert padded.tolist() == [[0.5, -1], [1.5, 2.5]]
    with pytest.raises(ValueError, match="sequence 1 has 3 tokens, more than length=2"):
        pad([[1], [1, 2, 3]], length=2)
    with pytest.raises(ValueError, match="no sequence"):
        pad([])


def test_truncation():
    assert truncate([1, 2, 3], 2) == [1, 2] and truncate([1, 2, 3], 2, "end") == [2, 3]
    assert truncate([1], 5) == [1]
    with pytest.raises(ValueError, match="keep is 'middle'"):
        truncate([1], 1, "middle")
    with pytest.raises(ValueError, match="length is 0"):
        truncate([1], 0)


@given(st.lists(st.integers(0, 10), max_size=40))
def test_packing_is_a_partition_within_capacity_and_leaves_little_empty(lengths):
    rows = pack(lengths, 10)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 10 for row in rows)
    # Only one row may be less than half full: two such rows would have been one.
    assert sum(2 * sum(lengths[i] for i in row) < 10 for row in rows) <= 1


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=1, max_size=12))
def test_packed_sequences_come_back(sequences):
    packed = pack_sequences(sequences, 8)
    mask = packed.mask()
    for row, members in enumerate(packed.rows):
        for number, i in enumerate(members, start=1):
            here = packed.segments[row] == number
            assert packed.tokens[row][here].tolist() == sequences[i]
            assert packed.positions[row][here].tolist() == list(range(len(sequences[i])))
            assert torch.equal(mask[row, 0][here], here.expand(int(here.sum()), -1))
        assert not mask[row, 0][packed.segments[row] == 0].any()
    assert (packed.tokens > 0).sum() == sum(map(len, sequences))


def test_a_sequence_longer_than_a_row():
    with pytest.raises(ValueError, match="sequence 1 has 9 tokens, more than a row of 8"):
        pack([1, 9], 8)


@given(st.integers(2, 40), st.integers(1, 10), st.integers(1, 12))
def test_windows_are_what_slicing_gives(count, length, stride):
    sequence = list(range(count))
    if count < length + 1:
        with pytest.raises(ValueError, match="too few for one window"):
            windows(sequence, length, stride)
        return
    data = windows(sequence, length, stride)
    expected = [
        (sequence[i : i + length], sequence[i + 1 : i + 1 + length])
        for i in range(0, count - length, stride)
    ]
    got = [(x.tolist(), y.tolist()) for x, y in (data[i] for i in range(len(data)))]
    assert got == expected
    x, y = data[torch.arange(len(data))]
    assert x.tolist() == [pair[0] for pair in expected] and torch.equal(data[:][1], y)


def test_encoded_names_are_batches_of_tokens_lengths_and_labels():
    data = encode(names(), ByteTokenizer(("<pad>",)), length=12)
    tokens, lengths, labels = data[torch.tensor([5, 700])]
    assert tokens.shape == (2, int(lengths.max())) and labels.shape == (2,)
    assert int(data.lengths.max()) == 12 and data.padding == 0
    one, length, label = data[5]
    assert torch.equal(one, tokens[0, : lengths[0]]) and (length, label) == (lengths[0], labels[0])
    assert all((row[n:] == 0).all() and (row[:n] > 0).all() for row, n in zip(tokens, lengths))  # noqa: B905
    with pytest.raises(ValueError, match="text 1 is empty"):
        encode(Texts(("a", ""), torch.zeros(2).long(), ("x",)), ByteTokenizer())
