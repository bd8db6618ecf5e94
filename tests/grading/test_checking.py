"""A check from end to end, on answers as learners write them, and worse."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from roofline.grading import Score, check
from roofline.grading.checking import grade
from roofline.grading.result import Result

DOUBLE = "drill.double"


def graded(answer: Any) -> Result:
    return grade(DOUBLE, answer, seed=7)


def message(answer: Any) -> str:
    """What is said about the first item."""
    return graded(answer).items[0].message


def test_a_right_answer_earns_every_point() -> None:
    result = graded(lambda x: x + x)
    assert result.earned == result.points == 2
    assert [item.message for item in result.items] == ["as expected", "as expected"]
    assert not result.notes


def test_partial_credit_is_item_by_item() -> None:
    result = graded(lambda x: x + x + x)
    assert [item.earned for item in result.items] == [0, 1]
    assert result.earned == 1
    assert result.items[0].hint == "every value is 1.5 times what it should be"


def returns_nothing(x: torch.Tensor) -> None:
    x + x


def raises_in_a_helper(x: torch.Tensor) -> torch.Tensor:
    def helper() -> torch.Tensor:
        return x @ x

    return helper()


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raising(error: BaseException) -> Any:
    def answer(x: torch.Tensor) -> torch.Tensor:
        raise error

    return answer


def recurses(x: torch.Tensor) -> torch.Tensor:
    return recurses(x)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (returns_nothing, "it returned None, expected a tensor of shape (3, 2)"),
        (lambda x: 2.0, "it returned a float, expected a tensor of shape (3, 2)"),
        (lambda x: [x + x], "it returned a list of 1, expected a tensor"),
        (lambda x: numpy.ones((3, 2)), "it returned a NumPy array of shape (3, 2)"),
        (lambda x: numpy.float64(2), "it returned a float"),
        (lambda x: (row for row in x), "it returned a generator"),
        (lambda x: lambda: x, "it returned a function"),
        (lambda x: (x + x).T, "shape (2, 3), expected (3, 2)"),
        (lambda x: (x + x).double(), "dtype float64, expected float32"),
        (lambda x: x * float("nan"), "6 of 6 values are NaN"),
        (lambda x: x / torch.zeros(1), "6 of 6 values are infinite"),
        (lambda x: (x + x).to("meta"), "its tensor is on device meta, the arguments are on cpu"),
        (lambda x: (x + x).to_sparse(), "it returned a sparse_coo tensor"),
        (lambda x, y: x, "it raised TypeError: <lambda>() missing 1 required positional argument"),
        (raises_in_a_helper, "it raised RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        (raises_in_a_helper, "of helper: return x @ x)"),
        (raising(Unreadable()), "it raised Unreadable: (its message could not be read)"),
        (raising(SystemExit(1)), "it raised SystemExit: 1"),
        (raising(KeyboardInterrupt()), "it raised KeyboardInterrupt (your line"),
        (raising(GeneratorExit()), "it raised GeneratorExit"),
        (raising(StopIteration()), "it raised StopIteration"),
        (raising(ExceptionGroup("several", [ValueError("one")])), "it raised ExceptionGroup"),
        (raising(MemoryError()), "it raised MemoryError"),
        (recurses, "it raised RecursionError: maximum recursion depth exceeded"),
        (lambda x: torch.ones(1).expand(10**9), "it returned too much: the outputs have more than"),
        (lambda x: [0] * 10**6, "it returned too much: the outputs have more than 20,000 values"),
        (42, "it is an int, expected a function"),
        (torch.ones(2), "it is a tensor of shape (2,), expected a function"),
    ],
)
def test_an_answer_is_told_exactly_what_is_wrong(answer: Any, expected: str) -> None:
    assert expected in message(answer)


def test_a_value_that_contains_itself_is_refused() -> None:
    def answer(x: torch.Tensor) -> Any:
        result: list[Any] = []
        result.append(result)
        return result

    assert "or contain themselves" in message(answer)


def test_an_argument_changed_in_place_loses_the_item_and_is_named() -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        return x.add_(x)

    result = graded(answer)
    assert result.items[0].message == "it changed its argument x in place"
    assert result.items[0].earned == 0
    assert result.notes == ["it changed its argument x in place"]


def test_an_answer_that_returns_its_argument_is_told() -> None:
    assert graded(lambda x: x).items[0].hint == "it returns its argument x"


def test_printing_and_warning_are_noted_and_cost_nothing(capfd: pytest.CaptureFixture) -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        os.write(2, b"from below")
        warnings.warn("careful", stacklevel=1)
        return x + x

    result = graded(answer)
    assert result.earned == 2
    assert result.notes == [
        "it printed: to stdout to stderr from below",
        "it warned: UserWarning: careful",
    ]
    assert capfd.readouterr() == ("", "")


def test_a_flood_of_output_is_cut() -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        for i in range(10_000):
            print("x" * 1000)
            warnings.warn(f"number {i}", stacklevel=1)
        return x + x

    result = graded(answer)
    assert result.earned == 2
    assert sum(map(len, result.notes)) < 3000


def stub_by_nbgrader(x: torch.Tensor) -> torch.Tensor:
    """Twice x."""
    # YOUR CODE HERE
    raise NotImplementedError()


def stub_with_dots(x: torch.Tensor) -> torch.Tensor:  # type: ignore[empty-body]
    """Twice x."""
    ...


def stub_with_none(x: torch.Tensor) -> None:
    return None


class StubOfAClass:
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


@pytest.mark.parametrize(
    "answer",
    [stub_by_nbgrader, stub_with_dots, stub_with_none, StubOfAClass(), None, ...],
)
def test_an_untouched_stub_is_not_attempted(answer: Any, capfd: pytest.CaptureFixture) -> None:
    score = check(DOUBLE, answer)
    assert score == 0
    assert not score.result.attempted
    out, err = capfd.readouterr()
    assert out == "drill.double · not attempted yet (0 of 2 points)\n"
    assert err == ""


def test_an_unfinished_helper_is_named() -> None:
    def answer(x: torch.Tensor) -> Any:
        return x + x, lambda dy: stub_by_nbgrader(dy)

    def linear(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> Any:
        return x @ w.T + b, lambda dy: stub_by_nbgrader(dy)

    result = grade("drill.linear", linear, 3)
    assert result.attempted
    assert result.items[0].earned == 1
    assert "not attempted yet: line" in result.items[1].message
    assert "of stub_by_nbgrader" in result.items[1].message


def test_torchs_own_not_implemented_error_is_no_stub() -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        return torch.empty(3, 2, device="meta").numpy()  # type: ignore[return-value]

    def answer_in_c(x: torch.Tensor) -> torch.Tensor:
        return x.to_sparse() @ torch.sparse_coo_tensor(size=(2, 3)).to(torch.quint8)

    for each in (answer, answer_in_c):
        assert graded(each).attempted


def test_the_score_is_a_number_and_shows_as_one(capsys: pytest.CaptureFixture) -> None:
    score = check(DOUBLE, lambda x: x + x + x)
    assert isinstance(score, Score)
    assert repr(score) == str(score) == "1.0"
    assert float(repr(score)) == score == 1
    assert score.result.items[1].earned == 1
    assert "1 of 2 points" in capsys.readouterr().out


def test_an_unknown_exercise_is_one_line_with_near_names(capfd: pytest.CaptureFixture) -> None:
    assert check("drill.doubel", lambda x: x) == 0
    out, err = capfd.readouterr()
    assert out == "no exercise 'drill.doubel'; did you mean drill.double?\n"
    assert err == ""
    assert check("doubel", lambda x: x) == 0
    assert capfd.readouterr().out.count("\n") == 1


def test_what_an_answer_switches_is_put_back(tmp_path: Path) -> None:
    class Mode(torch.overrides.TorchFunctionMode):
        pass

    def answer(x: torch.Tensor) -> torch.Tensor:
        y = x + x
        torch.manual_seed(3)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_grad_enabled(False)
        Mode().__enter__()
        sys.setrecursionlimit(5000)
        os.chdir(tmp_path)
        sys.stdout = sys.stderr = None  # type: ignore[assignment]
        os.close(1)
        return y

    def state() -> list:
        modes = torch.overrides._get_current_function_mode_stack()
        return [
            torch.get_rng_state().tolist(),
            torch.get_default_dtype(),
            torch.ones(1).device,
            torch.is_grad_enabled(),
            modes,
            sys.getrecursionlimit(),
            os.getcwd(),
            sys.stdout,
            os.fstat(1).st_ino,
        ]

    before = state()
    assert graded(answer).earned == 2
    assert state() == before


def test_a_torch_that_an_answer_has_broken_costs_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        torch.Tensor.detach = None  # type: ignore[assignment, method-assign]
        return x + x

    monkeypatch.setattr(torch.Tensor, "detach", torch.Tensor.detach)
    result = graded(answer)
    assert result.earned == 0
    assert "'NoneType' object is not callable" in result.items[0].message


def test_a_check_inside_an_answer_does_not_disturb_the_outer_one() -> None:
    def answer(x: torch.Tensor) -> torch.Tensor:
        check(DOUBLE, lambda y: y)
        return x + x

    result = graded(answer)
    assert result.earned == 2
    assert "it printed: drill.double" in result.notes[0]


def test_the_same_answer_gives_the_same_table(capsys: pytest.CaptureFixture) -> None:
    check(DOUBLE, lambda x: x - 1)
    first = capsys.readouterr().out
    check(DOUBLE, lambda x: x - 1)
    assert capsys.readouterr().out == first


def test_counted_cost_is_judged() -> None:
    wasteful = grade("drill.row_norms", lambda x: (x * x).sum(1).sqrt(), 5)
    assert [item.earned for item in wasteful.items] == [1, 0]
    assert wasteful.items[1].message == "8,192 bytes, at most 256 asked"
    assert "a tensor of x's size was made" in wasteful.items[1].hint
    frugal = grade("drill.row_norms", lambda x: torch.linalg.vector_norm(x, dim=1), 5)
    assert frugal.earned == 3


def test_a_check_of_a_broken_exercise_says_whose_fault_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(
        "from roofline.grading import Exercise, call, exercise\n"
        "class Base(Exercise):\n"
        "    def probe(self, answer, cases): return call(answer, cases)\n"
        "    def judge(self, outputs, cases): return [1 / 0]\n"
        "@exercise('broken.judge')\nclass Judge(Base): pass\n"
        "@exercise('broken.cases')\nclass Cases(Base):\n    def cases(self, seed): return 1 / 0\n"
        "@exercise('broken.name')\nclass Name(Base):\n    forbidden = ('torch.no_such_thing',)\n"
    )
    monkeypatch.setenv("ROOFLINE_EXERCISES", str(tmp_path))
    for name in ("judge", "cases", "name"):
        result = grade(f"broken.{name}", lambda x: x, 1)
        assert result.broken
        assert result.items[0].message.startswith("this exercise failed, which is not your doing")
