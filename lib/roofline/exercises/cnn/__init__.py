"""Chapter 5, CNN: pictures prepared, windows, one product, its pullback, pooling, the account."""

# In the order of the chapter: importing a module registers its exercises.
from . import preparation, geometry, convolution, gradient, pooling, cost  # isort: skip

__all__ = ["preparation", "geometry", "convolution", "gradient", "pooling", "cost"]
