"""How much of a GPU a product keeps busy: its result is cut into tiles, and these into waves.

NVIDIA, "Matrix Multiplication Background User's Guide", DU-09799-001, sections 2.3 and 3. Every
multiprocessor works on one tile at a time; a last wave that isn't full takes as long as a full one.
"""

from __future__ import annotations

from math import ceil

from roofline.hardware.cost.checks import of_kind, whole
from roofline.hardware.cost.model import Transformer

TILES = ((256, 128), (128, 256))
"""The largest tiles of cuBLAS, which use data most often; it takes smaller ones for small products,
which use them less: what is spared in the last wave is paid there, so they are left out."""


def wave_share(rows: int, columns: int, units: int) -> float:
    """Of the tiles that ``units`` multiprocessors could work on meanwhile, the share there is."""
    whole("rows", rows)
    whole("columns", columns)
    whole("multiprocessors", units)
    return _share(rows, columns, units)


def _share(rows: int, columns: int, units: int) -> float:
    waves = (
        tall * wide * -(-(-(-rows // tall) * -(-columns // wide)) // units) for tall, wide in TILES
    )
    return rows * columns / (min(waves) * units)


def layer_share(model: Transformer, batch: int, tensor: int, units: int) -> float:
    """The same for the products with weights of one layer, forward and back, weighed by FLOPs.

    Their results: outputs; on the way back gradients of inputs and of weights.
    """
    of_kind("model", model, Transformer)
    tokens = whole("batch", batch) * model.sequence
    whole("tensor", tensor, most=10**6)
    whole("multiprocessors", units)
    attention, keys = model.attention_width, 2 * model.kv_width
    inward = 2 if model.gated else 1
    shapes = [
        (model.hidden, (attention + keys) / tensor),
        (attention / tensor, model.hidden),
        (model.hidden, inward * model.mlp_width / tensor),
        (model.mlp_width / tensor, model.hidden),
    ]
    needed = taken = 0.0
    for inner, outer in ((ceil(i), ceil(o)) for i, o in shapes):
        for rows, columns in ((tokens, outer), (tokens, inner), (inner, outer)):
            needed += inner * outer
            taken += inner * outer / _share(rows, columns, units)
    return needed / taken
