"""Grading: an exercise is a probe and a judge.

A learner writes ``check("backprop.linear", linear)`` and sees, at once, a table: what was checked,
what came out, how many points, which mistake it looks like. An author writes an exercise, in
``roofline/exercises/<chapter>.py``::

    @exercise("backprop.linear")
    class Linear(Exercise):
        \"\"\"A linear layer and its pullback.\"\"\"          # the first line is the title

        points, minutes, difficulty, importance = 2, 15, 2, 5   # what the items add up to; 1..5
        forbidden = ("torch.nn.functional.linear", "roofline.autograd.linear")
        limit = 5                                            # seconds, for the whole check

        def cases(self, seed):                               # the same seed, the same cases
            random = generator(seed)
            x, w = torch.randn(5, 3, generator=random), torch.randn(4, 3, generator=random)
            return x, w, torch.randn(5, 4, generator=random)

        def probe(self, answer, cases):                      # beside the learner's code
            x, w, dy = cases
            made = call(answer, x, w)                        # never raises; records everything
            return {"y": made[0], "gradients": call(made[1], dy)}

        def judge(self, outputs, cases):                     # where grades are kept: data only
            x, w, dy = cases
            return [
                compare("result", 1, outputs["y"], x @ w.T, [(2 * x @ w.T, "it is doubled")]),
                compare("gradients", 1, outputs["gradients"], (dy @ w, dy.T @ x)),
            ]

In a probe
    :func:`call` calls the answer, or something that it returned, with copies of the inputs and
    gives a :class:`Call`: ``.value``, ``.ok``, ``.fault``, ``.printed``, ``.changed`` ...;
    ``made[0]`` is the Call of one part of what was returned. A call on a Call that failed isn't
    made and carries the same fault, so a probe needs no ``if``. ``call(..., count=True)`` also
    counts (``.counts["flops"]``, ``"largest_allocation"``, ``"launches"``, ...); ``unwrap=True``
    takes ``roofline.autograd.Tensor`` results as the tensors inside; ``may_change=(0,)`` allows
    argument 0 to be changed. A probe returns Calls, tensors, numbers, strings, None, and lists,
    tuples and dicts of them. Anything else crosses only as the name of its kind. To compute with a
    live result, do it in a function of your own: ``call(lambda: kept(made.value).total)``.

In a judge
    :func:`compare` (values; known mistakes by the value that they give), :func:`at_most` (counted
    cost), :func:`raises`, :func:`unchanged` (inputs), :func:`quiet` (no output), and
    :func:`require` (anything else) each make one :class:`Item`; :func:`where` says in it which of
    several calls it is about. A call that returned None, raised, ran out of time, gave the wrong
    type, shape, dtype or device, NaN, or changed its inputs, gets its message from these. What was
    printed and warned is noted below the table and costs nothing. An item that needs several values
    takes them with ``call.ok``; plain ``Item(name, points, earned, message, hint)`` gives partial
    credit within one item.

Wrong and right answers
    In ``tests/graders/<chapter>.py``, at least four ``@wrong`` and two ``@right`` an exercise, from
    :mod:`roofline.grading.answers`. ``tests/graders`` proves them on several seeds.

In a notebook
    ``check(id, answer)``; in nbgrader's hidden region ``from roofline.grading import sealed`` and
    ``sealed(id, answer)``, which draws fresh cases and judges in another process;
    ``progress("02_backprop")`` shows the chapter's exercises and what is done;
    ``predict("backprop.ratio", 2.5)`` keeps a prediction and ``reconcile`` compares it later.

Read on: ``registry`` (what an exercise is and how it is found), ``calling`` (:func:`call`, with
``learner``, ``limit``, ``capture``, ``surroundings`` and ``forbidden`` around the learner's code),
``verdict`` and ``difference`` (items, and what is wrong in words), ``checking`` (a check from end
to end), ``table`` and ``display`` (what is shown), ``protocol``, ``sealed`` and ``judge`` (what
crosses between processes, from whom and to whom), ``records``, ``predictions`` and ``reports``
(what is kept), ``notebook`` (``roofline check``), ``answers`` (grading the graders). Each can be
read by itself; none knows a chapter.

Environment variables: ``ROOFLINE_HOME`` (folder of the progress file), ``ROOFLINE_EXERCISES``
(folders of private exercises), ``ROOFLINE_SEED`` (the secret of sealed cases, or a file that holds
it), ``ROOFLINE_OUTBOX`` (hand outputs in there instead of judging).
"""

from roofline.grading.calling import Call, call
from roofline.grading.checking import check
from roofline.grading.predictions import predict, prediction, reconcile
from roofline.grading.registry import (
    Exercise,
    Item,
    UnknownExercise,
    chapters,
    exercise,
    exercises,
    find,
    generator,
)
from roofline.grading.reports import progress
from roofline.grading.result import Result, Score
from roofline.grading.sealed import sealed
from roofline.grading.values import describe
from roofline.grading.verdict import at_most, compare, quiet, raises, require, unchanged, where

__all__ = [
    "Call",
    "Exercise",
    "Item",
    "Result",
    "Score",
    "UnknownExercise",
    "at_most",
    "call",
    "chapters",
    "check",
    "compare",
    "describe",
    "exercise",
    "exercises",
    "find",
    "generator",
    "predict",
    "prediction",
    "progress",
    "quiet",
    "raises",
    "reconcile",
    "require",
    "sealed",
    "unchanged",
    "where",
]
