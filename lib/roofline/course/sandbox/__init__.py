"""Running somebody else's notebook where it can neither read nor break anything.

:class:`Workers` takes a :class:`~roofline.course.work.Work` and gives a
:class:`~roofline.course.work.Ran`::

    with Workers(2) as workers:
        ran = workers.run(work)

One process imports everything once (``zygote``). For each submission it forks a supervisor
(``supervise``), which has bubblewrap make empty namespaces (``bubble``), and forks again into them:
that process gives up its rights (``kernel``, ``seccomp``), puts its files in place (``spool``) and
runs the cells (``runner``, with the ``shell`` of IPython and libraries put back by ``pristine``
before each check). What it sends is read as an enemy's (``frames``), and its end is waited for and
explained (``following``). Where there is no sandbox and
the submissions are trusted, each runs in a ``fresh`` process instead.

``docs/security.md`` says who is protected from whom.
"""

from roofline.course.sandbox.workers import NoSandbox, Workers, available

__all__ = ["NoSandbox", "Workers", "available"]
