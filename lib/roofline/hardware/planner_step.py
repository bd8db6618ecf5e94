"""The model of one training step on a cluster: seconds and bytes, part by part.

The parts are those of :mod:`roofline.hardware.cost`: exact FLOPs, the inventory of activations,
ring collectives, the pipeline's bubble. Products run at ``efficiency`` of the peak, less what their
last wave of tiles leaves idle (:mod:`roofline.hardware.cost.waves`), or at the pace of what they
read, whichever is slower; what lies between them runs at the pace of memory; links carry their
payload.
Nothing is fitted to a measured step, and nothing stands for what a program wastes, so a real step
takes longer: against Korthikanti et al., arXiv 2205.05198, table 5, 12% to 22% longer. Not in the
model: launches and gaps between kernels, kernels that don't reach the full rate of the memory,
products so small that their tiles are, transfers along a pipeline that nothing hides, the loss
over the vocabulary, and a clock that falls when all devices are busy.
Tensor, then data, then pipeline neighbours sit closest together, as in Megatron-LM (Narayanan et
al., arXiv 2104.04473, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from roofline.hardware.cost import (
    Transformer,
    communication,
    flops,
    memory,
    parameters,
    traffic,
    waves,
)
from roofline.hardware.plans import Cluster, Estimate, Plan

ELEMENT = 2  # bytes: bf16 or fp16
# Adam reads master, two moments and gradient, and writes all but the gradient, 4 bytes each;
# and 2 of weights.
UPDATE_BYTES = 30


class Step:
    """What plans of one search share; pieces that few plans differ in are computed once."""

    def __init__(self, model: Transformer, machines: Cluster, batch: int) -> None:
        self.model, self.machines, self.batch = model, machines, batch
        part = parameters.parameters_by_part(model)
        self.input_table = part["tokens"] + part["learned positions"]
        self.output_table = part["tokens"] if model.tied else part["output"]
        total = sum(part.values())
        self.body = total - self.input_table - (0 if model.tied else self.output_table)
        self.total = total
        self.useful = flops.step_flops(model, batch)
        self.layers: dict[tuple[int, int, str], tuple[float, float, float]] = {}
        self.states: dict[tuple[int, int, int, int], dict[str, float]] = {}
        self.sums: dict[tuple[int, int, int, int], tuple[float, float]] = {}
        self.gathers: dict[tuple[int, int, int], float] = {}
        self.ends: dict[tuple[int, int], float] = {}
        self.shares: dict[tuple[int, int], float] = {}

    def weights(self, tensor: int, pipeline: int) -> float:
        """Parameters of the fullest device; of the first and last stage, one holds a table more."""
        ends = self.total - self.body
        if pipeline > 1:
            ends = max(self.input_table, self.output_table)
        return (self.body / pipeline + ends) / tensor

    def layer(self, tensor: int, micro_batch: int, recompute: str) -> tuple[float, float, float]:
        """Of one layer, micro-batch and device: seconds, bytes kept, bytes at work."""
        key = tensor, micro_batch, recompute
        if key not in self.layers:
            kept = memory.activations(self.model, micro_batch, tensor, tensor > 1, recompute)
            # Recomputed layers come back whole, one at a time.
            whole_layer = memory.activations(self.model, micro_batch, tensor, tensor > 1)
            seconds = self.layer_seconds(tensor, micro_batch, recompute)
            self.layers[key] = seconds, kept, whole_layer if recompute != "none" else 0.0
        return self.layers[key]

    def layer_seconds(self, tensor: int, micro_batch: int, recompute: str) -> float:
        """Of one layer, micro-batch and device: products with weights, products of attention, what
        passes between them, and the exchange between tensor parallel devices."""
        model, machines = self.model, self.machines
        products, squares = attention_products(model, micro_batch, recompute)
        total = flops.step_flops(model, micro_batch, recompute=recompute)
        work = (total - self.output_flops(micro_batch)) / model.layers - products
        rate = machines.peak * machines.efficiency
        own = ELEMENT * self.body / model.layers / tensor
        weights = 3 * own / machines.bandwidth  # read forward and backward, gradient written
        full = (
            waves.layer_share(model, micro_batch, tensor, machines.units) if machines.units else 1
        )
        seconds = max(work / tensor / (rate * full), weights)
        seconds += max(products / tensor / rate, squares / tensor / machines.bandwidth)
        between = traffic.layer_traffic(model, micro_batch, tensor, tensor > 1, recompute)
        seconds += between / machines.bandwidth
        if tensor > 1:
            seconds += self.tensor_seconds(tensor, micro_batch, recompute)
        return seconds

    def full(self, tensor: int, micro_batch: int) -> float:
        """Share of the multiprocessors that products with weights keep busy."""
        key = tensor, micro_batch
        if key not in self.shares:
            units = self.machines.units
            self.shares[key] = (
                waves.layer_share(self.model, micro_batch, tensor, units) if units else 1.0
            )
        return self.shares[key]

    def output_flops(self, micro_batch: int) -> float:
        """Of the logits, forward and backward."""
        model = self.model
        return 6.0 * micro_batch * model.sequence * model.vocabulary * model.hidden

    def tensor_seconds(self, tensor: int, micro_batch: int, recompute: str) -> float:
        """Four all-reduces a layer, two more where the forward pass runs again."""
        machines = self.machines
        size = ELEMENT * micro_batch * self.model.sequence * self.model.hidden
        one = communication.all_reduce_seconds(size, tensor, self.link(tensor), machines.latency)
        return (6 if recompute == "full" else 4) * one

    def link(self, span: int) -> float:
        """Bytes a second between devices of a group that spans ``span`` neighbours."""
        return self.machines.inside if span <= self.machines.node else self.machines.network

    def state(self, plan: Plan) -> dict[str, float]:
        key = plan.tensor, plan.pipeline, plan.zero, plan.data
        if key not in self.states:
            count = self.weights(plan.tensor, plan.pipeline)
            kept = memory.zero(memory.training_state(count), plan.zero, plan.data)
            gathered = 0.0
            if plan.zero == 3:
                gathered = 2 * ELEMENT * self.body / self.model.layers / plan.tensor
            self.states[key] = {
                "weights": kept.weights,
                "gradients": kept.gradients,
                "optimizer": kept.master + kept.optimizer,
                "gathered layers": gathered,
            }
        return self.states[key]

    def estimate(self, plan: Plan) -> Estimate:
        micro_batches = self.batch // (plan.data * plan.micro_batch)
        seconds = self.seconds(plan, micro_batches)
        total = sum(seconds.values())
        machines = self.machines
        return Estimate(
            plan=plan,
            seconds=seconds,
            memory={**self.state(plan), **self.activations(plan, micro_batches)},
            mfu=self.useful / (total * machines.count * machines.peak),
            tokens_per_second=self.batch * self.model.sequence / total,
        )

    def totals(
        self, shape: Plan, micro_batch: int, chunks: int, zeros: range
    ) -> Iterator[tuple[int, str, float, float]]:
        """Seconds and bytes of plans that differ from each other in ZeRO stage and recompute only.

        The sums of :meth:`estimate`, what plans share computed once: a search asks for thousands.
        """
        machines, p = self.machines, shape.pipeline
        micro_batches = self.batch // (shape.data * micro_batch)
        plan = replace(shape, micro_batch=micro_batch, chunks=chunks)
        bubble = communication.bubble_of_ideal(p, micro_batches, chunks)
        transfers = self.pipeline_seconds(plan, micro_batches)
        gather = self.gather_seconds(plan)
        states = [(zero, *self.state_totals(shape, zero)) for zero in zeros]
        for recompute in flops.RECOMPUTE:
            stage = self.stage(shape.tensor, p, micro_batch, recompute)
            same = stage * micro_batches * (1 + bubble) + transfers
            kept, ends = self.activation_bytes(shape, micro_batch, chunks, recompute, micro_batches)
            for zero, update, state in states:
                data = 0.0
                if shape.data > 1:
                    data = exposed(gather, zero, micro_batches, stage, machines.overlap)
                yield zero, recompute, same + data + update, state + kept + ends

    def state_totals(self, shape: Plan, zero: int) -> tuple[float, float]:
        """Seconds of the update and bytes of all state."""
        key = shape.tensor, shape.pipeline, zero, shape.data
        if key not in self.sums:
            kept = sum(self.state(replace(shape, zero=zero)).values())
            self.sums[key] = self.update_seconds(shape, zero), kept
        return self.sums[key]

    def stage(self, tensor: int, pipeline: int, micro_batch: int, recompute: str) -> float:
        """Seconds of the last stage's work on a micro-batch, which sets the pace."""
        layer, _, _ = self.layer(tensor, micro_batch, recompute)
        output = self.output_flops(micro_batch) / tensor
        output /= self.machines.peak * self.machines.efficiency
        return layer * self.model.layers / pipeline + output

    def seconds(self, plan: Plan, micro_batches: int) -> dict[str, float]:
        machines, p = self.machines, plan.pipeline
        stage = self.stage(plan.tensor, p, plan.micro_batch, plan.recompute)
        busy = stage * micro_batches
        shared = 0.0
        if plan.tensor > 1:
            each = self.tensor_seconds(plan.tensor, plan.micro_batch, plan.recompute)
            shared = each * self.model.layers / p * micro_batches
        data = 0.0
        if plan.data > 1:
            gather = self.gather_seconds(plan)
            data = exposed(gather, plan.zero, micro_batches, stage, machines.overlap)
        return {
            "computation": busy - shared,
            "tensor parallel": shared,
            "pipeline bubble": busy * communication.bubble_of_ideal(p, micro_batches, plan.chunks),
            "pipeline transfers": self.pipeline_seconds(plan, micro_batches),
            "data parallel": data,
            "update": self.update_seconds(plan, plan.zero),
        }

    def update_seconds(self, plan: Plan, zero: int) -> float:
        count = self.weights(plan.tensor, plan.pipeline) / (plan.data if zero else 1)
        return UPDATE_BYTES * count / self.machines.bandwidth

    def pipeline_seconds(self, plan: Plan, micro_batches: int) -> float:
        """Activations on, gradients back. Overlapped, only those that fill the pipeline show."""
        if plan.pipeline == 1:
            return 0.0
        elements = communication.pipeline_elements(
            plan.micro_batch, self.model.sequence, self.model.hidden
        )
        span = plan.data * plan.tensor * plan.pipeline
        one = communication.send_seconds(
            ELEMENT * elements / plan.tensor, self.link(span), self.machines.latency
        )
        steps = plan.pipeline - 1 if self.machines.overlap else micro_batches * plan.chunks
        return 2 * steps * one

    def gather_seconds(self, plan: Plan) -> float:
        """Of all weights of a device, from those that hold the same: a gather or its reverse."""
        key = plan.tensor, plan.pipeline, plan.data
        if key not in self.gathers:
            size = ELEMENT * self.weights(plan.tensor, plan.pipeline)
            link = self.link(plan.tensor * plan.data)
            self.gathers[key] = communication.all_gather_seconds(
                size, plan.data, link, self.machines.latency
            )
        return self.gathers[key]

    def activations(self, plan: Plan, micro_batches: int) -> dict[str, float]:
        kept, ends = self.activation_bytes(
            plan, plan.micro_batch, plan.chunks, plan.recompute, micro_batches
        )
        return {"activations": kept, "logits and ends": ends}

    def activation_bytes(
        self, shape: Plan, micro_batch: int, chunks: int, recompute: str, micro_batches: int
    ) -> tuple[float, float]:
        """Of the first stage, which has most micro-batches under way, or of the last with its ends.

        One-forward-one-backward keeps p micro-batches on the first of p stages; interleaved
        ``1 + (p−1)/pv`` times as many. Korthikanti et al., arXiv 2205.05198, section 4.2.3.
        """
        _, kept, at_work = self.layer(shape.tensor, micro_batch, recompute)
        p, layers = shape.pipeline, self.model.layers / shape.pipeline
        under_way = float(min(p, micro_batches))
        if chunks > 1:
            under_way *= 1 + (p - 1) / (p * chunks)
        ends = self.end_bytes(shape.tensor, micro_batch)
        first, last = kept * layers * under_way, kept * layers
        if p == 1 or last + ends > first:
            return last + at_work, ends
        return first + at_work, 0.0

    def end_bytes(self, tensor: int, micro_batch: int) -> float:
        """Kept and passing behind the last layer: logits above all."""
        key = tensor, micro_batch
        if key not in self.ends:
            ends = memory.end_activations(self.model, micro_batch, tensor)
            self.ends[key] = ends + memory.temporary(self.model, micro_batch, tensor)
        return self.ends[key]


def attention_products(model: Transformer, batch: int, recompute: str) -> tuple[float, float]:
    """FLOPs of one layer's products of queries with keys and of weights with values, and the bytes
    of squares that they read or write: one square each, two products forward and four back, and two
    more where they are computed again."""
    number = 6 if recompute == "none" else 8
    square = float(batch * model.heads * model.sequence**2)
    return number * square * (2 * model.head_dim + model.rotary_dim), number * ELEMENT * square


def exposed(
    gather: float, zero: int, micro_batches: int, stage: float, overlap: bool = True
) -> float:
    """Seconds of gradients, and under ZeRO weights, that no arithmetic hides.

    Stages 2 and 3 move them for every micro-batch. Overlapped, they hide behind the backward pass,
    two thirds of a stage's work: of the last micro-batch, or of each where each moves its own (and
    in stage 3 behind the forward too).
    """
    if zero < 2:
        needed, hidden = 2 * gather, 2 / 3 * stage
    elif zero == 2:
        needed, hidden = (micro_batches + 1) * gather, 2 / 3 * stage * micro_batches
    else:
        needed, hidden = 3 * micro_batches * gather, stage * micro_batches
    return max(0.0, needed - hidden) if overlap else needed
