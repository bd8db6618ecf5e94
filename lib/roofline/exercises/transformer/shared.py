"""What the exercises of the chapter share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from roofline.grading import Call, Item, compare

ONE_CALL = (
    "torch.nn.functional.scaled_dot_product_attention",
    "torch.nn.attention.flex_attention.flex_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "aten::_safe_softmax",  # nothing else uses it
)
EVERY_HEAD = (
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.MultiheadAttention",
    "aten::_native_multi_head_attention",
    "roofline.autograd.attention",
    "roofline.autograd.attention.explicit_attention",
    "roofline.nn.MultiheadAttention",
    "roofline.exercises.transformer.lookup.Heads.run",
)
READY_MADE = (
    *ONE_CALL,
    *EVERY_HEAD,
    "roofline.exercises.transformer.lookup.Attention.run",
    "roofline.exercises.transformer.blocks.Blocked.run",
)


def plain(made: Call) -> Call:
    """The same call, with the numbers of NumPy and torch as Python's, and arrays as lists."""
    return replace(made, value=_plain(made.value)) if made.ok else made


def _plain(value: Any) -> Any:
    if type(value) in (list, tuple):
        return [_plain(v) for v in value]
    if type(value) is dict:
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, torch.Tensor) or type(value).__module__ == "numpy":
        return value.tolist() if hasattr(value, "tolist") else value
    return value


def together(calls: Sequence[Call]) -> Call:
    """Several calls as one that returned a list, or the first one that returned nothing."""
    failed = next((made for made in calls if not made.ok), None)
    if failed is not None:
        return failed
    changed = list(dict.fromkeys(name for made in calls for name in made.changed))
    return replace(calls[0], value=[made.value for made in calls], changed=changed, gave_back="")


def wide(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same in float64."""
    return [tensor.double() for tensor in tensors]


def also_wide(item: Item, got: Call, right: Any) -> Item:
    """Take half of an item if ``got``, from float64 arguments, isn't ``right`` in float64.

    Work that was done in fewer digits inside passes: only the dtype of the result is promised.
    """
    if item.lost:
        return item
    other = compare(item.name, item.points, got, right, rtol=1e-4, atol=1e-5)
    if not other.lost:
        return item
    message = f"with float64 arguments: {other.message}"
    return replace(item, earned=item.points / 2, message=message, hint=other.hint)
