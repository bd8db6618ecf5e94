"""Text to numbers and back: by character, by byte, and by trained pairs of bytes (``bpe``).

Every tokenizer has ``size``, ``encode(text) -> list[int]``, ``decode(tokens) -> str``,
``save(path)``, and special tokens such as "<pad>", which have the first numbers. Text never
becomes a special token, whatever it says, and decoding leaves special tokens out; a learner who
needs one asks ``number("<pad>")`` for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

UNKNOWN = "<unknown>"


class Tokenizer:
    """What the tokenizers share. ``special``: names of the special tokens, numbered from 0."""

    kind = ""

    def __init__(self, special: Iterable[str] = ()):
        if isinstance(special, str):
            raise TypeError(f"special is {special!r}, expected a tuple of names: ({special!r},)")
        self.special = tuple(special)
        if len(set(self.special)) != len(self.special):
            raise ValueError(f"a special token is named twice: {', '.join(self.special)}")

    @property
    def size(self) -> int:
        """How many different tokens there are, special ones included."""
        raise NotImplementedError

    def encode(self, text: str) -> list[int]:
        """The tokens of ``text``."""
        raise NotImplementedError

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of ``tokens``, special tokens left out."""
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """What :meth:`save` writes besides the kind and the special tokens."""
        return {}

    def number(self, special: str) -> int:
        """The number of a special token."""
        if special not in self.special:
            known = ", ".join(self.special) or "none"
            raise ValueError(f"{special!r} is not one of the special tokens: {known}")
        return self.special.index(special)

    def save(self, path: str | Path) -> None:
        """Write the tokenizer as JSON; :func:`load_tokenizer` reads it."""
        record = {"kind": self.kind, "special": self.special, **self.record()}
        Path(path).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")

    def _ordinary(self, tokens: Iterable[int]) -> list[int]:
        """``tokens`` without special ones and counted from 0, after their range was checked."""
        numbers = [int(token) for token in tokens]
        wrong = next((token for token in numbers if not 0 <= token < self.size), None)
        if wrong is not None:
            raise ValueError(f"there is no token {wrong}: this tokenizer has 0 to {self.size - 1}")
        first = len(self.special)
        return [token - first for token in numbers if token >= first]


class CharacterTokenizer(Tokenizer):
    """One token for each character of ``alphabet``, in the order of their code points.

    A character that is not in the alphabet is an error, unless "<unknown>" is a special token.
    """

    kind = "character"

    def __init__(self, alphabet: Iterable[str], special: Iterable[str] = ()):
        super().__init__(special)
        self.alphabet = sorted(set(alphabet))
        first = len(self.special)
        self._numbers = {character: first + i for i, character in enumerate(self.alphabet)}

    @property
    def size(self) -> int:
        return len(self.special) + len(self.alphabet)

    def encode(self, text: str) -> list[int]:
        check_text(text)
        numbers = self._numbers
        if UNKNOWN in self.special:
            unknown = self.number(UNKNOWN)
            return [numbers.get(character, unknown) for character in text]
        try:
            return [numbers[character] for character in text]
        except KeyError as missing:
            character = missing.args[0]
            raise ValueError(
                f"the character {character!r} (U+{ord(character):04X}) at position "
                f"{text.index(character)} is not among the {len(self.alphabet)} that this "
                f"tokenizer knows: make it from a text that has it, or with special="
                f"({UNKNOWN!r},)"
            ) from None

    def decode(self, tokens: Iterable[int]) -> str:
        return "".join([self.alphabet[token] for token in self._ordinary(tokens)])

    def record(self) -> dict[str, Any]:
        return {"alphabet": "".join(self.alphabet)}


class ByteTokenizer(Tokenizer):
    """One token for each byte of the text in UTF-8: 256, whatever the language."""

    kind = "byte"

    @property
    def size(self) -> int:
        return len(self.special) + 256

    def encode(self, text: str) -> list[int]:
        first = len(self.special)
        return [first + byte for byte in utf8(text)]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of ``tokens``; bytes that are not UTF-8 become U+FFFD."""
        return bytes(self._ordinary(tokens)).decode("utf-8", errors="replace")


def check_text(text: Any) -> None:
    """Raise TypeError unless ``text`` is a str."""
    if not isinstance(text, str):
        raise TypeError(
            f"the text is of type {type(text).__name__}, expected str: decode bytes, join a list, "
            f"read_text a file"
        )


def utf8(text: str) -> bytes:
    """``text`` in UTF-8, or a ValueError that says where it can't be."""
    check_text(text)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has half a surrogate pair (U+{ord(text[error.start]):04X}) at position "
            f"{error.start}: it was read with a wrong encoding, or cut inside a character"
        ) from None


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer that ``save`` wrote to ``path``.

    Raises:
        ValueError: the file is not one, and in which way.
    """
    from .bpe import BytePairTokenizer  # it imports this module

    kinds = {"character": CharacterTokenizer, "byte": ByteTokenizer, "pairs": BytePairTokenizer}
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        make = kinds[record.pop("kind")]
        return make(**record)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a tokenizer saved by this course: {error!r}") from None
