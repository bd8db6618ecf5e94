"""Data: the sets that come with the course, your own pictures and text, and batches of them."""

from . import augment
from .bpe import BytePairTokenizer, train_pairs
from .corpora import Series, chinese_poetry, names, shakespeare, sunspots
from .dataset import Images, Texts, stratified
from .drawings import cats_and_dogs, write_cats_and_dogs
from .loader import Loader, LoadingError, loader
from .photographs import Pictures, picture_folder, read_picture
from .pictures import digits, fashion_mnist, textures
from .reading import read_text, text_folder
from .sequences import (
    Packed,
    Sequences,
    Windows,
    encode,
    pack,
    pack_sequences,
    pad,
    truncate,
    windows,
)
from .sources import Source, bundled, source
from .tokenizers import ByteTokenizer, CharacterTokenizer, Tokenizer, load_tokenizer

__all__ = [
    "BytePairTokenizer",
    "ByteTokenizer",
    "CharacterTokenizer",
    "Images",
    "Loader",
    "LoadingError",
    "Packed",
    "Pictures",
    "Sequences",
    "Series",
    "Source",
    "Texts",
    "Tokenizer",
    "Windows",
    "augment",
    "bundled",
    "cats_and_dogs",
    "chinese_poetry",
    "digits",
    "encode",
    "fashion_mnist",
    "load_tokenizer",
    "loader",
    "names",
    "pack",
    "pack_sequences",
    "pad",
    "picture_folder",
    "read_picture",
    "read_text",
    "shakespeare",
    "source",
    "stratified",
    "sunspots",
    "text_folder",
    "textures",
    "train_pairs",
    "truncate",
    "windows",
    "write_cats_and_dogs",
]
