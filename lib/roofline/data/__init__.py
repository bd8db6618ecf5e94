"""Data: the sets that come with the course, your own pictures and text, and batches of them."""

from .dataset import Images, stratified
from .loader import Loader, loader
from .pictures import fashion_mnist
from .sources import Source, bundled, source

__all__ = [
    "Images",
    "Loader",
    "Source",
    "bundled",
    "fashion_mnist",
    "loader",
    "source",
    "stratified",
]
