"""Chapter 2, backprop: pullbacks, checked, walked, and counted."""

# In the order of the chapter: importing a module registers its exercises.
from . import pullbacks, gradients, walk, memory  # isort: skip

__all__ = ["pullbacks", "gradients", "walk", "memory"]
