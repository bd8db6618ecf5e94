"""Choose the next token from a model's scores."""

from __future__ import annotations

import torch


def sample(
    logits: torch.Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw one token for each row of ``logits``, (n, vocabulary): token numbers of shape (n, 1).

    Args:
        temperature: divides the scores; 0 takes the likeliest token.
        top_k: draw among the k likeliest. Fan et al., 1805.04833.
        top_p: draw among the likeliest that together reach probability p. Holtzman et al.,
            1904.09751. After ``top_k`` if both are given.
    """
    if temperature < 0:
        raise ValueError(f"temperature is 0 or more, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is 1 or more, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is above 0 and at most 1, got {top_p}")
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    scores, tokens = (logits.float() / temperature).sort(-1, descending=True)
    if top_k is not None:
        scores[:, top_k:] = -torch.inf
    p = scores.softmax(-1)
    if top_p is not None and top_p < 1:  # of many tokens the sum reaches 1 before the last
        before = p.cumsum(-1) - p  # the likeliest token has nothing before it and always stays
        p = p.where(before < top_p, 0.0)
    return tokens.gather(-1, torch.multinomial(p, 1, generator=generator))
