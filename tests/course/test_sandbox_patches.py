"""Whatever a submission patches, a check sees the answer, and only the answer."""

from __future__ import annotations

import pytest
from course.conftest import DRILLS
from course.submitted import CHECK, PARTLY, RIGHT, earned, run
from roofline.course.sandbox import Workers

WRONG = "def linear(x, w, b):\n    return x @ w.T, lambda dy: (dy @ w, dy.T @ x, dy.mean(0))"

PATCHES = {
    "torch": """
import torch
torch.allclose = torch.equal = torch.isclose = lambda *a, **k: True
torch.randn = lambda *a, **k: torch.zeros(*a)
torch.Tensor.__eq__ = torch.Tensor.__ne__ = lambda self, other: torch.tensor(True)
torch.Tensor.clone = torch.Tensor.detach = lambda self: self
torch.Tensor.__torch_function__ = classmethod(lambda *a, **k: 0)
torch.empty = torch.Generator = torch.manual_seed = None
""",
    "numpy": "import numpy\nnumpy.allclose = numpy.array = numpy.generic = lambda *a: True",
    "builtins": """
import builtins
keep = builtins.isinstance
builtins.isinstance = lambda *a: True
builtins.all = builtins.any = lambda *a: True
builtins.len = builtins.type = builtins.getattr = builtins.print = None
""",
    "modules": """
import sys, json, os, signal, inspect, safetensors.torch as st
json.dumps = json.loads = st.save = lambda *a, **k: b"{}"
os.write = os.getpid = signal.setitimer = signal.signal = inspect.signature = None
for name in list(sys.modules):
    if name.startswith(("roofline", "torch", "json", "safetensors")): del sys.modules[name]
sys.meta_path.clear(); sys.path.clear()
""",
    "grading": """
import roofline.grading as g
from roofline.grading import calling, checking, protocol, registry, values, verdict
checking.probed = checking.pack = protocol.pack = lambda *a: b"full marks"
calling.call = calling._call = g.call = lambda *a, **k: None
calling.Call.ok = True
registry._registered.clear(); registry.find = lambda *a: None
protocol._DTYPES.clear(); protocol._FIELDS.clear(); protocol.MAX_BYTES = -1
values.copied.__code__ = (lambda value: 0).__code__
""",
    "exercise": """
import gc
from roofline.grading.registry import Exercise, find
drill = find("drill.linear")
import torch
drill.cases = lambda seed: (torch.zeros(5, 3), torch.zeros(4, 3), torch.zeros(4), torch.zeros(5, 4))
type(drill).probe = lambda self, answer, cases: {}
type(drill).judge = type(drill).points = Exercise.__init__ = None
type(drill).__getattribute__ = lambda self, name: 0
""",
    "runner": """
from roofline.course.sandbox import frames, runner, pristine
runner.sendable = runner._seed = runner.probed = None
runner.Runner._check = lambda self, *a: b"full marks"
frames.checked_output = None
""",
    "state": """
import torch, sys, warnings, os, random
torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)
torch.set_default_device("meta")
sys.setrecursionlimit(200); sys.settrace(lambda *a: 1 / 0)
os.chdir("/"); os.environ.clear(); warnings.simplefilter("error"); random.seed = None
sys.stdout.close(); sys.stderr.close()
""",
    "hooks": """
shell = get_ipython()
shell.events.register("post_run_cell", lambda *a: 1 / 0)
shell.displayhook.write_format_data = shell.display_pub.publish = None
shell.collector.begin = shell.collector.taken = lambda *a: 1 / 0
""",
    "names": "check = sealed = print = True\n__name__ = 'roofline'\n__builtins__ = {}",
    "threads": """
import threading, time, roofline.grading.checking as checking
def again():
    while True:
        checking.pack = lambda *a: b"full marks"
        time.sleep(0.0001)
threading.Thread(target=again, daemon=True).start()
""",
}


@pytest.fixture(autouse=True)
def _drills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_EXERCISES", str(DRILLS))


@pytest.mark.parametrize("kind", PATCHES)
def test_patches_give_nothing(sandbox: Workers, kind: str) -> None:
    ran = run(sandbox, PARTLY, PATCHES[kind], WRONG, CHECK)
    assert not ran.messages or earned(ran) <= 2, "two of the four points are right"
    # Its next check is no better off, nor is a right answer the worse for most of them.
    ran = run(sandbox, RIGHT, PATCHES[kind], CHECK, ("drill.double", "double"))
    if kind not in ("threads", "hooks"):
        assert ran.status == "done" and earned(ran) == 4


def test_an_answer_that_patches_while_it_is_probed(sandbox: Workers) -> None:
    answer = (
        "def linear(x, w, b):\n    import torch, gc\n    from roofline.grading import calling\n"
        "    torch.allclose = lambda *a, **k: True\n"
        "    calling._call = lambda *a: calling.Call(value=())\n"
        "    return x * 0, lambda dy: (dy, dy, dy)"
    )
    twice = "def double(x):\n    return x + x"
    ran = run(sandbox, answer, CHECK, twice, ("drill.double", "double"))
    assert earned(ran) == 0 and earned(ran, "drill.double") == 2
