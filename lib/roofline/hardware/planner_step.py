"""The model of one training step on a cluster: seconds and bytes, part by part.

The parts are those of :mod:`roofline.hardware.cost`: exact FLOPs, the inventory of activations,
ring collectives, the pipeline's bubble. Products run at ``efficiency`` of the peak or at the pace
at which weights are read, whichever is slower; what lies between them runs at the pace of memory.
Nothing is fitted to a measured step, and nothing stands for what a program wastes, so a real step
takes longer: against Korthikanti et al., arXiv 2205.05198, table 5, 16% to 36% longer.
Tensor, then data, then pipeline neighbours sit closest together, as in Megatron-LM (Narayanan et
al., arXiv 2104.04473, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

from roofline.hardware.cost import Transformer, communication, flops, memory, parameters
from roofline.hardware.cost.checks import one_of, positive, whole

MOST_DEVICES = 2**17
LATENCY = 5e-6  # seconds a message: of the order that nccl-tests prints for its smallest sizes
ELEMENT = 2  # bytes: bf16 or fp16
# What an activation costs the memory: written, read by the next operation, read by the backward
# pass; its gradient written and read. Fused operations save some of it.
PASSES = 5
# Adam reads master, two moments and gradient, and writes all but the gradient, 4 bytes each;
# and 2 of weights.
UPDATE_BYTES = 30


@dataclass(frozen=True)
class Cluster:
    """``count`` devices, ``node`` of them side by side.

    ``peak`` FLOP/s, ``memory`` bytes and ``bandwidth`` bytes a second of one device. ``inside`` and
    ``network``: bytes a second and direction of a device, to its node and beyond. ``efficiency``:
    share of the peak that large products reach. ``usable``: share of the memory a program gets.
    ``overlap``: whether communication hides behind arithmetic wherever a schedule lets it.
    """

    count: int
    peak: float
    memory: float
    bandwidth: float
    inside: float
    network: float
    node: int = 8
    efficiency: float = 0.75
    usable: float = 0.9
    latency: float = LATENCY
    overlap: bool = True

    def __post_init__(self) -> None:
        whole("device count", self.count, most=MOST_DEVICES)
        whole("devices in a node", self.node, most=MOST_DEVICES)
        for name in ("peak", "memory", "bandwidth", "inside", "network"):
            positive(name, getattr(self, name))
        positive("efficiency", self.efficiency, most=1)
        positive("usable", self.usable, most=1)


@dataclass(frozen=True)
class Plan:
    """How a step is spread: ``data`` × ``tensor`` × ``pipeline`` devices.

    ``micro_batch`` sequences at a time, ``chunks`` of layers interleaved on each stage, ``zero``
    stage 0 to 3, ``recompute`` none, selective or full. Tensor parallel implies sequence parallel.
    """

    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    micro_batch: int = 1
    chunks: int = 1
    zero: int = 1
    recompute: str = "none"

    def __post_init__(self) -> None:
        for name in ("data", "tensor", "pipeline", "micro_batch", "chunks"):
            whole(name, getattr(self, name), most=MOST_DEVICES)
        whole("ZeRO stage", self.zero, least=0, most=3)
        one_of("recompute", self.recompute, flops.RECOMPUTE)


@dataclass(frozen=True)
class Estimate:
    """Modelled seconds of one step and bytes of the fullest device, both by part."""

    plan: Plan
    seconds: dict[str, float]
    memory: dict[str, float]
    mfu: float
    tokens_per_second: float

    @property
    def step_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def memory_bytes(self) -> float:
        return sum(self.memory.values())


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
            model, machines = self.model, self.machines
            total = flops.step_flops(model, micro_batch, recompute=recompute)
            work = (total - self.output_flops(micro_batch)) / model.layers / tensor
            kept = memory.activations(model, micro_batch, tensor, tensor > 1, recompute)
            # Recomputed layers come back whole, one at a time.
            whole_layer = memory.activations(model, micro_batch, tensor, tensor > 1)
            own = ELEMENT * self.body / model.layers / tensor
            weights = 3 * own / machines.bandwidth  # read forward and backward, gradient written
            products = max(work / (machines.peak * machines.efficiency), weights)
            seconds = products + PASSES * whole_layer / machines.bandwidth
            if tensor > 1:
                seconds += self.tensor_seconds(tensor, micro_batch, recompute)
            self.layers[key] = seconds, kept, whole_layer if recompute != "none" else 0.0
        return self.layers[key]

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

    def seconds(self, plan: Plan, micro_batches: int) -> dict[str, float]:
        machines, p = self.machines, plan.pipeline
        layer, _, _ = self.layer(plan.tensor, plan.micro_batch, plan.recompute)
        output = self.output_flops(plan.micro_batch) / plan.tensor
        output /= machines.peak * machines.efficiency
        stage = layer * self.model.layers / p + output  # of the last stage, which sets the pace
        busy = stage * micro_batches
        shared = 0.0
        if plan.tensor > 1:
            each = self.tensor_seconds(plan.tensor, plan.micro_batch, plan.recompute)
            shared = each * self.model.layers / p * micro_batches
        update = self.weights(plan.tensor, p) / (plan.data if plan.zero else 1)
        return {
            "computation": busy - shared,
            "tensor parallel": shared,
            "pipeline bubble": busy * communication.bubble_of_ideal(p, micro_batches, plan.chunks),
            "pipeline transfers": self.pipeline_seconds(plan, micro_batches),
            "data parallel": self.data_seconds(plan, micro_batches, stage),
            "update": UPDATE_BYTES * update / machines.bandwidth,
        }

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

    def data_seconds(self, plan: Plan, micro_batches: int, stage: float) -> float:
        """Gradients, and under ZeRO weights; stages 2 and 3 move them for every micro-batch.

        Overlapped, they hide behind the backward pass, two thirds of a stage's work: of the last
        micro-batch, or of each where each moves its own (and in stage 3 behind the forward too).
        """
        if plan.data == 1:
            return 0.0
        size = ELEMENT * self.weights(plan.tensor, plan.pipeline)
        one = communication.all_gather_seconds(
            size, plan.data, self.link(plan.tensor * plan.data), self.machines.latency
        )
        if plan.zero < 2:
            needed, hidden = 2 * one, 2 / 3 * stage
        elif plan.zero == 2:
            needed, hidden = (micro_batches + 1) * one, 2 / 3 * stage * micro_batches
        else:
            needed, hidden = 3 * micro_batches * one, stage * micro_batches
        return max(0.0, needed - hidden) if self.machines.overlap else needed

    def activations(self, plan: Plan, micro_batches: int) -> dict[str, float]:
        """Of the first stage, which has most micro-batches under way, or of the last with its ends.

        One-forward-one-backward keeps p micro-batches on the first of p stages; interleaved
        ``1 + (p−1)/pv`` times as many. Korthikanti et al., arXiv 2205.05198, section 4.2.3.
        """
        _, kept, at_work = self.layer(plan.tensor, plan.micro_batch, plan.recompute)
        p, layers = plan.pipeline, self.model.layers / plan.pipeline
        under_way = float(min(p, micro_batches))
        if plan.chunks > 1:
            under_way *= 1 + (p - 1) / (p * plan.chunks)
        ends = memory.end_activations(self.model, plan.micro_batch, plan.tensor)
        ends += memory.temporary(self.model, plan.micro_batch, plan.tensor)
        first, last = kept * layers * under_way, kept * layers
        if p == 1 or last + ends > first:
            return {"activations": last + at_work, "logits and ends": ends}
        return {"activations": first + at_work, "logits and ends": 0.0}
