"""Chapter 6, RNN: padding, the step, backpropagation through time, memory, gates, cost."""

# In the order of the chapter: importing a module registers its exercises.
from . import batches, step, walk, gates, cost  # isort: skip

__all__ = ["batches", "step", "walk", "gates", "cost"]
