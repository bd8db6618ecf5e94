"""Tokenizers: exact merges, and every text comes back."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline.data import (
    BytePairTokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    chinese_poetry,
    load_tokenizer,
    shakespeare,
    train_pairs,
)
from roofline.data.bpe import PIECES

SPECIAL = ("<pad>", "<start>", "<end>")
unicode = st.text(max_size=60) | st.text("山水明月 \nab12_'é🙂", max_size=80)
TRAINED = train_pairs(chinese_poetry()[:6000] + shakespeare()[:6000], 600, SPECIAL)


def brute_force(text: str, wanted: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Algorithm 1 as it is printed: count all pairs, join one, begin again."""
    pieces = [list(piece.encode()) for piece in PIECES.findall(text)]
    merges: list[tuple[int, int]] = []
    while len(merges) < wanted:
        counts = Counter(pair for piece in pieces for pair in zip(piece, piece[1:]))  # noqa: B905
        if not counts or max(counts.values()) < 2:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        for piece in pieces:
            i = 0
            while i < len(piece) - 1:
                if (piece[i], piece[i + 1]) == best:
                    piece[i : i + 2] = [256 + len(merges)]
                i += 1
        merges.append(best)
    return merges, [token for piece in pieces for token in piece]


@pytest.mark.parametrize("text", [shakespeare()[:3000], chinese_poetry()[:1500]])
def test_merges_and_tokens_equal_brute_force(text):
    merges, tokens = brute_force(text, 120)
    tokenizer = train_pairs(text, 256 + 120)
    assert len(merges) == 120 and tokenizer.merges == merges
    assert tokenizer.encode(text) == tokens


@settings(deadline=None, max_examples=60)
@given(st.text("ab ", max_size=60) | unicode)
def test_merges_and_tokens_equal_brute_force_on_any_text(text):
    merges, tokens = brute_force(text, 12)
    tokenizer = train_pairs(text, 256 + 12)
    assert tokenizer.merges == merges and tokenizer.encode(text) == tokens


@settings(deadline=None)
@given(unicode)
def test_every_text_comes_back(text):
    for tokenizer in (
        ByteTokenizer(SPECIAL),
        CharacterTokenizer(text, SPECIAL),
        TRAINED,
    ):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens) == text
        assert all(len(SPECIAL) <= token < tokenizer.size for token in tokens)
        wrapped = [tokenizer.number("<start>"), *tokens, tokenizer.number("<end>")]
        assert tokenizer.decode(wrapped) == text


@settings(deadline=None)
@given(unicode)
def test_pieces_cover_the_text(text):
    assert "".join(PIECES.findall(text)) == text


def test_pairs_are_shorter_than_bytes_and_say_what_they_stand_for():
    text = chinese_poetry()[6000:9000]
    assert len(TRAINED.encode(text)) < 0.8 * len(ByteTokenizer().encode(text))
    tokens = TRAINED.encode(text)
    assert b"".join(TRAINED.token(token) for token in tokens).decode() == text
    assert TRAINED.token(0) == b""


def test_training_stops_when_no_pair_occurs_twice():
    tokenizer = train_pairs("abab cd", 1000)
    # "ab" is all that occurs twice in one piece; " cd" occurs once.
    assert tokenizer.merges == [(97, 98)] and tokenizer.size == 257
    with pytest.raises(ValueError, match="size is 200, expected at least 257"):
        train_pairs("abc", 200, ("<pad>",))


def test_special_tokens_are_never_text():
    tokenizer = ByteTokenizer(SPECIAL)
    assert tokenizer.number("<end>") == 2 and 2 not in tokenizer.encode("<end>")
    with pytest.raises(ValueError, match="is not one of the special tokens: <pad>"):
        tokenizer.number("<mask>")
    with pytest.raises(ValueError, match="named twice"):
        ByteTokenizer(("<pad>", "<pad>"))


def test_unknown_character():
    tokenizer = CharacterTokenizer("abc")
    with pytest.raises(ValueError, match=r"'é' \(U\+00E9\) at position 2 is not among the 3"):
        tokenizer.encode("abé")
    tolerant = CharacterTokenizer("abc", ("<unknown>",))
    assert tolerant.encode("aéb") == [1, 0, 2] and tolerant.decode([1, 0, 2]) == "ab"


def test_no_such_token_and_half_a_surrogate_pair():
    for tokenizer in (CharacterTokenizer("ab"), ByteTokenizer(), TRAINED):
        with pytest.raises(ValueError, match="there is no token 9999"):
            tokenizer.decode([0, 9999])
        with pytest.raises(ValueError, match="there is no token -1"):
            tokenizer.decode([-1])
    for tokenizer in (ByteTokenizer(), TRAINED):
        with pytest.raises(ValueError, match=r"U\+D800\) at position 1"):
            tokenizer.encode("a\ud800")
    assert ByteTokenizer().decode([0xE5, 97]) == "\ufffda"


@pytest.mark.parametrize(
    "tokenizer", [CharacterTokenizer("山a\n\"'", SPECIAL), ByteTokenizer(SPECIAL), TRAINED]
)
def test_saved_and_loaded(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    text = "a\na山'" if isinstance(tokenizer, CharacterTokenizer) else "Thou art 山水\n\n"
    assert type(loaded) is type(tokenizer) and loaded.size == tokenizer.size
    assert loaded.special == SPECIAL and loaded.encode(text) == tokenizer.encode(text)
    assert loaded.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("text", [b"bytes", ["a", "list"], None])
def test_what_is_no_text_is_named(text):
    known = [CharacterTokenizer("ab").encode, ByteTokenizer().encode, TRAINED.encode]
    for call in (*known, lambda text: train_pairs(text, 300)):
        with pytest.raises(TypeError, match="the text is of type (bytes|list|NoneType), expected"):
            call(text)


def test_one_special_token_is_not_its_letters():
    for make in (ByteTokenizer, lambda special: train_pairs("a", 300, special)):
        with pytest.raises(TypeError, match="special is '<pad>', expected a tuple of names"):
            make("<pad>")


BROKEN = '{"kind": "pairs", "special": [], "merges": [[999, 5]]}'


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"kind": "word"}', '{"kind": "pairs"}', BROKEN]
)
def test_not_a_tokenizer(content, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="tokenizer.json is not a tokenizer saved by this course"):
        load_tokenizer(path)


def test_a_full_memory_of_pieces_changes_nothing(monkeypatch):
    monkeypatch.setattr("roofline.data.bpe.REMEMBERED", 2)
    tokenizer = BytePairTokenizer(TRAINED.merges, SPECIAL)
    text = shakespeare()[:500]
    assert tokenizer.encode(text) == TRAINED.encode(text)
