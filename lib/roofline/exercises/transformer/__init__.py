"""Chapter 7, transformer: attention, heads, positions, tokens, sampling, cost, blocks."""

# In the order of the chapter: importing a module registers its exercises.
from . import lookup, positions, language, cost, blocks  # isort: skip

__all__ = ["lookup", "positions", "language", "cost", "blocks"]
