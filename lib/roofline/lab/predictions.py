"""A learner's predictions, kept beside the results of their checks.

``predict("lab.remembered", 1.5)`` in a cell of a chapter answers the same question as the field of
the experiment, which is then not asked again.
"""

from __future__ import annotations

from roofline.grading import prediction, records


def recall(question: str) -> float | None:
    """The first number that was predicted, or None."""
    return prediction(question)


def keep(question: str, number: float) -> str:
    """Keep a prediction. Why it lasts only as long as this kernel, or an empty string."""
    return records.keep({"kind": "prediction", "name": question, "value": number})
