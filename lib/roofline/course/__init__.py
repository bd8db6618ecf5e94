"""A class: submissions collected, graded in sandboxes, and kept in nbgrader's gradebook.

A submission is somebody else's program. It is cleaned by nbgrader (``sanitize``), cut down to the
cells that matter (``plan``), run where it can neither read nor break anything (``sandbox``), and
judged in another process, from plain data. One writer puts what came of it into the gradebook. What
passes between these steps is in :mod:`roofline.course.work`; who is protected from whom, and who is
not, is in ``docs/security.md``.
"""

import sys

# jsonschema, which reads notebooks' format, would load a grammar of internationalised addresses if
# it finds one. That takes longer than all the rest of a command, and no notebook has such a format.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
