"""The compiled step: one graph, the same numbers as the step as it is written."""

from __future__ import annotations

import shutil

import pytest
import torch
from needs import need
from roofline.models.gpt import GPT
from roofline.models.mlp import MLP
from roofline.optim import AdamW, warmup_cosine
from roofline.train import loop as module
from roofline.train import token_loss, train
from roofline.train.compiled import COMPILERS, compiled

from .small import batches, net, weights

QUIET = {"progress": False}


def gpt():
    torch.manual_seed(0)
    return GPT(20, 8, 16, 2, 1)


def tokens(count: int):
    drawn = torch.randint(0, 20, (count, 9), generator=torch.Generator().manual_seed(count))
    return (drawn[:, :-1],), drawn[:, 1:]


def compare(model, loss, batch, backend: str, sizes: tuple[int, ...]) -> None:
    torch._dynamo.reset()
    step = compiled(model, loss, None, backend=backend)
    before = dict(model.named_parameters())
    for size in sizes:
        inputs, target = batch(size)
        model.zero_grad()
        value = step(inputs, target, 0.5)
        fast = {name: parameter.grad for name, parameter in model.named_parameters()}
        model.zero_grad()
        expected = loss(model(*inputs), target)
        expected.backward(torch.tensor(0.5))
        torch.testing.assert_close(value, expected.data, atol=1e-5, rtol=0)
        for name, parameter in model.named_parameters():
            assert parameter is before[name]
            torch.testing.assert_close(fast[name], parameter.grad, atol=1e-5, rtol=0)


def test_a_gpt_traces_as_one_graph():
    """Dynamo alone, without the compiler behind it, which takes a minute for a GPT."""
    compare(gpt(), token_loss, tokens, "eager", (4, 3))


def same_course(build, data, **options) -> None:
    """Trained with and without compile=True, two models have the same losses and weights."""
    plain, fast = build(), build()
    options = {"epochs": 2, "schedule": warmup_cosine(3, 12), **options, **QUIET}
    one = train(plain, data, **options)
    torch._dynamo.reset()
    two = train(fast, data, compile=True, **options)
    assert one.rate == two.rate and len(set(one.rate)) > 3
    assert one.loss == pytest.approx(two.loss, abs=1e-5)
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(fast)[name], value, atol=1e-5, rtol=0)


def mlp():
    torch.manual_seed(0)
    return MLP([6, 8, 3])


def test_an_mlp_trains_compiled():
    """By the compiler itself, at a learning rate that changes with every update."""
    need(any(map(shutil.which, COMPILERS)), "a C++ compiler")
    same_course(mlp, batches(50, 10), clip=1.0, optimizer=lambda p: AdamW(p, lr=1e-2))


def test_training_compiled_equals_training(monkeypatch):
    def traced(model, loss, dtype, mode=None):
        return compiled(model, loss, dtype, mode, backend="eager")

    monkeypatch.setattr(module, "compiled", traced)
    for options in ({"accumulate": 2, "clip": 0.5}, {"precision": "bf16"}, {"precision": "fp16"}):
        same_course(net, batches(50, 10), **options)
    (inputs,), target = tokens(4)
    data = [(inputs, target)] * 6
    same_course(lambda: gpt().to(torch.float64), data, loss=token_loss, clip=1.0)


def test_not_together_with_recompute():
    with pytest.raises(ValueError, match="compile and recompute exclude each other"):
        train(net(), batches(), compile=True, recompute=("first",), **QUIET)


def test_without_a_compiler_one_line_says_so(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="compile needs a C[+][+] compiler: install g[+][+]"):
        train(net(), batches(), compile=True, device="cpu", **QUIET)
