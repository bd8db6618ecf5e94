"""Matrix products, and what is built on one: linear layers and embeddings."""

from __future__ import annotations

from typing import Any

import torch

from .blocks import BLOCK, row_blocks
from .deferred import product, row_sum
from .elementwise import Result, outside, sum_to
from .tape import op


@op
def matmul(x: torch.Tensor, y: torch.Tensor, *, needs: Any) -> Result:
    """``x @ y`` of shapes (..., n, k) and (..., k, m); leading dimensions broadcast.

    As in torch a vector x is a row and a vector y a column. dx = dz y^T and dy = x^T dz.
    """
    x_shape, y_shape = x.shape, y.shape
    row, column = x.dim() == 1, y.dim() == 1
    z = torch.matmul(x, y)
    for_x = y if needs[0] else None
    for_y = x if needs[1] else None

    def pullback(dz: torch.Tensor) -> tuple:
        dx = dy = None
        if row:
            dz = dz.unsqueeze(-1 if column else -2)
        if column:
            dz = dz.unsqueeze(-1)
        if for_x is not None:
            right = for_x.unsqueeze(-1) if column else for_x
            dx = torch.matmul(dz, right.transpose(-2, -1))
            dx = sum_to(dx.squeeze(-2) if row else dx, x_shape)
        if for_y is not None:
            left = for_y.unsqueeze(-2) if row else for_y
            dy = torch.matmul(left.transpose(-2, -1), dz)
            dy = sum_to(dy.squeeze(-1) if column else dy, y_shape)
        return dx, dy

    if row and column:
        return z, lambda dz: (
            dz * for_x if for_x is not None else None,
            dz * for_y if for_y is not None else None,
        )
    return z, pullback


def affine(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``rows @ weight^T + bias``, the bias added to each block while it is in the cache."""
    turned = weight.t()
    if bias is None:
        return torch.mm(rows, turned)
    size = rows.shape[0] * weight.shape[0]
    if size <= BLOCK or rows.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.addmm(bias, rows, turned)
    y = rows.new_empty((rows.shape[0], weight.shape[0]))
    for out, some in row_blocks(y, rows):
        torch.mm(some, turned, out=out).add_(bias)
    return y


@op
def linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *, needs: Any
) -> Result:
    """``x @ weight^T + bias``: (..., inputs) to (..., outputs); weight is (outputs, inputs).

    With x and dy seen as matrices of one row per example: dx = dy W, dW = dy^T x, db = sum of
    the rows of dy.
    """
    flat = x.dim() == 2
    rows = x if flat else x.reshape(x.shape[:-1].numel(), x.shape[-1])
    y = affine(rows, weight, bias)
    x_shape, weight_shape = x.shape, weight.shape
    for_x = weight if needs[0] else None
    for_weight = rows if needs[1] else None

    def pullback(dy: torch.Tensor) -> tuple:
        if not flat:
            dy = dy.reshape(x_shape[:-1].numel(), dy.shape[-1])
        dx = None if for_x is None else torch.mm(dy, for_x)
        return (
            dx if flat or dx is None else dx.view(x_shape),
            None if for_weight is None else product(dy.t(), for_weight, weight_shape),
            row_sum(dy) if needs[2] else None,
        )

    return y if flat else y.view(*x_shape[:-1], y.shape[-1]), pullback


@op
def embedding(
    weight: torch.Tensor, indices: torch.Tensor, padding_index: int | None = None
) -> Result:
    """Rows of ``weight``, (rows, width), by ``indices`` of any shape: (..., width).

    The gradient adds up the rows that were taken; the row ``padding_index`` gets none.

    Raises:
        IndexError: for an index that is no row; on an accelerator by the device's own words.
    """
    shape, rows = weight.shape, indices.reshape(-1)
    try:
        y = weight.index_select(0, rows)
    except (IndexError, RuntimeError):
        wrong = outside(rows, shape[0])
        if wrong is None:
            raise
        raise IndexError(
            f"an index is {wrong}, but the table has {shape[0]} rows, 0 to {shape[0] - 1}: "
            f"number the tokens as the embedding does, or give it more rows"
        ) from None

    def pullback(dy: torch.Tensor) -> tuple:
        d_weight = dy.new_zeros(shape)
        d_weight.index_add_(0, rows, dy.reshape(-1, shape[1]))
        if padding_index is not None:
            d_weight[padding_index] = 0
        return (d_weight,)

    return y.view(*indices.shape, shape[1]), pullback
