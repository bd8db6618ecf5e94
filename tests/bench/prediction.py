"""How well the probe predicts training steps: forward, our backward, AdamW, of random shapes.

Thirty shapes of MLP, CNN, LSTM and GPT, another thirty in each run unless ``PREDICTION_SEED`` says
which. What is compared is the time in units of a matrix product timed next to it, because the clock
of a shared machine drifts by a third within minutes: the natural logarithm of predicted over
measured, of one thread. Nothing here is fed back: the probe times kernels alone, and no step. It
runs before every ten steps and after them, and the two profiles next to a step are averaged, as
the machine drifts between; ``first_probe`` has the errors of the very first one alone.
"""

from __future__ import annotations

import math
import os
import random
import secrets
import statistics
import time
from collections.abc import Callable

import torch
from roofline import nn
from roofline.autograd import Tensor, cross_entropy
from roofline.hardware.calibrate import REFERENCE, Numbers, Reference, calibrate
from roofline.hardware.predict import Trace, price, trace
from roofline.hardware.stopwatch import fixed_threads
from roofline.models import GPT, MLP, RecurrentLM
from roofline.optim import AdamW

SHAPES, GROUP = 30, 10
MEDIAN_LIMIT, P90_LIMIT = 0.10, 0.25
SECONDS = 1.0  # of measuring each step
SAMPLE = 8e-3  # seconds of steps in a row, so that a step finds the caches as steps leave them
Step = Callable[[], None]


def run() -> dict:
    seed = int(os.environ.get("PREDICTION_SEED") or secrets.randbelow(10**6))
    choose = random.Random(seed)
    torch.manual_seed(seed)
    rows, first = [], []
    with fixed_threads(1):
        probes = [calibrate(30)]
        reference = Reference()
        for start in range(0, SHAPES, GROUP):
            steps = []
            for shape in range(start, start + GROUP):
                family = list(FAMILIES)[shape % len(FAMILIES)]
                name, step = FAMILIES[family](choose)
                steps.append((family, name, trace(step), measure(step, reference)))
            probes.append(calibrate(30))
            rows += compare(steps, average(*probes[-2:]))
            first += compare(steps, probes[0])
    return {
        "seed": seed,
        "unit": f"a float32 product of {REFERENCE} rows",
        "limits": {"median": MEDIAN_LIMIT, "p90": P90_LIMIT},
        "all": errors(rows),
        "first_probe": errors(first),
        **{family: errors([r for r in rows if r["family"] == family]) for family in FAMILIES},
        "shapes": rows,
    }


def compare(steps: list[tuple[str, str, Trace, float]], numbers: Numbers) -> list[dict]:
    rows = []
    for family, name, found, measured in steps:
        predicted = price(found, numbers).references
        rows.append(
            {
                "family": family,
                "shape": name,
                "measured": round(measured, 3),
                "predicted": round(predicted, 3),
                "log_ratio": round(math.log(predicted / measured), 3),
            }
        )
    return rows


def average(first: Numbers, second: Numbers) -> Numbers:
    """The mean of each cost, in reference products, in the seconds of the first."""
    unit, other = first["reference"], second["reference"]
    return {
        name: cost if name == "reference" else (cost + second[name] / other * unit) / 2
        for name, cost in first.items()
    }


def errors(rows: list[dict]) -> dict[str, float]:
    """Median and 90th percentile of |log ratio|, and the median log ratio: the bias."""
    ratios = [row["log_ratio"] for row in rows]
    sizes = sorted(abs(ratio) for ratio in ratios)
    return {
        "median": round(statistics.median(sizes), 3),
        "p90": round(sizes[min(len(sizes) - 1, math.ceil(0.9 * len(sizes)) - 1)], 3),
        "bias": round(statistics.median(ratios), 3),
    }


def measure(step: Step, reference: Reference) -> float:
    """Reference products that one step takes, the median of neighbouring pairs."""
    number = max(1, round(SAMPLE / max(reference.time(step), 1e-6)))
    ratios = []
    end = time.perf_counter() + SECONDS
    while len(ratios) < 7 or (len(ratios) < 40 and time.perf_counter() < end):
        taken = reference.time(step, number)
        ratios.append(taken / reference.now())
    return statistics.median(ratios)


def training(model: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """One training step. The rate is so small that the numbers stay ordinary: a network that has
    learnt its batch has gradients so small that the processor slows down over them."""
    optimizer = AdamW(model.parameters(), lr=1e-6)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def mlp(choose: random.Random) -> tuple[str, Step]:
    sizes = [choose.randrange(32, 1025) for _ in range(choose.randint(2, 5))] + [10]
    batch = choose.randrange(16, 513)
    model, x = MLP(sizes), Tensor(torch.randn(batch, sizes[0]))
    y = torch.randint(10, (batch,))
    return f"{sizes}, batch {batch}", training(model, lambda: cross_entropy(model(x), y))


def cnn(choose: random.Random) -> tuple[str, Step]:
    side, channels = choose.randrange(16, 49, 4), choose.choice([1, 3])
    filters = [choose.randrange(4, 65) for _ in range(choose.randint(1, 3))]
    window, batch = choose.choice([3, 5]), choose.randrange(4, 33)
    layers: list[nn.Module] = []
    last = channels
    for outputs in filters:
        layers += [
            nn.Conv2d(last, outputs, window, padding=window // 2),
            nn.MaxPool2d(2),
            nn.ReLU(),
        ]
        last = outputs
    hidden = choose.randrange(16, 129)
    features = last * (side // 2 ** len(filters)) ** 2
    layers += [nn.Flatten(), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 10)]
    model, x = nn.Sequential(*layers), Tensor(torch.randn(batch, channels, side, side))
    y = torch.randint(10, (batch,))
    name = f"{channels}×{side}×{side}, {filters} of {window}×{window}, {hidden}, batch {batch}"
    return name, training(model, lambda: cross_entropy(model(x), y))


def lstm(choose: random.Random) -> tuple[str, Step]:
    vocabulary, width = choose.randrange(50, 513), choose.randrange(16, 129)
    hidden, layers = choose.randrange(32, 257), choose.choice([1, 1, 2])
    length, batch = choose.randrange(8, 97), choose.randrange(4, 65)
    model = RecurrentLM("lstm", vocabulary, width, hidden, layers)
    x, y = torch.randint(vocabulary, (batch, length)), torch.randint(vocabulary, (batch * length,))
    name = f"{vocabulary} tokens, {width} → {hidden} × {layers}, length {length}, batch {batch}"
    return name, training(model, lambda: cross_entropy(model(x).reshape(-1, vocabulary), y))


def gpt(choose: random.Random) -> tuple[str, Step]:
    heads, layers = choose.choice([2, 4, 8]), choose.randint(1, 4)
    width, vocabulary = heads * choose.randrange(8, 49), choose.randrange(50, 1025)
    length, batch = choose.randrange(16, 257), choose.randrange(1, 13)
    model = GPT(vocabulary, length, width, heads, layers)
    x, y = torch.randint(vocabulary, (batch, length)), torch.randint(vocabulary, (batch * length,))
    name = f"{layers} × {width}, {heads} heads, {vocabulary} tokens, length {length}, batch {batch}"
    return name, training(model, lambda: cross_entropy(model(x).reshape(-1, vocabulary), y))


FAMILIES: dict[str, Callable[[random.Random], tuple[str, Step]]] = {
    "mlp": mlp,
    "cnn": cnn,
    "lstm": lstm,
    "gpt": gpt,
}
