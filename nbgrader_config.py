"""How nbgrader finds its way, so that `nbgrader autograde 02_backprop` and the rest work from here.

Sources are in solutions/, what learners open is in chapters/, and everything that a class produces
(submissions, grades, feedback) goes to classroom/, which git doesn't track.
"""

import importlib.util
import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821  (nbgrader defines it)

course = Path(__file__).resolve().parent
(course / "classroom").mkdir(exist_ok=True)  # SQLite makes a file, not its folder

# nbgrader calls `alembic` for its first gradebook. It is installed beside this Python, whose folder
# needn't be on PATH.
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])

c.CourseDirectory.root = str(course)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "chapters"
c.CourseDirectory.submitted_directory = "classroom/submitted"
c.CourseDirectory.autograded_directory = "classroom/autograded"
c.CourseDirectory.feedback_directory = "classroom/feedback"
c.CourseDirectory.solution_directory = "classroom/solution"
c.CourseDirectory.db_url = f"sqlite:///{course / 'classroom' / 'gradebook.db'}"
c.ExportPlugin.to = str(course / "classroom" / "grades.csv")

# A deleted check is put back and earns nothing; otherwise its grade would wait for a person.
c.OverwriteCells.add_missing_cells = True

# A warning on stderr isn't a wrong answer: without this, it would cost all points of its check.
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = "."

c.Execute.timeout = 120  # seconds for one cell
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}

# Formgrader shows what students wrote without what could act in the browser of whoever grades.
if importlib.util.find_spec("roofline") is not None:
    c.HTMLExporter.filters = {"markdown2html": "roofline.course.shown.markdown"}
