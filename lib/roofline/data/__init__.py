"""Data: the sets that come with the course, your own pictures and text, and batches of them."""

from .bpe import BytePairTokenizer, train_pairs
from .corpora import Series, chinese_poetry, names, shakespeare, sunspots
from .dataset import Images, Texts, stratified
from .drawings import cats_and_dogs, write_cats_and_dogs
from .loader import Loader, loader
from .pictures import digits, fashion_mnist, textures
from .sources import Source, bundled, source
from .tokenizers import ByteTokenizer, CharacterTokenizer, Tokenizer, load_tokenizer

__all__ = [
    "BytePairTokenizer",
    "ByteTokenizer",
    "CharacterTokenizer",
    "Images",
    "Loader",
    "Series",
    "Source",
    "Texts",
    "Tokenizer",
    "bundled",
    "cats_and_dogs",
    "chinese_poetry",
    "digits",
    "fashion_mnist",
    "load_tokenizer",
    "loader",
    "names",
    "shakespeare",
    "source",
    "stratified",
    "sunspots",
    "textures",
    "train_pairs",
    "write_cats_and_dogs",
]
