"""What a piece of code costs, counted: FLOPs, bytes, allocations, kernel launches.

Counts are the same on every machine, so they can be compared and graded where a clock can't::

    counts = count(lambda: model(images).sum().backward())
    counts.flops, counts.bytes_moved, counts.peak_bytes, counts.launches

A :class:`Counter` sits where PyTorch hands an operator to its kernel. It sees forward and backward
passes, on any device, also on ``meta`` tensors that hold nothing. It does not see inside a kernel:
scratch memory that a kernel takes and gives back is not counted, and code that was fused by
``torch.compile`` doesn't pass here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from roofline.hardware.operators import (
    Operator,
    bytes_moved,
    collect,
    has_storage,
    identity,
    operator_of,
    size_of,
    written_arguments,
)


@dataclass
class Counts:
    """What one call cost, and its result.

    ``flops``: matrix products, convolutions, attention and recurrent kernels, 2 for each
    multiply-add. ``elementwise``: for every other kernel that computes, one for each element of
    its largest tensor (an estimate: an exponential counts as one).
    ``bytes_moved``: what every kernel reads and writes, as if nothing stayed in a cache.
    ``bytes_allocated``: the sum of all new storages; ``largest_allocation``: the largest of them;
    ``peak_bytes``: the most that was alive at one time, without what existed before the call.
    ``launches``: operators that ran a kernel; ``views``: those that only made a view or reserved
    memory, which a processor does in a microsecond.
    ``by_op`` and ``launches_by_op``: ``flops`` and ``launches`` by name of operator.
    """

    result: Any = None
    flops: int = 0
    elementwise: int = 0
    bytes_moved: int = 0
    bytes_allocated: int = 0
    largest_allocation: int = 0
    peak_bytes: int = 0
    launches: int = 0
    views: int = 0
    by_op: dict[str, int] = field(default_factory=dict)
    launches_by_op: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.flops:,} FLOPs and {self.elementwise:,} elementwise, "
            f"{self.bytes_moved:,} bytes moved, {self.bytes_allocated:,} allocated "
            f"(largest {self.largest_allocation:,}, peak {self.peak_bytes:,}), "
            f"{self.launches:,} launches"
        )


def count(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Counts:
    """Call ``function(*args, **kwargs)`` and count what it costs.

    Returns :class:`Counts`, with what the function returned in ``result``. An exception of the
    function comes out as it is.
    """
    counter = Counter()
    with counter:
        counter.counts.result = function(*args, **kwargs)
    return counter.counts


@dataclass
class Call:
    """One kernel: what was called, with what, and the tensors that it read, made and wrote."""

    operator: Operator
    args: tuple
    kwargs: dict[str, Any]
    result: Any
    inputs: list[torch.Tensor]
    made: list[torch.Tensor]
    written: list[torch.Tensor]
    flops: int = 0


class Counter(TorchDispatchMode):
    """Counts everything that runs inside ``with Counter() as counter``, in ``counter.counts``."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()
        self._live = 0
        self._storages: dict[int, tuple[weakref.ref, list[int]]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: PyTorch would import its whole compiler on the first call, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(function, torch._ops.OpOverload):
            return function(*args, **kwargs)
        operator = operator_of(function)
        if operator.decomposes:  # in inference mode, linear or lstm come whole
            with self:
                result = function.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        inputs: list[torch.Tensor] = []
        collect(args, inputs)
        before = {id(each): size_of(each) for each in written_arguments(operator, args, kwargs)}
        result = function(*args, **kwargs)
        call = self._look(operator, args, kwargs, inputs, result)
        for each in call.made:
            self._allocate(each)
        for each in call.written:
            if size_of(each) > before[id(each)]:
                self._allocate(each)
        if operator.empty or not (call.made or call.written or operator.reader):
            self.counts.views += 1
        else:
            self._charge(call)
        return result

    def _look(
        self,
        operator: Operator,
        args: tuple,
        kwargs: dict[str, Any],
        inputs: list[torch.Tensor],
        result: Any,
    ) -> Call:
        """Sort the tensors of a call by what it did to them."""
        keywords: list[torch.Tensor] = []
        overwritten: list[torch.Tensor] = []
        for name, value in kwargs.items():
            collect((value,), overwritten if name in operator.out else keywords)
        inputs = inputs + keywords
        outputs: list[torch.Tensor] = []
        collect((result,), outputs)
        old = {identity(each) for each in inputs}
        made = [each for each in outputs if operator.fresh or identity(each) not in old]
        made = [each for each in made if not any(each is out for out in overwritten)]
        written = written_arguments(operator, args, kwargs)
        return Call(operator, args, kwargs, result, inputs, made, written)

    def _charge(self, call: Call) -> None:
        counts, operator = self.counts, call.operator
        counts.launches += 1
        by_op = counts.launches_by_op
        by_op[operator.name] = by_op.get(operator.name, 0) + 1
        counts.bytes_moved += bytes_moved(operator, call.inputs, call.made, call.written)
        if operator.flops is not None:
            call.flops = operator.flops(call.args, call.kwargs, call.result)
            counts.flops += call.flops
            counts.by_op[operator.name] = counts.by_op.get(operator.name, 0) + call.flops
        elif not operator.mover:
            tensors = (*call.inputs, *call.made, *call.written)
            counts.elementwise += max((each.numel() for each in tensors), default=0)
        self.kernel(call)

    def kernel(self, call: Call) -> None:
        """Called after each kernel, for those who need them one by one."""

    def _allocate(self, tensor: torch.Tensor) -> None:
        """Account for a storage that is new, or has grown."""
        if not has_storage(tensor):
            return
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        key = storage._cdata
        known = self._storages.get(key)
        if known is not None and known[0]() is storage:
            if size <= known[1][0]:
                return
            self._live -= known[1][0]
            known[1][0] = size
        else:
            held = [size]

            def release(_: weakref.ref, held: list[int] = held) -> None:
                self._live -= held[0]

            self._storages[key] = (weakref.ref(storage, release), held)
        self._live += size
        counts = self.counts
        counts.bytes_allocated += size
        counts.largest_allocation = max(counts.largest_allocation, size)
        counts.peak_bytes = max(counts.peak_bytes, self._live)
