"""What must be known of PyTorch's operators to say what a call of one costs."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from roofline.hardware.flops import flop_formula

# Reserve memory and run nothing.
_EMPTY = frozenset(
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided "
    "resize_ set_ record_stream".split()
)
# Read tensors and return a number or a bool.
_READERS = frozenset({"_local_scalar_dense", "equal", "is_nonzero", "allclose"})
# Write their first argument without reading it.
_OVERWRITERS = frozenset(
    "copy_ fill_ zero_ normal_ uniform_ bernoulli_ random_ exponential_ log_normal_ "
    "geometric_ cauchy_".split()
)
# Read as much of their source as they return, not all of it.
_GATHERERS = frozenset({"embedding", "gather", "index", "index_select", "take", "_unsafe_index"})
# Write, or add to, as much of their target as they are given.
_SCATTERERS = frozenset(
    "index_put_ _index_put_impl_ index_add_ index_copy_ scatter_ scatter_add_".split()
)
# Move data and compute nothing.
_MOVERS = (
    _GATHERERS
    | _OVERWRITERS
    | frozenset(
        "clone _to_copy _copy_from lift_fresh cat stack zeros zeros_like new_zeros ones ones_like "
        "new_ones full full_like new_full fill zero scalar_tensor arange eye randn rand randint "
        "randperm slice_backward select_backward diagonal_backward as_strided_scatter "
        "constant_pad_nd reflection_pad2d replication_pad2d repeat repeat_interleave flip roll "
        "tril triu unfold_backward im2col pixel_shuffle where index_put_ _index_put_impl_ "
        "index_copy_ scatter_ masked_fill masked_fill_ one_hot copy _local_scalar_dense "
        "embedding_dense_backward".split()
    )
)


class Operator:
    """What must be known of an operator before it is called."""

    def __init__(self, function: torch._ops.OpOverload):
        schema = function._schema
        namespace, base = schema.name.split("::")
        self.name = base if namespace == "aten" else f"{namespace}.{base}"
        writes = [bool(each.alias_info and each.alias_info.is_write) for each in schema.arguments]
        self.written = tuple(position for position, write in enumerate(writes) if write)
        # An argument called out= is overwritten; any other that is written was read before.
        self.out = frozenset(
            argument.name
            for argument, write in zip(schema.arguments, writes, strict=True)
            if write and argument.kwarg_only
        )
        self.flops = flop_formula(function)
        self.empty = base in _EMPTY
        self.reader = base in _READERS
        self.overwriter = base in _OVERWRITERS
        self.gatherer = base in _GATHERERS
        self.scatterer = base in _SCATTERERS
        self.mover = base in _MOVERS
        self.fresh = base == "lift_fresh"  # torch.tensor([...]): new, though it looks like a view
        self.decomposes = self.flops is None and torch._C._dispatch_has_kernel_for_dispatch_key(
            function.name(), "CompositeImplicitAutograd"
        )


@cache
def operator_of(function: torch._ops.OpOverload) -> Operator:
    return Operator(function)


def bytes_moved(
    operator: Operator,
    inputs: list[torch.Tensor],
    made: list[torch.Tensor],
    written: list[torch.Tensor],
) -> int:
    """Bytes that a kernel reads and writes: each tensor once, or only what is touched of it."""
    writes = sum(span(each) for each in (*made, *written))
    if operator.gatherer and inputs:
        return 2 * writes + sum(span(each) for each in inputs[1:])
    if operator.scatterer and inputs:
        values = max((span(each) for each in inputs[1:]), default=0)
        return 2 * values + sum(span(each) for each in inputs[1:])
    reads = inputs[1:] if operator.overwriter else inputs
    return writes + sum(span(each) for each in reads)


def written_arguments(
    operator: Operator, args: tuple, kwargs: dict[str, Any]
) -> list[torch.Tensor]:
    """The arguments that the operator writes: in place, or given as out=."""
    if not operator.written:
        return []
    found: list[torch.Tensor] = []
    for position in operator.written:
        if position < len(args):
            collect((args[position],), found)
    for name in operator.out:
        collect((kwargs.get(name),), found)
    return found


def collect(values: Any, found: list[torch.Tensor]) -> None:
    """Append every tensor among ``values`` and the lists in them to ``found``."""
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            collect(value, found)


def has_storage(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided


def identity(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata if has_storage(tensor) else id(tensor)


def size_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes() if has_storage(tensor) else 0


def span(tensor: torch.Tensor) -> int:
    """Bytes of memory that the elements of a tensor take; a dimension of stride 0 takes one."""
    if not has_storage(tensor):
        return 0
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= size if stride or not size else 1
    return elements * tensor.element_size()
