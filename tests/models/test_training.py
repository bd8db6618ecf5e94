"""Trained from the same weights, a model and its torch twin have the same losses all the way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from devices import DEVICES, float_type
from models import torch_models
from roofline import losses, models, optim
from twins import twins

STEPS = 200
TEXT = (
    "the quick brown fox jumps over the lazy dog while the slow red hen walks under the busy cat "
) * 4


def batches(context: int, device: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pieces of the text and the letters that follow, drawn from one seed."""
    letters = sorted(set(TEXT))
    text = torch.tensor([letters.index(letter) for letter in TEXT])
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(STEPS):
        starts = torch.randint(len(text) - context, (8,), generator=generator)
        rows = torch.stack([text[s : s + context + 1] for s in starts.tolist()]).to(device)
        found.append((rows[:, :-1], rows[:, 1:]))
    return found


VOCABULARY = len(set(TEXT))

CASES: dict[str, tuple[Any, Any]] = {
    "gpt": (
        lambda: models.GPT(VOCABULARY, 12, 16, 2, 2),
        lambda: torch_models.GPT(VOCABULARY, 12, 16, 2, 2, True),
    ),
    "lstm": (
        lambda: models.RecurrentLM("lstm", VOCABULARY, 12, 24),
        lambda: torch_models.RecurrentLM("lstm", VOCABULARY, 12, 24, 1, False),
    ),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_two_hundred_steps_follow_torch(case: str, device: str) -> None:
    our, their = twins(*CASES[case], device, starts=False)
    optimizer = optim.AdamW(our.parameters(), lr=1e-2)
    schedule = optim.Schedule(optimizer, optim.warmup_cosine(20, STEPS, 0.1))
    rival = torch.optim.AdamW(their.parameters(), lr=1e-2)
    rival_schedule = torch.optim.lr_scheduler.LambdaLR(rival, schedule.factor)
    curve, expected = [], []
    for inputs, targets in batches(12, device):
        loss = losses.cross_entropy(our(inputs).reshape(-1, VOCABULARY), targets.reshape(-1))
        loss.backward()
        optim.clip_grad_norm_(our.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        curve.append(loss.item())

        rival_loss = F.cross_entropy(their(inputs).flatten(0, 1), targets.flatten())
        rival_loss.backward()
        torch.nn.utils.clip_grad_norm_(their.parameters(), 1.0)
        rival.step()
        rival.zero_grad()
        rival_schedule.step()
        expected.append(rival_loss.item())
    exact = float_type(device) == torch.float64
    assert curve == pytest.approx(expected, abs=1e-4 if exact else 0.1)
    assert sum(curve[-10:]) < 0.4 * sum(curve[:10])
