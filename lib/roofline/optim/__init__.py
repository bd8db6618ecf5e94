"""Optimizers, gradient clipping and learning-rate schedules."""

from .clipping import clip_grad_norm_, clip_grad_value_
from .flat import Optimizer
from .schedules import Schedule, constant, cosine, one_cycle, step_decay, warmup_cosine
from .updates import SGD, Adam, AdamW

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "Schedule",
    "clip_grad_norm_",
    "clip_grad_value_",
    "constant",
    "cosine",
    "one_cycle",
    "step_decay",
    "warmup_cosine",
]
