"""Data: the sets that come with the course, your own pictures and text, and batches of them."""

from .corpora import Series, chinese_poetry, names, shakespeare, sunspots
from .dataset import Images, Texts, stratified
from .drawings import cats_and_dogs, write_cats_and_dogs
from .loader import Loader, loader
from .pictures import digits, fashion_mnist, textures
from .sources import Source, bundled, source

__all__ = [
    "Images",
    "Loader",
    "Series",
    "Source",
    "Texts",
    "bundled",
    "cats_and_dogs",
    "chinese_poetry",
    "digits",
    "fashion_mnist",
    "loader",
    "names",
    "shakespeare",
    "source",
    "stratified",
    "sunspots",
    "textures",
    "write_cats_and_dogs",
]
