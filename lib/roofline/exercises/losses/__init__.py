"""Chapter 3, losses: likelihoods, float formats, gradients, calibration, a vocabulary."""

# In the order of the chapter: importing a module registers its exercises.
from . import likelihood, softmax, classes, vocabulary  # isort: skip

__all__ = ["likelihood", "softmax", "classes", "vocabulary"]
