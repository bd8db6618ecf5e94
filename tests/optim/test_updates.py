"""Every optimizer against torch's own, over 50 steps on the same gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from devices import DEVICES, float_type
from roofline import nn, optim
from roofline.nn import Parameter
from roofline.optim import SGD, Adam, AdamW, clip_grad_norm_

SHAPES = [(3, 4), (4,), (2, 3, 5), (1,), (33,)]

CASES: list[tuple[Any, Any, dict[str, Any]]] = [
    (SGD, torch.optim.SGD, {"lr": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.01}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (Adam, torch.optim.Adam, {"lr": 0.01}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.3}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "fused": True}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01, "betas": (0.9, 0.95), "fused": True}),
]


def twins(device: str = "cpu") -> tuple[list[Parameter], list[torch.nn.Parameter]]:
    torch.manual_seed(0)
    values = [torch.randn(shape, dtype=float_type(device), device=device) for shape in SHAPES]
    return [Parameter(v.clone()) for v in values], [torch.nn.Parameter(v.clone()) for v in values]


def test_every_optimizer_and_schedule_is_checked() -> None:
    """A new one fails here until it is compared with torch's over 50 steps."""
    from optim import test_schedules

    optimizers = {name for name in optim.__all__ if isinstance(getattr(optim, name), type)}
    assert optimizers - {"Optimizer", "Schedule"} == {ours.__name__ for ours, *_ in CASES}
    factors = {factor.__qualname__.split(".")[0] for factor, _ in test_schedules.CASES}
    functions = {name for name in optim.__all__ if name[0].islower() and name[:4] != "clip"}
    assert functions == factors


def slope(value: torch.Tensor, step: int) -> torch.Tensor:
    """A gradient that depends on the value and changes sign and size from step to step."""
    return torch.sin(3 * value + step) * (1 + step % 7)


def advance(
    ours: Any, theirs: Any, pairs: list[tuple[Parameter, torch.nn.Parameter]], steps: range
) -> None:
    for step in steps:
        for index, (our, their) in enumerate(pairs):
            if index == 1 and step % 3 == 1:  # now and then a parameter gets no gradient
                our.grad = their.grad = None
            else:
                our.grad = slope(our.data, step)
                their.grad = slope(their.detach(), step)
        ours.step()
        theirs.step()


def agree(pairs: list[tuple[Parameter, torch.nn.Parameter]]) -> None:
    for our, their in pairs:
        torch.testing.assert_close(our.data, their.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("ours", "theirs", "settings"), CASES)
def test_fifty_steps_equal_torchs(ours: Any, theirs: Any, settings: Any, device: str) -> None:
    parameters, rivals = twins(device)
    before = [parameter.data.clone() for parameter in parameters]
    our, their = ours(parameters, **settings), theirs(rivals, **settings)
    pairs = list(zip(parameters, rivals, strict=True))
    advance(our, their, pairs, range(50))
    agree(pairs)
    for parameter, value in zip(parameters, before, strict=True):
        assert (parameter.data - value).abs().max() > 1e-3


@pytest.mark.parametrize(("ours", "theirs", "settings"), CASES)
def test_state_goes_to_torch_and_back_to_a_new_optimizer(
    ours: Any, theirs: Any, settings: Any
) -> None:
    parameters, rivals = twins()
    our, their = ours(parameters, **settings), theirs(rivals, **settings)
    pairs = list(zip(parameters, rivals, strict=True))
    advance(our, their, pairs, range(10))
    resumed = [Parameter(parameter.data.clone()) for parameter in parameters]
    again = ours(resumed, **{**settings, "lr": 77.0})
    again.load_state_dict(our.state_dict())
    assert again.lr == settings["lr"]
    pairs = list(zip(resumed, rivals, strict=True))
    advance(again, their, pairs, range(10, 30))
    agree(pairs)


def test_torchs_own_state_loads() -> None:
    parameters, rivals = twins()
    our, their = AdamW(parameters, lr=0.01), torch.optim.AdamW(rivals, lr=0.01)
    for step in range(5):
        for rival in rivals:
            rival.grad = slope(rival.detach(), step)
        their.step()
    for our_parameter, rival in zip(parameters, rivals, strict=True):
        our_parameter.data.copy_(rival.detach())
    our.load_state_dict(their.state_dict())
    pairs = list(zip(parameters, rivals, strict=True))
    advance(our, their, pairs, range(5, 20))
    agree(pairs)


def test_blocks_of_a_large_buffer_are_all_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roofline.optim.flat.BLOCK", 48)  # smaller than the buffer and unaligned
    parameters, rivals = twins()
    our, their = AdamW(parameters, lr=0.01), torch.optim.AdamW(rivals, lr=0.01)
    pairs = list(zip(parameters, rivals, strict=True))
    advance(our, their, pairs, range(20))
    agree(pairs)


@pytest.mark.parametrize(("ours", "theirs", "settings"), [CASES[3], CASES[6]])
def test_a_state_without_entries_starts_anew(ours: Any, theirs: Any, settings: Any) -> None:
    """torch has no state for a parameter that never had a gradient."""
    parameters, rivals = twins()
    their = theirs(rivals, **settings)
    for rival in rivals[1:]:
        rival.grad = slope(rival.detach(), 0)
    their.step()
    our = ours(parameters, **settings)
    advance(
        our,
        theirs(twins()[1], **settings),
        list(zip(parameters, twins()[1], strict=True)),
        range(3),
    )
    our.load_state_dict(their.state_dict())
    for parameter, rival in zip(parameters, rivals, strict=True):
        parameter.data.copy_(rival.detach())
    pairs = list(zip(parameters, rivals, strict=True))
    advance(our, their, pairs, range(1, 9))
    agree(pairs)


def test_groups_have_their_own_settings() -> None:
    parameters, rivals = twins()
    split = [{"params": parameters[:2], "weight_decay": 0.0}, {"params": parameters[2:], "lr": 0.5}]
    rival_split = [{"params": rivals[:2], "weight_decay": 0.0}, {"params": rivals[2:], "lr": 0.5}]
    our, their = AdamW(split, lr=0.01), torch.optim.AdamW(rival_split, lr=0.01)
    pairs = list(zip(parameters, rivals, strict=True))
    advance(our, their, pairs, range(20))
    agree(pairs)


def test_one_buffer_for_each_dtype() -> None:
    parameters = [
        Parameter(torch.ones(3)),
        Parameter(torch.ones(4, dtype=torch.float64)),
        Parameter(torch.ones(5)),
    ]
    optimizer = SGD(parameters, lr=1.0)
    assert len(optimizer.flats) == 2
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter.data, 0.25)
    optimizer.step()
    for parameter in parameters:
        assert parameter.data.dtype == parameter.grad.dtype
        assert torch.equal(parameter.data, torch.full_like(parameter.data, 0.75))


def test_a_walk_writes_gradients_into_the_buffer_and_adds_to_them_there() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    twin = copy.deepcopy(model)
    optimizer = SGD(model.parameters(), lr=0.1)
    x = torch.randn(5, 3)
    for _ in range(2):
        for _ in range(2):  # gradients of two batches add up
            model(x).sum().backward()
            twin(x).sum().backward()
        clip_grad_norm_(model.parameters(), 0.1)
        clip_grad_norm_(twin.parameters(), 0.1)
        optimizer.step()
        for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, other.grad)
            other.data -= 0.1 * other.grad
            torch.testing.assert_close(parameter.data, other.data)
        optimizer.zero_grad()
        twin.zero_grad()
    homes = {view.data_ptr() for view in optimizer.flats[0].grads}
    model(x).sum().backward()
    assert model[0].weight.grad.data_ptr() in homes  # a matrix product's result went straight home


def test_state_loaded_into_the_model_afterwards_is_what_gets_updated() -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = SGD(model.parameters(), lr=0.5)
    model.load_state_dict(other.state_dict())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter.data)
    optimizer.step()
    for parameter, loaded in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter.data, loaded.data - 0.5)


def test_a_shared_parameter_is_updated_once_with_both_gradients() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    twin = torch.nn.Sequential(*[torch.nn.Linear(3, 3, bias=False) for _ in range(2)])
    twin[1].weight = twin[0].weight
    twin.load_state_dict(model.state_dict())
    ours, theirs = AdamW(model.parameters(), lr=0.1), torch.optim.AdamW(twin.parameters(), lr=0.1)
    x = torch.randn(4, 3)
    for _ in range(10):
        model(x).sum().backward()
        twin(x).sum().backward()
        ours.step(), theirs.step()
        ours.zero_grad(), theirs.zero_grad()
    assert len(ours.parameters) == 1
    torch.testing.assert_close(model[1].weight.data, twin[0].weight.detach(), rtol=1e-5, atol=1e-6)


def test_values_and_gradients_are_views_of_one_buffer() -> None:
    parameters, _ = twins()
    optimizer = AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter.data)
    optimizer.step()
    assert len({p.data.untyped_storage().data_ptr() for p in parameters}) == 1
    assert len({p.grad.untyped_storage().data_ptr() for p in parameters}) == 1
    starts = [p.data.storage_offset() for p in parameters]
    assert all(start % 32 == 0 for start in starts) and len(set(starts)) == len(starts)


def test_a_step_costs_the_same_launches_for_any_number_of_parameters() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Launches(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            self.count += "view" not in str(function) and "slice" not in str(function)
            return function(*args, **(kwargs or {}))

    def launches(number: int) -> int:
        parameters = [Parameter(torch.ones(3, 3)) for _ in range(number)]
        optimizer = AdamW(parameters)
        for parameter in parameters:
            parameter.grad = torch.ones(3, 3)
        with Launches() as mode:
            optimizer.step()
        return mode.count

    assert launches(2) == launches(40) <= 11


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_takes_no_root_of_zero_or_of_a_subnormal_and_equals_torch(dtype: torch.dtype) -> None:
    """MKL is slow at the first, x86 at the others; an embedding has rows that no batch had."""
    from torch.utils._python_dispatch import TorchDispatchMode

    rooted: list[float] = []

    class Roots(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
            if "sqrt" in str(function):
                rooted.append(args[0].min().item())
            return function(*args, **(kwargs or {}))

    grad = torch.tensor([0.0, 1e-21, 1e-12, 1.0], dtype=dtype)
    ours, theirs = Parameter(torch.ones(4, dtype=dtype)), torch.ones(4, dtype=dtype)
    theirs.requires_grad_()
    optimizer, reference = AdamW([ours], lr=0.1), torch.optim.AdamW([theirs], lr=0.1)
    for _ in range(3):
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        reference.step()
        with Roots():
            optimizer.step()
    assert min(rooted) >= torch.finfo(torch.float32).smallest_normal
    assert torch.allclose(ours.data, theirs.detach(), rtol=1e-6, atol=0)


def test_a_parameter_without_gradient_stays_and_keeps_its_age() -> None:
    still, moving = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    frozen = Parameter(torch.ones(3)).requires_grad_(False)
    optimizer = AdamW([still, moving, frozen], lr=0.1, weight_decay=0.5)
    for _ in range(3):
        moving.grad = torch.ones(3)
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(still.data, torch.ones(3))
    assert torch.equal(frozen.data, torch.ones(3))
    assert (moving.data < 1).all()
    assert [entry["step"] for entry in optimizer.state_dict()["state"].values()] == [0, 3, 0]


def test_zero_grad_forgets() -> None:
    parameter = Parameter(torch.ones(2))
    optimizer = SGD([parameter])
    parameter.grad = torch.ones(2)
    optimizer.zero_grad()
    assert parameter.grad is None


def test_a_step_does_not_change_the_gradient_that_it_was_given() -> None:
    parameter = Parameter(torch.ones(2))
    optimizer = SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    grad = torch.ones(2)
    for _ in range(2):
        parameter.grad = grad
        optimizer.step()
    assert torch.equal(grad, torch.ones(2))
    assert torch.equal(parameter.grad, torch.ones(2))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: SGD([]), "no parameters"),
        (lambda p: SGD([p, p]), "twice"),
        (lambda p: SGD([p.data]), "expected Parameters of roofline.nn, got torch.Tensor"),
        (lambda p: SGD([p * 2]), "moves leaves"),
        (lambda p: SGD([p], lr=-0.1), "lr is -0.1, expected 0 or more"),
        (lambda p: SGD([{"params": [p], "lr": float("nan")}]), "lr is nan"),
        (lambda p: Adam([p], weight_decay=-1), "weight_decay is -1"),
        (lambda p: SGD([p], nesterov=True), "momentum"),
        (lambda p: Adam([p], betas=(0.9, 1.0)), "betas"),
    ],
)
def test_mistakes_are_named(build: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        build(Parameter(torch.ones(2)))


def test_a_single_parameter_is_one_and_not_its_rows() -> None:
    for build in (lambda p: SGD(p, lr=1.0), lambda p: SGD([{"params": p}], lr=1.0)):
        parameter = Parameter(torch.ones(2, 2))
        optimizer = build(parameter)
        (parameter * 3).sum().backward()
        assert clip_grad_norm_(parameter, 2.0) == 6
        optimizer.step()
        torch.testing.assert_close(parameter.data, torch.zeros(2, 2))


def test_replaced_storage_is_noticed() -> None:
    parameter = Parameter(torch.ones(2))
    optimizer = SGD([parameter])
    parameter.data = parameter.data.double()
    parameter.grad = torch.ones(2).double()
    with pytest.raises(RuntimeError, match=r"model\.to"):
        optimizer.step()


def test_state_of_another_model_is_refused() -> None:
    saved = Adam([Parameter(torch.ones(2))]).state_dict()
    with pytest.raises(ValueError, match="same groups"):
        Adam([Parameter(torch.ones(2)), Parameter(torch.ones(2))]).load_state_dict(saved)
    with pytest.raises(ValueError, match="shape"):
        Adam([Parameter(torch.ones(3))]).load_state_dict(saved)
