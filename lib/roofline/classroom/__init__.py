"""From the text source of a chapter to what an instructor reads and what a learner opens.

``source`` reads ``solutions/02_backprop.py`` and finds its mistakes, ``assemble`` makes the
notebook, ``execute`` runs it, ``settle`` gives its outputs the form in which they are kept,
``release`` makes the learner's copy with nbgrader, ``anatomy`` holds a chapter to its size, and
``build`` does all of it: ``python -m roofline.classroom.build``.
"""
