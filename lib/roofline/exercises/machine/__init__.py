"""Chapter 1, the machine: FLOPs, bytes, the roofline, and what they say about a program."""

# In the order of the chapter: importing a module registers its exercises.
from . import costs, limits, rates, distances  # isort: skip

__all__ = ["costs", "limits", "rates", "distances"]
