"""Chapter 7, transformer: attention, heads, positions, tokens, sampling, cost, blocks."""

# In the order of the chapter: importing a module registers its exercises.
from . import lookup, positions, pairs, sampling, cost, blocks  # isort: skip

__all__ = ["lookup", "positions", "pairs", "sampling", "cost", "blocks"]
