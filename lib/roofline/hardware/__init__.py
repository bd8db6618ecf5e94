"""What a machine can do and what code asks of it: counted, measured, modelled.

Read ``count`` for what code asks for, whatever it runs on; ``probe`` and ``profile`` for what this
machine can do; ``trace`` for measuring in a chapter, live or replayed; ``predict`` for how the two
make a time. ``catalogue``, ``cost`` and ``planner`` model machines that are not here.
"""
