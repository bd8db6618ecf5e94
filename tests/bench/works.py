"""The works that the engine is measured on, ours beside PyTorch's: same weights, same batch.

PyTorch's side is as fast as torch.nn, torch.autograd and torch.optim make it without a compiler:
scaled_dot_product_attention told that it is causal, and the fused AdamW.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from models import torch_models
from roofline import losses, models, nn, optim
from roofline.autograd import readable_convolution

RATE = 1e-6  # so small that a batch is never learnt: zeros and subnormal numbers have other speeds
Step = Callable[[], torch.Tensor]


@dataclass
class Work:
    """A model, its torch twin and a batch. ``convolves`` and ``attends`` say what it has inside."""

    ours: nn.Module
    theirs: torch.nn.Module
    x: torch.Tensor
    y: torch.Tensor
    convolves: bool = False
    attends: bool = False

    def to(self, device: str) -> Work:
        self.ours.to(device)
        self.theirs.to(device)
        self.x, self.y = self.x.to(device), self.y.to(device)
        return self

    def step(
        self, readable: bool = False, recompute: bool = True, fused: bool = True
    ) -> tuple[Step, optim.Optimizer]:
        """One training step of ours, and its optimizer. It replaces the step asked for before.

        ``readable``: convolutions as unfold and a matrix product. ``recompute``: attention makes
        its weights again on the way back. ``fused``: the device's kernel for the update.
        """
        optimizer = optim.AdamW(self.ours.parameters(), lr=RATE, fused=fused)
        convolution = readable_convolution if readable else nullcontext
        for module in self.ours.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.recompute = recompute

        def step() -> torch.Tensor:
            with convolution():
                logits = self.ours(self.x)
                loss = losses.cross_entropy(logits.reshape(-1, logits.shape[-1]), self.y)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.data

        return step, optimizer

    def rival(self) -> Step:
        """One training step of PyTorch's."""
        optimizer = torch.optim.AdamW(self.theirs.parameters(), lr=RATE, fused=True)

        def step() -> torch.Tensor:
            logits = self.theirs(self.x)
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), self.y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        return step


class GPT(torch_models.GPT):
    """The torch twin with its attention written for speed."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        n, t = tokens.shape
        x = self.embedding(tokens) + self.positions.weight[:t]
        for layer in self.blocks.layers:
            own = layer.self_attn
            qkv = F.linear(layer.norm1(x), own.in_proj_weight, own.in_proj_bias)
            q, k, v = qkv.view(n, t, 3, own.num_heads, -1).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + own.out_proj(y.transpose(1, 2).reshape(n, t, -1))
            x = x + layer.linear2(F.gelu(layer.linear1(layer.norm2(x)), approximate="tanh"))
        return self.head(self.blocks.norm(x))


def _work(ours: nn.Module, theirs: torch.nn.Module, x: Any, classes: int, **inside: bool) -> Work:
    theirs.load_state_dict(ours.state_dict())
    places = x.shape if x.dtype == torch.int64 else x.shape[:1]  # a class for each token, or each x
    return Work(ours, theirs, x, torch.randint(classes, (places.numel(),)), **inside)


def mlp(small: bool) -> Work:
    """784-256-256-10, batch 128."""
    sizes, batch = ([20, 16, 16, 10], 8) if small else ([784, 256, 256, 10], 128)
    return _work(models.MLP(sizes), torch_models.MLP(sizes), torch.randn(batch, sizes[0]), 10)


def lenet(small: bool) -> Work:
    """5×5 windows on 1×28×28, batch 64."""
    x = torch.randn(2 if small else 64, 1, 28, 28)
    return _work(models.LeNet(), torch_models.LeNet(), x, 10, convolves=True)


def _two_convolutions(channels: int, side: int, batch: int) -> Work:
    ours = models.TwoConvNet(channels, side)
    theirs = torch_models.TwoConvNet(channels, ours.head.in_features, None)
    return _work(ours, theirs, torch.randn(batch, channels, side, side), 10, convolves=True)


def conv(small: bool) -> Work:
    """32, then 64 windows of 3×3 on 1×28×28, batch 64."""
    return _two_convolutions(1, 28, 2 if small else 64)


def article(small: bool) -> Work:
    """The same on 3×64×64, batch 64: the network of the article, on smaller pictures."""
    return _two_convolutions(3, 16 if small else 64, 2 if small else 64)


def lstm(small: bool) -> Work:
    """A language model of 64 tokens, hidden 256, 64 steps, batch 32."""
    width, length, batch = (8, 6, 3) if small else (256, 64, 32)
    ours = models.RecurrentLM("lstm", 64, width, width)
    theirs = torch_models.RecurrentLM("lstm", 64, width, width, 1, False)
    return _work(ours, theirs, torch.randint(64, (batch, length)), 64)


def gpt(small: bool) -> Work:
    """4 layers, width 128, 4 heads, 128 tokens of 512, batch 16."""
    width, length, batch, layers = (16, 8, 2, 1) if small else (128, 128, 16, 4)
    ours = models.GPT(512, length, width, 4, layers)
    theirs = GPT(512, length, width, 4, layers, True)
    return _work(ours, theirs, torch.randint(512, (batch, length)), 512, attends=True)


WORKS: dict[str, Callable[[bool], Work]] = {
    "mlp": mlp,
    "lenet": lenet,
    "conv": conv,
    "article": article,
    "lstm": lstm,
    "gpt": gpt,
}


def work(name: str, small: bool = False) -> Work:
    """One of :data:`WORKS`, the same at every call; ``small``: of a size for tests."""
    torch.manual_seed(0)
    return WORKS[name](small)
