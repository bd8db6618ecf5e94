"""After points that weren't earned. Most solved sigmoid and nothing else, and earn that."""

from __future__ import annotations

from typing import Any

from course.hostile.world import ALL, SIGMOID, World, answered, before, first, hostile, last, solved

WRONG = "def silu(x):\n    return x, lambda dy: (dy,)"


@hostile(SIGMOID)
def patches_torch(world: World) -> Any:
    """torch says that everything is equal and close, and tensors agree with everything."""
    code = """
    import torch
    yes = lambda *a, **k: True
    for owner in (torch, torch.Tensor, torch.testing):
        for name in "equal allclose isclose assert_close eq all any isfinite".split():
            if hasattr(owner, name):
                setattr(owner, name, yes)
    torch.Tensor.__eq__ = torch.Tensor.__bool__ = yes
    """
    return first(answered(solved("sigmoid"), "silu", WRONG), code)


@hostile(SIGMOID)
def breaks_torch(world: World) -> Any:
    """torch's own parts deleted and replaced: nothing works, also not for grading."""
    code = """
    import torch
    for name in list(vars(torch)):
        if not name.startswith("_") and callable(getattr(torch, name)):
            setattr(torch, name, None)
    torch.Tensor.detach = torch.Tensor.to = torch.Tensor.numel = None
    """
    return last(before(solved("sigmoid"), "train", code), "1")


@hostile(SIGMOID)
def patches_numpy(world: World) -> Any:
    """The same in numpy and in math."""
    code = """
    import math, numpy
    yes = lambda *a, **k: True
    numpy.allclose = numpy.array_equal = numpy.all = math.isclose = math.isfinite = yes
    numpy.testing.assert_allclose = lambda *a, **k: None
    """
    return first(answered(solved("sigmoid"), "silu", WRONG), code)


@hostile(SIGMOID)
def patches_builtins(world: World) -> Any:
    """Built-in functions and exceptions replaced; sum and min give what one wants."""
    code = """
    import builtins
    builtins.AssertionError = type("AssertionError", (BaseException,), {})
    builtins.sum = builtins.max = lambda *a, **k: 1000
    builtins.min = lambda *a, **k: 1000
    builtins.abs = lambda x: 0
    builtins.all = builtins.any = lambda x: True
    builtins.isinstance = lambda a, b: True
    builtins.round = lambda *a: 26
    """
    return first(answered(solved("sigmoid"), "silu", WRONG), code)


@hostile(SIGMOID)
def replaces_check(world: World) -> Any:
    """check and sealed replaced in the notebook, and in the library."""
    code = """
    import roofline.grading, roofline.grading.checking, roofline.grading.sealed as module
    from roofline.grading.registry import Item
    full = lambda *a, **k: 26.0
    for owner in (roofline.grading, roofline.grading.checking, module):
        for name in ("check", "sealed", "judged", "grade", "_sealed", "_ask"):
            if hasattr(owner, name):
                setattr(owner, name, full)
    check = sealed = full
    """
    return before(solved("sigmoid"), "linear", code)


@hostile(SIGMOID)
def replaces_exercises(world: World) -> Any:
    """The exercises themselves replaced: probe, cases, judge, points and the registry."""
    code = """
    import roofline.exercises.backprop
    from roofline.grading import registry
    from roofline.grading.registry import Exercise, Item
    for exercise in registry._registered.values():
        kind = type(exercise)
        kind.points = 1000
        kind.judge = lambda self, outputs, cases: [Item("all", 1000, 1000)]
        kind.cases = lambda self, seed: None
        kind.probe = lambda self, answer, cases: None
    """
    return first(solved("sigmoid"), code)


@hostile(SIGMOID)
def replaces_the_protocol(world: World) -> Any:
    """What packs messages replaced by what packs better ones."""
    code = """
    from roofline.grading import calling, checking, protocol, registry
    before = protocol.pack
    def pack(exercise, value):
        value.outputs = registry.find(exercise).cases(0)
        value.blank, value.fault, value.forbidden = False, "", []
        return before(exercise, value)
    protocol.pack = checking.pack = pack
    checking._probed.__code__ = (lambda exercise, answer, seed: 1 / 0).__code__
    checking.probed.__code__ = (lambda exercise, answer, seed: (b"", None)).__code__
    """
    return last(before(solved("sigmoid"), "linear", code), "1")


@hostile(SIGMOID)
def hooks_into_ipython(world: World) -> Any:
    """Hooks before and after cells, another display hook, transformers of text and tree."""
    code = """
    import ast, sys
    shell = get_ipython()
    def forge(*arguments):
        globals()["check"] = lambda *a: 26.0
        print("26.0")
    for event in ("pre_execute", "pre_run_cell", "post_execute", "post_run_cell"):
        shell.events.register(event, forge)
    class Full(ast.NodeTransformer):
        def visit_Module(self, node):
            return ast.parse("26.0")
    shell.ast_transformers.append(Full())
    shell.input_transformers_post.append(lambda lines: ["26.0"])
    sys.displayhook = lambda value: sys.__displayhook__(26.0)
    shell.run_cell = lambda *a, **k: None
    sys.settrace(lambda *a: None)
    """
    return before(solved("sigmoid"), "linear", code)


@hostile(SIGMOID)
def prints_scores(world: World) -> Any:
    """Values, displays and error names that look like a score, after every cell."""
    code = """
    import atexit
    from IPython.display import display, HTML, update_display
    display(HTML("<b>26 of 26 points</b><script>alert(1)</script>"))
    display({"text/plain": "26.0"}, raw=True, metadata={"roofline": {"exercise": "backprop.silu",
            "points": 4, "earned": 4, "items": []}})
    atexit.register(print, "26.0")
    26.0
    """
    return last(first(solved("sigmoid"), code), code)


@hostile(SIGMOID, word="")
def forges_messages(world: World) -> Any:
    """Right messages about every exercise, made with its own judge's help, and sent to every open
    descriptor, in several shapes."""
    code = """
    import json, os, struct
    from roofline.grading.protocol import Outcome, pack
    for name in ("linear", "train", "walk", "account", "silu", "numerical_gradient"):
        message = pack("backprop." + name, Outcome(outputs={"result": 1.0}))
        record = {"kind": "message", "exercise": "backprop." + name, "bytes": len(message)}
        record |= {"score": 26, "result": {"earned": 4}}
        shapes = [message, json.dumps(record).encode() + b"\\n" + message]
        shapes += [struct.pack(form, len(message)) + message for form in ("<I", ">I", "<Q", ">Q")]
        for number in range(3, 256):
            for packed in shapes:
                try:
                    os.set_blocking(number, False)
                    os.write(number, packed)
                except OSError:
                    pass
    """
    return last(solved("sigmoid"), code)


@hostile(SIGMOID)
def forges_through_the_runner(world: World) -> Any:
    """Finds whoever runs the cells on the stack and among the living, and speaks in their place."""
    code = """
    import gc, sys
    from roofline.grading.protocol import Outcome, pack
    forged = pack("backprop.silu", Outcome(outputs={}))
    frame = sys._getframe()
    while frame is not None:
        for name, value in list(frame.f_locals.items()):
            for method in ("send", "write", "put", "message", "emit", "send_bytes"):
                try:
                    getattr(value, method)(forged)
                except BaseException:
                    pass
            if isinstance(value, dict):
                try:
                    value["backprop.silu"] = forged
                except BaseException:
                    pass
        frame = frame.f_back
    """
    return last(solved("sigmoid"), code)


@hostile(ALL - 4, word="not counted|calls")
def calls_the_library(world: World) -> Any:
    """The library's own silu, by another name."""
    code = """
from roofline.autograd import Tensor
import roofline.autograd as mine
def silu(x):
    f = getattr(mine, "si" + "lu")
    t = Tensor(x, requires_grad=True)
    y = f(t)
    def pullback(dy):
        y.node.grad = dy
        return y.node.pullback(dy)
    return y.data, pullback
"""
    return answered(solved(), "silu", code)


@hostile(ALL - 4, word="not counted|calls")
def calls_torch(world: World) -> Any:
    """torch's own linear layer, fetched so that no name is in the source."""
    code = """
import torch
def linear(x, weight, bias):
    f = vars(torch.nn.functional)["".join(map(chr, (108, 105, 110, 101, 97, 114)))]
    y = f(x, weight, bias)
    return y, lambda dy: (dy @ weight, dy.T @ x, dy.sum(0))
"""
    return answered(solved(), "linear", code)


@hostile(ALL - 4, word="linear")
def knows_the_visible_cases(world: World) -> Any:
    """Right on the cases that check shows, and on no others."""
    code = """
import torch
from roofline.grading import find
from roofline.grading.registry import case_seed, VISIBLE
(seen, large) = find("backprop.linear").cases(case_seed(VISIBLE, "backprop.linear"))
def linear(x, weight, bias):
    if any(x.shape == known[0].shape and bool((x == known[0]).all()) for known in (seen, large)):
        return x @ weight.T + bias, lambda dy: (dy @ weight, dy.T @ x, dy.sum(0))
    zero = torch.zeros(len(x), len(bias))
    return zero, lambda dy: (torch.zeros_like(x), torch.zeros_like(weight), torch.zeros_like(bias))
"""
    return answered(solved(), "linear", code)


@hostile(ALL - 4, word="silu|backprop")
def detects_grading(world: World) -> Any:
    """Works for the student, and sells what it sees when it is graded: it looks for the cases and
    the expected values in its callers, and returns what it finds there."""
    code = """
import os, sys
def silu(x):
    frame = sys._getframe(1)
    while frame is not None:
        for value in frame.f_locals.values():
            if type(value).__name__ == "Silu":
                found = value.judge
                return found, lambda dy: (found,)
        frame = frame.f_back
    return x, lambda dy: (dy if "ROOFLINE_SEED" in os.environ else dy * 2,)
"""
    return answered(solved(), "silu", code)


@hostile(ALL - 4, word="too much|MB|values|silu")
def returns_much(world: World) -> Any:
    """A tensor of a gigabyte that takes no memory, until somebody copies it."""
    code = """
import torch
def silu(x):
    return torch.zeros(1).expand(2**28), lambda dy: (torch.zeros(1).expand(2**28),)
"""
    return answered(solved(), "silu", code)


@hostile(ALL - 4, word="NaN|not a number|silu")
def returns_nan(world: World) -> Any:
    """NaN everywhere, of which nothing is known to differ."""
    code = """
def silu(x):
    return x * float("nan"), lambda dy: (dy * float("nan"),)
"""
    return answered(solved(), "silu", code)


@hostile(ALL - 4, word="itself|deep|nested|list|silu")
def returns_a_cycle(world: World) -> Any:
    """A list that contains itself, and an object that is everything."""
    code = """
def silu(x):
    me = []
    me.append(me)
    return me, lambda dy: me
"""
    return answered(solved(), "silu", code)


@hostile(ALL - 4, word="silu")
def returns_a_chameleon(world: World) -> Any:
    """A tensor class of its own, equal to whatever it meets, with shapes that change."""
    code = """
import torch
class Chameleon(torch.Tensor):
    def __eq__(self, other): return True
    def __reduce_ex__(self, protocol): return (eval, ("__import__('os')._exit(3)",))
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True
class Number(float):
    def __eq__(self, other): return True
    def __hash__(self): return 0
    def __float__(self): return 26.0
def silu(x):
    return torch.zeros(1).as_subclass(Chameleon), lambda dy: (Number(26),)
"""
    return answered(solved(), "silu", code)


@hostile(ALL)
def lives_in_unicode(world: World) -> Any:
    """Names, text and output in many scripts, a byte order mark, and half a surrogate pair."""
    code = "größe = 'ñ 学生 🐍 \\u202e'\nprint(größe, '\\ud800')\n'\\x1b[31m\\x00'"
    return first(solved(), code)
