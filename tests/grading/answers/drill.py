"""Wrong and right answers to the drill chapter: the pattern for ``tests/graders/<chapter>.py``."""

from __future__ import annotations

import torch
from roofline.grading.answers import right, wrong

GRADIENTS = ["gradient of x", "gradient of w", "gradient of b"]


@wrong("drill.linear", loses=["result"], hint="b is not added")
def forgets_the_bias(x, w, b):
    return x @ w.T, lambda dy: (dy @ w, dy.T @ x, dy.sum(0))


@wrong("drill.linear", loses=["gradient of b"], hint="mean over the batch")
def averages_over_the_batch(x, w, b):
    return x @ w.T + b, lambda dy: (dy @ w, dy.T @ x, dy.mean(0))


@wrong("drill.linear", loses=["gradient of w"], hint="transposed")
def forgets_to_transpose(x, w, b):
    return x @ w.T + b, lambda dy: (dy @ w, x.T @ dy, dy.sum(0))


@wrong("drill.linear", loses=["result", *GRADIENTS], hint="at least 1 value")
def returns_no_pullback(x, w, b):
    return x @ w.T + b


@right("drill.linear")
def with_einsum(x, w, b):
    def pullback(dy):
        dw = torch.einsum("bo,bi->oi", dy, x)
        return torch.einsum("bo,oi->bi", dy, w), dw, torch.einsum("bo->o", dy)

    return torch.einsum("bi,oi->bo", x, w) + b, pullback


@right("drill.linear")
def with_a_loop(x, w, b):
    y = torch.stack([torch.stack([(row * out).sum() for out in w]) + b for row in x])

    def pullback(dy):
        dx, dw = torch.zeros_like(x), torch.zeros_like(w)
        for i in range(len(x)):
            for j in range(len(w)):
                dx[i] += dy[i, j] * w[j]
                dw[j] += dy[i, j] * x[i]
        return [dx, dw, sum(dy)]

    return y, pullback
