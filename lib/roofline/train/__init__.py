"""Training: the loop in seven steps, evaluation, prediction; a run survives being killed."""

from .evaluation import accuracy, evaluate, predict, token_loss
from .history import Diverged, History
from .loop import train
from .settings import Settings

__all__ = [
    "Diverged",
    "History",
    "Settings",
    "accuracy",
    "evaluate",
    "predict",
    "token_loss",
    "train",
]
