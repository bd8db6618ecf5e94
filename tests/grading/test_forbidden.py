"""Forbidden calls are found however they are made, and nothing else is."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from roofline.grading import forbidden
from roofline.grading.calling import Session, call
from roofline.grading.checking import grade
from roofline.grading.forbidden import Watch, resolve
from roofline.grading.protocol import Outcome

NAMES = ("torch.softmax", "torch.nn.Linear", "torch.autograd.grad", "torch.Tensor.backward")


def found(answer: Callable, names: tuple[str, ...] = NAMES) -> list[str]:
    """The forbidden names that are found when the answer is read and run."""
    watch = Watch(names)
    watch.read(answer)
    with Session(watch=watch.running):
        call(answer, torch.ones(2, 3))
    return [each.split(" (")[0] for each in watch.found]


def read(answer: Callable, names: tuple[str, ...] = NAMES) -> list[str]:
    """What is found without running it."""
    watch = Watch(names)
    watch.read(answer)
    return watch.found


def in_a_helper(x: torch.Tensor) -> torch.Tensor:
    return _helper(x)


def _helper(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, -1)


def imported_inside(x: torch.Tensor) -> torch.Tensor:
    from torch import softmax as own

    return own(x, -1)


def by_getattr(x: torch.Tensor) -> torch.Tensor:
    return getattr(importlib.import_module("torch"), "soft" + "max")(x, -1)


def by_eval(x: torch.Tensor) -> torch.Tensor:
    return eval("torch.softmax(x, -1)")


class Answer:
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(x)

    def step(self, x: torch.Tensor) -> torch.Tensor:
        return F.softmax(x, -1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: torch.softmax(x, -1),
        lambda x: x.softmax(-1),
        lambda x: F.softmax(x, -1),
        lambda x: torch.special.softmax(x, -1),
        lambda x: torch.nn.Softmax(-1)(x),
        lambda x: torch.ops.aten.softmax.int(x, -1),
        lambda x: torch.vmap(lambda row: torch.softmax(row, 0))(x),
        lambda x: functools.partial(torch.softmax, dim=-1)(x),
        lambda x: torch.stack(list(map(functools.partial(torch.softmax, dim=0), x))),
        in_a_helper,
        imported_inside,
        by_getattr,
        by_eval,
        Answer(),
        Answer().step,
    ],
)
def test_a_torch_function_is_found(answer: Callable) -> None:
    assert found(answer) == ["torch.softmax"]


def test_classes_and_python_functions_are_found() -> None:
    assert "torch.nn.Linear" in found(lambda x: torch.nn.Linear(3, 2)(x))

    def by_autograd(x: torch.Tensor) -> Any:
        y = x.clone().requires_grad_()
        return torch.autograd.grad(y.sum(), y)

    def by_backward(x: torch.Tensor) -> Any:
        y = x.clone().requires_grad_()
        y.sum().backward()
        return y.grad

    assert found(by_autograd) == ["torch.autograd.grad"]
    assert found(by_backward) == ["torch.Tensor.backward"]


@pytest.mark.parametrize(
    "answer",
    [torch.softmax, functools.partial(functools.partial(F.softmax), dim=-1), torch.autograd.grad],
)
def test_an_answer_that_is_the_function_itself_is_found(answer: Callable) -> None:
    names = (*NAMES, "torch.nn.functional.softmax")
    assert [each.endswith("(it is the answer itself)") for each in read(answer, names)] == [True]


def test_another_thread_is_watched_too() -> None:
    def in_a_pool(x: torch.Tensor) -> torch.Tensor:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(getattr(torch, "soft" + "max"), x, -1).result()

    def in_a_thread_of_a_thread(x: torch.Tensor) -> None:
        inner = threading.Thread(target=by_getattr, args=(x,))
        outer = threading.Thread(target=lambda: (inner.start(), inner.join()))
        outer.start()
        outer.join()

    def something_else(x: torch.Tensor) -> torch.Tensor:
        with ThreadPoolExecutor(2) as pool:
            return torch.stack(list(pool.map(torch.exp, x)))

    assert found(in_a_pool) == found(in_a_thread_of_a_thread) == ["torch.softmax"]
    assert found(in_a_pool, ("aten::_softmax",)) == ["aten::_softmax"]
    assert found(something_else) == []


def test_a_function_of_this_library_is_found_under_any_name() -> None:
    names = ("roofline.grading.difference.shown_number",)
    from roofline.grading import difference

    own = {"name": difference.shown_number}
    assert found(lambda x: own["name"](1), names) == list(names)
    assert found(lambda x: difference.shown_number(1), names) == list(names)
    assert found(lambda x: difference.as_number(1), names) == []


def test_a_bare_name_and_an_operation() -> None:
    assert found(lambda x: x.softmax(-1), ("softmax",)) == ["softmax"]
    assert found(lambda x: F.softmax(x, -1), ("aten::_softmax",)) == ["aten::_softmax"]
    assert found(lambda x: x.log_softmax(-1), ("aten::_softmax",)) == []
    assert found(lambda x: x @ x.T, ("torch.matmul",)) == ["torch.matmul"]


def own_function_of_that_name(x: torch.Tensor) -> torch.Tensor:
    def softmax(x: torch.Tensor, dim: int) -> torch.Tensor:
        e = torch.exp(x)
        return e / e.sum(dim, keepdim=True)

    return softmax(x, -1)


def local_variable_of_that_name(x: torch.Tensor) -> torch.Tensor:
    """Not torch.softmax(x): see the name only."""
    softmax = x.exp()
    softmax = softmax / softmax.sum(-1, keepdim=True)
    # torch.softmax(x, -1) would do it
    return softmax


def parameter_of_that_name(x: torch.Tensor, torch: Any = None) -> torch.Tensor:
    return x if torch is None else torch.softmax(x)


class Softmax:
    def softmax(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp() / x.exp().sum(-1, keepdim=True)


def method_of_that_name(x: torch.Tensor) -> torch.Tensor:
    return Softmax().softmax(x)


def named_in_a_string(x: torch.Tensor) -> Any:
    return {"torch.softmax": x}


def loses_precision(x: torch.Tensor) -> torch.Tensor:
    return torch.exp(torch.log_softmax(x, -1))


@pytest.mark.parametrize(
    "answer",
    [
        own_function_of_that_name,
        local_variable_of_that_name,
        parameter_of_that_name,
        method_of_that_name,
        named_in_a_string,
        loses_precision,
        lambda x: torch.einsum("ij,kj->ik", x, x),
        lambda x: torch.logsumexp(x, -1),
    ],
)
def test_an_unusual_right_answer_is_not_caught(answer: Callable) -> None:
    assert found(answer) == []


def test_what_the_library_calls_itself_does_not_count() -> None:
    """softmax inside a torch function that may be called."""
    layer = torch.nn.MultiheadAttention(3, 1)
    assert found(lambda x: layer(x, x, x)) == []
    assert found(lambda x: F.multi_head_attention_forward) == []


def test_code_that_does_not_run_is_read() -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        if x.sum() < 0:
            return torch.softmax(x, -1)
        return x

    assert len(read(answer)) == 1
    assert read(answer)[0].startswith("torch.softmax (line ")


def test_what_cannot_be_read_is_still_watched() -> None:
    space: dict[str, Any] = {"torch": torch}
    exec("def answer(x):\n    return torch.softmax(x, -1)\n", space)
    assert read(space["answer"]) == []
    assert found(space["answer"]) == ["torch.softmax"]
    watch = Watch(NAMES)
    for odd in (3, "text", print, torch.softmax, type("Odd", (), {"__getattr__": None})):
        watch.read(odd)


def test_the_answer_earns_nothing_and_is_told_where() -> None:
    result = grade("drill.double", lambda x: torch.mul(x, 2), 1)
    assert result.earned == 0
    assert [item.name for item in result.items] == ["values", "sum"]
    for item in result.items:
        assert item.message.startswith("not counted: the answer calls torch.mul (line ")


def test_a_name_that_stands_for_nothing_is_the_authors_mistake() -> None:
    assert resolve("torch.nn.functional.linear") is F.linear
    with pytest.raises(ValueError, match=r"'torch.no_such': there is no such function or class"):
        Watch(("torch.no_such",))
    with pytest.raises(ValueError, match="there is no such"):
        Watch(("nomodule.thing",))


def test_the_profile_hook_is_put_back() -> None:
    import sys

    before = sys.getprofile()
    found(lambda x: 1 / 0)
    assert sys.getprofile() is before
    assert forbidden.SEEN >= 1 and Outcome().forbidden == []
