"""Chapter 4, optimizers: rates, momentum, clipping, accumulation, Adam, and what they weigh."""

# In the order of the chapter: importing a module registers its exercises.
from . import descent, accumulation, adam, state, lean  # isort: skip

__all__ = ["descent", "accumulation", "adam", "state", "lean"]
