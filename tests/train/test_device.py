"""The one choice of a device, and the one-line errors of a wrong one."""

from __future__ import annotations

import pytest
import torch
from roofline import device as module
from roofline.device import device, devices


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("ROOFLINE_DEVICE", raising=False)


def machine(monkeypatch, cards=0, mps=False):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_the_best_there_is(monkeypatch):
    machine(monkeypatch)
    assert device() == torch.device("cpu") and devices() == ["cpu"]
    machine(monkeypatch, mps=True)
    assert device() == torch.device("mps")
    machine(monkeypatch, cards=2, mps=True)
    assert device() == torch.device("cuda:0") and devices() == ["cuda:0", "cuda:1", "mps", "cpu"]


def test_the_environment_overrides_and_an_argument_overrides_that(monkeypatch):
    machine(monkeypatch, cards=2)
    monkeypatch.setenv("ROOFLINE_DEVICE", "cpu")
    assert device() == torch.device("cpu")
    assert device("cuda:1") == torch.device("cuda:1")
    assert device(torch.device("cuda")) == torch.device("cuda")
    monkeypatch.setenv("ROOFLINE_DEVICE", "CUDA")
    assert device() == torch.device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "tpu", "cpu:0"])
def test_unknown_device(monkeypatch, name):
    machine(monkeypatch)
    monkeypatch.setenv("ROOFLINE_DEVICE", name)
    message = f"ROOFLINE_DEVICE is {name!r}, expected cpu, cuda, cuda:0 or mps"
    with pytest.raises(ValueError) as error:
        device()
    assert str(error.value) == message


def test_a_device_that_is_not_there(monkeypatch):
    machine(monkeypatch, cards=1)
    for name in ("mps", "cuda:1"):
        with pytest.raises(ValueError, match="but this machine has cuda:0, cpu: choose one"):
            device(name)
    machine(monkeypatch)
    with pytest.raises(ValueError, match="device is 'cuda', but this machine has cpu"):
        device("cuda")


def test_nothing_else_is_in_the_way():
    assert module.KNOWN.fullmatch("cuda:12")
